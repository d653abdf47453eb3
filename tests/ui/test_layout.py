from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.ui.layout import (
    CODE,
    CONSOLE,
    DECODE,
    GPA_MAP,
    HINTS,
    LIVE,
    MEMORY,
    NEWS,
    QUEUE,
    REGISTERS,
    REPLAY,
    STATUS,
    UAPI,
    Plan,
    Rect,
    View,
    arrange,
    shape_of,
)

PANES = REPLAY.panes


@st.composite
def chosen(draw: st.DrawFn) -> tuple[Plan, View]:
    """A plan, and panes of it that were brought to the front one after the other."""
    plan = draw(st.sampled_from((REPLAY, LIVE)))
    view = View(zoomed=draw(st.booleans()))
    for pane in draw(st.lists(st.sampled_from(plan.panes), max_size=4)):
        view = view.raised(pane)
    return plan, view.focused(draw(st.sampled_from(plan.panes)))


@given(st.integers(0, 260), st.integers(0, 90), chosen())
def test_the_places_cover_the_terminal_without_overlap(
    width: int, height: int, choice: tuple[Plan, View]
) -> None:
    plan, view = choice
    places = arrange(width, height, view, plan).places
    cells = [
        (x, y)
        for place in places.values()
        for x in range(place.x, place.x + place.width)
        for y in range(place.y, place.y + place.height)
    ]
    assert len(cells) == len(set(cells))
    assert set(cells) == {(x, y) for x in range(max(width, 1)) for y in range(max(height, 1))}


@given(st.integers(20, 260), st.integers(5, 90), chosen())
def test_the_focused_pane_is_always_seen(
    width: int, height: int, choice: tuple[Plan, View]
) -> None:
    plan, view = choice
    places = arrange(width, height, view, plan).places
    assert view.focus in places
    assert {STATUS, HINTS} <= set(places)


@given(st.integers(60, 260), st.integers(15, 90), chosen())
def test_no_pane_is_too_small_to_hold_a_line(
    width: int, height: int, choice: tuple[Plan, View]
) -> None:
    plan, view = choice
    for name, place in arrange(width, height, view, plan).places.items():
        if name in plan.panes:
            assert place.width >= 24
            assert place.height >= 4


@pytest.mark.parametrize(
    ("width", "height", "shape", "panes"),
    [
        (1, 1, "words", 0),
        (19, 24, "words", 0),
        (80, 4, "words", 0),
        (20, 5, "single", 1),
        (59, 24, "single", 1),
        (80, 14, "single", 1),
        (60, 15, "tabs", 3),
        (80, 24, "tabs", 3),
        (200, 24, "tabs", 3),
        (80, 60, "tall", 5),
        (111, 30, "tabs", 3),
        (112, 30, "full", 5),
        (120, 40, "full", 5),
        (200, 60, "wide", 5),
    ],
)
def test_shapes(width: int, height: int, shape: str, panes: int) -> None:
    arranged = arrange(width, height, View())
    assert shape_of(width, height) == arranged.shape == shape
    assert len(set(arranged.places) & set(PANES)) == panes


def test_a_zoomed_pane_has_all_the_room() -> None:
    places = arrange(120, 40, View(zoomed=True).focused(UAPI)).places
    assert places == {
        STATUS: Rect(0, 0, 120, 1), UAPI: Rect(0, 1, 120, 38), HINTS: Rect(0, 39, 120, 1)
    }  # fmt: skip


@pytest.mark.parametrize(("pane", "behind"), [(UAPI, DECODE), (DECODE, UAPI), (GPA_MAP, REGISTERS)])
def test_focus_brings_a_tab_to_the_front(pane: str, behind: str) -> None:
    arranged = arrange(80, 24, View().focused(behind).focused(pane))
    assert pane in arranged.places
    assert behind not in arranged.places
    assert set(arranged.tabs[pane]) == {pane, behind}


@pytest.mark.parametrize(
    ("size", "panes"),
    [((80, 24), 3), ((80, 60), 7), ((112, 30), 8), ((120, 40), 8), ((200, 60), 8)],
)
def test_a_live_run_has_three_panes_more_and_a_line_of_news(
    size: tuple[int, int], panes: int
) -> None:
    arranged = arrange(*size, View(), LIVE)
    assert len(set(arranged.places) & set(LIVE.panes)) == panes
    assert arranged.places[NEWS] == Rect(0, size[1] - 2, size[0], 1)
    shown = {pane for tabs in arranged.tabs.values() for pane in tabs} | set(arranged.places)
    assert set(LIVE.panes) <= shown


def test_a_raised_tab_leaves_the_focus_where_it_was() -> None:
    view = View().raised(CODE).raised(MEMORY)
    arranged = arrange(80, 24, view, LIVE)
    assert view.focus == QUEUE
    assert {CODE, MEMORY} <= set(arranged.places)
    assert {UAPI, CONSOLE} & set(arranged.places) == set()
