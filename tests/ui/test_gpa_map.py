"""The map's arithmetic: windows, and the view that follows an exit or is moved."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.ui.gpa_map.view import MapView
from tdxdbg.ui.gpa_map.window import (
    PAGE,
    TOP,
    Window,
    around,
    panned,
    refitted,
    showing,
    whole,
    zoomed,
)

SPACES = [1 << 47, 1 << 51, 1 << 52]
KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40

shapes = st.builds(
    lambda columns, lines, pitch: Window(0, PAGE, 1 << columns, lines * pitch, pitch),
    st.integers(3, 7),
    st.integers(1, 40),
    st.sampled_from([1, 2]),
)
spaces = st.sampled_from(SPACES)


# --- windows --------------------------------------------------------------------------------


def check(window: Window, space: int) -> None:
    """What is always so: whole lines, round addresses, something of the space in each line."""
    assert window.start % window.line == 0
    assert 0 <= window.start < space
    assert PAGE <= window.cell <= whole(window, space).cell
    assert window.cell & (window.cell - 1) == 0
    assert window.start == 0 or window.end <= max(space, window.line)


@given(shapes, st.integers(0, TOP - 1), st.integers(1, TOP), spaces)
def test_a_window_shows_the_range_and_stays_in_the_space(
    shape: Window, gpa: int, size: int, space: int
) -> None:
    gpa %= space
    window = around(shape, gpa, min(size, space - gpa), space)
    assert window.sees(gpa)
    check(window, space)


@given(shapes, spaces)
def test_the_whole_map_has_the_whole_space_and_no_smaller_cells_would_do(
    shape: Window, space: int
) -> None:
    window = whole(shape, space)
    assert window.start == 0
    assert window.end >= space
    assert window.cell * shape.columns * shape.rows // 2 < space


@given(
    shapes,
    st.integers(0, TOP - 1),
    spaces,
    st.lists(st.tuples(st.sampled_from(["zoom", "pan", "show", "fit"]), st.integers(-9, 9))),
)
def test_whatever_is_done_a_window_stays_in_the_space(
    shape: Window, at: int, space: int, actions: list[tuple[str, int]]
) -> None:
    at %= space
    window = around(shape, at, PAGE, space)
    for name, number in actions:
        if name == "zoom":
            window = zoomed(window, number, at, space)
        elif name == "pan":
            window = panned(window, number * 1000, space)
        elif name == "fit":
            other = Window(0, PAGE, 8 << abs(number) % 4, (abs(number) + 1) * 2, 2)
            window = refitted(window, other, at, space)
        window = showing(window, at, space)
        assert window.sees(at)
        check(window, space)


def ladder(space: int, shape: Window) -> list[int]:
    """The cells from the whole space down to a page."""
    window = whole(shape, space)
    cells = [window.cell]
    while window.cell > PAGE:
        window = zoomed(window, 1, 0, space)
        cells.append(window.cell)
    return cells


@pytest.mark.parametrize(
    ("space", "cells"),
    [
        (1 << 51, [4 * TIB, 512 * GIB, 64 * GIB, 8 * GIB, GIB, 128 * MIB, 16 * MIB, 2 * MIB,
                   256 * KIB, 32 * KIB, 4 * KIB]),
        (1 << 47, [256 * GIB, 64 * GIB, 8 * GIB, GIB, 128 * MIB, 16 * MIB, 2 * MIB, 256 * KIB,
                   32 * KIB, 4 * KIB]),
    ],
)  # fmt: skip
def test_zoom_goes_from_the_whole_space_to_a_page_by_way_of_the_page_sizes(
    space: int, cells: list[int]
) -> None:
    shape = Window(0, PAGE, 32, 16)
    assert ladder(space, shape) == cells
    window = zoomed(whole(shape, space), 99, 0, space)
    assert zoomed(window, 1, 0, space) == window
    back = [window.cell]
    while window != whole(shape, space):
        window = zoomed(window, -1, 0, space)
        back.append(window.cell)
    assert back == cells[::-1]
    assert zoomed(window, -1, 0, space) == window


@pytest.mark.parametrize("at", [0, PAGE, 0x7400_0000, (1 << 47) - 1, (1 << 46) + 123])
def test_zoom_keeps_an_address_in_its_line_where_there_is_space(at: int) -> None:
    space = 1 << 47
    window = around(Window(0, PAGE, 16, 12, 2), at, 1 << 20, space)
    closer = zoomed(window, 1, at, space)
    line, then = ((at - one.start) // one.line for one in (window, closer))
    assert closer.cell < window.cell
    assert line == then or closer.start == 0 or closer.end == space


@pytest.mark.parametrize(
    ("start", "lines", "result"),
    [
        (0, -1, 0),
        (0, 1, 32 * PAGE),
        (32 * PAGE, -5, 0),
        (0, 1 << 60, (1 << 47) - 4 * 32 * PAGE),
        ((1 << 47) - 4 * 32 * PAGE, 1, (1 << 47) - 4 * 32 * PAGE),
        ((1 << 47) - 4 * 32 * PAGE, -1, (1 << 47) - 5 * 32 * PAGE),
    ],
)
def test_panning_ends_where_the_space_does(start: int, lines: int, result: int) -> None:
    assert panned(Window(start, PAGE, 16, 8, 2), lines, 1 << 47).start == result


@pytest.mark.parametrize(
    ("gpa", "size", "cells"),
    [
        (0x1000, PAGE, range(1, 2)),
        (0x1fff, 2, range(1, 3)),
        (0, 1, range(1)),
        (0, TOP, range(16)),
        (0, 0, range(0)),
        (0xf000, 1 << 70, range(15, 16)),
        (0x10000, PAGE, range(0)),
    ],
)  # fmt: skip
def test_the_cells_that_a_range_touches(gpa: int, size: int, cells: range) -> None:
    assert Window(0, PAGE, 8, 2).cells(gpa, size) == cells


@pytest.mark.parametrize(
    ("gpa", "size", "cell"),
    [(0x4000_0000, PAGE, PAGE), (0x4000_0000, 8 << 20, 128 << 10), (0, TOP, 1 << 46)],
)
def test_the_size_of_a_cell_follows_the_range(gpa: int, size: int, cell: int) -> None:
    assert around(Window(0, PAGE, 16, 8), gpa, size, TOP).cell == cell


# --- the view -------------------------------------------------------------------------------

VIEW_SPACE = 1 << 47
SHAPE = Window(0, PAGE, 16, 8, 2)


def following(gpa: int = 0x7400_0000, size: int = 64 << 20) -> MapView:
    view = MapView()
    view.fit(SHAPE, VIEW_SPACE, (gpa, size))
    return view


def test_a_view_follows_the_exit_until_it_is_moved_and_again_when_told() -> None:
    view = following()
    first = view.window
    view.fit(SHAPE, VIEW_SPACE, (0x1000_0000, PAGE))
    assert view.window.sees(0x1000_0000)
    assert view.window != first
    view.pan(1, 0)
    moved = view.window
    view.fit(SHAPE, VIEW_SPACE, (0x7400_0000, 64 << 20))
    assert view.window == moved
    view.follow()
    view.fit(SHAPE, VIEW_SPACE, (0x7400_0000, 64 << 20))
    assert view.window == first


def test_a_range_well_inside_leaves_the_window_where_it_is() -> None:
    view = following()
    before = view.window
    view.fit(SHAPE, VIEW_SPACE, (0x7600_0000, 32 << 20))
    assert view.window == before


@pytest.mark.parametrize("corner", [0, VIEW_SPACE - PAGE])
@pytest.mark.parametrize(("cells", "lines"), [(1, 0), (-1, 0), (0, 1), (0, -1)])
def test_the_cursor_stops_at_the_ends_of_the_space(corner: int, cells: int, lines: int) -> None:
    view = following(corner, PAGE)
    for _ in range(40):
        view.pan(cells, lines)
        assert 0 <= view.at < VIEW_SPACE
        assert view.window.sees(view.at)
    assert view.moved


def test_the_window_goes_with_the_cursor_at_its_edge() -> None:
    view = following()
    top = view.window.start
    lines_left = (view.window.end - 1 - view.at) // view.window.row
    for _ in range(lines_left):
        view.pan(0, 1)
    assert view.window.start == top
    view.pan(0, 1)
    assert view.window.start == top + view.window.line


@pytest.mark.parametrize("pages", [1.0, -1.0, 0.5, -0.5, 1e6, -1e6])
def test_a_page_keeps_the_column_of_the_cursor(pages: float) -> None:
    view = following()
    view.pan(3, 0)
    column = view.at % view.window.row
    view.page(pages)
    assert view.at % view.window.row == column
    assert view.window.sees(view.at)


def test_a_space_that_shrinks_takes_the_view_along() -> None:
    view = MapView()
    view.fit(SHAPE, TOP, (TOP - PAGE, PAGE))
    view.zoom(1)
    view.fit(SHAPE, VIEW_SPACE, (0, PAGE))
    assert view.window.sees(view.at)
    check(view.window, VIEW_SPACE)


def test_a_range_of_the_list_is_seen_whole() -> None:
    view = following()
    view.see(0x4000_0000, 1 << 30)
    assert view.window.holds(0x4000_0000, 1 << 30)
    assert view.at == 0x4000_0000
