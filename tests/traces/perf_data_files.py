"""Writes perf.data files, around the event formats of a real one."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache

from tdxdbg.traces import perf_data_layout as perf
from tests.traces.trace_dat_files import DATA

#: What perf asks for with tracepoints.
USUAL = perf.IP | perf.TID | perf.TIME | perf.ID | perf.CPU | perf.PERIOD | perf.RAW
_SAMPLE_ID_ALL = 1 << 18


@cache
def recording() -> bytes:
    return (DATA / "demo3.perf.data").read_bytes()


@cache
def tracing_data() -> bytes:
    data = recording()
    start, size = struct.unpack_from("<QQ", data, 40)
    at, length = struct.unpack_from("<QQ", data, start + size)
    return data[at : at + length]


def record(kind: int, body: bytes) -> bytes:
    return perf.RECORD.pack(kind, 0, perf.RECORD.size + len(body)) + body


def sample(
    raw: bytes,
    time: int,
    *,
    tid: int = 7,
    kind: int = USUAL,
    number: int = 1,
    chain: Sequence[int] = (),
    read: bytes = bytes(16),
) -> bytes:
    """A PERF_RECORD_SAMPLE, its fields in the order that perf_event.h gives."""
    fields = (
        (perf.IDENTIFIER, struct.pack("<Q", number)),
        (perf.IP, bytes(8)),
        (perf.TID, struct.pack("<II", tid - 1, tid)),
        (perf.TIME, struct.pack("<Q", time)),
        (perf.ADDR, bytes(8)),
        (perf.ID, struct.pack("<Q", number)),
        (perf.STREAM_ID, bytes(8)),
        (perf.CPU, bytes(8)),
        (perf.PERIOD, struct.pack("<Q", 1)),
        (perf.READ, read),
        (perf.CALLCHAIN, struct.pack(f"<Q{len(chain)}Q", len(chain), *chain)),
    )
    body = b"".join(data for bit, data in fields if kind & bit)
    if kind & perf.RAW:
        # Its size is such that the record is a multiple of 8.
        size = -(-(len(raw) + 4) // 8) * 8 - 4
        body += struct.pack("<I", size) + raw.ljust(size, b"\0")
    return record(perf.SAMPLE, body)


def lost(count: int, time: int) -> bytes:
    """A PERF_RECORD_LOST with the trailer of USUAL: thread, time, id, CPU."""
    return record(perf.LOST, struct.pack("<QQQQQQ", 1, count, 0, time, 1, 0))


def finished_round() -> bytes:
    return record(perf.FINISHED_ROUND, b"")


def attr(kind: int = USUAL, read_format: int = 0) -> bytes:
    return struct.pack("<IIQQQQQ", 2, 64, 0, 1, kind, read_format, _SAMPLE_ID_ALL).ljust(64, b"\0")


def perf_data(
    *records: bytes, attrs: Sequence[tuple[bytes, Sequence[int]]] = ((attr(), (1,)),)
) -> bytes:
    """A file with these records; `attrs` with the numbers that their samples carry."""
    ids = b"".join(struct.pack(f"<{len(numbers)}Q", *numbers) for _, numbers in attrs)
    at, table = 104, b""
    for data, numbers in attrs:
        table += data + struct.pack("<QQ", at, 8 * len(numbers))
        at += 8 * len(numbers)
    data = b"".join(records)
    start = 104 + len(ids) + len(table)
    release = b"6.18.44-generic\0"
    header = struct.pack(
        "<8sQQQQQQQQ", b"PERFILE2", 104, 80, 104 + len(ids), len(table), start, len(data), 0, 0
    ) + (1 << 1 | 1 << 4).to_bytes(32, "little")
    features = start + len(data) + 32
    end = struct.pack(
        "<QQQQ",
        features,
        len(tracing_data()),
        features + len(tracing_data()),
        4 + len(release),
    )
    release = struct.pack("<I", len(release)) + release
    return header + ids + table + data + end + tracing_data() + release


def piped(*records: bytes) -> bytes:
    """The same as perf writes it to a pipe."""
    tracing = tracing_data()
    tracing += bytes(-len(tracing) % 8)
    release = struct.pack("<QI", 4, 16) + b"6.18.44-generic\0"
    return (
        struct.pack("<8sQ", b"PERFILE2", 16)
        + record(64, attr() + struct.pack("<Q", 1))
        + record(80, release)
        + record(perf.TRACING_DATA, struct.pack("<II", len(tracing), 0))
        + tracing
        + b"".join(records)
    )
