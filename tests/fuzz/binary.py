"""Binary recordings for the fuzz run, and what a hostile person writes into them."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from random import Random

from tests.traces import perf_data_files, simple_trace_files, trace_dat_files
from tests.traces.trace_dat_files import event, long, padding, page, short

_NUMBERS = (
    0, 1, 3, 4, 7, 16, 28, 255, 4095, 4096, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000,
    0xFFFF_FFFF, 1 << 32, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1,
)  # fmt: skip
_START = 5_000_000_000_000


def corpus() -> dict[str, bytes]:
    """One good file per format and version, with all that a page can hold."""
    io_exit = event("kvm_userspace_exit", 7, reason=2)
    write = event("kvm_pio", 7, rw=1, port=0x80, size=1, count=1, val=1)
    td_exit = event("kvm_exit", 8, exit_reason=77, isa=1, info1=0xFC00, vcpu_id=1)
    pages = [
        page(_START, short(write, 5), short(io_exit, 5), padding(24), short(td_exit, 9)),
        page(_START + 99, trace_dat_files.time_extend(1 << 40), long(io_exit), lost=5),
        page(_START + (1 << 41), trace_dat_files.time_stamp(_START + (1 << 42)), short(io_exit)),
    ]
    data = b"".join(pages)
    return {
        "trace.dat 6": trace_dat_files.version_6([data, data]),
        "trace.dat 7": trace_dat_files.version_7({"": [data], "td": [data]}),
        "trace.dat 7 zlib": trace_dat_files.version_7(
            {"": [data]}, name="zlib", pack=zlib.compress
        ),
        "simple trace": _simple_trace(),
        "perf.data": perf_data_files.recording(),
        "perf.data pipe": perf_data_files.piped(
            perf_data_files.sample(write, _START),
            perf_data_files.lost(5, _START),
            perf_data_files.sample(io_exit, _START),
            perf_data_files.finished_round(),
        ),
    }


def _simple_trace() -> bytes:
    names = (b"kvm_run_exit", b"memory_region_ops_write", b"kvm_convert_memory")
    parts = [simple_trace_files.MAGIC, *map(simple_trace_files.mapping, range(3), names)]
    for values in ((0, (0, 2)), (1, (0, 5, 0x80, 1, 1, b"x")), (2, (1, 2, b"shared_to_private"))):
        parts.append(simple_trace_files.event(values[0], _START, values[1]))
    return b"".join([*parts, simple_trace_files.dropped(5), parts[4]])


def number(data: bytearray, chance: Random) -> None:
    """An absurd number where one may be: at the start, at the end, in a page or anywhere."""
    if len(data) < 8:
        return
    limit = len(data) - 8
    place = chance.choice(
        (
            chance.randrange(min(limit, 200) + 1),
            limit - chance.randrange(min(limit, 400) + 1),
            min(limit, chance.randrange(limit // 4096 + 1) * 4096 + chance.randrange(48)),
            chance.randrange(limit + 1),
        )
    )
    size = chance.choice((1, 2, 4, 8))
    value = chance.choice((*_NUMBERS, len(data), chance.getrandbits(64)))
    data[place : place + size] = value.to_bytes(8, "little")[:size]


def description(data: bytearray, chance: Random) -> None:
    """Another offset, size or number in the description of an event or a page."""
    words = (b"offset:", b"size:", b"ID: ", b"field:", b"signed:", b"\n")
    word = chance.choice(words)
    at = data.find(word, chance.randrange(len(data) + 1))
    if at < 0:
        return
    start = at + len(word)
    new = str(chance.choice(_NUMBERS)).encode()[: chance.choice((1, 1, 2, 5, 20))]
    data[start : start + len(new)] = new


MUTATIONS: tuple[Callable[[bytearray, Random], None], ...] = (
    number, number, number, number, description,
)  # fmt: skip
