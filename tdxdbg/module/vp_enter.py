"""TDH.VP.ENTER: the checks in their order, and what the guest gets (facts: ghci_and_guest 6.4).

The host of an emulated TD is one program: locks are free, keys are there and
MSRs are right unless `Host` says otherwise, which is how a run can meet those
refusals on purpose.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntFlag
from typing import TYPE_CHECKING, Final, NamedTuple

from tdxdbg.abi import tdx_fields, vmx
from tdxdbg.abi import tdx_status as status
from tdxdbg.abi.regs import RAX, Regs, replace
from tdxdbg.module import inject, stepping
from tdxdbg.module.results import Entered, InjectVe, Kind, ModuleExit, VeInfo
from tdxdbg.module.state import LastExit, VcpuState
from tdxdbg.module.vmcall import loaded

if TYPE_CHECKING:
    from tdxdbg.module.tdx_module import TdxModule

#: RCX of TDH.VP.ENTER: bits 51:12 are the TDVPR page.
HOST_RECOVERABILITY_HINT: Final = 1 << 52
RESUME_L1: Final = 1 << 53
_RCX_RESERVED: Final = 0xFFF | 0x3FF << 54

#: What the host sees of a refused entry because of a suspected zero-step attack.
_FAKE_QUALIFICATION: Final = vmx.EPT_VIOLATION_ACC_WRITE

# An Enum's members are slow to look up.
_ENTERED: Final = Kind.ENTERED
_NONE, _TDVMCALL = LastExit.NONE, LastExit.TDVMCALL


class Trouble(IntFlag):
    """What is wrong on the host's side when it enters."""

    NONE = 0
    BOOT_NT4 = 1 << 0
    TDVPR_BUSY = 1 << 1
    TDR_BUSY = 1 << 2
    KEYS_NOT_CONFIGURED = 1 << 3
    OP_STATE_BUSY = 1 << 4
    ASSOCIATED_ELSEWHERE = 1 << 5
    TSC_ADJUST_CHANGED = 1 << 6
    MONITOR_FSM_OFF = 1 << 7
    TD_EPOCH_BUSY = 1 << 8
    SEPT_TREE_BUSY = 1 << 9


class Host(NamedTuple):
    """The SEAMCALL's RCX (flags; the page does not matter), the TSC, and trouble.

    `tsc` None: not checked.
    """

    rcx: int = 0
    tsc: int | None = None
    trouble: Trouble = Trouble.NONE


FINE: Final = Host()

_OPERAND_BUSY_RCX: Final = status.OPERAND_BUSY | status.OPERAND_RCX
_INVALID_RCX: Final = status.OPERAND_INVALID | status.OPERAND_RCX


class Check(NamedTuple):
    """One step of the entry: `status` when `fails`."""

    fails: Callable[[TdxModule, VcpuState, Host], bool]
    status: int


def _trouble(flag: Trouble) -> Callable[[TdxModule, VcpuState, Host], bool]:
    return lambda module, vcpu, host: bool(host.trouble & flag)


def _hint_is_wrong(module: TdxModule, vcpu: VcpuState, host: Host) -> bool:
    """The hint fits a trap-like asynchronous exit alone; an L2 VM never is current."""
    if host.rcx & RESUME_L1:
        return True
    return bool(host.rcx & HOST_RECOVERABILITY_HINT) and vcpu.last_exit is not LastExit.ASYNC_TRAP


def _tsc_went_back(module: TdxModule, vcpu: VcpuState, host: Host) -> bool:
    return host.tsc is not None and host.tsc < vcpu.last_exit_tsc


#: Steps 1 to 11, in order.
CHECKS: Final[tuple[Check, ...]] = (
    Check(_trouble(Trouble.BOOT_NT4), status.LIMIT_CPUID_MAXVAL_SET),
    Check(lambda module, vcpu, host: bool(host.rcx & _RCX_RESERVED), _INVALID_RCX),
    Check(_trouble(Trouble.TDVPR_BUSY), _OPERAND_BUSY_RCX),
    Check(_trouble(Trouble.TDR_BUSY), status.OPERAND_BUSY | status.OPERAND_TDR),
    Check(lambda module, vcpu, host: module.td.fatal, status.TD_FATAL),
    Check(_trouble(Trouble.KEYS_NOT_CONFIGURED), status.TD_KEYS_NOT_CONFIGURED),
    Check(_trouble(Trouble.OP_STATE_BUSY), status.OPERAND_BUSY | status.OPERAND_OP_STATE),
    Check(lambda module, vcpu, host: not module.td.finalized, status.OP_STATE_INCORRECT),
    Check(lambda module, vcpu, host: vcpu.disabled, status.VCPU_STATE_INCORRECT),
    Check(_trouble(Trouble.ASSOCIATED_ELSEWHERE), status.VCPU_ASSOCIATED),
    Check(_hint_is_wrong, _INVALID_RCX),
    Check(_trouble(Trouble.TSC_ADJUST_CHANGED), status.INCONSISTENT_MSR | status.MSR_TSC_ADJUST),
    Check(_tsc_went_back, status.TSC_ROLLBACK),
    Check(_trouble(Trouble.MONITOR_FSM_OFF), status.INCORRECT_MSR_VALUE | status.MSR_MISC_ENABLE),
    Check(_trouble(Trouble.TD_EPOCH_BUSY), status.OPERAND_BUSY | status.OPERAND_TD_EPOCH),
)


def vp_enter(
    module: TdxModule, vcpu: VcpuState, regs: Regs, host: Host = FINE
) -> Entered | ModuleExit:
    """Enter the TD with the host's registers, or say why not.

    A refusal (ModuleExit) changes nothing and leaves the host's registers as
    they are, but for the faked EPT violation of a suspected zero-step attack.
    """
    td = module.td
    # What the checks come to for the one entry that is frequent.
    if host is not FINE or vcpu.disabled or td.fatal or not td.finalized:
        for check in CHECKS:
            if check.fails(module, vcpu, host):
                return ModuleExit(check.status, regs)
    inject_ve: InjectVe | None = None
    if vcpu.epf_gpas:
        if host.trouble & Trouble.SEPT_TREE_BUSY:
            return ModuleExit(status.OPERAND_BUSY | status.OPERAND_SEPT_TREE, regs)
        gpa = stepping.still_faulting(td, vcpu)
        if gpa is not None:
            return ModuleExit(vmx.EPT_VIOLATION, Regs(rcx=_FAKE_QUALIFICATION, r8=gpa))
        inject_ve = _notify(module, vcpu)
    guest = _guest_registers(vcpu, regs, host)
    vcpu.regs = guest
    vcpu.rip_on_entry = vcpu.rip
    vcpu.last_exit = _NONE
    return tuple.__new__(Entered, (guest, inject_ve, _ENTERED))


def _notify(module: TdxModule, vcpu: VcpuState) -> InjectVe | None:
    """NOTIFY_ENABLES: tell the guest of the suspected attack, if a #VE is possible now."""
    if not module.td.notify_enables & tdx_fields.NOTIFY_ENABLES_ZERO_STEP:
        return None
    if vcpu.last_exit is not LastExit.ASYNC_FAULT or vcpu.ve_info is not None:
        return None
    result = inject.ve(vcpu, VeInfo(vmx.EPT_VIOLATION, gpa=vcpu.epf_gpas[0]))
    return result if isinstance(result, InjectVe) else None


def _guest_registers(vcpu: VcpuState, regs: Regs, host: Host) -> Regs:
    """Step 14: the reply to a TDVMCALL; the hint goes into RAX of the guest."""
    if vcpu.last_exit is _TDVMCALL:
        return loaded(vcpu.regs, regs, vcpu.expose)
    if host.rcx & HOST_RECOVERABILITY_HINT:
        rax = vcpu.regs[RAX] | status.GUEST_RAX_RECOVERABILITY_HINT
        return replace(vcpu.regs, RAX, rax)
    return vcpu.regs
