"""Exceptions and interrupts through the guest's IDT.

Unicorn delivers none of them, so the frame is built here, as the SDM has it
(volume 3, chapter 6). All is looked up before anything changes; a fault on the
way takes the place of the event or makes a double fault, and a page that the
TDX module does not let through leaves the event waiting.

Outside long mode a TD is at CPL 0 without paging: EFER.LME is 1 from the
start. So a legacy gate never changes the privilege level here.
"""

from __future__ import annotations

from enum import Enum
from struct import Struct
from typing import Final, NamedTuple

from tdxdbg.abi import vmx
from tdxdbg.abi.regs import RSP, U64
from tdxdbg.abi.vmx_instructions import DF_VECTOR, GP_VECTOR, VE_VECTOR
from tdxdbg.backends.emulated import context as ctx
from tdxdbg.backends.emulated.context import Context, Segment
from tdxdbg.backends.emulated.memory import Memory
from tdxdbg.backends.emulated.paging import is_canonical
from tdxdbg.backends.emulated.space import BlockedError, GuestFaultError, Space
from tdxdbg.backends.emulated.vcpu import Event, Origin
from tdxdbg.module.results import Result

TS_VECTOR: Final = 10
NP_VECTOR: Final = 11
SS_VECTOR: Final = 12

_CONTRIBUTORY: Final = frozenset({0, TS_VECTOR, NP_VECTOR, SS_VECTOR, GP_VECTOR})
_PAGE_FAULTS: Final = frozenset({vmx.PF_VECTOR, VE_VECTOR})
#: Faults that put RF into the frame's RFLAGS.
_FAULTS: Final = _CONTRIBUTORY | {5, 6, 7, vmx.PF_VECTOR, 16, 17, 19}

_INTERRUPT_GATE: Final = 0xE
_TRAP_GATE: Final = 0xF

_GATE64: Final = Struct("<HHBBHI4x")
_GATE32: Final = Struct("<HHxBH")
_QUAD: Final = Struct("<Q")

_CODE: Final = 1 << 11
_CONFORMING: Final = 1 << 10
_NOT_SYSTEM: Final = 1 << 12
_PRESENT: Final = 1 << 15
_LONG: Final = 1 << 21
_BIG: Final = 1 << 22


class Done(Enum):
    """How a delivery ended, when the TDX module had nothing to say."""

    DELIVERED = 0
    TRIPLE_FAULT = 1


class Waiting(NamedTuple):
    """A page is in the way: `event` has to be delivered after `result` was dealt with."""

    event: Event
    result: Result


class _Gate(NamedTuple):
    selector: int
    target: int
    stack: int
    kind: int


def deliver(memory: Memory, context: Context, space: Space, event: Event) -> Done | Waiting:
    """Let the guest take `event`, or what comes of it.

    Raises WatchedError, with nothing done, before a frame goes to watched memory.
    """
    while True:
        try:
            if context.d[ctx.HFLAGS] & ctx.HF_LMA:
                _deliver64(memory, context, space, event)
            else:
                _deliver32(memory, context, space, event)
        except BlockedError as blocked:
            return Waiting(event, blocked.result)
        except GuestFaultError as fault:
            second = combine(event, fault.event)
            if second is None:
                return Done.TRIPLE_FAULT
            event = second
        else:
            return Done.DELIVERED


def combine(first: Event, second: Event) -> Event | None:
    """SDM volume 3, table 6-5; None: triple fault."""
    if first.origin is not Origin.EXCEPTION:
        return second
    serious = second.vector in _CONTRIBUTORY or second.vector in _PAGE_FAULTS
    if first.vector == DF_VECTOR:
        return None if serious else second
    if first.vector in _CONTRIBUTORY and second.vector in _CONTRIBUTORY:
        return Event(DF_VECTOR, 0)
    if first.vector in _PAGE_FAULTS and serious:
        return Event(DF_VECTOR, 0)
    return second


def _fault(vector: int, error_code: int, event: Event) -> GuestFaultError:
    external = 0 if event.origin is Origin.SOFTWARE else 1
    return GuestFaultError(Event(vector, error_code | external))


def _rflags_for_frame(context: Context, event: Event) -> int:
    """RF is 1 for faults only: after everything else, an instruction is over."""
    if event.origin is Origin.EXCEPTION and event.vector in _FAULTS:
        return context.rflags | ctx.RFLAGS_RF
    return context.rflags & ~ctx.RFLAGS_RF


def _enter_handler(context: Context, event: Event, rsp: int, target: int, kind: int) -> None:
    """The registers that every delivery changes."""
    off = ctx.RFLAGS_TF | ctx.RFLAGS_NT | ctx.RFLAGS_RF | ctx.RFLAGS_VM
    if kind == _INTERRUPT_GATE:
        off |= ctx.RFLAGS_IF
    context.rflags = context.rflags & ~off
    context.d[ctx.HFLAGS] &= ~ctx.HF_INHIBIT_IRQ
    context.q[ctx.GPRS + RSP] = rsp
    context.rip = target
    if event.cr2 is not None:
        context.q[ctx.CR2] = event.cr2


def _write_frame(
    memory: Memory, pieces: list[tuple[int, int]], frame: bytes, event: Event, linear: int
) -> None:
    """All of the frame; raises WatchedError before any of it."""
    watched = memory.watched
    if watched.ranges:
        at = 0
        for offset, size in pieces:
            watched.check(offset, size, f"the frame of vector {event.vector}", linear + at & U64)
            at += size
    at = 0
    for offset, size in pieces:
        memory.put(offset, frame[at : at + size])
        at += size


# --- long mode ------------------------------------------------------------------------


def _deliver64(memory: Memory, context: Context, space: Space, event: Event) -> None:
    gate = _gate64(context, space, event)
    cpl = context.cpl
    new_cpl = _code_segment64(context, space, event, gate.selector, cpl)
    rsp = _stack64(context, space, event, gate.stack, cpl, new_cpl)
    frame = _frame64(context, event)
    rsp = (rsp & -16) - len(frame)
    if not is_canonical(rsp & U64):
        raise _fault(SS_VECTOR, 0, event)
    pieces = space.find_for_write(rsp & U64, len(frame))
    if not is_canonical(gate.target):
        raise _fault(GP_VECTOR, 0, event)
    _write_frame(memory, pieces, frame, event, rsp & U64)
    if new_cpl != cpl:
        context.set_segment(ctx.SS, Segment(new_cpl, 0, 0, 0))
    context.set_flat_code(gate.selector & ~3 | new_cpl, new_cpl)
    _enter_handler(context, event, rsp & U64, gate.target, gate.kind)


def _frame64(context: Context, event: Event) -> bytes:
    return_rip = context.rip if event.return_rip < 0 else event.return_rip
    words = [
        context.segment(ctx.SS).selector,
        context.q[ctx.GPRS + RSP],
        _rflags_for_frame(context, event),
        context.segment(ctx.CS).selector,
        return_rip,
    ]
    if event.error_code is not None:
        words.append(event.error_code)
    return b"".join(_QUAD.pack(word) for word in reversed(words))


def _gate64(context: Context, space: Space, event: Event) -> _Gate:
    idt = context.segment(ctx.IDTR)
    error_code = event.vector * 8 + 2
    if event.vector * 16 + 15 > idt.limit:
        raise _fault(GP_VECTOR, error_code, event)
    raw = space.read(idt.base + event.vector * 16 & U64, 16)
    low, selector, stack, kind, middle, high = _GATE64.unpack(raw)
    _check_gate(context, event, kind, error_code)
    return _Gate(selector, low | middle << 16 | high << 32, stack & 7, kind & 0xF)


def _check_gate(context: Context, event: Event, kind: int, error_code: int) -> None:
    if kind & 0x1F not in (_INTERRUPT_GATE, _TRAP_GATE):
        raise _fault(GP_VECTOR, error_code, event)
    if event.origin is Origin.SOFTWARE and kind >> 5 & 3 < context.cpl:
        raise _fault(GP_VECTOR, error_code, event)
    if not kind & 0x80:
        raise _fault(NP_VECTOR, error_code, event)


def _descriptor(context: Context, space: Space, event: Event, selector: int) -> tuple[int, int]:
    """Both halves of a descriptor in the GDT or LDT."""
    if not selector & ~3:
        raise _fault(GP_VECTOR, 0, event)
    table = context.segment(ctx.LDTR if selector & 4 else ctx.GDTR)
    if (selector & ~7) + 7 > table.limit:
        raise _fault(GP_VECTOR, selector & ~3, event)
    raw = _QUAD.unpack(space.read(table.base + (selector & ~7) & U64, 8))[0]
    return raw & 0xFFFF_FFFF, raw >> 32


def _code_segment64(context: Context, space: Space, event: Event, selector: int, cpl: int) -> int:
    """Check the handler's code segment; the CPL there."""
    _, high = _descriptor(context, space, event, selector)
    dpl = high >> 13 & 3
    is_code = high & (_NOT_SYSTEM | _CODE) == _NOT_SYSTEM | _CODE
    if not is_code or dpl > cpl or high & (_LONG | _BIG) != _LONG:
        raise _fault(GP_VECTOR, selector & ~3, event)
    if not high & _PRESENT:
        raise _fault(NP_VECTOR, selector & ~3, event)
    return cpl if high & _CONFORMING else dpl


def _stack64(
    context: Context, space: Space, event: Event, number: int, cpl: int, new_cpl: int
) -> int:
    """RSP before the frame: from the IST, for another CPL from the TSS, else the same."""
    if not number and new_cpl == cpl:
        return context.q[ctx.GPRS + RSP]
    task = context.segment(ctx.TR)
    offset = 0x24 + 8 * (number - 1) if number else 4 + 8 * new_cpl
    if offset + 7 > task.limit:
        raise _fault(TS_VECTOR, task.selector & ~3, event)
    rsp: int = _QUAD.unpack(space.read(task.base + offset & U64, 8))[0]
    if not is_canonical(rsp):
        raise _fault(SS_VECTOR, 0, event)
    return rsp


# --- before long mode -----------------------------------------------------------------


def _deliver32(memory: Memory, context: Context, space: Space, event: Event) -> None:
    idt = context.segment(ctx.IDTR)
    error_code = event.vector * 8 + 2
    if event.vector * 8 + 7 > idt.limit:
        raise _fault(GP_VECTOR, error_code, event)
    low, selector, kind, high = _GATE32.unpack(space.read(idt.base + event.vector * 8, 8)[:8])
    _check_gate(context, event, kind, error_code)
    segment = _code_segment32(context, space, event, selector)
    words = [
        _rflags_for_frame(context, event) & 0xFFFF_FFFF,
        context.segment(ctx.CS).selector,
        context.rip if event.return_rip < 0 else event.return_rip,
    ]
    if event.error_code is not None:
        words.append(event.error_code)
    frame = b"".join(word.to_bytes(4, "little") for word in reversed(words))
    esp = context.q[ctx.GPRS + RSP] - len(frame) & 0xFFFF_FFFF
    linear = esp + context.segment_base(ctx.SS) & 0xFFFF_FFFF
    pieces = space.find_for_write(linear, len(frame))
    _write_frame(memory, pieces, frame, event, linear)
    context.set_segment(ctx.CS, segment)
    _enter_handler(context, event, esp, low | high << 16, kind & 0xF)


def _code_segment32(context: Context, space: Space, event: Event, selector: int) -> Segment:
    low, high = _descriptor(context, space, event, selector)
    is_code = high & (_NOT_SYSTEM | _CODE) == _NOT_SYSTEM | _CODE
    if not is_code or high >> 13 & 3 != context.cpl or not high & _BIG:
        raise _fault(GP_VECTOR, selector & ~3, event)
    if not high & _PRESENT:
        raise _fault(NP_VECTOR, selector & ~3, event)
    base = low >> 16 | (high & 0xFF) << 16 | high & 0xFF00_0000
    limit = low & 0xFFFF | high & 0xF_0000
    if high & 1 << 23:
        limit = limit << 12 | 0xFFF
    return Segment(selector & ~3 | context.cpl, base, limit, high)
