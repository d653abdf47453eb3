"""A pass over the journal gives the rows that the trace gives one by one."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdxdbg.engine.generations import NEWEST
from tdxdbg.export.reading import rows_of
from tdxdbg.resources import samples_dir
from tdxdbg.traces import open_trace
from tdxdbg.traces.native import ROW_LIMIT, SCAN, Trace
from tdxdbg.traces.records import Record
from tests.index.journals import calls
from tests.traces.journals import META, journal, row


def one_by_one(trace: Trace, rows: list[int]) -> list[tuple[int, list[Record]]]:
    return [(number, [record for _, record in trace.row_records(number)]) for number in rows]


def check(trace: Trace, rows: list[int]) -> None:
    assert list(rows_of(trace, rows)) == one_by_one(trace, rows)


@pytest.mark.parametrize("path", sorted(samples_dir().glob("*.tdxt")), ids=lambda path: path.stem)
def test_every_row_of_every_sample(path: object) -> None:
    with open_trace(str(path)) as trace:
        check(trace, list(range(len(trace))))


@given(
    seed=st.integers(0, 1 << 16),
    vcpus=st.integers(1, 9),
    wanted=st.one_of(st.none(), st.sets(st.integers(0, 59))),
    damage=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 255)), max_size=3),
)
@settings(max_examples=60, deadline=None)
def test_any_rows_of_any_journal_damaged_or_not(
    seed: int, vcpus: int, wanted: set[int] | None, damage: list[tuple[int, int]]
) -> None:
    trace = Trace.from_records(META, calls(60, vcpus, NEWEST, Random(seed)))
    data = bytearray(trace.data())
    for at, change in damage:
        data[trace.header.length + at % (len(data) - trace.header.length)] ^= change
    damaged = Trace(bytes(data))
    rows = range(len(damaged)) if wanted is None else sorted(wanted & {*range(len(damaged))})
    check(damaged, list(rows))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4), st.integers(0, 2)), max_size=60))
@settings(max_examples=60, deadline=None)
def test_journals_in_no_order(pieces: list[tuple[int, int, int]]) -> None:
    """Records of any row on any vCPU, as nobody writes them."""
    records: list[Record] = []
    started = 0
    for wanted, which, vcpu in pieces:
        number = min(wanted, started)
        started = max(started, number + 1)
        records.append(row(number, vcpu)[which])
    trace = Trace.from_records(META, records)
    check(trace, list(range(len(trace))))


LONG = {
    "a row that never ends": row(0)[:2] + [row(0)[1]] * (ROW_LIMIT + 5) + row(1),
    "an entry too far away": [
        *row(0)[:4],
        *(row(number, number % 50 + 1)[0] for number in range(1, SCAN + 9)),
        row(0)[4],
    ],
    "much behind an entry": [
        *row(0),
        *(row(number, 1)[0] for number in range(1, 80)),
        row(0)[2],
    ],
}


@pytest.mark.parametrize("name", LONG)
def test_limits_are_the_same(name: str) -> None:
    trace = Trace.from_records(META, LONG[name])
    check(trace, [*range(min(len(trace), 100)), len(trace) - 1])


def test_rows_that_lie_apart_are_jumped_to(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = Trace.from_records(META, journal(4000, every=1000))
    read: list[int] = []
    real = Trace.records

    def records(self: Trace, start: int = 0, stop: int | None = None) -> object:
        for index, record in real(self, start, stop):
            read.append(index)
            yield index, record

    monkeypatch.setattr(Trace, "records", records)
    rows = [3, 5, 2000, 3999]
    found = dict(rows_of(trace, rows))
    assert len(read) < 60
    assert found == dict(one_by_one(trace, rows))
