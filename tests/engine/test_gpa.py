"""GpaMap by example; its properties are in test_gpa_properties.py."""

from __future__ import annotations

import pytest

from tdxdbg.engine.gpa import MAX_PAGE, GpaMap, Range, conversion_states

TOP = 1 << 52

CONVERSIONS = [
    # edges before, gpa, size, private, edges after
    ((), 0, 0x1000, False, (0, 1)),
    ((), 0x1000, 0x3000, False, (1, 4)),
    ((), 0x1000, 0x3000, True, ()),
    # joins
    ((1, 4), 0x4000, 0x1000, False, (1, 5)),
    ((1, 4), 0, 0x1000, False, (0, 4)),
    ((1, 4, 5, 6), 0x4000, 0x1000, False, (1, 6)),
    ((1, 4, 6, 8), 0x2000, 0x5000, False, (1, 8)),
    # splits
    ((1, 4), 0x2000, 0x1000, True, (1, 2, 3, 4)),
    ((1, 4), 0x1000, 0x1000, True, (2, 4)),
    ((1, 4), 0x3000, 0x1000, True, (1, 3)),
    ((1, 4), 0, 0x10000, True, ()),
    # pages that are only touched count whole
    ((), 0x1FFF, 1, False, (1, 2)),
    ((), 0x1FFF, 2, False, (1, 3)),
    ((), 0x1800, 0x1000, False, (1, 3)),
    # a range without bytes touches none
    ((), 0x1800, 0, False, ()),
    ((), 0x1000, 0, False, ()),
    ((), 0x5000, -0x1000, False, ()),
    # the top of the space is no edge
    ((), TOP - 0x1000, 0x1000, False, (MAX_PAGE - 1,)),
    ((), 0, TOP, False, (0,)),
    ((), 0, 1 << 64, False, (0,)),
    ((0,), TOP - 0x1000, 0x1000, True, (0, MAX_PAGE - 1)),
    ((0, MAX_PAGE - 1), TOP - 0x1000, 0x5000, False, (0,)),
    ((0,), 0, TOP, True, ()),
    ((0,), 0x1000, TOP - 0x1000, True, (0, 1)),
    # what lies above does not exist
    ((), TOP, 0x1000, False, ()),
    ((), 1 << 63, 1 << 63, False, ()),
    ((5,), TOP, 1 << 60, True, (5,)),
    # nor below
    ((), -0x1000, 0x2000, False, (0, 1)),
]


@pytest.mark.parametrize(("before", "gpa", "size", "private", "after"), CONVERSIONS)
def test_convert(
    before: tuple[int, ...], gpa: int, size: int, private: bool, after: tuple[int, ...]
) -> None:
    old = GpaMap(before)
    new = old.convert(gpa, size, private=private)
    assert new.edges == after
    assert old.edges == before, "maps are immutable"
    assert (new is old) is (before == after)


def test_lookup() -> None:
    gpa_map = GpaMap((1, 3))
    states = [gpa_map.is_shared(gpa) for gpa in (0, 0xFFF, 0x1000, 0x2FFF, 0x3000, TOP - 1)]
    assert states == [False, False, True, True, False, False]


RANGES = [
    ((), 0, TOP, [(0, TOP, False)]),
    ((1, 3), 0, 0x4000, [(0, 0x1000, False), (0x1000, 0x3000, True), (0x3000, 0x4000, False)]),
    ((1, 3), 0x1800, 0x2800, [(0x1800, 0x2800, True)]),
    ((1, 3), 0x1000, 0x3000, [(0x1000, 0x3000, True)]),
    ((0,), 0, TOP, [(0, TOP, True)]),
    ((1, 3), 0x4000, 0x4000, []),
    ((1, 3), 0x4000, 0x1000, []),
    ((1,), 0, 0x1000, [(0, 0x1000, False)]),
]


@pytest.mark.parametrize(("edges", "start", "end", "expected"), RANGES)
def test_ranges(
    edges: tuple[int, ...], start: int, end: int, expected: list[tuple[int, int, bool]]
) -> None:
    assert list(GpaMap(edges).ranges(start, end)) == [Range(*item) for item in expected]


def test_shared_ranges() -> None:
    gpa_map = GpaMap((1, 3, 10))
    assert list(gpa_map.shared_ranges()) == [Range(0x1000, 0x3000, True), Range(0xA000, TOP, True)]
    assert gpa_map.shared_bytes == 0x2000 + TOP - 0xA000
    assert GpaMap().shared_bytes == 0


def test_value() -> None:
    assert GpaMap((1, 2)) == GpaMap((1, 2))
    assert GpaMap((1, 2)) != GpaMap((1, 3))
    assert GpaMap() != ()
    assert hash(GpaMap((1, 2))) == hash(GpaMap((1, 2)))
    assert repr(GpaMap((1, 2))) == "GpaMap((1, 2))"


@pytest.mark.parametrize(
    ("start", "end", "state"),
    [
        (0, 0x1000, "private"),
        (0x1000, 0x3000, "shared"),
        (0x800, 0x1800, "mixed"),
        (0x2000, 0x4000, "mixed"),
        (0x3000, TOP, "private"),
    ],
)
def test_conversion_states(start: int, end: int, state: str) -> None:
    assert conversion_states(GpaMap((1, 3)), start, end) == state
