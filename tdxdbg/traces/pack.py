"""Records to bytes. The layout is in layout.py."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from struct import Struct, pack_into
from typing import Final
from zlib import crc32

from tdxdbg.abi.regs import NO_REGS, Regs
from tdxdbg.engine.kvm_run import ALL_BYTES, KvmRun
from tdxdbg.engine.state import (
    Answer,
    HypercallAnswer,
    InKernel,
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
    HEAD_REST,
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
_CRC: Final = Struct("<I")
_REST_AT: Final = HEAD_START.size + _CRC.size
_TAIL_SIZE: Final = RECORD_SIZE - _REST_AT
#: A payload of this size fits into every kind of record that has one.
_MOST_INLINE: Final = RECORD_SIZE - max(layout.PAYLOAD_AT.values())
#: What most exits leave of the union, which is quicker to find than to strip.
_UNUSED: Final = bytes(192)
_NO_ANSWER: Final = layout.ANSWER.pack(0, 0, 0)


class Packer:
    """Numbers the records of one journal and turns them into bytes.

    `records` counts the 256-byte slots so far, continuations included; `rows`
    the rows started.
    """

    def __init__(self) -> None:
        self.records = 0
        self.rows = 0
        self._checkpoint = 0

    def pack(self, record: Record) -> bytes:
        """The record and its continuations; nothing has changed when it raises.

        Raises ValueError when a value does not fit the format or the row is
        neither an earlier one nor the next.
        """
        kind, row, vcpu, time, content, known, source = record
        rows = self.rows
        if kind is Kind.CHECKPOINT:
            row = max(rows - 1, 0)
        elif row >= rows:
            if row > rows:
                raise ValueError(f"row {row} comes before row {rows}: rows are numbered in order")
            rows = row + 1
        flags, body, payload = _BODIES[kind](content)
        length = len(payload)
        if length > MAX_PAYLOAD:
            raise ValueError(f"{kind.name} of row {row}: {length} bytes are too many")
        parts = layout.parts_of(kind, length) if length > _MOST_INLINE else 0
        try:
            start = HEAD_START.pack(kind, flags, vcpu)
            rest = HEAD_REST.pack(
                row, rows, layout.NO_TIME if time is None else time,
                known, source, self._checkpoint, parts, length,
            )  # fmt: skip
        except struct.error as problem:
            raise ValueError(f"{kind.name} of row {row}: {problem}") from None
        if parts:
            data = _in_parts(start, rest + body, payload, parts)
        else:
            tail = (rest + body + payload).ljust(_TAIL_SIZE, b"\0")
            data = start + _CRC.pack(crc32(tail, crc32(start))) + tail
        self.rows = rows
        if kind is Kind.CHECKPOINT:
            self._checkpoint = self.records + 1
        self.records += 1 + parts
        return data


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


def _in_parts(start: bytes, rest: bytes, payload: bytes, parts: int) -> bytes:
    """A record whose payload goes on in `parts` continuations; `rest` is all before it."""
    data = bytearray(RECORD_SIZE * (1 + parts))
    data[: len(start)] = start
    at = _REST_AT + len(rest)
    data[_REST_AT:at] = rest
    inline = RECORD_SIZE - at
    data[at:RECORD_SIZE] = payload[:inline]
    head = bytearray(data[:HEAD_SIZE])
    head[0] = Kind.CONTINUATION
    for part, done in enumerate(range(inline, len(payload), CONTINUATION_SIZE), 1):
        chunk = payload[done : done + CONTINUATION_SIZE]
        pack_into("<II", head, 56, part, len(chunk))
        slot = part * RECORD_SIZE
        data[slot : slot + HEAD_SIZE] = head
        data[slot + HEAD_SIZE : slot + HEAD_SIZE + len(chunk)] = chunk
    _seal(data)
    return bytes(data)


def _seal(data: bytearray) -> None:
    for at in range(0, len(data), RECORD_SIZE):
        _CRC.pack_into(data, at + 4, checksum(data, at))


# --- bodies: flags, fixed fields, payload ----------------------------------------------

_Packed = tuple[int, bytes, bytes]


def _td_exit(body: object) -> _Packed:
    if not isinstance(body, TdExit):
        raise ValueError("the body of a TD_EXIT is a TdExit")
    in_kernel = body.in_kernel or InKernel()
    flags = layout.TD_EXIT_SIGNAL * body.signal_pending
    if body.in_kernel is not None:
        flags |= layout.TD_EXIT_IN_KERNEL | layout.TD_EXIT_HANDLED * in_kernel.handled
    try:
        fixed = layout.TD_EXIT.pack(body.vp_enter_ret, *body.regs, in_kernel.value, in_kernel.errno)
    except struct.error as problem:
        raise ValueError(f"TD_EXIT: {problem}") from None
    return flags, fixed, b""


def _registers(regs: Regs) -> tuple[int, bytes]:
    """A mask of the registers that are not 0, and their values."""
    if regs == NO_REGS:
        return 0, b""
    mask, values = _stored(tuple(map(bool, regs)))
    return mask, values.pack(*filter(None, regs))


@lru_cache(maxsize=1024)
def _stored(present: tuple[bool, ...]) -> tuple[int, Struct]:
    """The mask of registers that are there, and how their values are packed."""
    mask = sum(1 << number for number, there in enumerate(present) if there)
    return mask, Struct(f"<{sum(present)}Q")


def _run(run: KvmRun) -> tuple[bytes, bytes, int]:
    """The union without its trailing zeros, both masks, and the number of `valid` runs."""
    if run.written | run.valid > ALL_BYTES or len(run.union) != 256:
        raise ValueError("kvm_run: the union has 256 bytes, and so have its masks")
    union = run.union
    if union.endswith(_UNUSED):
        union = union[: -len(_UNUSED)]
    union = union.rstrip(b"\0")
    written = _runs(run.written)
    if run.valid == run.written:
        return union, written, layout.SAME_RUNS
    valid = _runs(run.valid)
    return union, written + valid, len(valid) // 2


def _step(body: object) -> _Packed:
    if not isinstance(body, Step):
        raise ValueError("the body of a USERSPACE_EXIT or TD_ENTRY is a Step")
    run = body.run
    union, masks, valid_runs, pio, exit_reason = b"", b"", layout.SAME_RUNS, b"", 0
    if run is not None:
        union, masks, valid_runs = _run(run)
        pio, exit_reason = run.pio, run.exit_reason
    written_runs = len(masks) // 2 - (0 if valid_runs == layout.SAME_RUNS else valid_runs)
    try:
        stored, values = _registers(body.regs)
        fixed = layout.STEP.pack(
            body.outcome, body.completer, body.run_flags, body.errno, body.effects, exit_reason,
            stored, len(union), len(pio), written_runs, valid_runs, 0,
        )  # fmt: skip
    except struct.error as problem:
        raise ValueError(f"step: {problem}") from None
    return layout.STEP_RUN * (run is not None), fixed, union + masks + values + pio


def _answer(body: object) -> _Packed:
    if not isinstance(body, Reentry):
        raise ValueError("the body of an ANSWER is a Reentry")
    flags = (
        layout.ANSWER_HAS_EVENTS * body.has_events
        | layout.ANSWER_IMMEDIATE_EXIT * body.immediate_exit
        | layout.ANSWER_SIGNAL * body.signal_pending
    )
    answer = body.answer
    if answer is None:
        return flags, _NO_ANSWER, b""
    number = _TYPE_NUMBERS[type(answer)]
    if isinstance(answer, IoAnswer) or isinstance(answer, MmioAnswer):  # noqa: SIM101
        present = int(answer.data is not None)
        return flags, layout.ANSWER.pack(number, present, 0), answer.data or b""
    present = sum(1 << at for at, value in enumerate(answer) if value is not None)
    try:
        values = Struct(f"<{len(answer)}Q").pack(*(value or 0 for value in answer))
    except struct.error as problem:
        raise ValueError(f"answer: {problem}") from None
    return flags, layout.ANSWER.pack(number, present, 0), values


def _memory_attributes(body: object) -> _Packed:
    if not isinstance(body, SetMemoryAttributes):
        raise ValueError("the body of a MEMORY_ATTRIBUTES is a SetMemoryAttributes")
    try:
        fixed = layout.MEMORY_ATTRIBUTES.pack(body.gpa, body.size)
    except struct.error as problem:
        raise ValueError(f"memory attributes: {problem}") from None
    return layout.MEMORY_PRIVATE * body.private, fixed, b""


def _checkpoint(body: object) -> _Packed:
    if not isinstance(body, Mapping):
        raise ValueError("the body of a CHECKPOINT is a JSON object")
    return 0, b"", dump_json(dict(body)).encode()


def _no_body(body: object) -> _Packed:
    raise ValueError(f"a CONTINUATION is made by the writer, not from {type(body).__name__}")


#: By kind.
_BODIES: Final = (
    _no_body, _td_exit, _step, _answer, _step, _memory_attributes, _checkpoint, _no_body,
)  # fmt: skip
