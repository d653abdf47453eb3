"""The sub-functions of 6.16's decoded KVM_EXIT_TDX, and older forms (facts: kernel_exits 4.7)."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from tdxdbg.abi.ghci import Status, SubFunction
from tdxdbg.abi.kvm import Exit
from tdxdbg.abi.regs import R10, R11, R12, R13, R15, Regs
from tdxdbg.engine import kvm_run, notes
from tdxdbg.engine.put import reply, set_status, to_userspace
from tdxdbg.engine.state import Completer, Input, Outcome, Reentry, Vcpu

if TYPE_CHECKING:
    from tdxdbg.engine.engine import Engine

_INFO: Final = Struct("<8Q")
_QUOTE: Final = Struct("<5Q")
_NOTIFY: Final = Struct("<4Q")


def handle_info(kvm: Engine, vcpu: Vcpu, event: Input) -> Outcome:
    """tdx_get_td_vm_call_info of 6.16: leaf 0 in the kernel, leaf 1 to userspace."""
    leaf = vcpu.regs[R12]
    if leaf == 0:
        set_status(vcpu, Status.SUCCESS)
        return _info_base(vcpu)
    if leaf != 1:
        return reply(vcpu, Status.INVALID_OPERAND, notes.INFO_BAD_LEAF)
    vcpu.notes += (notes.INFO_EXIT,)
    nr = SubFunction.GET_TD_VM_CALL_INFO
    union = _INFO.pack(0, nr, Status.SUCCESS, leaf, 0, 0, 0, 0) + vcpu.union[64:]
    return to_userspace(
        vcpu,
        Exit.TDX,
        kvm_run.TDX_GET_TDVMCALL_INFO,
        union,
        (1 << 64) - 1,
        Completer.GET_TD_VM_CALL_INFO,
    )


def handle_info_base_only(kvm: Engine, vcpu: Vcpu, event: Input) -> Outcome:
    """v19 and 6.16-rc1: only leaf 0; R10 is 0 already and stays as it is."""
    if vcpu.regs[R12]:
        return reply(vcpu, Status.INVALID_OPERAND, notes.INFO_BAD_LEAF)
    return _info_base(vcpu)


def _info_base(vcpu: Vcpu) -> Outcome:
    regs = vcpu.regs
    vcpu.regs = Regs._make((*regs[:R11], 0, 0, 0, 0, regs[R15]))
    vcpu.notes += (notes.INFO_BASE,)
    return Outcome.REENTER_TD


def complete_info(kvm: Engine, vcpu: Vcpu, event: Reentry) -> Outcome:
    """R10 = ret and R11..R14, always, on an error too."""
    regs = vcpu.regs
    _, _, ret, _, r11, r12, r13, r14 = _INFO.unpack_from(vcpu.union)
    vcpu.regs = Regs._make((*regs[:R10], ret, r11, r12, r13, r14, regs[R15]))
    vcpu.notes += (notes.INFO_COMPLETE,)
    return Outcome.REENTER_TD


def handle_get_quote(kvm: Engine, vcpu: Vcpu, event: Input) -> Outcome:
    """tdx_get_quote: only the shared bit is checked, neither alignment nor size."""
    gpa = vcpu.regs[R12]
    shared_mask = kvm.td.shared_mask
    if not gpa & shared_mask:
        return reply(vcpu, Status.INVALID_OPERAND, notes.QUOTE_PRIVATE)
    vcpu.notes += (notes.QUOTE_EXIT,)
    nr, ret = SubFunction.GET_QUOTE, Status.SUBFUNC_UNSUPPORTED
    union = _QUOTE.pack(0, nr, ret, gpa & ~shared_mask, vcpu.regs[R13]) + vcpu.union[40:]
    return to_userspace(
        vcpu, Exit.TDX, kvm_run.TDX_GET_QUOTE, union, (1 << 40) - 1, Completer.SIMPLE
    )


def handle_event_notify(kvm: Engine, vcpu: Vcpu, event: Input) -> Outcome:
    """tdx_setup_event_notify_interrupt: the vector is compared as 64 bits."""
    vector = vcpu.regs[R12]
    if not 32 <= vector <= 255:
        return reply(vcpu, Status.INVALID_OPERAND, notes.NOTIFY_BAD_VECTOR)
    vcpu.notes += (notes.NOTIFY_SETUP_EXIT,)
    nr, ret = SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT, Status.SUBFUNC_UNSUPPORTED
    union = _NOTIFY.pack(0, nr, ret, vector) + vcpu.union[32:]
    return to_userspace(
        vcpu, Exit.TDX, kvm_run.TDX_SETUP_EVENT_NOTIFY, union, (1 << 32) - 1, Completer.SIMPLE
    )


def complete_simple(kvm: Engine, vcpu: Vcpu, event: Reentry) -> Outcome:
    """R10 = ret, as userspace left it."""
    set_status(vcpu, int.from_bytes(vcpu.union[16:24], "little"))
    vcpu.notes += (notes.SIMPLE_COMPLETE,)
    return Outcome.REENTER_TD
