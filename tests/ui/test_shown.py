"""Which rows the queue lists, against a list that is simply made."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.ui.shown import All, Selected

ROWS = st.lists(st.integers(0, 30), unique=True, max_size=12).map(sorted)


@given(ROWS, st.integers(0, 30), st.integers(0, 30), st.integers(-40, 40))
def test_the_selected_rows_and_the_cursors(
    rows: list[int], here: int, other: int, lines: int
) -> None:
    listed = Selected(rows, here)
    expected = sorted({*rows, here})
    assert [listed.row(line) for line in range(len(listed))] == expected
    assert [listed.line(row) for row in expected] == list(range(len(expected)))
    assert listed.line(other) == sum(row < other for row in expected)
    to = min(max(expected.index(here) + lines, 0), len(expected) - 1)
    assert listed.beyond(here, lines) == expected[to]


def test_all_rows() -> None:
    listed = All(10_000_000)
    assert (len(listed), listed.row(7), listed.line(7), listed.beyond(7, -9)) == (10**7, 7, 7, -2)
