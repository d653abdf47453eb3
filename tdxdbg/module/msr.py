"""RDMSR and WRMSR by the table (facts: ghci_and_guest 3.8)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tdxdbg.abi import cpuid as leaves
from tdxdbg.abi import msrs, tdx_fields, vmx
from tdxdbg.abi import vmx_instructions as ins
from tdxdbg.abi.msrs import Feature, Msr, Outcome, Rule
from tdxdbg.abi.regs import RAX, RCX, RDX
from tdxdbg.module import inject
from tdxdbg.module.done import with_outputs
from tdxdbg.module.results import NATIVE, Guest, Result, Resume
from tdxdbg.module.state import MISC_ENABLE, TdParams, VcpuState

if TYPE_CHECKING:
    from tdxdbg.module.tdx_module import TdxModule

_STARTS: Final = tuple(row.first for row in msrs.MSRS)


def find(index: int) -> Msr | None:
    """The row of an MSR, None for what is a #VE without a row."""
    if not any(first <= index < end for first, end in msrs.COVERED):
        return None
    at = bisect_right(_STARTS, index) - 1
    return msrs.MSRS[at] if at >= 0 and index <= msrs.MSRS[at].last else None


def outcome_of(params: TdParams, rule: Rule) -> Outcome:
    """A rule, for what this TD was given."""
    if rule.feature is None or FEATURES[rule.feature](params):
        return rule.then
    return rule.otherwise


def rdmsr(module: TdxModule, vcpu: VcpuState, guest: Guest) -> Result:
    """td_rdmsr_exit. Native: the CPU reads the MSR itself."""
    index = guest.regs[RCX] & 0xFFFF_FFFF
    row = find(index)
    outcome = Outcome.VE if row is None else outcome_of(module.params, row.read)
    if outcome is Outcome.EMULATED:
        read = READS.get(index)
        value = module.params.msrs.get(index, 0) if read is None else read(vcpu)
        outputs = {RAX: value & 0xFFFF_FFFF, RDX: value >> 32}
        return Resume(with_outputs(guest.regs, outputs))
    return _unless_emulated(vcpu, guest, outcome, vmx.MSR_READ)


def wrmsr(module: TdxModule, vcpu: VcpuState, guest: Guest) -> Result:
    """td_wrmsr_exit. Native: the CPU writes the MSR itself, also where the module let it pass."""
    index = guest.regs[RCX] & 0xFFFF_FFFF
    row = find(index)
    outcome = Outcome.VE if row is None else outcome_of(module.params, row.write)
    if outcome is Outcome.EMULATED:
        value = guest.regs[RAX] & 0xFFFF_FFFF | (guest.regs[RDX] & 0xFFFF_FFFF) << 32
        outcome = WRITES[index](module, vcpu, guest, value)
    return _unless_emulated(vcpu, guest, outcome, vmx.MSR_WRITE)


def _unless_emulated(vcpu: VcpuState, guest: Guest, outcome: Outcome, reason: int) -> Result:
    if outcome is Outcome.NATIVE:
        return NATIVE
    if outcome is Outcome.GP:
        return inject.GP
    return inject.instruction_ve(vcpu, guest, reason)


# --- features -------------------------------------------------------------------------


def _perfmon(params: TdParams) -> bool:
    return bool(params.attributes & tdx_fields.ATTRIBUTES_PERFMON)


def _cpuid_bit(params: TdParams, leaf: int, sub_leaf: int, register: int, bit: int) -> bool:
    values = params.cpuid.get((leaf, sub_leaf))
    return values is not None and bool(values[register] & bit)


_EAX, _EBX, _ECX, _EDX = range(4)

#: What the table calls OTHER is about performance monitoring as well, so it
#: goes with the PERFMON attribute.
FEATURES: Final[dict[Feature, Callable[[TdParams], bool]]] = {
    Feature.PERFMON: _perfmon,
    Feature.OTHER: _perfmon,
    Feature.PKS: lambda p: bool(p.attributes & tdx_fields.ATTRIBUTES_PKS),
    Feature.XFAM_PT: lambda p: bool(p.xfam & tdx_fields.XFAM_PT),
    Feature.XFAM_CET: lambda p: bool(p.xfam & tdx_fields.XFAM_CET),
    Feature.XFAM_ULI: lambda p: bool(p.xfam & tdx_fields.XFAM_UINTR),
    Feature.XFAM_LBR: lambda p: bool(p.xfam & tdx_fields.XFAM_LBR),
    Feature.UMWAIT: lambda p: _cpuid_bit(p, 7, 0, _ECX, leaves.LEAF7_ECX_WAITPKG),
    Feature.TSX: lambda p: _cpuid_bit(p, 7, 0, _EBX, leaves.LEAF7_EBX_RTM),
    Feature.XFD: lambda p: _cpuid_bit(p, 0xD, 1, _EAX, leaves.LEAFD1_EAX_XFD),
    Feature.PCONFIG: lambda p: _cpuid_bit(p, 7, 0, _EDX, leaves.LEAF7_EDX_PCONFIG),
    Feature.TME: lambda p: _cpuid_bit(p, 7, 0, _ECX, leaves.LEAF7_ECX_TME),
    Feature.DCA: lambda p: _cpuid_bit(p, 1, 0, _ECX, leaves.LEAF1_ECX_DCA),
    Feature.TSC_DEADLINE: lambda p: _cpuid_bit(p, 1, 0, _ECX, leaves.LEAF1_ECX_TSC_DEADLINE),
}


# --- MSRs that the module emulates ----------------------------------------------------

#: Index -> value; the values of the others are configured (`TdParams.msrs`).
READS: Final[dict[int, Callable[[VcpuState], int]]] = {
    msrs.IA32_XAPIC_DISABLE_STATUS: lambda vcpu: 1,
    msrs.IA32_MISC_ENABLE: lambda vcpu: MISC_ENABLE,
    msrs.IA32_DEBUGCTL: lambda vcpu: vcpu.debugctl & ~ins.DEBUGCTL_ENABLE_UNCORE_PMI,
    msrs.IA32_PERF_CAPABILITIES: lambda vcpu: 0,
}


def _write_efer(module: TdxModule, vcpu: VcpuState, guest: Guest, value: int) -> Outcome:
    """Only SCE may change; LMA is read-only, so it does not count."""
    changed = (value ^ guest.efer) & ~(ins.EFER_SCE | ins.EFER_LMA)
    return Outcome.VE if changed else Outcome.NATIVE


def _write_xss(module: TdxModule, vcpu: VcpuState, guest: Guest, value: int) -> Outcome:
    allowed = module.params.xfam & tdx_fields.XFAM_SUPERVISOR
    return Outcome.GP if value & ~allowed else Outcome.NATIVE


def _write_debugctl(module: TdxModule, vcpu: VcpuState, guest: Guest, value: int) -> Outcome:
    """TR without BTS is not possible in a TD; uncore PMIs stay off in silence."""
    if value & ~ins.DEBUGCTL_DEFINED:
        return Outcome.GP
    if value & ins.DEBUGCTL_TR and not value & ins.DEBUGCTL_BTS:
        return Outcome.VE
    if value & ins.DEBUGCTL_FREEZE_WHILE_SMM and not _perfmon(module.params):
        return Outcome.GP
    if value & ins.DEBUGCTL_RTM and not FEATURES[Feature.TSX](module.params):
        return Outcome.GP
    vcpu.debugctl = value & ~ins.DEBUGCTL_ENABLE_UNCORE_PMI
    return Outcome.NATIVE


WRITES: Final[dict[int, Callable[[TdxModule, VcpuState, Guest, int], Outcome]]] = {
    msrs.IA32_DEBUGCTL: _write_debugctl,
    msrs.IA32_XSS: _write_xss,
    msrs.IA32_EFER: _write_efer,
}
