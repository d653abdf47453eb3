"""Instruction.IO: R12 size, R13 direction, R14 port, R15 value (facts: kernel_exits 4.4)."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from tdxdbg.abi.ghci import Status
from tdxdbg.abi.kvm import PIO_PAGE_OFFSET, Exit
from tdxdbg.abi.regs import R12, R13, R14, R15
from tdxdbg.engine import kvm_run, notes
from tdxdbg.engine.put import reply, set_value, to_userspace
from tdxdbg.engine.state import Completer, Input, Outcome, Reentry, TdExit, Vcpu

if TYPE_CHECKING:
    from tdxdbg.engine.engine import Engine

_UNION: Final = Struct("<BBHIQ")
_WRITTEN: Final = 0xFFFF

# An Enum's members are slow to look up.
_EXIT_IO: Final = Exit.IO
_PIO_IN, _PIO_OUT = Completer.PIO_IN, Completer.PIO_OUT
_REENTER_TD: Final = Outcome.REENTER_TD


def handle(kvm: Engine, vcpu: Vcpu, event: Input) -> Outcome:
    """tdx_emulate_io of 6.16: all 64 bits of size and direction count."""
    size, direction = vcpu.regs[R12], vcpu.regs[R13]
    if direction > 1:
        return reply(vcpu, Status.INVALID_OPERAND, notes.IO_BAD_DIRECTION)
    return _emulate(kvm, vcpu, event, size, direction)


def handle_truncating(kvm: Engine, vcpu: Vcpu, event: Input) -> Outcome:
    """v19 and v1: size is cut to 32 bits, and any non-zero direction is OUT."""
    size, direction = vcpu.regs[R12] & 0xFFFF_FFFF, int(vcpu.regs[R13] != 0)
    return _emulate(kvm, vcpu, event, size, direction)


def _emulate(kvm: Engine, vcpu: Vcpu, event: Input, size: int, direction: int) -> Outcome:
    if size not in (1, 2, 4):
        return reply(vcpu, Status.INVALID_OPERAND, notes.IO_BAD_SIZE)
    regs = vcpu.regs
    # Every generation cuts the port to 16 bits without a word.
    port = regs[R14] & 0xFFFF
    if _in_kernel(kvm, event, port):
        vcpu.notes += (notes.IO_IN_KERNEL,)
        _in_kernel_value(kvm, vcpu, event, size, direction)
        return _REENTER_TD
    data = (regs[R15] & (1 << 8 * size) - 1).to_bytes(size, "little") if direction else bytes(size)
    vcpu.pio = data + vcpu.pio[size:]
    vcpu.pio_size = size
    vcpu.notes += (notes.IO_EXIT,)
    return to_userspace(
        vcpu,
        _EXIT_IO,
        kvm_run.IO,
        _UNION.pack(direction, size, port, 1, PIO_PAGE_OFFSET) + vcpu.union[16:],
        _WRITTEN,
        _PIO_OUT if direction else _PIO_IN,
        data,
    )


def _in_kernel(kvm: Engine, event: Input, port: int) -> bool:
    if type(event) is TdExit and event.in_kernel is not None and event.in_kernel.handled:
        return True
    devices = kvm.td.pio_devices
    return bool(devices) and any(first <= port <= last for first, last in devices)


def _in_kernel_value(kvm: Engine, vcpu: Vcpu, event: Input, size: int, direction: int) -> None:
    known = event.in_kernel if type(event) is TdExit else None
    if not direction:
        set_value(vcpu, (known.value if known else 0) & (1 << 8 * size) - 1)
    elif kvm.generation.io_out_sets_r11:
        # v19 returns the variable that held the value to write.
        set_value(vcpu, vcpu.regs[R15])


def complete_in(kvm: Engine, vcpu: Vcpu, event: Reentry) -> Outcome:
    """tdx_complete_pio_in: the old leaf number in R11 is overwritten, upper bits 0."""
    set_value(vcpu, int.from_bytes(vcpu.pio[: vcpu.pio_size], "little"))
    vcpu.notes += (notes.IO_IN_COMPLETE,)
    return _REENTER_TD


def complete_out(kvm: Engine, vcpu: Vcpu, event: Reentry) -> Outcome:
    """tdx_complete_pio_out; v19 also wrote 0 to R11."""
    if kvm.generation.io_out_sets_r11:
        set_value(vcpu, 0)
    vcpu.notes += (notes.IO_OUT_COMPLETE,)
    return _REENTER_TD
