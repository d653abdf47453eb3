"""A row's records, with those of many other vCPUs between, and whether they are all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdxdbg.traces import open_trace
from tdxdbg.traces.native import ROW_LIMIT, Trace
from tdxdbg.traces.records import Record
from tdxdbg.traces.unpack import Slots
from tdxdbg.traces.writer import Writer
from tests.traces.journals import META, row


def _chunks(count: int) -> list[Record]:
    """A row of this many records whose TD entry is missing."""
    return [row(0)[0], *[row(0)[1]] * (count - 1)]


def _among(others: int) -> list[Record]:
    """Row 0 of vCPU 0, with as many rows of other vCPUs before its TD entry."""
    first, *rest, entry = row(0)
    between = [row(number, number % 50 + 1)[0] for number in range(1, others + 1)]
    return [first, *rest, *between, entry, *row(others + 1)]


@pytest.mark.parametrize(
    ("records", "found", "cut"),
    [
        (row(0), 5, False),
        (row(0)[:2], 2, False),
        ([*row(0)[:2], *row(1)], 2, False),
        (_chunks(ROW_LIMIT), ROW_LIMIT, False),
        ([*_chunks(ROW_LIMIT), *row(1)], ROW_LIMIT, False),
        (_chunks(ROW_LIMIT + 1), ROW_LIMIT, True),
        ([*_chunks(ROW_LIMIT - 1), *row(0)[-1:] * 5], ROW_LIMIT, False),
        (_among(10), 5, False),
        (_among(300), 5, False),
        (_among(5000), 5, False),
        (_among(16_379), 5, False),
        (_among(16_380), 4, True),
        (_among(16_380)[:16_384], 4, False),
    ],
)
def test_a_row_says_whether_a_limit_cut_it(records: list[Record], found: int, cut: bool) -> None:
    trace = Trace.from_records(META, records)
    result = trace.row(0)
    assert (len(result.records), result.cut) == (found, cut)
    assert trace.row_records(0) == result.records
    assert [record for _, record in result.records] == [
        record for record in records if record.row == 0
    ][:found]


def test_what_others_do_does_not_make_a_row_longer_to_find() -> None:
    records = [row(number, number)[0] for number in range(20_000)]
    trace = Trace.from_records(META, records)
    looked = 0
    original = Slots.kind

    def counted(slots: Slots, index: int) -> int:
        nonlocal looked
        looked += 1
        return original(slots, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Slots, "kind", counted)
        for number in range(20_000):
            assert [record for _, record in trace.row_records(number)] == records[
                number : number + 1
            ]
    assert looked < 20 * 20_000


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_rows_far_apart_are_those_of_a_full_search(data: st.DataObject) -> None:
    vcpus = data.draw(st.integers(1, 120))
    waiting = [row(number, number % vcpus) for number in range(240)]
    chance = data.draw(st.randoms(use_true_random=False))
    records: list[Record] = []
    running = {vcpu: waiting[vcpu::vcpus] for vcpu in range(vcpus)}
    started = 0
    while running:
        vcpu = chance.choice([*running])
        rows = running[vcpu]
        if len(rows[0]) == 5:
            rows[0][:] = [record._replace(row=started) for record in rows[0]]
            started += 1
        records.append(rows[0].pop(0))
        if not rows[0]:
            rows.pop(0)
        if not rows:
            del running[vcpu]
    trace = Trace.from_records(META, records)
    for number in range(0, 240, 7):
        wanted = [(at, record) for at, record in enumerate(records) if record.row == number]
        assert trace.row(number) == (wanted, False)


def test_a_row_that_grows_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "x.tdxt"
    records = _among(100)
    with Writer(path, META) as writer:
        for record in records[:-6]:
            writer.write(record)
        with open_trace(path) as trace:
            assert len(trace.row(0).records) == 4
            for record in records[-6:]:
                writer.write(record)
            trace.refresh()
            assert [record for _, record in trace.row(0).records] == row(0)
