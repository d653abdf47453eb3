"""The columns say of each row what its summary says, or leave it to the scalar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdxdbg.engine import GENERATIONS, Generation, Td
from tdxdbg.filters import FIELDS, compile_filter
from tdxdbg.filters.fields import OUTCOMES
from tdxdbg.index.columns import ask, columns_of
from tdxdbg.index.window import NoColumnsError, Place, read_rows
from tdxdbg.resources import samples_dir
from tdxdbg.timeline import Timeline
from tdxdbg.traces import open_trace
from tdxdbg.traces.layout import ROWS_STARTED_AT
from tdxdbg.traces.meta import TraceMeta
from tdxdbg.traces.native import Trace
from tdxdbg.traces.pack import checksum
from tdxdbg.traces.records import Kind, Record, td_exit
from tests.index.journals import calls
from tests.timeline.journals import MIXED, records_of
from tests.traces.strategies import journals

SAMPLES = sorted(samples_dir().glob("*.tdxt"))


def check(trace: Trace, window: int = 1 << 16) -> tuple[int, int]:
    """Each sure row says what its summary says; how many are settled and sure."""
    timeline, at, sure = Timeline(trace), Place(), 0
    while True:
        try:
            rows, after = read_rows(trace, at, window)
        except NoColumnsError:
            return at.rows, sure
        assert at.rows + len(rows) == after.rows <= len(trace)
        columns = columns_of(rows, at.rows)
        for number in np.flatnonzero(~ask(rows)):
            summary = timeline.summary(at.rows + int(number))
            for name in columns:
                if name in FIELDS:
                    assert value(columns, name, int(number)) == getattr(summary, name), (
                        name, summary)  # fmt: skip
            sure += 1
        if after == at:
            return at.rows, sure
        at = after


def value(columns: Mapping[str, Any], name: str, row: int) -> object:
    known = columns.get(name + "__known")
    if known is not None and not known[row]:
        return None
    found = columns[name][row].item()
    if name == "outcome":
        return OUTCOMES[found]
    if name == "exit":
        # The set, as the summary has it: each number once, in any order.
        return Exits(number for number in range(64) if found >> number & 1)
    return found


class Exits(frozenset[int]):
    def __eq__(self, other: object) -> bool:
        return isinstance(other, tuple) and set(self) == set(other)

    __hash__ = frozenset.__hash__


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_sample(path: object) -> None:
    check(open_trace(str(path)))


@pytest.mark.parametrize("generation", GENERATIONS, ids=lambda each: each.name)
def test_ordinary_rows_of_several_vcpus_are_sure(generation: Generation) -> None:
    trace = trace_of(calls(3000, 3, generation))
    settled, sure = check(trace)
    assert settled > 2900
    assert sure > 0.9 * settled


def trace_of(records: Sequence[Record]) -> Trace:
    return Trace.from_records(TraceMeta(), records)


@given(journals(max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_journal(records: list[Record]) -> None:
    # What cannot settle a row stands behind it.
    rows = (record.row for record in records if record.kind is not Kind.CHECKPOINT)
    last = max(rows, default=-1)
    check(trace_of(padded(records, last + 1)))


def padded(records: Sequence[Record], row: int, count: int = 4300) -> list[Record]:
    """So much behind them that every row is settled."""
    from tdxdbg.abi.regs import Regs
    from tdxdbg.engine import TdExit

    ends = [td_exit(row + at, TdExit(70, 77, Regs())) for at in range(count)]
    return [*records, *ends]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_ordinary_journals_with_unknown_registers(data: st.DataObject) -> None:
    random = Random(data.draw(st.integers(0, 1 << 32)))
    records = [
        record._replace(known=record.known & ~random.choice((0, 0, 1 << random.randrange(24))))
        if record.kind in (Kind.TD_EXIT, Kind.TD_ENTRY, Kind.USERSPACE_EXIT)
        else record
        for record in calls(300, 3, random.choice(GENERATIONS), random)
    ]
    check(trace_of(records))


@given(st.lists(st.tuples(st.integers(0, 1 << 30), st.integers(0, 255)), max_size=6), st.booleans())
@settings(max_examples=60, deadline=None)
def test_damage(hits: list[tuple[int, int]], mend: bool) -> None:
    """Wrong bytes, and wrong bytes with a right checksum."""
    trace = DAMAGED_FROM
    data, start = bytearray(trace.data()), trace.header.length
    for place, byte in hits:
        at = start + place % (len(data) - start)
        data[at] = byte
        slot = start + (at - start) // 256 * 256
        if mend:
            data[slot + 4 : slot + 8] = checksum(data, slot).to_bytes(4, "little")
    check(Trace(bytes(data)))


DAMAGED_FROM = trace_of(calls(1500, 3, GENERATIONS[-1]))


def test_rows_that_go_back_have_no_columns() -> None:
    data, start = bytearray(DAMAGED_FROM.data()), DAMAGED_FROM.header.length
    slot = start + 256 * 100
    data[slot + ROWS_STARTED_AT : slot + ROWS_STARTED_AT + 8] = bytes(8)
    data[slot] = Kind.CHECKPOINT
    data[slot + 4 : slot + 8] = checksum(data, slot).to_bytes(4, "little")
    with pytest.raises(NoColumnsError):
        read_rows(Trace(bytes(data)), Place())


@pytest.mark.parametrize("window", [1, 20_000])
def test_windows_settle_the_same_rows(window: int) -> None:
    trace = trace_of(calls(12_000, 4, GENERATIONS[-1]))
    parts, at = [], Place()
    while True:
        rows, after = read_rows(trace, at, window)
        parts.append(rows)
        if after == at:
            break
        at = after
    whole, end = read_rows(trace, Place(), trace.n_records)
    assert len(parts) > 2
    assert end.rows == at.rows
    assert np.concatenate(parts).tolist() == whole.tolist()


def test_a_mask_over_sure_rows_is_what_the_filter_says() -> None:
    trace = DAMAGED_FROM
    timeline = Timeline(trace)
    rows, _ = read_rows(trace, Place())
    columns, sure = columns_of(rows, 0), ~ask(rows)
    for text in ("leaf == MapGPA", "status == RETRY", "vcpu == 1 and not exit == KVM_EXIT_IO",
                 "error or retry", "kernel", "reason != TDCALL", "outcome == guest"):  # fmt: skip
        wanted = compile_filter(text)
        found = np.flatnonzero(wanted.mask(columns) & sure).tolist()
        assert found == [
            row for row in np.flatnonzero(sure).tolist() if wanted.matches(timeline.summary(row))
        ], text
        assert found or text in ("reason != TDCALL", "error or retry"), text


def test_the_mixed_journal() -> None:
    records = records_of(MIXED, Td(), GENERATIONS[-1], checkpoint_every=5)
    check(trace_of(padded(records, 1 + max(record.row for record in records))))
