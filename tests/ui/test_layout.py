from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.ui.layout import (
    CHAIN,
    CODE,
    CONSOLE,
    DECODE,
    GPA_MAP,
    HEX,
    HINTS,
    LANES,
    LINUX,
    LIVE,
    MEMORY,
    NEWS,
    NUMBERS,
    QUEUE,
    REGISTERS,
    REPLAY,
    STATUS,
    UAPI,
    Plan,
    Rect,
    Sizes,
    View,
    arrange,
    shape_of,
)

PANES = REPLAY.panes
WITHOUT_HEX = REPLAY.only(set(PANES) - {HEX})
PLANS = (REPLAY, LIVE, LINUX, WITHOUT_HEX, REPLAY.only({QUEUE, DECODE, LANES}))


@st.composite
def weights(draw: st.DrawFn, plan: Plan) -> dict[str, Sizes]:
    """Any sizes that a user, or a file, could give the panes of a plan."""
    weight = st.one_of(st.integers(1, 60), st.sampled_from((1, 9999)))
    found = {}
    for shape, bands in plan.shapes.items():
        if draw(st.booleans()):
            rows = [tuple(draw(weight) for _ in band.places) for band in bands]
            found[shape] = Sizes(tuple(draw(weight) for _ in bands), tuple(rows))
    return found


@st.composite
def chosen(draw: st.DrawFn) -> tuple[Plan, View]:
    """A plan with sizes, and panes of it that were brought to the front one after the other."""
    plan = draw(st.sampled_from(PLANS))
    view = View(zoomed=draw(st.booleans()), sizes=draw(weights(plan)))
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
        (80, 60, "tall", 7),
        (111, 30, "tabs", 3),
        (112, 30, "flat", 5),
        (120, 37, "flat", 5),
        (120, 40, "full", 8),
        (159, 38, "full", 8),
        (160, 38, "wide", 9),
        (200, 60, "wide", 9),
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


@pytest.mark.parametrize(
    ("pane", "behind", "tabs"),
    [
        (UAPI, DECODE, (DECODE, UAPI, CHAIN, HEX)),
        (CHAIN, UAPI, (DECODE, UAPI, CHAIN, HEX)),
        (GPA_MAP, REGISTERS, (REGISTERS, GPA_MAP, LANES, CODE)),
    ],
)
def test_focus_brings_a_tab_to_the_front(pane: str, behind: str, tabs: tuple[str, ...]) -> None:
    arranged = arrange(80, 24, View().focused(behind).focused(pane))
    assert pane in arranged.places
    assert behind not in arranged.places
    assert arranged.tabs[pane] == tabs


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("size", [(60, 15), (80, 24), (80, 60), (112, 30), (120, 40), (200, 60)])
def test_every_pane_is_seen_or_behind_a_tab(plan: Plan, size: tuple[int, int]) -> None:
    arranged = arrange(*size, View(), plan)
    behind = {name for names in arranged.tabs.values() for name in names}
    assert behind == set(plan.panes)
    assert [name for row in arranged.grid for name in row] == [
        name for name in arranged.places if name in plan.panes
    ]


def test_what_is_not_there_leaves_its_place_to_others() -> None:
    assert HEX not in arrange(200, 60, View(), WITHOUT_HEX).places
    assert arrange(120, 40, View(), WITHOUT_HEX).tabs[CODE] == (CODE,)
    places = arrange(200, 60, View(), REPLAY.only({QUEUE, DECODE})).places
    assert places[QUEUE].width == places[DECODE].width == 200


def test_a_number_focuses_the_same_pane_everywhere() -> None:
    assert [NUMBERS[number] for number in (1, 2, 3, 4, 5)] == list(REPLAY.panes[:5])
    assert set(REPLAY.panes) <= set(NUMBERS.values())
    assert set(LIVE.panes) - set(NUMBERS.values()) == {MEMORY}


def test_sizes_for_other_panes_are_left_alone() -> None:
    wrong = {"full": Sizes((1, 2), ((1,), (1, 2)))}
    assert arrange(120, 40, View(sizes=wrong)) == arrange(120, 40, View())
    # A shape that has sizes keeps its own where another one is seen.
    right = {"wide": Sizes((1, 1, 1), ((1, 1, 1), (1, 1, 1, 1), (9, 1)))}
    assert arrange(120, 40, View(sizes=right)) == arrange(120, 40, View())
    assert arrange(200, 60, View(sizes=right)) != arrange(200, 60, View())


def test_the_same_sizes_in_another_terminal_are_in_proportion() -> None:
    sizes = {"full": Sizes((1, 1, 2), ((3, 1), (1, 1, 2), (1, 1, 1)))}
    for width, height in ((120, 42), (140, 58)):
        places = arrange(width, height, View(sizes=sizes)).places
        assert places[QUEUE].width == width * 3 // 4
        assert places[CHAIN].height == (height - 2) // 2
        assert places[GPA_MAP].width == width // 2


def test_a_user_may_make_the_registers_narrow() -> None:
    assert arrange(120, 40, View()).places[REGISTERS].width >= 44
    view = replace(View(), sizes={"full": Sizes((1, 1, 1), ((9, 1), (1, 1, 1), (1, 1, 1)))})
    assert arrange(120, 40, view).places[REGISTERS].width == 24


@pytest.mark.parametrize(
    ("size", "panes"),
    [((80, 24), 3), ((80, 60), 7), ((112, 30), 8), ((120, 40), 8), ((200, 60), 11)],
)
def test_a_live_run_has_more_panes_and_a_line_of_news(size: tuple[int, int], panes: int) -> None:
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
