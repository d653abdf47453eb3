"""How handlers write to the guest's registers and to struct kvm_run."""

from __future__ import annotations

from tdxdbg.abi.regs import R10, R11, Regs
from tdxdbg.engine.kvm_run import KvmRun, Layout
from tdxdbg.engine.notes import Note
from tdxdbg.engine.state import Completer, Outcome, Vcpu

_new = tuple.__new__
# An Enum's members are slow to look up.
_EXIT_TO_USERSPACE = Outcome.EXIT_TO_USERSPACE


def set_status(vcpu: Vcpu, status: int) -> None:
    """tdvmcall_set_return_code: R10."""
    regs = vcpu.regs
    vcpu.regs = _new(Regs, (*regs[:R10], status, *regs[R11:]))


def set_value(vcpu: Vcpu, value: int) -> None:
    """tdvmcall_set_return_val: R11."""
    regs = vcpu.regs
    vcpu.regs = _new(Regs, (*regs[:R11], value, *regs[12:]))


def set_status_and_value(vcpu: Vcpu, status: int, value: int) -> None:
    """R10 and R11."""
    regs = vcpu.regs
    vcpu.regs = _new(Regs, (*regs[:R10], status, value, *regs[12:]))


def reply(vcpu: Vcpu, status: int, note: Note) -> Outcome:
    """Answer the guest with a status and go back into the TD."""
    set_status(vcpu, status)
    vcpu.notes += (note,)
    return Outcome.REENTER_TD


def to_userspace(
    vcpu: Vcpu,
    exit_reason: int,
    layout: Layout,
    union: bytes,
    written: int,
    completer: Completer,
    pio: bytes = b"",
) -> Outcome:
    """Fill kvm_run and return 0; `written` has one bit for each byte of the union."""
    vcpu.exit_reason = exit_reason
    vcpu.union = union
    vcpu.valid = valid = vcpu.valid | written
    vcpu.completer = completer
    vcpu.run = _new(KvmRun, (exit_reason, layout, union, written, valid, pio))
    return _EXIT_TO_USERSPACE
