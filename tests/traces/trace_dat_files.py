"""Writes trace.dat files: pages of a ring buffer, and what stands around them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from tdxdbg.traces.event_format import EventFormat
from tdxdbg.traces.trace_dat_layout import read_layout

DATA = Path(__file__).parents[1] / "data" / "traces"
PAGE = 4096
_ROOM = PAGE - 16
#: Of each section of the recording: its number, and where its bytes are.
_SECTION = struct.Struct("<HHIQ")


@cache
def recording() -> bytes:
    return (DATA / "demo3.trace.dat").read_bytes()


@cache
def formats() -> Mapping[str, EventFormat]:
    with open(DATA / "demo3.trace.dat", "rb") as file:
        return {item.name: item for item in read_layout(file, "demo3").formats}


@cache
def sections() -> Mapping[int, bytes]:
    """The descriptions in the recording, which has them one behind another."""
    data = recording()
    found: dict[int, bytes] = {}
    at = 32
    while len(found) < 6:
        number, _, _, size = _SECTION.unpack_from(data, at)
        at += _SECTION.size
        found[number] = data[at : at + size]
        at += size
    return found


def event(name: str, pid: int, **values: int) -> bytes:
    """The bytes of an event, as its format says."""
    item = formats()[name]
    end = max(field.offset + field.size for field in item.fields.values())
    data = bytearray(-(-end // 4) * 4)
    for field, value in {"common_type": item.number, "common_pid": pid, **values}.items():
        at = item.fields[field]
        data[at.offset : at.offset + at.size] = (value % (1 << 8 * at.size)).to_bytes(
            at.size, "little"
        )
    return bytes(data)


def head(kind: int, delta: int) -> bytes:
    return struct.pack("<I", kind | delta << 5)


def short(data: bytes, delta: int = 0) -> bytes:
    """An event of up to 112 bytes."""
    return head(len(data) // 4, delta) + data


def long(data: bytes, delta: int = 0) -> bytes:
    return head(0, delta) + struct.pack("<I", len(data) + 4) + data


def padding(size: int, delta: int = 1) -> bytes:
    """A discarded event of `size` bytes behind its head."""
    return head(29, delta) + struct.pack("<I", size) + bytes(size - 4)


def time_extend(delta: int) -> bytes:
    return head(30, delta & (1 << 27) - 1) + struct.pack("<I", delta >> 27)


def time_stamp(time: int) -> bytes:
    return head(31, time & (1 << 27) - 1) + struct.pack("<I", time >> 27 & (1 << 32) - 1)


def page(time: int, *events: bytes, lost: int | None = None) -> bytes:
    """A page; `lost` events are missing before it, 0: nobody knows how many."""
    data = b"".join(events)
    commit = len(data)
    if lost is not None:
        commit |= 1 << 31 | (1 << 30 if lost else 0)
        data += struct.pack("<Q", lost) if lost else b""
    assert len(data) <= _ROOM
    return struct.pack("<QQ", time, commit) + data.ljust(_ROOM, b"\0")


def version_6(
    cpus: Sequence[bytes], *, clock: str = "local", options: Sequence[tuple[int, bytes]] = ()
) -> bytes:
    """A file with these pages of each CPU."""
    parts = sections()
    out = bytearray(b"\x17\x08\x44tracing6\0\0\x08" + struct.pack("<I", PAGE))
    for number in (16, 17, 18, 19, 20, 21):
        out += parts[number]
    out += struct.pack("<I", len(cpus)) + b"options  \0"
    for option, data in ((4, f"[{clock}] counter\0".encode()), *options):
        out += struct.pack("<HI", option, len(data)) + data
    out += b"\0\0flyrecord\0"
    start = -(-(len(out) + 16 * len(cpus)) // PAGE) * PAGE
    for data in cpus:
        out += struct.pack("<QQ", start, len(data))
        start += len(data)
    return bytes(out).ljust(start - sum(map(len, cpus)), b"\0") + b"".join(cpus)


def _section(number: int, data: bytes, pack: Callable[[bytes], bytes] | None) -> bytes:
    if pack is not None:
        packed = pack(data)
        data = struct.pack("<II", len(packed), len(data)) + packed
    return _SECTION.pack(number, int(pack is not None), 0, len(data)) + data


def _chunks(data: bytes, pack: Callable[[bytes], bytes], step: int) -> bytes:
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    packed = [(pack(piece), len(piece)) for piece in pieces]
    return struct.pack("<I", len(pieces)) + b"".join(
        struct.pack("<II", len(piece), length) + piece for piece, length in packed
    )


def version_7(
    buffers: Mapping[str, Sequence[bytes]],
    *,
    name: str = "none",
    pack: Callable[[bytes], bytes] | None = None,
    pages_in_chunk: int = 2,
) -> bytes:
    """A file with the pages of each CPU of each trace instance, compressed or not."""
    out = bytearray(b"\x17\x08\x44tracing7\0\0\x08" + struct.pack("<I", PAGE))
    out += name.encode() + b"\x001.0\0"
    head = len(out)
    out += bytes(8)
    options = b""
    for number, data in sections().items():
        options += struct.pack("<HIQ", number, 8, len(out))
        out += _section(number, data, pack)
    for instance, cpus in buffers.items():
        table = b""
        for cpu, data in enumerate(cpus):
            stored = data if pack is None else _chunks(data, pack, pages_in_chunk * PAGE)
            table += struct.pack("<IQQ", cpu, len(out), len(stored))
            out += stored
        text = instance.encode() + b"\0local\0" + struct.pack("<II", PAGE, len(cpus))
        options += struct.pack("<HIQ", 3, 8 + len(text) + len(table), 0) + text + table
    out[head : head + 8] = struct.pack("<Q", len(out))
    options += struct.pack("<HIQ", 0, 8, 0)
    return bytes(out + _section(0, options, pack))
