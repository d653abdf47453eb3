"""Large recordings out of small ones: the same events again and again, each time later.

    python -m benchmarks.recordings trace.dat SMALL LARGE TIMES
    python -m benchmarks.recordings perf.data SMALL LARGE TIMES

A trace.dat gets its pages again with later times in their heads, and a
perf.data its samples with later times in them; both are what the tools that
wrote the small ones read.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from tdxdbg.traces import perf_data_layout as perf
from tdxdbg.traces import trace_dat_layout

_PAGE: Final = 4096
_SECTION: Final = struct.Struct("<HHIQ")
#: HEADER_INFO to CMDLINES, which a file of version 6 has in this order.
_SECTIONS: Final = (16, 17, 18, 19, 20, 21)
_FIRST_SECTION: Final = 32
#: IP and TID before the time.
_TIME_AT: Final = 24


def grow_trace_dat(small: Path, large: Path, times: int) -> None:
    """Writes a trace.dat of version 6 out of one of version 7 without compression."""
    data = small.read_bytes()
    with small.open("rb") as file:
        (buffer,) = trace_dat_layout.read_layout(file, str(small)).buffers
    cpus = [
        np.frombuffer(data[item.offset : item.offset + item.size], "<u8").reshape(-1, _PAGE // 8)
        for item in buffer.streams
    ]
    starts = np.concatenate([pages[:, 0] for pages in cpus])
    # The last page lasts as long as any other.
    period = np.uint64((int(starts.max()) - int(starts.min())) * 9 // 8 + 1)
    head = _version_6(data, len(cpus))
    at = -(-(len(head) + 16 * len(cpus)) // _PAGE) * _PAGE
    first = at
    for pages in cpus:
        size = pages.nbytes * times
        head += struct.pack("<QQ", at, size)
        at += size
    with large.open("wb") as out:
        out.write(head.ljust(first, b"\0"))
        for pages in cpus:
            copy = pages.copy()
            for number in range(times):
                copy[:, 0] = pages[:, 0] + period * np.uint64(number)
                out.write(copy.tobytes())


def _version_6(data: bytes, cpus: int) -> bytes:
    """What stands before the table of the CPUs."""
    sections: dict[int, bytes] = {}
    at = _FIRST_SECTION
    while len(sections) < len(_SECTIONS):
        number, _, _, size = _SECTION.unpack_from(data, at)
        at += _SECTION.size
        sections[number] = data[at : at + size]
        at += size
    clock = b"[local]\0"
    return (
        b"\x17\x08\x44tracing6\0\0\x08"
        + struct.pack("<I", _PAGE)
        + b"".join(sections[number] for number in _SECTIONS)
        + struct.pack("<I", cpus)
        + b"options  \0"
        + struct.pack("<HI", 4, len(clock))
        + clock
        + b"\0\0flyrecord\0"
    )


def grow_perf_data(small: Path, large: Path, times: int) -> None:
    """Writes a perf.data; all but samples and rounds comes once."""
    data = small.read_bytes()
    start, size = struct.unpack_from("<QQ", data, 40)
    features = (int.from_bytes(data[72:104], "little")).bit_count()
    once, again = _records(data[start : start + size])
    places = np.array([at for at, kind in _walk(again) if kind == perf.SAMPLE]) + _TIME_AT
    bytes_of = np.frombuffer(bytearray(again), np.uint8)
    stamps = np.ndarray(len(again) - 7, "<u8", bytes_of, strides=(1,))
    original = stamps[places]
    period = np.uint64(int(original.max()) - int(original.min()) + 1000)
    grown = len(once) + len(again) * times
    head = bytearray(data[:start])
    struct.pack_into("<Q", head, 48, grown)
    table = bytearray(data[start + size : start + size + 16 * features])
    for entry in range(0, len(table), 16):
        offset = struct.unpack_from("<Q", table, entry)[0]
        struct.pack_into("<Q", table, entry, offset + grown - size)
    with large.open("wb") as out:
        out.write(head + once)
        for number in range(times):
            stamps[places] = original + period * np.uint64(number)
            out.write(bytes_of.tobytes())
        out.write(table + data[start + size + len(table) :])


def _walk(data: bytes) -> list[tuple[int, int]]:
    """Where each record begins, and its type."""
    found, at = [], 0
    while at < len(data):
        kind, _, size = perf.RECORD.unpack_from(data, at)
        found.append((at, kind))
        at += size
    return found


def _records(data: bytes) -> tuple[bytes, bytes]:
    """The records that come once, and those that come again."""
    parts: tuple[list[bytes], list[bytes]] = ([], [])
    for at, kind in _walk(data):
        size = perf.RECORD.unpack_from(data, at)[2]
        parts[kind in (perf.SAMPLE, perf.FINISHED_ROUND)].append(data[at : at + size])
    return b"".join(parts[0]), b"".join(parts[1])


GROW: Final[dict[str, Callable[[Path, Path, int], None]]] = {
    "trace.dat": grow_trace_dat,
    "perf.data": grow_perf_data,
}

if __name__ == "__main__":
    GROW[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
