"""RunMap equals a list of pages."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.module.runs import MAX_PAGE, Run, RunMap, pages_of

#: The page space is looked at through two windows: its beginning and its end.
WINDOW = 12
PAGES = [*range(WINDOW), *range(MAX_PAGE - WINDOW, MAX_PAGE)]
EDGES = [*PAGES, MAX_PAGE]

puts = st.lists(
    st.tuples(st.sampled_from(EDGES), st.sampled_from(EDGES), st.integers(0, 2)), max_size=8
)


@given(puts)
def test_equals_a_list_of_pages(changes: list[tuple[int, int, int]]) -> None:
    pages = RunMap()
    model = dict.fromkeys(PAGES, 0)
    middle = 0
    for first, end, value in changes:
        new = pages.put(first, end, value)
        for page in PAGES:
            if first <= page < end:
                model[page] = value
        if first <= WINDOW < end:
            middle = value
        assert (new is pages) == (new == pages)
        pages = new
    assert {page: pages.at(page) for page in PAGES} == model
    assert pages.at(WINDOW) == middle
    # Canonical: runs cover everything, in order, and neighbours differ.
    runs = list(pages.runs())
    assert (runs[0].first, runs[-1].end) == (0, MAX_PAGE)
    assert all(a.end == b.first and a.value != b.value for a, b in pairwise(runs))
    assert [pages.run(run.first) for run in runs] == runs


def test_runs_are_clipped() -> None:
    pages = RunMap().put(10, 20, 1)
    assert list(pages.runs(5, 12)) == [Run(5, 10, 0), Run(10, 12, 1)]
    assert list(pages.runs(7, 7)) == []


def test_a_change_costs_no_more_for_more_pages() -> None:
    assert len(RunMap().put(1, MAX_PAGE - 1, 1).starts) == 3


def test_value_semantics() -> None:
    pages = RunMap().put(1, 3, 2)
    assert pages == RunMap((0, 1, 3), (0, 2, 0))
    assert hash(pages) == hash(RunMap((0, 1, 3), (0, 2, 0)))
    assert pages != RunMap()
    assert pages != "RunMap"
    assert eval(repr(pages)) == pages


@pytest.mark.parametrize(
    ("gpa", "size", "pages"),
    [
        (0, 0, (0, 0)),
        (0x5000, -1, (0, 0)),
        (0, 1, (0, 1)),
        (0xFFF, 2, (0, 2)),
        (0x1000, 0x1000, (1, 2)),
        (-5, 10, (0, 1)),
        ((1 << 52) - 1, 5, (MAX_PAGE - 1, MAX_PAGE)),
        (1 << 52, 5, (MAX_PAGE, MAX_PAGE)),
    ],
)
def test_pages_of(gpa: int, size: int, pages: tuple[int, int]) -> None:
    assert pages_of(gpa, size) == pages
