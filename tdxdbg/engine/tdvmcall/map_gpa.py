"""MapGPA: R12 = GPA with the shared bit, R13 = size in bytes (facts: kernel_exits 4.2)."""

from __future__ import annotations

import errno
from struct import Struct
from typing import TYPE_CHECKING, Final

from tdxdbg.abi.ghci import Status
from tdxdbg.abi.kvm import HC_MAP_GPA_RANGE, HYPERCALL_LONG_MODE, MAP_GPA_RANGE_ENCRYPTED, Exit
from tdxdbg.abi.regs import R12, R13, U64
from tdxdbg.engine import kvm_run, notes
from tdxdbg.engine.put import set_status_and_value, to_userspace
from tdxdbg.engine.state import EVENTS_CHECKED, Completer, Input, Outcome, Reentry, Vcpu

if TYPE_CHECKING:
    from tdxdbg.engine.engine import Engine

#: TDX_MAP_GPA_MAX_LEN: what userspace gets at a time, in bytes.
CHUNK: Final = 2 << 20
PAGE_MASK: Final = 0xFFF

_HEAD: Final = Struct("<4Q")  # nr, args[0..2]
_FLAGS: Final = HYPERCALL_LONG_MODE.to_bytes(8, "little")

#: hypercall.nr, args[0..2] and flags; args[3..5] are never written.
_WRITTEN: Final = 0xFFFF_FFFF | 0xFF << 64
WRITTEN_WITH_RET: Final = _WRITTEN | 0xFF << 56


def handle(kvm: Engine, vcpu: Vcpu, event: Input) -> Outcome:
    """tdx_map_gpa: the checks in the kernel's order, then the first chunk."""
    regs = vcpu.regs
    td = kvm.td
    gpa = regs[R12]
    size = regs[R13]
    if not td.exit_hypercall:
        return _refuse(vcpu, kvm.generation.map_gpa_not_enabled, gpa, notes.MAP_GPA_NOT_ENABLED)
    end = (gpa + size) & U64
    if end <= gpa:
        return _refuse(vcpu, Status.INVALID_OPERAND, gpa, notes.MAP_GPA_EMPTY)
    if (gpa | (end - 1)) >> td.maxphyaddr:
        return _refuse(vcpu, Status.INVALID_OPERAND, gpa, notes.MAP_GPA_ILLEGAL)
    if (gpa ^ (end - 1)) & td.shared_mask:
        return _refuse(vcpu, Status.INVALID_OPERAND, gpa, notes.MAP_GPA_CROSSES)
    if gpa & PAGE_MASK:
        return _refuse(vcpu, Status.ALIGN_ERROR, gpa, notes.MAP_GPA_GPA_UNALIGNED)
    if size & PAGE_MASK:
        return _refuse(vcpu, Status.ALIGN_ERROR, gpa, notes.MAP_GPA_SIZE_UNALIGNED)
    vcpu.map_gpa_end = end
    vcpu.map_gpa_next = gpa
    return kvm.generation.map_gpa_chunk(kvm, vcpu, event)


def chunk(kvm: Engine, vcpu: Vcpu, event: Input) -> Outcome:
    """__tdx_map_gpa: at most 2 MiB, counted from the start GPA; ret preset to 0."""
    union = vcpu.union
    return _chunk(kvm, vcpu, union[32:56] + bytes(8) + _FLAGS + union[72:], WRITTEN_WITH_RET)


def chunk_stale_ret(kvm: Engine, vcpu: Vcpu, event: Input) -> Outcome:
    """The posted v1: hypercall.ret keeps whatever is there (facts: kernel_exits 5, B2)."""
    union = vcpu.union
    return _chunk(kvm, vcpu, union[32:64] + _FLAGS + union[72:], _WRITTEN)


def _chunk(kvm: Engine, vcpu: Vcpu, rest: bytes, written: int) -> Outcome:
    gpa = vcpu.map_gpa_next
    length = min(vcpu.map_gpa_end - gpa, CHUNK)
    shared_mask = kvm.td.shared_mask
    attributes = 0 if gpa & shared_mask else MAP_GPA_RANGE_ENCRYPTED
    head = _HEAD.pack(HC_MAP_GPA_RANGE, gpa & ~shared_mask, length >> 12, attributes)
    vcpu.notes += (notes.MAP_GPA_CHUNK,)
    return to_userspace(
        vcpu, Exit.HYPERCALL, kvm_run.HYPERCALL, head + rest, written, Completer.MAP_GPA
    )


def complete(kvm: Engine, vcpu: Vcpu, event: Reentry) -> Outcome:
    """tdx_complete_vmcall_map_gpa: the answer first, then pending events, then the next chunk."""
    ret = int.from_bytes(vcpu.union[56:64], "little")
    if ret:
        return kvm.generation.map_gpa_reply(vcpu, ret)
    gpa = vcpu.map_gpa_next
    shared_mask = kvm.td.shared_mask
    end = vcpu.map_gpa_end
    following = gpa + CHUNK
    kvm.converted(gpa & ~shared_mask, min(following, end) - gpa, private=not gpa & shared_mask)
    vcpu.map_gpa_next = following
    if following >= end:
        vcpu.notes += (notes.MAP_GPA_DONE,)
        return Outcome.REENTER_TD
    vcpu.effects |= EVENTS_CHECKED
    if event.has_events:
        set_status_and_value(vcpu, Status.RETRY, following)
        vcpu.notes += (notes.MAP_GPA_EVENT,)
        return Outcome.REENTER_TD
    return kvm.generation.map_gpa_chunk(kvm, vcpu, event)


def reply_any_error(vcpu: Vcpu, ret: int) -> Outcome:
    """Up to the 7.0 era: every non-zero answer is INVALID_OPERAND."""
    return _refuse(vcpu, Status.INVALID_OPERAND, vcpu.map_gpa_next, notes.MAP_GPA_REFUSED)


def reply_by_errno(vcpu: Vcpu, ret: int) -> Outcome:
    """From 7.2 on EAGAIN is RETRY, EINVAL INVALID_OPERAND, anything else fails KVM_RUN."""
    if ret == errno.EAGAIN:
        return _refuse(vcpu, Status.RETRY, vcpu.map_gpa_next, notes.MAP_GPA_EAGAIN)
    if ret == errno.EINVAL:
        return _refuse(vcpu, Status.INVALID_OPERAND, vcpu.map_gpa_next, notes.MAP_GPA_EINVAL)
    vcpu.errno = errno.EINVAL
    vcpu.notes += (notes.MAP_GPA_BAD_ANSWER,)
    return Outcome.KVM_ERROR


def _refuse(vcpu: Vcpu, status: Status, gpa: int, note: notes.Note) -> Outcome:
    set_status_and_value(vcpu, status, gpa)
    vcpu.notes += (note,)
    return Outcome.REENTER_TD
