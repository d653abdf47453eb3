"""Joining over columns makes the same bytes as joining event by event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from random import Random

import numpy as np
import pytest

from tdxdbg.traces import column_feed, column_join, column_work, columns, join
from tdxdbg.traces.binary import AnyJoiner
from tdxdbg.traces.builder import Builder
from tdxdbg.traces.column_feed import ColumnFeed
from tdxdbg.traces.column_work import OddEventError
from tdxdbg.traces.columns import LOST, NONE, Block, BlockJoiner
from tdxdbg.traces.meta import TraceMeta
from tdxdbg.traces.native import Trace

#: kind, thread, a, b, c, d, e
Row = tuple[int, ...]
TDCALL_MASK = 0xFC00


def block(rows: Sequence[Row], start: int = 0) -> Block:
    table = list(zip(*rows, strict=True)) or [()] * 7
    kind, thread, *numbers = table
    count = len(rows)
    place = np.arange(start, start + count, dtype=np.uint64)
    return Block(
        np.array(kind, np.uint8),
        np.array(thread, np.int64),
        place * np.uint64(1000),
        place + np.uint64(1),
        *(np.array(column, np.uint64) for column in numbers),
    )


def joined(rows: Sequence[Row], sizes: Callable[[], int] | None) -> tuple[bytes, object, object]:
    """The trace, what was not used and the vCPUs; `sizes` None: event by event."""
    with Builder(TraceMeta()) as builder:
        joiner: AnyJoiner = (BlockJoiner if sizes is None else ColumnFeed)(builder)
        with closing(joiner):
            at = 0
            while at < len(rows):
                size = len(rows) if sizes is None else sizes()
                assert not joiner.feed_block(block(rows[at : at + size], at))
                at += size
            joiner.finish()
            return builder.finish().data(), +joiner.unused, joiner.vcpus()


def check(rows: Sequence[Row], sizes: Callable[[], int]) -> Trace:
    plain, plain_unused, plain_vcpus = joined(rows, None)
    fast, unused, vcpus = joined(rows, sizes)
    if fast != plain:
        ours, theirs = ([record for _, record in Trace(data).records()] for data in (fast, plain))
        assert ours == theirs
    assert fast == plain
    assert unused == plain_unused
    assert vcpus == plain_vcpus
    trace = Trace(fast)
    assert trace.problems == []
    return trace


class Events:
    """Events of threads that mostly come as KVM sends them, and sometimes do not."""

    def __init__(self, chance: Random, threads: int, oddness: float) -> None:
        self._chance = chance
        self._threads = threads
        self._oddness = oddness

    def rows(self, count: int) -> list[Row]:
        chance = self._chance
        queues: list[list[Row]] = [[] for _ in range(self._threads)]
        found: list[Row] = []
        style = [chance.random() < 0.8 for _ in queues]
        while len(found) < count:
            if chance.random() < self._oddness * 0.05:
                found.append((LOST, -1, chance.choice((0, 9)), 0, 0, 0, 0))
            # Some threads run more often than others.
            number = min(chance.randrange(self._threads), chance.randrange(self._threads))
            if not queues[number]:
                queues[number] = self._one(1000 + number, style[number])
            row = queues[number].pop(0)
            if chance.random() >= self._oddness * 0.1:
                found.append(row)
            if chance.random() < self._oddness * 0.1:
                found.append(self._any(1000 + number))
        return found

    def _one(self, thread: int, delimited: bool) -> list[Row]:
        events = self._chance.choice(SEQUENCES if delimited else RETURNS)
        return [self._event(thread, *event) for event in events]

    def _any(self, thread: int) -> Row:
        events = self._chance.choice((*SEQUENCES, *RETURNS))
        return self._event(thread, *self._chance.choice(events))

    def _event(self, thread: int, kind: int, *given: int) -> Row:
        chance = self._chance
        value = chance.choice((0, 1, 0xFF, 0x1234, chance.getrandbits(32), chance.getrandbits(64)))
        a, b, c, d, e = (*given, 0, 0, 0, 0, 0)[:5]
        size = chance.choice((1, 2, 4))
        if kind == columns.EXIT:
            vcpu = chance.choice((thread - 1000, thread - 1000, NONE, 0, 70_000))
            mask = chance.choice((TDCALL_MASK, TDCALL_MASK, TDCALL_MASK, b, 0))
            return kind, thread, a, mask, value, chance.getrandbits(32), vcpu
        if kind == columns.ENTRY:
            return kind, thread, 0, 0, 0, 0, chance.choice((thread - 1000, NONE, 3))
        if kind == columns.PIO:
            count = chance.choice((1, 1, 1, 0, 255, 256, 1 << 20, 0xFFFF_FFFF))
            return (
                kind,
                thread,
                a,
                chance.choice((0, 0x80, 0x3F8)),
                size,
                count,
                value & 0xFFFF_FFFF,
            )
        if kind == columns.MMIO:
            return kind, thread, a, value, chance.choice((1, 2, 3, 4, 5, 8)), 0, value
        if kind == columns.MSR:
            return kind, thread, a, value & 0xFFFF_FFFF, 0, 0, value
        if kind == columns.HYPERCALL:
            number = chance.choice((12, 12, 5, value))
            return (
                kind, thread, number, value, chance.choice((512, 0)), chance.choice((16, 0)), value,
            )  # fmt: skip
        if kind == columns.PAGE_FAULT:
            return kind, thread, 0, value, 0, 0, 0
        return kind, thread, a, b, c, d, e


_E, _N, _U = columns.EXIT, columns.ENTRY, columns.USERSPACE_EXIT
_P, _M, _I = columns.PIO, columns.MMIO, columns.INSTRUCTION
IO, HYPERCALL, MMIO, INTR, FAULT = 2, 3, 6, 10, 39
#: Of a thread whose exits and entries are seen.
SEQUENCES: tuple[tuple[tuple[int, ...], ...], ...] = (
    ((_E, 30), (_P, 1), (_U, IO), (_N,)),
    ((_E, 30), (_P, 1), (_N,)),
    ((_E, 30), (_U, IO), (_P, 0), (_N,)),
    ((_E, 30), (_P, 0), (_N,)),
    ((_E, 77), (_U, HYPERCALL), (_U, HYPERCALL), (_N,)),
    ((_E, 18), (columns.HYPERCALL,), (_U, HYPERCALL), (_N,)),
    ((_E, 18), (columns.HYPERCALL,), (_N,)),
    ((_E, 49), (_M, 2), (_U, MMIO), (_N,)),
    ((_E, 49), (_M, 0), (_U, MMIO), (_M, 1), (_N,)),
    ((_E, 49), (_M, 1), (_N,)),
    ((_E, 48), (columns.PAGE_FAULT,), (_N,)),
    ((_E, 48), (columns.PAGE_FAULT,), (_U, FAULT, 14), (_U, FAULT), (_N,)),
    ((_E, 31), (columns.MSR, 0), (_N,)),
    ((_E, 32), (columns.MSR, 1), (_N,)),
    ((_E, 12), (_N,)),
    ((_E, 10), (_N,)),
    ((_E, 1), (_U, INTR, 4), (_N,)),
    ((_E, 1), (_U, 0, 4), (_U, INTR), (_N,)),
    ((_E, NONE), (_N,)),
    ((_E, 77), (_U, 40), (_N,)),
)
#: Of one that shows returns to userspace alone, and instructions.
RETURNS: tuple[tuple[tuple[int, ...], ...], ...] = (
    ((_I,), (_P, 1), (_U, IO)),
    ((_I,), (_U, IO), (_P, 0)),
    ((_M, 0), (_U, MMIO), (_M, 1)),
    ((_M, 2), (_U, MMIO)),
    ((_P, 1), (_I,), (_U, IO)),
    ((_U, 5),),
    ((_M, 2), (_U, IO), (_P, 0)),
    ((_P, 1), (_U, MMIO), (_M, 1)),
    ((_P, 0),),
    ((columns.MSR, 0),),
)


@pytest.mark.parametrize("oddness", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("open_records", [1 << 16, 9, 1])
def test_the_same_bytes(oddness: float, open_records: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join, "MAX_OPEN", open_records)
    monkeypatch.setattr(column_join, "MAX_OPEN", open_records)
    monkeypatch.setattr(column_work, "MAX_OPEN", open_records)
    seen: Counter[str] = Counter()
    for seed in range(40):
        chance = Random(f"{seed} {oddness} {open_records}")
        rows = Events(chance, chance.choice((1, 2, 5)), oddness).rows(chance.choice((5, 40, 300)))
        largest = chance.choice((1, 3, 20, 1000))
        monkeypatch.setattr(column_feed, "AT_ONCE", chance.choice((1, 10, 1 << 14)))

        def sizes(chance: Random = chance, largest: int = largest) -> int:
            return chance.randrange(1, largest + 1)

        try:
            trace = check(rows, sizes)
        except OddEventError:
            seen["odd"] += 1
            continue
        seen["same"] += 1
        seen.update(record.kind.name for _, record in trace.records(0, 50))
    assert seen["same"] > 30
    assert seen["ANSWER"] > 30
    assert seen["TD_ENTRY"] > 30
