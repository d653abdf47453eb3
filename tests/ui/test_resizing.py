"""Borders that move: nothing gets useless, nothing is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.ui.layout import (
    CHAIN,
    DECODE,
    GPA_MAP,
    LANES,
    LEAST_HEIGHT,
    LEAST_WIDTH,
    LIVE,
    QUEUE,
    REGISTERS,
    REPLAY,
    UAPI,
    View,
    arrange,
)
from tdxdbg.ui.resizing import dragged, moved, reset, resized

SIZE = (120, 40)


@pytest.mark.parametrize(
    ("sizes", "at", "by", "expected"),
    [
        ((40, 40, 40), 0, 4, (44, 36, 40)),
        ((40, 40, 40), 1, 4, (40, 44, 36)),
        ((40, 40, 40), 2, 4, (40, 36, 44)),
        ((40, 40, 40), 0, -4, (36, 44, 40)),
        ((40, 40, 40), 2, -4, (40, 44, 36)),
        # The next one has nothing left to give: the one after it gives.
        ((40, 24, 40), 0, 4, (44, 24, 36)),
        ((40, 26, 40), 0, 4, (44, 24, 38)),
        ((40, 24, 24), 0, 4, (40, 24, 24)),
        ((26, 40), 0, -4, (24, 42)),
        ((20, 40), 0, -4, (20, 40)),
        ((120,), 0, 4, (120,)),
    ],
)
def test_moved(sizes: tuple[int, ...], at: int, by: int, expected: tuple[int, ...]) -> None:
    assert moved(sizes, at, by, 24) == expected


@given(
    st.lists(st.integers(1, 99), min_size=1, max_size=6), st.integers(0, 5), st.integers(-99, 99)
)
def test_a_border_gives_what_it_takes(sizes: list[int], at: int, by: int) -> None:
    at %= len(sizes)
    after = moved(sizes, at, by, LEAST_WIDTH)
    assert sum(after) == sum(sizes)
    assert all(new >= min(old, LEAST_WIDTH) for old, new in zip(sizes, after, strict=True))
    assert (after[at] - sizes[at]) * by >= 0


@given(
    st.sampled_from((REPLAY, LIVE)),
    st.integers(60, 250),
    st.integers(15, 80),
    st.lists(st.tuples(st.integers(0, 10), st.integers(-9, 9), st.integers(-9, 9)), max_size=12),
)
def test_what_is_seen_is_what_was_asked_for(
    plan: object, width: int, height: int, moves: list[tuple[int, int, int]]
) -> None:
    """Each move changes the focused pane as asked, or nothing; no pane gets too small."""
    assert isinstance(plan, type(REPLAY))
    view = View()
    for number, wider, higher in moves:
        name = plan.panes[number % len(plan.panes)]
        view = view.focused(name)
        before = arrange(width, height, view, plan)
        changed = resized(view, before, name, wider=wider, higher=higher)
        if changed is None:
            continue
        view = changed
        after = arrange(width, height, view, plan)
        was, now = before.places[name], after.places[name]
        assert 0 <= (now.width - was.width) * (1 if wider > 0 else -1) <= abs(wider)
        assert 0 <= (now.height - was.height) * (1 if higher > 0 else -1) <= abs(higher)
        for pane, place in after.places.items():
            if pane in plan.panes:
                assert place.width >= LEAST_WIDTH
                assert place.height >= LEAST_HEIGHT


def test_one_pane_has_no_border() -> None:
    zoomed = View(zoomed=True)
    assert resized(zoomed, arrange(*SIZE, zoomed), QUEUE, wider=4) is None
    assert resized(View(), arrange(40, 12, View()), QUEUE, wider=4) is None
    assert resized(View(), arrange(10, 3, View()), QUEUE, higher=4) is None
    # The queue has the whole width, and could only be lower.
    assert resized(View(), arrange(80, 24, View()), QUEUE, wider=4) is None
    assert resized(View(), arrange(80, 24, View()), QUEUE, higher=2) is not None


def test_reset_brings_the_first_sizes_back() -> None:
    view = resized(View(), arrange(*SIZE, View()), UAPI, wider=8, higher=3)
    assert view is not None
    assert arrange(*SIZE, view) != arrange(*SIZE, View())
    assert arrange(*SIZE, reset(view)) == arrange(*SIZE, View())


# --- the mouse --------------------------------------------------------------------------------

DRAGS: dict[str, tuple[str, tuple[int, int], int, int, dict[str, tuple[int, int]]]] = {
    # The pane, its edge, how far it is dragged, and how much wider and higher panes get.
    "right edge": (DECODE, (1, 0), 5, 0, {DECODE: (5, 0), UAPI: (-5, 0), GPA_MAP: (0, 0)}),
    "left edge": (UAPI, (-1, 0), -5, 0, {DECODE: (-5, 0), UAPI: (5, 0)}),
    "lower edge": (QUEUE, (0, 1), 0, 3, {QUEUE: (0, 3), REGISTERS: (0, 3), UAPI: (0, -3)}),
    "upper edge": (LANES, (0, -1), 0, -2, {LANES: (0, 2), CHAIN: (0, 2), UAPI: (0, -2)}),
    "corner": (DECODE, (1, 1), 5, 2, {DECODE: (5, 2), UAPI: (-5, 2), CHAIN: (0, -2)}),
    "the edge of the screen": (DECODE, (-1, 0), 5, 0, {DECODE: (0, 0)}),
    "the upper edge of the screen": (QUEUE, (0, -1), 0, 5, {QUEUE: (0, 0)}),
    "too far": (UAPI, (1, 0), 60, 0, {UAPI: (11, 0), GPA_MAP: (-11, 0)}),
}


@pytest.mark.parametrize(("pane", "edges", "across", "along", "changes"), DRAGS.values(), ids=DRAGS)
def test_edges_are_dragged(
    pane: str, edges: tuple[int, int], across: int, along: int, changes: dict[str, tuple[int, int]]
) -> None:
    view = replace(View(), focus=pane)
    before = arrange(*SIZE, view)
    place = before.places[pane]
    x = place.x + (place.width - 1 if edges[0] > 0 else 0) + across
    y = place.y + (place.height - 1 if edges[1] > 0 else 0) + along
    changed = dragged(view, before, pane, edges, x, y)
    after = arrange(*SIZE, changed or view)
    for name, (wider, higher) in changes.items():
        assert after.places[name].width - before.places[name].width == wider, name
        assert after.places[name].height - before.places[name].height == higher, name
    if changed is not None:
        # Where the mouse stays, nothing moves any more.
        assert dragged(changed, after, pane, edges, x, y) is None
