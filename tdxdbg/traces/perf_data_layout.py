"""How a `perf.data` file is built: header, attributes, features; also as it comes through a pipe.

Facts: tools/perf/Documentation/perf.data-file-format.txt, and
include/uapi/linux/perf_event.h. No number in the file is believed before it
was compared with what is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import Struct
from typing import BinaryIO, Final, NamedTuple

from tdxdbg.errors import TraceError
from tdxdbg.traces.event_format import (
    Cursor,
    EventFormat,
    read_formats,
    read_header_page,
    skip_ftrace_formats,
)

MAGIC: Final = b"PERFILE2"
_SWAPPED: Final = b"2ELIFREP"
_PIPE_HEADER: Final = 16
_TRACING_MAGIC: Final = b"\x17\x08\x44tracing"
_MAX_ATTRS: Final = 1 << 16
_MAX_IDS: Final = 1 << 20
_ATTR: Final = Struct("<IIQQQQQ")
_MIN_ATTR: Final = 64
_MAX_ATTR: Final = 4096

#: Features, by number.
_TRACING_DATA: Final = 1
_OSRELEASE: Final = 4

# Types of records, in their headers: u32 type, u16 misc, u16 size.
LOST: Final = 2
COMM: Final = 3
SAMPLE: Final = 9
LOST_SAMPLES: Final = 13
_ATTR_RECORD: Final = 64
TRACING_DATA: Final = 66
FINISHED_ROUND: Final = 68
AUXTRACE: Final = 71
_FEATURE: Final = 80
COMPRESSED: Final = (81, 83)
RECORD: Final = Struct("<IHH")

# Bits of sample_type, in the order in which a sample has them (IDENTIFIER comes first).
IP: Final = 1 << 0
TID: Final = 1 << 1
TIME: Final = 1 << 2
ADDR: Final = 1 << 3
READ: Final = 1 << 4
CALLCHAIN: Final = 1 << 5
ID: Final = 1 << 6
CPU: Final = 1 << 7
PERIOD: Final = 1 << 8
STREAM_ID: Final = 1 << 9
RAW: Final = 1 << 10
IDENTIFIER: Final = 1 << 16
_SAMPLE_ID_ALL: Final = 1 << 18


class Attr(NamedTuple):
    """What perf was asked to record of an event, and the numbers that its samples carry."""

    sample_type: int
    read_format: int
    sample_id_all: bool
    ids: tuple[int, ...]


@dataclass
class Layout:
    """What a file says of itself. Records lie between `start` and `end`, in bytes."""

    start: int
    end: int
    attrs: list[Attr] = field(default_factory=list)
    formats: list[EventFormat] = field(default_factory=list)
    kernel: str = ""
    problems: list[str] = field(default_factory=list)


def read_layout(file: BinaryIO, name: str) -> Layout:
    """Everything but the records; raises TraceError."""
    cursor = Cursor(file, name)
    magic = cursor.take(8, "the first bytes")
    if magic == _SWAPPED:
        raise TraceError(f"{name}: written by a big-endian machine, which has no TDX")
    if magic != MAGIC:
        raise TraceError(f"{name}: not a perf.data file")
    size = cursor.number(8, "the header")
    layout = _pipe(cursor) if size == _PIPE_HEADER else _file(cursor)
    if not layout.attrs:
        raise TraceError(f"{name}: describes no events; the recording was not finished")
    if not layout.formats:
        raise TraceError(
            f"{name}: has no event formats; record tracepoints with perf record -e 'kvm:*'"
        )
    return layout


# --- a file -----------------------------------------------------------------------------


def _file(cursor: Cursor) -> Layout:
    stride = cursor.number(8, "the header")
    attrs_at, attrs_size, start, size = (cursor.number(8, "the header") for _ in range(4))
    cursor.skip(16, "the header")
    features = cursor.number(32, "the features")
    if not _MIN_ATTR + 16 <= stride <= _MAX_ATTR:
        raise TraceError(f"{cursor.name}: impossible size of an attribute {stride}; it is damaged")
    count = attrs_size // stride
    if count > _MAX_ATTRS:
        raise TraceError(f"{cursor.name}: {count} events; the file is damaged")
    end = min(start + size, cursor.end)
    if not size:
        # perf writes the size, and behind everything the event formats, when it ends.
        raise TraceError(
            f"{cursor.name}: was not finished, so nothing tells what its events mean; "
            "end perf record with Ctrl-C, and wait for it"
        )
    layout = Layout(start, end)
    if start + size > cursor.end:
        missing = start + size - cursor.end
        layout.problems.append(f"{missing} bytes of the recording are missing at its end")
    at = Cursor(cursor.file, cursor.name, attrs_at)
    for _ in range(count):
        layout.attrs.append(_attr_of_file(cursor, at.take(stride, "an attribute")))
    _features(cursor, layout, start + size, features)
    return layout


def _attr_of_file(cursor: Cursor, data: bytes) -> Attr:
    offset, size = (int.from_bytes(part, "little") for part in (data[-16:-8], data[-8:]))
    ids = Cursor(cursor.file, cursor.name, offset).take(min(size, _MAX_IDS), "numbers of samples")
    return _attr(data, ids)


def _attr(data: bytes, ids: bytes) -> Attr:
    _, _, _, _, sample_type, read_format, flags = _ATTR.unpack_from(data)
    numbers = tuple(
        int.from_bytes(ids[at : at + 8], "little") for at in range(0, len(ids) // 8 * 8, 8)
    )
    return Attr(sample_type, read_format, bool(flags & _SAMPLE_ID_ALL), numbers)


def _features(cursor: Cursor, layout: Layout, at: int, features: int) -> None:
    table = Cursor(cursor.file, cursor.name, at)
    for number in range(_OSRELEASE + 1):
        if not features >> number & 1:
            continue
        try:
            offset = table.number(8, "a feature")
            size = table.number(8, "a feature")
        except TraceError:
            layout.problems.append("the table of what perf knows of the machine is missing")
            return
        section = Cursor(cursor.file, cursor.name, offset, offset + size)
        _feature(layout, number, section)


def _feature(layout: Layout, number: int, section: Cursor) -> None:
    if number == _TRACING_DATA:
        layout.formats = _formats(section)
    elif number == _OSRELEASE:
        text = section.take(min(section.number(4, "the release"), 256), "the release")
        layout.kernel = text.split(b"\0")[0].decode("ascii", "replace")


def _formats(cursor: Cursor) -> list[EventFormat]:
    """The tracing data: the descriptions that a trace.dat of version 6 starts with."""
    if cursor.take(len(_TRACING_MAGIC), "the tracing data") != _TRACING_MAGIC:
        raise TraceError(f"{cursor.name}: its tracing data is damaged")
    cursor.text("the version of the tracing data")
    cursor.skip(6, "the tracing data")
    read_header_page(cursor)
    skip_ftrace_formats(cursor)
    return list(read_formats(cursor))


# --- a pipe -----------------------------------------------------------------------------


def _pipe(cursor: Cursor) -> Layout:
    """Records describe what is recorded, before the first sample."""
    layout = Layout(_PIPE_HEADER, cursor.end)
    for kind, body in _records_before_samples(cursor):
        if kind == _ATTR_RECORD:
            layout.attrs.append(_attr_of_pipe(cursor.name, body))
        elif kind == TRACING_DATA:
            layout.formats = _formats(Cursor.of(body, cursor.name))
        elif kind == _FEATURE and body[:8] == _OSRELEASE.to_bytes(8, "little"):
            _feature(layout, _OSRELEASE, Cursor.of(body[8:], cursor.name))
    return layout


def _records_before_samples(cursor: Cursor) -> Iterator[tuple[int, bytes]]:
    cursor.at = _PIPE_HEADER
    while cursor.end - cursor.at >= RECORD.size:
        kind, _, size = RECORD.unpack(cursor.take(RECORD.size, "a record"))
        if kind == SAMPLE:
            return
        body = cursor.take(max(size - RECORD.size, 0), "a record")
        if kind == TRACING_DATA:
            body = cursor.take(int.from_bytes(body[:4], "little"), "the tracing data")
        yield kind, body


def _attr_of_pipe(name: str, body: bytes) -> Attr:
    size = int.from_bytes(body[4:8], "little")
    if not _MIN_ATTR <= size <= len(body):
        raise TraceError(f"{name}: impossible size of an attribute {size}; it is damaged")
    return _attr(body, body[size:])
