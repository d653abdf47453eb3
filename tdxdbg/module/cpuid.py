"""CPUID: answered by the module, or a #VE (facts: ghci_and_guest 3.7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tdxdbg.abi import cpuid as table
from tdxdbg.abi import tdx_fields, vmx
from tdxdbg.abi import vmx_instructions as ins
from tdxdbg.abi.cpuid import Values
from tdxdbg.abi.regs import RAX, RBX, RCX, RDX
from tdxdbg.module import inject
from tdxdbg.module.done import with_outputs
from tdxdbg.module.results import Guest, Result, Resume
from tdxdbg.module.state import VcpuState

if TYPE_CHECKING:
    from tdxdbg.module.tdx_module import TdxModule

_NOTHING: Final[Values] = (0, 0, 0, 0)
#: XSAVE area: the legacy region and the header.
_XSAVE_FIXED: Final = 576


def cpuid(module: TdxModule, vcpu: VcpuState, guest: Guest) -> Result:
    """td_cpuid_exit: the checks in the module's order."""
    leaf, sub_leaf = guest.regs[RAX] & 0xFFFF_FFFF, guest.regs[RCX] & 0xFFFF_FFFF
    if table.HYPERVISOR_FIRST <= leaf <= table.HYPERVISOR_LAST:
        return inject.instruction_ve(vcpu, guest, vmx.CPUID)
    if vcpu.cpuid_user_ve if guest.cpl else vcpu.cpuid_supervisor_ve:
        return inject.instruction_ve(vcpu, guest, vmx.CPUID)
    leaf = _within_range(module, leaf)
    values = _emulated(module, leaf, sub_leaf)
    if values is None:
        return inject.instruction_ve(vcpu, guest, vmx.CPUID)
    dynamic = DYNAMIC.get(leaf)
    if dynamic is not None:
        values = dynamic(module, vcpu, guest, sub_leaf, values)
    return Resume(with_outputs(guest.regs, dict(zip((RAX, RBX, RCX, RDX), values, strict=True))))


def _within_range(module: TdxModule, leaf: int) -> int:
    """A leaf above the maximum of its range is the last base leaf."""
    values = module.params.cpuid
    last_base = values[0, 0][0]
    last_extended = values[table.FIRST_EXTENDED_LEAF, 0][0]
    if leaf > last_extended or last_base < leaf < table.FIRST_EXTENDED_LEAF:
        return last_base
    return leaf


def _emulated(module: TdxModule, leaf: int, sub_leaf: int) -> Values | None:
    """The configured values of a leaf that the module answers, None for a #VE."""
    if leaf in table.EMULATED_BY_ENUM_TOPOLOGY:
        if not module.td.td_ctls & tdx_fields.TD_CTLS_ENUM_TOPOLOGY:
            return None
        return module.params.cpuid.get((leaf, sub_leaf), (0, 0, sub_leaf & 0xFF, 0))
    if leaf == table.EMULATED_BY_VIRT_CPUID2:
        if not module.td.td_ctls & tdx_fields.TD_CTLS_VIRT_CPUID2:
            return None
        return module.params.cpuid.get((leaf, 0), _NOTHING)
    if leaf not in table.EMULATED:
        return None
    sub_leaves = table.EMULATED[leaf]
    if sub_leaves is None:
        return module.params.cpuid.get((leaf, 0), _NOTHING)
    if sub_leaf >= sub_leaves:
        return None
    return module.params.cpuid.get((leaf, sub_leaf), _NOTHING)


# --- what follows the guest's state ---------------------------------------------------


def _apic_id(module: TdxModule, vcpu: VcpuState) -> int:
    """The x2APIC id once ENUM_TOPOLOGY is on, the vCPU's index before."""
    if module.td.td_ctls & tdx_fields.TD_CTLS_ENUM_TOPOLOGY:
        return module.params.x2apic_ids[vcpu.index]
    return vcpu.index


def _leaf_1(
    module: TdxModule, vcpu: VcpuState, guest: Guest, sub_leaf: int, values: Values
) -> Values:
    eax, ebx, ecx, edx = values
    ebx = ebx & 0x00FF_FFFF | (_apic_id(module, vcpu) & 0xFF) << 24
    ecx &= ~table.LEAF1_ECX_OSXSAVE
    if guest.cr4 & ins.CR4_OSXSAVE:
        ecx |= table.LEAF1_ECX_OSXSAVE
    return eax, ebx, ecx, edx


def _leaf_7(
    module: TdxModule, vcpu: VcpuState, guest: Guest, sub_leaf: int, values: Values
) -> Values:
    eax, ebx, ecx, edx = values
    if sub_leaf == 0:
        ecx &= ~table.LEAF7_ECX_OSPKE
        if guest.cr4 & ins.CR4_PKE:
            ecx |= table.LEAF7_ECX_OSPKE
    return eax, ebx, ecx, edx


def _topology(
    module: TdxModule, vcpu: VcpuState, guest: Guest, sub_leaf: int, values: Values
) -> Values:
    return *values[:3], _apic_id(module, vcpu)


def _leaf_d(
    module: TdxModule, vcpu: VcpuState, guest: Guest, sub_leaf: int, values: Values
) -> Values:
    """EBX of sub-leaves 0 and 1: the size of the XSAVE area in use now."""
    if sub_leaf > 1:
        return values
    size = _standard_size(module, guest) if sub_leaf == 0 else _compacted_size(module, guest)
    return values[0], size, *values[2:]


def _components(module: TdxModule, enabled: int) -> list[Values]:
    """CPUID(0xD, n) of the extended components in a mask, in order."""
    known = module.params.cpuid
    return [known.get((0xD, bit), _NOTHING) for bit in range(2, 63) if enabled >> bit & 1]


def _standard_size(module: TdxModule, guest: Guest) -> int:
    sizes = [offset + size for size, offset, _, _ in _components(module, guest.xcr0)]
    return max([_XSAVE_FIXED, *sizes])


def _compacted_size(module: TdxModule, guest: Guest) -> int:
    end = _XSAVE_FIXED
    for size, _, flags, _ in _components(module, guest.xcr0 | guest.xss):
        if flags & table.LEAFD_ECX_ALIGN_64:
            end = (end + 63) & ~63
        end += size
    return end


def _tdx_leaf(
    module: TdxModule, vcpu: VcpuState, guest: Guest, sub_leaf: int, values: Values
) -> Values:
    return table.TDX_SIGNATURE


def _extended_1(
    module: TdxModule, vcpu: VcpuState, guest: Guest, sub_leaf: int, values: Values
) -> Values:
    eax, ebx, ecx, edx = values
    edx &= ~table.EXT1_EDX_SYSCALL
    if guest.is_64bit:
        edx |= table.EXT1_EDX_SYSCALL
    return eax, ebx, ecx, edx


Dynamic = Callable[["TdxModule", VcpuState, Guest, int, Values], Values]

DYNAMIC: Final[dict[int, Dynamic]] = {
    0x1: _leaf_1,
    0x7: _leaf_7,
    0xB: _topology,
    0xD: _leaf_d,
    0x1F: _topology,
    table.TDX_LEAF: _tdx_leaf,
    0x8000_0001: _extended_1,
}
