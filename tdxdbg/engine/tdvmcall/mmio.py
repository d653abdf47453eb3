"""#VE.RequestMMIO: R12 size, R13 direction, R14 GPA, R15 value (facts: kernel_exits 4.5)."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from tdxdbg.abi.ghci import Status
from tdxdbg.abi.kvm import Exit
from tdxdbg.abi.regs import R12, R13, R14, R15, U64
from tdxdbg.engine import kvm_run, notes
from tdxdbg.engine.put import reply, set_value, to_userspace
from tdxdbg.engine.state import Completer, Input, Outcome, Reentry, TdExit, Vcpu

if TYPE_CHECKING:
    from tdxdbg.engine.engine import Engine

_PHYS_ADDR: Final = Struct("<Q")
_LEN_IS_WRITE: Final = Struct("<IB")
#: phys_addr, len and is_write; bytes of data only on a write.
_WRITTEN: Final = 0xFF | 0x1F << 16
_PAGE_MASK: Final = 0xFFF


def handle(kvm: Engine, vcpu: Vcpu, event: Input) -> Outcome:
    """tdx_emulate_mmio since v1: only shared GPAs; ioeventfds only for writes."""
    size, write, gpa = _operands(vcpu)
    if size not in (1, 2, 4, 8):
        return reply(vcpu, Status.INVALID_OPERAND, notes.MMIO_BAD_SIZE)
    if write > 1:
        return reply(vcpu, Status.INVALID_OPERAND, notes.MMIO_BAD_DIRECTION)
    shared_mask = kvm.td.shared_mask
    if not gpa & (gpa + size - 1) & shared_mask:
        return reply(vcpu, Status.INVALID_OPERAND, notes.MMIO_PRIVATE)
    gpa &= ~shared_mask
    if write and gpa in kvm.td.fast_mmio:
        vcpu.notes += (notes.MMIO_FAST,)
        return Outcome.REENTER_TD
    return _device(kvm, vcpu, event, gpa, size, write)


def handle_v19(kvm: Engine, vcpu: Vcpu, event: Input) -> Outcome:
    """v19: private GPAs too, no page crossing, no memory behind it, ioeventfds for reads too."""
    size, write, gpa = _operands(vcpu)
    if size not in (1, 2, 4, 8):
        return reply(vcpu, Status.INVALID_OPERAND, notes.MMIO_BAD_SIZE)
    if write > 1:
        return reply(vcpu, Status.INVALID_OPERAND, notes.MMIO_BAD_DIRECTION)
    gpa &= ~kvm.td.shared_mask
    if ((gpa + size - 1) ^ gpa) & ~_PAGE_MASK & U64:
        return reply(vcpu, Status.INVALID_OPERAND, notes.MMIO_CROSSES_PAGE)
    if any(first <= gpa >> 12 < end for first, end in kvm.td.memslots):
        return reply(vcpu, Status.INVALID_OPERAND, notes.MMIO_MEMSLOT)
    if gpa in kvm.td.fast_mmio:
        vcpu.notes += (notes.MMIO_FAST,)
        return Outcome.REENTER_TD
    return _device(kvm, vcpu, event, gpa, size, write)


def _operands(vcpu: Vcpu) -> tuple[int, int, int]:
    """Size and direction are C ints in every generation: 32 bits of R12 and R13."""
    regs = vcpu.regs
    return regs[R12] & 0xFFFF_FFFF, regs[R13] & 0xFFFF_FFFF, regs[R14]


def _device(kvm: Engine, vcpu: Vcpu, event: Input, gpa: int, size: int, write: int) -> Outcome:
    known = event.in_kernel if type(event) is TdExit else None
    if (known is not None and known.handled) or any(
        first <= gpa <= last for first, last in kvm.td.mmio_devices
    ):
        if not write:
            set_value(vcpu, (known.value if known else 0) & (1 << 8 * size) - 1)
        vcpu.notes += (notes.MMIO_IN_KERNEL,)
        return Outcome.REENTER_TD
    union = vcpu.union
    written = _WRITTEN
    data = union[8:16]
    if write:
        data = vcpu.regs[R15].to_bytes(8, "little")[:size] + data[size:]
        written |= (1 << size) - 1 << 8
    vcpu.mmio_len = size
    vcpu.notes += (notes.MMIO_EXIT,)
    return to_userspace(
        vcpu,
        Exit.MMIO,
        kvm_run.MMIO,
        _PHYS_ADDR.pack(gpa) + data + _LEN_IS_WRITE.pack(size, write) + union[21:],
        written,
        kvm.generation.mmio_write_completer if write else Completer.MMIO_READ,
    )


def complete_read(kvm: Engine, vcpu: Vcpu, event: Reentry) -> Outcome:
    """tdx_complete_mmio_read of 6.16: R11 = mmio.data, zero-extended; R10 is 0 already."""
    return _complete_read(vcpu, notes.MMIO_READ_COMPLETE)


def complete_read_v1(kvm: Engine, vcpu: Vcpu, event: Reentry) -> Outcome:
    """tdx_complete_mmio of v19 and v1: the same; v1 writes the 0 into R10 by hand."""
    return _complete_read(vcpu, notes.MMIO_READ_COMPLETE_V1)


def _complete_read(vcpu: Vcpu, note: notes.Note) -> Outcome:
    set_value(vcpu, int.from_bytes(vcpu.union[8 : 8 + vcpu.mmio_len], "little"))
    vcpu.notes += (note,)
    return Outcome.REENTER_TD


def complete_write(kvm: Engine, vcpu: Vcpu, event: Reentry) -> Outcome:
    """tdx_complete_mmio of v19 and v1; later kernels arm nothing for a write."""
    vcpu.notes += (notes.MMIO_WRITE_COMPLETE,)
    return Outcome.REENTER_TD
