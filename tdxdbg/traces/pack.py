"""Records to bytes. The layout is in layout.py."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from struct import Struct, pack_into
from typing import Final, Self
from zlib import crc32

from tdxdbg.abi.regs import NO_REGS, Regs
from tdxdbg.engine.kvm_run import ALL_BYTES, KvmRun
from tdxdbg.engine.state import (
    Answer,
    HypercallAnswer,
    IoAnswer,
    MmioAnswer,
    MsrAnswer,
    Reentry,
    SetMemoryAttributes,
    Step,
    TdExit,
    TdxAnswer,
    TdxRawAnswer,
)
from tdxdbg.traces import layout
from tdxdbg.traces.layout import (
    CONTINUATION_SIZE,
    HEAD_FIELDS,
    HEAD_SIZE,
    HEAD_START,
    MAX_PAYLOAD,
    RECORD_SIZE,
)
from tdxdbg.traces.meta import dump_json
from tdxdbg.traces.records import Kind, Record

#: `answer_type` in the file; 0 is no answer.
ANSWER_TYPES: Final[tuple[type[Answer] | None, ...]] = (
    None,
    HypercallAnswer,
    IoAnswer,
    MmioAnswer,
    MsrAnswer,
    TdxAnswer,
    TdxRawAnswer,
)
_TYPE_NUMBERS: Final = {kind: number for number, kind in enumerate(ANSWER_TYPES) if kind}
_CRC_SIZE: Final = 4
_CRC: Final = Struct("<I").pack
_CHECKPOINT: Final = Kind.CHECKPOINT
#: A payload of this size fits into every kind of record that has one.
_MOST_INLINE: Final = RECORD_SIZE - max(layout.PAYLOAD_AT.values())
#: What most exits leave of the union, which is quicker to find than to strip.
_UNUSED: Final = bytes(192)
_NO_ANSWER: Final = (0, 0, 0)


def _tail(kind: Kind) -> Callable[..., bytes]:
    """Packs all of a record after its crc32: the head, the fields, the payload and zeros."""
    fields = (*HEAD_FIELDS[4:], *layout.BODY_FIELDS[kind])
    codes = "<" + "".join(field.code for field in fields)
    room = RECORD_SIZE - HEAD_START.size - _CRC_SIZE - Struct(codes).size
    return Struct(f"{codes}{room}s").pack


_TAILS: Final = {kind: _tail(kind) for kind in Kind}


class Packer:
    """Numbers the records of one journal and turns them into bytes.

    `records` counts the 256-byte slots so far, continuations included; `rows`
    the rows started; `checkpoint` is 1 + the index of the newest one, or 0.
    """

    def __init__(self) -> None:
        self.records = 0
        self.rows = 0
        self.checkpoint = 0

    @classmethod
    def at(cls, records: int, rows: int, checkpoint: int) -> Self:
        """One that goes on from there."""
        self = cls()
        self.records, self.rows, self.checkpoint = records, rows, checkpoint
        return self

    def advance(self, records: int, rows: int) -> None:
        """Counts records that are packed already, up to this number of rows."""
        self.records += records
        self.rows = rows

    def pack(self, record: Record) -> bytes:
        """The record and its continuations; nothing has changed when it raises.

        Raises ValueError when a value does not fit the format or the row is
        neither an earlier one nor the next.
        """
        pieces: list[bytes] = []
        self.pack_all((record,), pieces)
        return b"".join(pieces)

    def pack_all(self, records: Iterable[Record], pieces: list[bytes]) -> None:
        """The same for many, appended to `pieces`: a burst of them costs half of one by one.

        Raises ValueError as `pack` does; the records before that one are done.
        """
        for kind, given, vcpu, time, content, known, source in records:
            rows, row = self.rows, given
            if kind is _CHECKPOINT:
                row = max(rows - 1, 0)
            elif row >= rows:
                if row > rows:
                    raise ValueError(
                        f"row {row} comes before row {rows}: rows are numbered in order"
                    )
                rows = row + 1
            flags, fields, payload = _BODIES[kind](content)
            length = len(payload)
            parts = layout.parts_of(kind, length) if length > _MOST_INLINE else 0
            if length > MAX_PAYLOAD:
                raise ValueError(f"{kind.name} of row {row}: {length} bytes are too many")
            try:
                start, start_crc = _start(kind, flags, vcpu)
                tail = _TAILS[kind](
                    row, rows, layout.NO_TIME if time is None else time,
                    known, source, self.checkpoint, parts, length, *fields, payload,
                )  # fmt: skip
            except struct.error as problem:
                raise ValueError(f"{kind.name} of row {row}: {problem}") from None
            pieces += (start, _CRC(crc32(tail, start_crc)), tail)
            if parts:
                pieces.append(_continuations(start, tail, payload, kind))
            self.rows = rows
            if kind is _CHECKPOINT:
                self.checkpoint = self.records + 1
            self.records += 1 + parts


def checksum(data: bytes | bytearray | memoryview, at: int = 0) -> int:
    """CRC-32 of the record at offset `at`, its crc32 field left out."""
    return crc32(data[at + 8 : at + RECORD_SIZE], crc32(data[at : at + 4]))


def mask_runs(mask: int) -> bytes:
    """A 256-bit mask as pairs (first bit, length - 1), a byte each."""
    runs = bytearray()
    at = 0
    while mask:
        zeros = (mask & -mask).bit_length() - 1
        mask >>= zeros
        ones = (~mask & (mask + 1)).bit_length() - 1
        mask >>= ones
        at += zeros
        runs += bytes((at, ones - 1))
        at += ones
    return bytes(runs)


#: The masks of a trace are few.
_runs: Final = lru_cache(maxsize=256)(mask_runs)


@lru_cache(maxsize=1024)
def _start(kind: int, flags: int, vcpu: int) -> tuple[bytes, int]:
    """What stands before a record's crc32, and the crc32 so far; there are few of them."""
    start = HEAD_START.pack(kind, flags, vcpu)
    return start, crc32(start)


def _continuations(start: bytes, tail: bytes, payload: bytes, kind: int) -> bytes:
    """What of a payload goes on behind its record."""
    inline = RECORD_SIZE - layout.PAYLOAD_AT[kind]
    head = bytearray(start + bytes(_CRC_SIZE) + tail)[:HEAD_SIZE]
    head[0] = Kind.CONTINUATION
    data = bytearray()
    for part, done in enumerate(range(inline, len(payload), CONTINUATION_SIZE), 1):
        chunk = payload[done : done + CONTINUATION_SIZE]
        pack_into("<II", head, 56, part, len(chunk))
        data += head + chunk.ljust(CONTINUATION_SIZE, b"\0")
    for at in range(0, len(data), RECORD_SIZE):
        pack_into("<I", data, at + 4, checksum(data, at))
    return bytes(data)


# --- bodies: flags, fixed fields, payload ----------------------------------------------

#: The fields may be numbers that do not fit: packing them tells.
_Packed = tuple[int, tuple[int, ...], bytes]


def _td_exit(body: object) -> _Packed:
    if not isinstance(body, TdExit):
        raise ValueError("the body of a TD_EXIT is a TdExit")
    _, ret, regs, _, in_kernel, signal_pending = body
    flags = layout.TD_EXIT_SIGNAL * signal_pending
    if in_kernel is None:
        return flags, (ret, *regs, 0, 0), b""
    flags |= layout.TD_EXIT_IN_KERNEL | layout.TD_EXIT_HANDLED * in_kernel.handled
    return flags, (ret, *regs, in_kernel.value, in_kernel.errno), b""


def _registers(regs: Regs) -> tuple[int, bytes]:
    """A mask of the registers that are not 0, and their values."""
    if regs == NO_REGS:
        return 0, b""
    mask, values = _stored(tuple(map(bool, regs)))
    return mask, values(*filter(None, regs))


@lru_cache(maxsize=1024)
def _stored(present: tuple[bool, ...]) -> tuple[int, Callable[..., bytes]]:
    """The mask of registers that are there, and what packs their values."""
    mask = sum(1 << number for number, there in enumerate(present) if there)
    return mask, Struct(f"<{sum(present)}Q").pack


def _run(run: KvmRun) -> tuple[bytes, bytes, int]:
    """The union without its trailing zeros, both masks, and the number of `valid` runs."""
    _, _, union, written, valid, _ = run
    if written | valid > ALL_BYTES or len(union) != 256:
        raise ValueError("kvm_run: the union has 256 bytes, and so have its masks")
    if union.endswith(_UNUSED):
        union = union[: -len(_UNUSED)]
    union = union.rstrip(b"\0")
    if valid == written:
        return union, _runs(written), layout.SAME_RUNS
    known = _runs(valid)
    return union, _runs(written) + known, len(known) // 2


def _step(body: object) -> _Packed:
    if not isinstance(body, Step):
        raise ValueError("the body of a USERSPACE_EXIT or TD_ENTRY is a Step")
    outcome, regs, run, run_flags, completer, errno, effects, _ = body
    try:
        stored, values = _registers(regs)
    except struct.error as problem:
        raise ValueError(f"step: {problem}") from None
    if run is None:
        return 0, (
            outcome, completer, run_flags, errno, effects, 0,
            stored, 0, 0, 0, layout.SAME_RUNS, 0,
        ), values  # fmt: skip
    union, masks, valid_runs = _run(run)
    written_runs = len(masks) // 2 - (0 if valid_runs == layout.SAME_RUNS else valid_runs)
    pio = run.pio
    return layout.STEP_RUN, (
        outcome, completer, run_flags, errno, effects, run.exit_reason,
        stored, len(union), len(pio), written_runs, valid_runs, 0,
    ), union + masks + values + pio  # fmt: skip


def _answer(body: object) -> _Packed:
    if not isinstance(body, Reentry):
        raise ValueError("the body of an ANSWER is a Reentry")
    _, answer, has_events, immediate_exit, signal_pending = body
    flags = (
        layout.ANSWER_HAS_EVENTS * has_events
        | layout.ANSWER_IMMEDIATE_EXIT * immediate_exit
        | layout.ANSWER_SIGNAL * signal_pending
    )
    if answer is None:
        return flags, _NO_ANSWER, b""
    number = _TYPE_NUMBERS[type(answer)]
    if isinstance(answer, IoAnswer) or isinstance(answer, MmioAnswer):  # noqa: SIM101
        return flags, (number, int(answer.data is not None), 0), answer.data or b""
    present = sum(1 << at for at, value in enumerate(answer) if value is not None)
    try:
        values = Struct(f"<{len(answer)}Q").pack(*(value or 0 for value in answer))
    except struct.error as problem:
        raise ValueError(f"answer: {problem}") from None
    return flags, (number, present, 0), values


def _memory_attributes(body: object) -> _Packed:
    if not isinstance(body, SetMemoryAttributes):
        raise ValueError("the body of a MEMORY_ATTRIBUTES is a SetMemoryAttributes")
    return layout.MEMORY_PRIVATE * body.private, (body.gpa, body.size), b""


def _checkpoint(body: object) -> _Packed:
    if not isinstance(body, Mapping):
        raise ValueError("the body of a CHECKPOINT is a JSON object")
    return 0, (), dump_json(dict(body)).encode()


def _no_body(body: object) -> _Packed:
    raise ValueError(f"a CONTINUATION is made by the writer, not from {type(body).__name__}")


#: By kind.
_BODIES: Final = (
    _no_body, _td_exit, _step, _answer, _step, _memory_attributes, _checkpoint, _no_body,
)  # fmt: skip
