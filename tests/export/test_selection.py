"""The rows that a filter selects by columns are those that it selects one by one."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tdxdbg.engine import BY_NAME
from tdxdbg.export.selection import Selection, selected
from tdxdbg.filters import compile_filter
from tdxdbg.resources import samples_dir
from tdxdbg.timeline import Timeline
from tdxdbg.traces import open_trace
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import Record
from tests.index.journals import calls
from tests.traces.journals import META, row

FILTERS = [
    "leaf == MapGPA",
    "retry or error",
    "size > 0x1000",
    "not kernel",
    "r12 == 1",
    "index > 3",
]


@pytest.mark.parametrize("text", FILTERS)
@pytest.mark.parametrize("path", sorted(samples_dir().glob("*.tdxt")), ids=lambda path: path.stem)
def test_samples(path: Path, text: str) -> None:
    with open_trace(path) as trace:
        compare(trace, text)


@pytest.mark.parametrize("text", FILTERS)
def test_a_long_journal_of_many_vcpus(text: str) -> None:
    trace = Trace.from_records(META, calls(3000, 5, BY_NAME["6.16"], Random(3)))
    compare(trace, text)


def test_a_journal_that_has_no_columns() -> None:
    """Row numbers that fall."""
    records: list[Record] = [*row(0), *row(1), *row(2)]
    data = bytearray(Trace.from_records(META, records).data())
    slot = bytes(data[4096 : 4096 + 256])
    broken = Trace(bytes(data) + slot)
    compare(broken, "leaf == MapGPA")


def compare(trace: Trace, text: str) -> None:
    timeline, wanted = Timeline(trace), compile_filter(text)
    rows = [row for row in range(len(trace)) if wanted.matches(timeline.summary(row))]
    for first in {0, 1, len(trace) // 2, len(trace)}:
        for most in (None, 0, 2):
            expected = [row for row in rows if row >= first][:most]
            found = list(selected(timeline, Selection(first, most, wanted)))
            assert found == expected
            plain = list(range(first, len(trace)))[:most]
            assert list(selected(timeline, Selection(first, most))) == plain


def test_another_kernel_has_other_rows() -> None:
    with open_trace(samples_dir() / "mapgpa_64mib_interrupted.tdxt") as trace:
        wanted = Selection(wanted=compile_filter("retry"))
        own = list(selected(Timeline(trace), wanted))
        assert list(selected(Timeline(trace, BY_NAME["v19"]), wanted)) != own


@pytest.mark.parametrize(
    ("selection", "all_of_it", "text"),
    [
        (Selection(), True, "all"),
        (Selection(0, 9), True, "at most 9"),
        (Selection(0, 8), False, "at most 8"),
        (Selection(1), False, "from 1 on"),
        (Selection(2, 3, compile_filter("retry")), False,
         "that match retry, from 2 on, at most 3"),
    ],
)  # fmt: skip
def test_what_it_says_of_itself(selection: Selection, all_of_it: bool, text: str) -> None:
    assert selection.is_everything(9) is all_of_it
    assert selection.text() == text
