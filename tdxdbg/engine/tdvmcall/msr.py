"""Instruction.RDMSR and WRMSR: R12 index, R13 value (facts: kernel_exits 4.6)."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from tdxdbg.abi import kvm as uapi
from tdxdbg.abi.ghci import Status
from tdxdbg.abi.regs import R12, R13
from tdxdbg.engine import kvm_run, notes
from tdxdbg.engine.put import reply, set_value, to_userspace
from tdxdbg.engine.state import Completer, Input, Msr, Outcome, Reentry, TdExit, Vcpu

if TYPE_CHECKING:
    from tdxdbg.engine.engine import Engine

_UNION: Final = Struct("<B7xIIQ")
_WRITTEN: Final = (1 << 24) - 1
_MISSING: Final = Msr(readable=False, writable=False)


def handle_read(kvm: Engine, vcpu: Vcpu, event: Input) -> Outcome:
    """kvm_emulate_rdmsr of 6.16: the filter first, then the MSR, then perhaps userspace."""
    index = vcpu.regs[R12] & 0xFFFF_FFFF
    msr = kvm.td.msrs.get(index, _MISSING)
    if msr.filtered or not msr.readable:
        return _failed(kvm, vcpu, uapi.Exit.X86_RDMSR, index, 0, msr)
    return _read(vcpu, event, index, msr, notes.RDMSR)


def handle_write(kvm: Engine, vcpu: Vcpu, event: Input) -> Outcome:
    """kvm_emulate_wrmsr of 6.16."""
    index = vcpu.regs[R12] & 0xFFFF_FFFF
    msr = kvm.td.msrs.get(index, _MISSING)
    if msr.filtered or not msr.writable:
        return _failed(kvm, vcpu, uapi.Exit.X86_WRMSR, index, vcpu.regs[R13], msr)
    return _write(vcpu, index, notes.WRMSR)


def handle_read_v19(kvm: Engine, vcpu: Vcpu, event: Input) -> Outcome:
    """v19's tdx_emulate_rdmsr: the filter applies, but nothing ever exits."""
    index = vcpu.regs[R12] & 0xFFFF_FFFF
    msr = kvm.td.msrs.get(index, _MISSING)
    if msr.filtered or not msr.readable:
        return reply(vcpu, Status.INVALID_OPERAND, notes.RDMSR_REFUSED_V19)
    return _read(vcpu, event, index, msr, notes.RDMSR_V19)


def handle_write_v19(kvm: Engine, vcpu: Vcpu, event: Input) -> Outcome:
    """v19's tdx_emulate_wrmsr, as handle_read_v19."""
    index = vcpu.regs[R12] & 0xFFFF_FFFF
    msr = kvm.td.msrs.get(index, _MISSING)
    if msr.filtered or not msr.writable:
        return reply(vcpu, Status.INVALID_OPERAND, notes.WRMSR_REFUSED_V19)
    return _write(vcpu, index, notes.WRMSR_V19)


def _read(vcpu: Vcpu, event: Input, index: int, msr: Msr, note: notes.Note) -> Outcome:
    known = event.in_kernel if type(event) is TdExit else None
    set_value(vcpu, known.value if known else vcpu.msrs.get(index, msr.data))
    vcpu.notes += (note,)
    return Outcome.REENTER_TD


def _write(vcpu: Vcpu, index: int, note: notes.Note) -> Outcome:
    vcpu.msrs = {**vcpu.msrs, index: vcpu.regs[R13]}
    vcpu.notes += (note,)
    return Outcome.REENTER_TD


def _failed(kvm: Engine, vcpu: Vcpu, exit_reason: int, index: int, data: int, msr: Msr) -> Outcome:
    """kvm_msr_user_space: an exit when userspace asked for this kind of failure.

    tdx_get_msr answers 1 for what it does not emulate, which is the reason
    INVAL; UNKNOWN does not come up for a TD.
    """
    reason = uapi.MSR_EXIT_REASON_FILTER if msr.filtered else uapi.MSR_EXIT_REASON_INVAL
    if not kvm.td.user_space_msr_mask & reason:
        return reply(vcpu, Status.INVALID_OPERAND, notes.MSR_REFUSED)
    vcpu.notes += (notes.MSR_EXIT,)
    return to_userspace(
        vcpu,
        exit_reason,
        kvm_run.MSR,
        _UNION.pack(0, reason, index, data) + vcpu.union[24:],
        _WRITTEN,
        Completer.RDMSR if exit_reason == uapi.Exit.X86_RDMSR else Completer.WRMSR,
    )


def complete_read(kvm: Engine, vcpu: Vcpu, event: Reentry) -> Outcome:
    """complete_emulated_rdmsr: R11 = msr.data unless userspace set an error."""
    error, _, _, data = _UNION.unpack_from(vcpu.union)
    if error:
        return reply(vcpu, Status.INVALID_OPERAND, notes.MSR_USER_ERROR)
    set_value(vcpu, data)
    vcpu.notes += (notes.MSR_USER_DONE,)
    return Outcome.REENTER_TD


def complete_write(kvm: Engine, vcpu: Vcpu, event: Reentry) -> Outcome:
    """complete_emulated_msr_access."""
    if vcpu.union[0]:
        return reply(vcpu, Status.INVALID_OPERAND, notes.MSR_USER_ERROR)
    vcpu.notes += (notes.MSR_USER_DONE,)
    return Outcome.REENTER_TD
