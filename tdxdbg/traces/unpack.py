"""Bytes to records. Raises `DamagedError` for anything that the format does not allow.

Nothing is allocated from a number in the file: every length is checked
against the bytes that are really there.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import unpack_from
from typing import Final, NamedTuple

from tdxdbg.abi.regs import KNOWN_ALL, NO_REGS, Regs
from tdxdbg.engine.kvm_run import KvmRun, layout_of
from tdxdbg.engine.state import (
    Answer,
    Completer,
    InKernel,
    IoAnswer,
    MmioAnswer,
    Outcome,
    Reentry,
    SetMemoryAttributes,
    Step,
    TdExit,
)
from tdxdbg.traces import layout
from tdxdbg.traces.layout import CONTINUATION_SIZE, HEAD, HEAD_SIZE, MAX_PAYLOAD, RECORD_SIZE
from tdxdbg.traces.meta import load_json
from tdxdbg.traces.pack import ANSWER_TYPES, checksum
from tdxdbg.traces.records import Body, Kind, Record

_OUTCOMES: Final = {int(outcome): outcome for outcome in Outcome}
_COMPLETERS: Final = {int(completer): completer for completer in Completer}
_KINDS: Final = {int(kind): kind for kind in Kind}


class DamagedError(Exception):
    """A record that cannot be shown; the text says why."""


class _Raw(NamedTuple):
    """What a body is made from: the record at `at` in `view`, parts of its head, its payload."""

    view: memoryview
    at: int
    flags: int
    vcpu: int
    known: int
    payload: bytes


class Slots:
    """256-byte slots in a buffer, from offset `start` (bytes), `count` of them."""

    __slots__ = ("count", "start", "view")

    def __init__(self, view: memoryview, start: int, count: int) -> None:
        self.view = view
        self.start = start
        self.count = count

    def offset(self, index: int) -> int:
        return self.start + index * RECORD_SIZE

    def part(self, first: int, stop: int) -> memoryview:
        """The bytes of slots [first, stop), unchecked."""
        return self.view[self.start + first * RECORD_SIZE : self.start + stop * RECORD_SIZE]

    def kind(self, index: int) -> int:
        """The kind as the slot says, unchecked."""
        return self.view[self.start + index * RECORD_SIZE]

    def vcpu(self, index: int) -> int:
        """The vCPU as the slot says, unchecked."""
        value: int = unpack_from("<H", self.view, self.start + index * RECORD_SIZE + 2)[0]
        return value

    def is_good(self, index: int) -> bool:
        """Whether the slot's checksum is right."""
        at = self.start + index * RECORD_SIZE
        crc: int = unpack_from("<I", self.view, at + 4)[0]
        return crc == checksum(self.view, at) and self.view[at] != 0

    def number(self, index: int, field_at: int) -> int:
        """A 64-bit field of the head, unchecked."""
        value: int = unpack_from("<Q", self.view, self.start + index * RECORD_SIZE + field_at)[0]
        return value

    def parts(self, index: int) -> int:
        """How many continuations follow; in a continuation, its own number."""
        value: int = unpack_from("<I", self.view, self.start + index * RECORD_SIZE + 56)[0]
        return value

    def record(self, index: int) -> Record:
        """The record in this slot; raises DamagedError."""
        if not self.is_good(index):
            raise DamagedError("wrong checksum")
        at = self.start + index * RECORD_SIZE
        (
            kind_number, flags, vcpu, _crc, row, rows, time, known, source, _checkpoint,
            parts, length,
        ) = HEAD.unpack_from(self.view, at)  # fmt: skip
        kind = _KINDS.get(kind_number)
        if kind is None:
            raise DamagedError(f"unknown kind {kind_number}")
        if row >= rows and kind < Kind.CHECKPOINT:
            raise DamagedError("impossible row number")
        body: Body = None
        if kind is not Kind.CONTINUATION:
            payload = self._payload(index, kind, parts, length)
            body = _BODIES[kind](_Raw(self.view, at, flags, vcpu, known, payload))
        when = None if time == layout.NO_TIME else time
        return Record(kind, row, vcpu, when, body, known, source)

    def _payload(self, index: int, kind: Kind, parts: int, length: int) -> bytes:
        if not length and not parts:
            return b""
        start = layout.PAYLOAD_AT.get(kind)
        if start is None or parts != layout.parts_of(kind, length) or length > MAX_PAYLOAD:
            raise DamagedError("wrong payload length")
        if index + parts >= self.count:
            raise DamagedError("its end is missing")
        at = self.offset(index)
        if not parts:
            return bytes(self.view[at + start : at + start + length])
        pieces = [bytes(self.view[at + start : at + RECORD_SIZE])]
        left = length - (RECORD_SIZE - start)
        for part in range(1, parts + 1):
            slot = index + part
            good = self.kind(slot) == Kind.CONTINUATION and self.parts(slot) == part
            if not good or not self.is_good(slot):
                raise DamagedError(f"part {part} of its payload is damaged")
            at = self.offset(slot) + HEAD_SIZE
            pieces.append(bytes(self.view[at : at + min(left, CONTINUATION_SIZE)]))
            left -= CONTINUATION_SIZE
        return b"".join(pieces)


def runs_mask(runs: bytes) -> int:
    """The mask that `pack.mask_runs` packed; raises DamagedError."""
    mask = 0
    for at in range(0, len(runs), 2):
        first, last = runs[at], runs[at] + runs[at + 1]
        if last > 0xFF:
            raise DamagedError("a byte mask runs past the union")
        mask |= ((1 << (last - first + 1)) - 1) << first
    return mask


def _td_exit(raw: _Raw) -> TdExit:
    vp_enter_ret, *regs, value, errno = layout.TD_EXIT.unpack_from(raw.view, raw.at + HEAD_SIZE)
    in_kernel = None
    if raw.flags & layout.TD_EXIT_IN_KERNEL:
        in_kernel = InKernel(bool(raw.flags & layout.TD_EXIT_HANDLED), value, errno)
    signal = bool(raw.flags & layout.TD_EXIT_SIGNAL)
    return TdExit(
        raw.vcpu, vp_enter_ret, Regs._make(regs), raw.known & KNOWN_ALL, in_kernel, signal
    )


def _step(raw: _Raw) -> Step:
    (
        outcome, completer, run_flags, errno, effects, exit_reason, stored, union_stored,
        pio_stored, written_runs, valid_runs, _reserved,
    ) = layout.STEP.unpack_from(raw.view, raw.at + HEAD_SIZE)  # fmt: skip
    if outcome not in _OUTCOMES or completer not in _COMPLETERS:
        raise DamagedError("unknown outcome or completer")
    same = valid_runs == layout.SAME_RUNS
    masks_end = union_stored + 2 * (written_runs + (0 if same else valid_runs))
    regs_end = masks_end + 8 * stored.bit_count()
    if regs_end + pio_stored != len(raw.payload) or union_stored > 256:
        raise DamagedError("wrong payload length")
    regs = NO_REGS
    if stored:
        values = iter(unpack_from(f"<{stored.bit_count()}Q", raw.payload, masks_end))
        regs = Regs._make(next(values) if stored >> number & 1 else 0 for number in range(16))
    run = None
    if raw.flags & layout.STEP_RUN:
        union = raw.payload[:union_stored].ljust(256, b"\0")
        written_end = union_stored + 2 * written_runs
        written = runs_mask(raw.payload[union_stored:written_end])
        valid = written if same else runs_mask(raw.payload[written_end:masks_end])
        pio = raw.payload[regs_end:]
        run = KvmRun(exit_reason, layout_of(exit_reason, union), union, written, valid, pio)
    return Step(_OUTCOMES[outcome], regs, run, run_flags, _COMPLETERS[completer], errno, effects)


def _answer(raw: _Raw) -> Reentry:
    number, present, _reserved = layout.ANSWER.unpack_from(raw.view, raw.at + HEAD_SIZE)
    if number >= len(ANSWER_TYPES):
        raise DamagedError("unknown type of answer")
    kind = ANSWER_TYPES[number]
    answer: Answer | None = None
    if kind is IoAnswer or kind is MmioAnswer:
        answer = kind(raw.payload if present & 1 else None)
    elif kind is not None:
        width = len(kind._fields)
        if len(raw.payload) != 8 * width:
            raise DamagedError("wrong payload length")
        values = unpack_from(f"<{width}Q", raw.payload)
        answer = kind(
            *(value if present >> index & 1 else None for index, value in enumerate(values))
        )
    return Reentry(
        raw.vcpu,
        answer,
        bool(raw.flags & layout.ANSWER_HAS_EVENTS),
        bool(raw.flags & layout.ANSWER_IMMEDIATE_EXIT),
        bool(raw.flags & layout.ANSWER_SIGNAL),
    )


def _memory_attributes(raw: _Raw) -> SetMemoryAttributes:
    gpa, size = layout.MEMORY_ATTRIBUTES.unpack_from(raw.view, raw.at + HEAD_SIZE)
    return SetMemoryAttributes(gpa, size, bool(raw.flags & layout.MEMORY_PRIVATE))


def _checkpoint(raw: _Raw) -> dict[str, object]:
    try:
        state = load_json(raw.payload)
    except ValueError as problem:
        raise DamagedError(f"bad checkpoint: {problem}") from None
    if not isinstance(state, dict):
        raise DamagedError("bad checkpoint: no JSON object")
    return state


_BODIES: Final[dict[Kind, Callable[[_Raw], Body]]] = {
    Kind.TD_EXIT: _td_exit,
    Kind.USERSPACE_EXIT: _step,
    Kind.ANSWER: _answer,
    Kind.TD_ENTRY: _step,
    Kind.MEMORY_ATTRIBUTES: _memory_attributes,
    Kind.CHECKPOINT: _checkpoint,
}
