"""GpaMap equals a bitmap, at the bottom and at the top of the 52-bit space at once.

The model has one cell for each of a few pages at either end and one cell for
everything between them, so that a range of 2^52 bytes is as cheap as a page.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from tdxdbg.engine.gpa import MAX_PAGE, GpaMap, conversion_states

END = 24
#: Where the cells begin, in pages; the last cell ends with the space.
STARTS: list[int] = [*range(END + 1), *range(MAX_PAGE - END, MAX_PAGE)]
STOPS: list[int] = [*STARTS[1:], MAX_PAGE]
CELLS = len(STARTS)


class Conversion(NamedTuple):
    """Cells [first, last) become private or shared."""

    first: int
    last: int
    private: bool

    @property
    def gpa(self) -> int:
        return STARTS[self.first] << 12

    @property
    def size(self) -> int:
        return (STOPS[self.last - 1] << 12) - self.gpa


places = st.integers(0, CELLS - 1)
conversions = st.builds(
    lambda one, other, private: Conversion(min(one, other), max(one, other) + 1, private),
    places,
    places,
    st.booleans(),
)
lists = st.lists(conversions, max_size=25)
examples = settings(max_examples=150)


def apply(gpa_map: GpaMap, item: Conversion) -> GpaMap:
    return gpa_map.convert(item.gpa, item.size, private=item.private)


def model_of(items: list[Conversion]) -> list[bool]:
    shared = [False] * CELLS
    for item in items:
        shared[item.first : item.last] = [not item.private] * (item.last - item.first)
    return shared


def map_of(items: list[Conversion]) -> GpaMap:
    gpa_map = GpaMap()
    for item in items:
        gpa_map = apply(gpa_map, item)
    return gpa_map


@examples
@given(lists)
def test_equals_a_bitmap(items: list[Conversion]) -> None:
    gpa_map, model = map_of(items), model_of(items)
    for start, stop, shared in zip(STARTS, STOPS, model, strict=True):
        assert gpa_map.is_shared(start << 12) is shared
        assert gpa_map.is_shared((stop << 12) - 1) is shared
    lengths = [stop - start << 12 for start, stop in zip(STARTS, STOPS, strict=True)]
    assert gpa_map.shared_bytes == sum(
        length for length, shared in zip(lengths, model, strict=True) if shared
    )


@examples
@given(lists)
def test_edges_are_canonical(items: list[Conversion]) -> None:
    edges = map_of(items).edges
    assert all(low < high for low, high in pairwise(edges))
    assert not edges or 0 <= edges[0] <= edges[-1] < MAX_PAGE
    # so two maps with the same pages are equal
    model = model_of(items)
    flips = [at for at, (one, other) in enumerate(pairwise([False, *model])) if one != other]
    assert edges == tuple(STARTS[at] for at in flips)


@examples
@given(lists, conversions)
def test_convert_returns_itself_when_nothing_changes(
    items: list[Conversion], item: Conversion
) -> None:
    gpa_map = map_of(items)
    new = apply(gpa_map, item)
    assert (new is gpa_map) is (model_of([*items, item]) == model_of(items))
    assert apply(new, item) is new


@examples
@given(lists, places, places, st.integers(0, 4095), st.integers(0, 4095))
def test_ranges_cover_exactly(
    items: list[Conversion], one: int, other: int, low: int, high: int
) -> None:
    gpa_map = map_of(items)
    start = (STARTS[min(one, other)] << 12) + low
    end = (STARTS[max(one, other)] << 12) + high
    ranges = list(gpa_map.ranges(start, end))
    if start >= end:
        assert ranges == []
        return
    assert (ranges[0].start, ranges[-1].end) == (start, end)
    for item in ranges:
        assert item.start < item.end
        assert gpa_map.is_shared(item.start) is gpa_map.is_shared(item.end - 1) is item.shared
    for before, after in pairwise(ranges):
        assert before.end == after.start
        assert before.shared is not after.shared
    states = {item.shared for item in ranges}
    expected = "mixed" if len(states) == 2 else "shared" if states == {True} else "private"
    assert conversion_states(gpa_map, start, end) == expected


@examples
@given(lists, conversions)
def test_conversions_of_parts_are_a_conversion_of_the_whole(
    items: list[Conversion], item: Conversion
) -> None:
    gpa_map = map_of(items)
    parts = gpa_map
    for cell in range(item.first, item.last):
        parts = apply(parts, Conversion(cell, cell + 1, item.private))
    assert parts == apply(gpa_map, item)


@examples
@given(lists)
def test_the_old_map_is_not_changed(items: list[Conversion]) -> None:
    maps = [GpaMap()]
    edges = [maps[0].edges]
    for item in items:
        maps.append(apply(maps[-1], item))
        edges.append(maps[-1].edges)
    assert [item.edges for item in maps] == edges


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 1 << 52), st.booleans()), max_size=50))
def test_cost_depends_on_the_number_of_ranges_only(items: list[tuple[int, bool]]) -> None:
    gpa_map = GpaMap()
    for gpa, private in items:
        gpa_map = gpa_map.convert(gpa & ~0xFFF, 1 << 51, private=private)
    assert len(gpa_map.edges) <= 2 * len(items)
    assert sum(1 for _ in gpa_map.ranges()) == len(gpa_map.edges) + (gpa_map.edges[:1] != (0,))
