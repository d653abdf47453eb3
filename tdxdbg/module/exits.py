"""TD exits: what TDH.VP.ENTER returns to the host (facts: ghci_and_guest 6.1 to 6.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tdxdbg.abi import tdx_fields, vmx
from tdxdbg.abi import tdx_status as status
from tdxdbg.abi import vmx_instructions as ins
from tdxdbg.abi.regs import Regs
from tdxdbg.module import stepping
from tdxdbg.module.results import Guest, ModuleExit
from tdxdbg.module.sept import Entry
from tdxdbg.module.state import LastExit

if TYPE_CHECKING:
    from tdxdbg.module.state import VcpuState
    from tdxdbg.module.tdx_module import TdxModule

# Extended exit qualification types (facts: ghci_and_guest 6.2).
EEQ_NONE: Final = 0
EEQ_ACCEPT: Final = 1
EEQ_PENDING: Final = 6

_EEQ_INFO_SHIFT: Final = 32
_EEQ_FAILING_LEVEL_SHIFT: Final = 3
_EEQ_STATE_SHIFT: Final = 6
_EEQ_IS_LEAF: Final = 1 << 14

# An Enum's members are slow to look up.
_ASYNC_FAULT: Final = LastExit.ASYNC_FAULT


def leave(vcpu: VcpuState, guest: Guest, how: LastExit, regs: Regs | None = None) -> None:
    """Save the guest in TDVPS: `regs` where they differ from those it stopped with."""
    vcpu.regs = guest.regs if regs is None else regs
    vcpu.rip = guest.rip if how is _ASYNC_FAULT else guest.rip + guest.length
    vcpu.last_exit = how
    vcpu.last_exit_tsc = guest.tsc


def asynchronous(
    vcpu: VcpuState,
    guest: Guest,
    ret: int,
    qualification: int = 0,
    ext_qualification: int = 0,
    gpa: int = 0,
    intr_info: int = 0,
) -> ModuleExit:
    """async_tdexit_to_vmm, fault-like: the other registers are 0 for the host."""
    leave(vcpu, guest, LastExit.ASYNC_FAULT)
    regs = Regs(rcx=qualification & 0xFFFF_FFFF, rdx=ext_qualification, r8=gpa, r9=intr_info)
    return ModuleExit(ret, regs)


def ept_violation(
    vcpu: VcpuState, guest: Guest, gpa: int, qualification: int, ext_qualification: int = EEQ_NONE
) -> ModuleExit:
    """tdx_ept_violation_exit_to_vmm: the page's GPA, and the qualification without bits 12:7."""
    qualification &= ~ins.EPT_QUALIFICATION_HIDDEN
    return asynchronous(
        vcpu, guest, vmx.EPT_VIOLATION, qualification, ext_qualification, gpa & ~0xFFF
    )


def ept_misconfiguration(vcpu: VcpuState, guest: Guest, gpa: int) -> ModuleExit:
    """tdx_ept_misconfig_exit_to_vmm: of a shared page; the Secure EPT never is misconfigured."""
    return asynchronous(vcpu, guest, vmx.EPT_MISCONFIG, gpa=gpa & ~0xFFF)


def accept_violation(
    vcpu: VcpuState, guest: Guest, gpa: int, level: int, entry: Entry
) -> ModuleExit:
    """TDG.MEM.PAGE.ACCEPT found no page to accept: extended qualification type 1.

    The access counts as a write; no entry at which this happens can be read,
    written or executed, so those bits stay 0.
    """
    info = (
        level
        | entry.level << _EEQ_FAILING_LEVEL_SHIFT
        | entry.state << _EEQ_STATE_SHIFT
        | (_EEQ_IS_LEAF if entry.is_leaf else 0)
    )
    return ept_violation(
        vcpu, guest, gpa, vmx.EPT_VIOLATION_ACC_WRITE, EEQ_ACCEPT | info << _EEQ_INFO_SHIFT
    )


# --- events that are no instruction ---------------------------------------------------


class Event(NamedTuple):
    """What the host gets for an event, and what it does to the TD."""

    ret: int
    has_intr_info: bool = False
    kills_vcpu: bool = False
    kills_td: bool = False


#: Exit reason -> outcome (facts: ghci_and_guest 3.5, 6.3).
EVENTS: Final[dict[int, Event]] = {
    vmx.EXCEPTION_NMI: Event(status.SUCCESS, has_intr_info=True),
    vmx.EXTERNAL_INTERRUPT: Event(status.SUCCESS, has_intr_info=True),
    vmx.TRIPLE_FAULT: Event(status.NON_RECOVERABLE_VCPU, kills_vcpu=True),
    ins.INIT_SIGNAL: Event(status.SUCCESS),
    vmx.OTHER_SMI: Event(status.SUCCESS, has_intr_info=True),
    ins.TASK_SWITCH: Event(status.SUCCESS),
    ins.C_STATE_SMI: Event(status.SUCCESS, has_intr_info=True),
    vmx.BUS_LOCK: Event(status.SUCCESS),
    vmx.NOTIFY: Event(status.SUCCESS),
}
#: The same events when they are worse than usual.
MACHINE_CHECK: Final = Event(
    status.NON_RECOVERABLE_TD_NON_ACCESSIBLE, has_intr_info=True, kills_td=True
)
CONTEXT_INVALID: Final = Event(status.NON_RECOVERABLE_TD, kills_td=True)
#: Anything that the TD VMCS does not let through, in a production TD.
UNEXPECTED: Final = Event(status.NON_RECOVERABLE_TD, kills_td=True)


def _event_of(module: TdxModule, reason: int, qualification: int, intr_info: int) -> Event:
    if reason == vmx.EXCEPTION_NMI:
        if intr_info & vmx.INTR_INFO_VECTOR_MASK == vmx.MC_VECTOR:
            return MACHINE_CHECK
        if intr_info & vmx.INTR_INFO_TYPE_MASK != vmx.INTR_TYPE_NMI:
            return _unexpected(module, has_intr_info=True)
    if reason == vmx.OTHER_SMI and qualification & ins.SMI_MSMI:
        return MACHINE_CHECK
    if reason == vmx.NOTIFY and qualification & vmx.NOTIFY_VM_CONTEXT_INVALID:
        return CONTEXT_INVALID
    return EVENTS.get(reason) or _unexpected(module)


def _unexpected(module: TdxModule, *, has_intr_info: bool = False) -> Event:
    if module.params.attributes & tdx_fields.ATTRIBUTES_DEBUG:
        return Event(status.SUCCESS, has_intr_info)
    return UNEXPECTED


def event(
    module: TdxModule,
    vcpu: VcpuState,
    guest: Guest,
    reason: int,
    qualification: int = 0,
    intr_info: int = 0,
) -> ModuleExit:
    """An event other than an instruction takes the vCPU out of the TD."""
    stepping.note_rip(vcpu, guest.rip)
    what = _event_of(module, reason, qualification, intr_info)
    vcpu.disabled |= what.kills_vcpu
    module.td.fatal |= what.kills_td
    return asynchronous(
        vcpu,
        guest,
        what.ret | reason,
        qualification,
        intr_info=intr_info if what.has_intr_info else 0,
    )
