"""What the map draws: cells, ranges and sizes, against slow and plain ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.engine import GpaMap, Td
from tdxdbg.ui.gpa_map.cells import STATES, Cells, Ground, changed_pages, sweep
from tdxdbg.ui.gpa_map.draw import SINGLES
from tdxdbg.ui.gpa_map.layout import arranged, list_alone
from tdxdbg.ui.gpa_map.ranges import Ranges
from tdxdbg.ui.gpa_map.window import PAGE, TOP, Window, whole
from tdxdbg.ui.gpa_map.words import size_about
from tdxdbg.ui.palette import CELLS, ROLES
from tdxdbg.ui.themes import choose, load_themes

PAGES = 512

Conversions = list[tuple[int, int, bool]]
conversions = st.lists(
    st.tuples(st.integers(0, 200), st.integers(1, 60), st.booleans()), max_size=12
)
slots = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=4)


def map_of(changes: Conversions) -> GpaMap:
    gpa_map = GpaMap()
    for first, count, private in changes:
        gpa_map = gpa_map.convert(first * PAGE, count * PAGE, private=private)
    return gpa_map


def td_with(memslots: list[tuple[int, int]]) -> Td:
    return Td(gpaw=48, memslots=tuple(memslots))


def state_of(gpa_map: GpaMap, td: Td, page: int) -> str:
    """What a page is, straight from the definition."""
    if gpa_map.is_shared(page * PAGE):
        return "shared"
    if page >= td.shared_mask // PAGE:
        return "beyond"
    in_slots = any(first <= page < end for first, end in td.memslots)
    return "private" if in_slots or not td.memslots else "unmapped"


def state_of_cell(states: set[str]) -> str:
    if "shared" in states:
        return "shared" if states == {"shared"} else "mixed"
    return "private" if "private" in states else states.pop()


def names(states: bytearray) -> list[str]:
    return [STATES[state] for state in states]


# --- cells ----------------------------------------------------------------------------------


def windows(start: int, pages: int, columns: int, rows: int) -> Window:
    return Window(start * pages * columns * PAGE, pages * PAGE, columns, rows)


some_windows = st.builds(
    windows,
    st.integers(0, 3),
    st.sampled_from([1, 2, 4, 8, 64]),
    st.sampled_from([1, 8, 16]),
    st.integers(1, 8),
)


def slow_cells(gpa_map: GpaMap, td: Td, window: Window) -> list[str]:
    pages = window.cell // PAGE
    first = window.start // PAGE
    return [
        state_of_cell({state_of(gpa_map, td, first + cell * pages + at) for at in range(pages)})
        for cell in range(window.columns * window.rows)
    ]


@given(conversions, slots, some_windows)
def test_cells_are_what_their_pages_are(
    changes: Conversions, memslots: list[tuple[int, int]], window: Window
) -> None:
    gpa_map, td = map_of(changes), td_with(memslots)
    cells = window.columns * window.rows
    found = sweep(gpa_map.edges, Ground.of(td), window, 0, cells)
    assert names(found) == slow_cells(gpa_map, td, window)


@given(conversions, conversions, slots, some_windows)
def test_cells_of_one_map_after_another_are_as_if_looked_up_anew(
    one: Conversions, more: Conversions, memslots: list[tuple[int, int]], window: Window
) -> None:
    td = td_with(memslots)
    ground, cells = Ground.of(td), Cells()
    for gpa_map in (map_of(one), map_of(one + more), map_of(more), map_of([])):
        cells.update(gpa_map, ground, window)
        assert names(cells.states) == slow_cells(gpa_map, td, window)


@given(conversions, conversions, st.integers(0, 300), st.integers(0, 300))
def test_outside_of_the_changed_pages_two_maps_agree(
    one: Conversions, other: Conversions, first: int, stop: int
) -> None:
    maps = map_of(one), map_of(other)
    found = changed_pages(maps[0].edges, maps[1].edges, first, stop)
    low, high = found if found is not None else (first, first)
    assert first <= low <= high <= max(first, stop)
    differ = [
        page
        for page in range(first, stop)
        if maps[0].is_shared(page * PAGE) != maps[1].is_shared(page * PAGE)
    ]
    assert all(low <= page < high for page in differ)
    assert (found is None) == (not differ)


def test_a_conversion_of_a_page_among_many_touches_that_page() -> None:
    gpa_map = GpaMap(tuple(range(0, 200_000, 2)))
    other = gpa_map.convert(77_776 * PAGE, PAGE, private=True)
    assert changed_pages(gpa_map.edges, other.edges, 0, 1 << 40) == (77_776, 77_777)


@pytest.mark.parametrize("gpaw", [48, 52])
def test_beyond_the_width_there_is_nothing_unless_it_was_converted(gpaw: int) -> None:
    ground = Ground.of(Td(gpaw=gpaw))
    end = 1 << (gpaw - 1)
    window = Window(end - 4 * PAGE, PAGE, 4, 2)
    assert names(sweep((), ground, window, 0, 8)) == ["private"] * 4 + ["beyond"] * 4
    edges = GpaMap().convert(end, PAGE, private=False).edges
    assert names(sweep(edges, ground, window, 0, 8))[3:6] == ["private", "shared", "beyond"]


@pytest.mark.parametrize(
    ("gpa", "size"), [(0, 1 << 52), (0, 1 << 64), (1 << 51, 1 << 51), (0, 0), ((1 << 52) - 1, 99)]
)
def test_conversions_of_any_size_can_be_drawn(gpa: int, size: int) -> None:
    gpa_map = GpaMap().convert(gpa, size, private=False)
    ground = Ground.of(Td(gpaw=52))
    window = whole(Window(0, PAGE, 16, 8), TOP)
    found = names(sweep(gpa_map.edges, ground, window, 0, 128))
    touched = window.cells(gpa, size)
    assert all(found[cell] in ("shared", "mixed") for cell in touched)
    assert found.count("shared") + found.count("mixed") == len(touched)
    ranges = Ranges(gpa_map, ground)
    assert ranges.shared_bytes == sum(item.end - item.start for item in gpa_map.shared_ranges())
    assert ranges.space() == (TOP if touched else 1 << 51)


def test_memory_slots_without_order_or_end_are_taken_as_they_can_be() -> None:
    end = (1 << 64) - 1
    td = td_with([(20, 30), (5, 3), (25, 40), (10, 20), (7, 7), (end - 5, end)])
    ground = Ground.of(td)
    assert [(gap.first, gap.stop) for gap in ground.gaps[:2]] == [(0, 10), (40, 1 << 35)]
    assert ground.used == 40 * PAGE


# --- ranges ---------------------------------------------------------------------------------


def slow_ranges(gpa_map: GpaMap, td: Td) -> list[tuple[int, int, str]]:
    """Page by page over the first ones; the last range goes on to the end of the space."""
    found: list[tuple[int, int, str]] = []
    for page in range(PAGES):
        state = state_of(gpa_map, td, page)
        if found and found[-1][2] == state:
            found[-1] = found[-1][0], page + 1, state
        else:
            found.append((page, page + 1, state))
    return [*found[:-1], (found[-1][0], td.shared_mask // PAGE, found[-1][2])]


@given(conversions, slots)
def test_the_list_has_every_range_and_finds_it_by_address(
    changes: Conversions, memslots: list[tuple[int, int]]
) -> None:
    gpa_map, td = map_of(changes), td_with(memslots)
    ranges = Ranges(gpa_map, Ground.of(td))
    items = [ranges[index] for index in range(ranges.count)]
    found = [(item.start // PAGE, item.end // PAGE, STATES[item.state]) for item in items]
    assert found == slow_ranges(gpa_map, td)
    for index, item in enumerate(items):
        assert ranges.index(item.start) == ranges.index(item.end - 1) == index
        assert ranges.within(item.start, item.end) == 1
    assert ranges.shared_bytes == sum(item.size for item in items if STATES[item.state] == "shared")
    assert ranges.index(TOP - 1) == ranges.count - 1


@given(conversions, slots, st.integers(0, PAGES - 1))
def test_everything_lies_below_what_is_in_use(
    changes: Conversions, memslots: list[tuple[int, int]], page: int
) -> None:
    gpa_map, td = map_of(changes), td_with(memslots)
    size = Ranges(gpa_map, Ground.of(td)).in_use(page * PAGE)
    last = max([page, *(end - 1 for first, end in memslots if first < end)])
    shared = max((item.end - 1 for item in gpa_map.shared_ranges()), default=0)
    assert max(last * PAGE, shared) < size
    assert size & (size - 1) == 0


def test_ranges_beyond_the_space_are_listed_where_something_is_shared() -> None:
    end = 1 << 47
    gpa_map = GpaMap().convert(end + PAGE, PAGE, private=False)
    ranges = Ranges(gpa_map, Ground.of(Td(gpaw=48)))
    items = [ranges[index] for index in range(ranges.count)]
    assert [STATES[item.state] for item in items] == ["private", "beyond", "shared"]
    assert ranges.space() == TOP


# --- words and places of things ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (PAGE, "4 KiB"),
        (64 << 20, "64 MiB"),
        (1856 << 20, "1856 MiB"),
        ((1 << 51) - 0x7560_0000, "~2.0 PiB"),
        (12345678, "~11.8 MiB"),
        (1, "1 byte"),
        (TOP, "4 PiB"),
    ],
)
def test_a_long_size_is_rounded_in_a_list_and_says_so(size: int, text: str) -> None:
    assert size_about(size) == text


@given(st.integers(0, 250), st.integers(0, 90), st.sampled_from([12, 13]))
def test_all_parts_of_a_pane_have_room_in_it(width: int, height: int, digits: int) -> None:
    layout = arranged(width, height, digits)
    used = layout.overview + layout.lines + layout.words
    if not layout.beside:
        used += layout.list_rows + (layout.list_rows > 0)
        assert layout.map_width <= max(width, 10)
    else:
        assert layout.map_width + 1 + layout.list_width <= width
        assert layout.list_rows < layout.lines + layout.overview
    assert used <= max(height, 1)
    assert layout.lines >= 1
    alone = list_alone(width, height, digits)
    assert alone.list_rows >= layout.list_rows


@pytest.mark.parametrize("theme", ["tdx-dark", "tdx-light", "tdx-colorblind"])
def test_two_cells_in_a_character_have_two_colours_where_they_differ(theme: str) -> None:
    palette = choose(load_themes(), theme)
    assert palette.mixes
    for upper in CELLS:
        for lower in CELLS:
            style = palette.style(f"{upper}/{lower}")
            assert style.color is not None
            assert style.bgcolor is not None
            # The cursor hides what is under it.
            if not (upper == lower or (upper.endswith("_here") and lower.endswith("_here"))):
                assert style.color != style.bgcolor
            assert palette.style(f"{upper}/{lower}") is style


def test_a_palette_of_the_terminal_does_not_mix() -> None:
    palette = choose(load_themes(), None)
    named = {**palette.colours, "shared": "bright_yellow"}
    assert not replace(palette, colours=named).mixes
    assert replace(palette, colours={**palette.colours, "cursor": "reverse"}).mixes


def test_the_codes_of_cells_are_the_roles_of_the_palette() -> None:
    assert CELLS[: len(STATES)] == STATES


def test_cells_that_are_glyphs_have_roles_that_every_theme_is_tested_with() -> None:
    assert set(SINGLES) <= ROLES
