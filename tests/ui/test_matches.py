from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.filters import compile_filter
from tdxdbg.timeline import Timeline
from tdxdbg.ui.matches import Matches
from tests.ui import demo

TIMELINE = Timeline(demo.mapgpa())
EXPRESSIONS = ["leaf == MapGPA", "retry", "vcpu == 1", "status == 77", "index >= 0"]


def matching(text: str) -> list[int]:
    wanted = compile_filter(text)
    return [row for row in range(len(TIMELINE)) if wanted.matches(TIMELINE.summary(row))]


def found(matches: Matches, start: int, direction: int) -> int | None:
    return next((row for row in matches.search(start, direction) if row is not None), None)


@given(
    st.sampled_from(EXPRESSIONS),
    st.integers(0, len(TIMELINE)),
    st.integers(-1, len(TIMELINE)),
    st.sampled_from([1, -1]),
)
def test_search_finds_the_nearest_match_however_much_was_counted(
    text: str, scanned: int, start: int, direction: int
) -> None:
    matches = Matches(TIMELINE, compile_filter(text))
    matches.scan(scanned)
    rows = matching(text)
    beyond = [row for row in rows if (row - start) * direction > 0]
    expected = min(beyond, key=lambda row: abs(row - start), default=None)
    assert found(matches, start, direction) == expected


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_counting_in_slices_finds_all(text: str) -> None:
    matches = Matches(TIMELINE, compile_filter(text))
    while not matches.complete:
        matches.scan(2)
    rows = matching(text)
    assert matches.count == len(rows)
    assert [row for row in range(len(TIMELINE)) if matches.matches(row)] == rows
    matches.scan(5)
    assert matches.count == len(rows)
