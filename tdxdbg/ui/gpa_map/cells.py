"""What the cells of a window are, and what a conversion changed of them.

A cell costs two bisections where something begins or ends in it, and nothing
where it is like the one before; so a window costs its cells, not the ranges of
the map. From step to step only the cells are looked up between the first and
the last edge that differ.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, NamedTuple

from tdxdbg.engine import GpaMap, Td
from tdxdbg.ui.gpa_map.window import PAGE_SHIFT, TOP, Window

PRIVATE, SHARED, MIXED, UNMAPPED, BEYOND = range(5)
#: Their names, which are also roles.
STATES: Final = ("private", "shared", "mixed", "unmapped", "beyond")
_KINDS: Final = (b"\0", b"\1")

_first, _stop = attrgetter("first"), attrgetter("stop")

Edges = tuple[int, ...]


class Gap(NamedTuple):
    """Pages [first, stop) without memory; `state`: not mapped, or beyond the space."""

    first: int
    stop: int
    state: int


@dataclass(frozen=True)
class Ground:
    """What can be private: pages within the memory slots, or all where those are not known.

    `end` is the first GPA (bytes) that a TD of this width does not have. `gaps`
    lie between what is mapped, in order; the last one is what lies beyond.
    `used` is where the last memory slot ends (bytes), 0 where none is known.
    """

    end: int
    gaps: tuple[Gap, ...]
    used: int

    @classmethod
    def of(cls, td: Td) -> Ground:
        """The ground of a TD. Without the shared bit a GPA has one bit less than its width."""
        last = td.shared_mask >> PAGE_SHIFT
        gaps: list[Gap] = []
        at = 0
        for first, stop in sorted(td.memslots) or [(0, last)]:
            if first >= min(stop, last):
                continue
            if at < first:
                gaps.append(Gap(at, first, UNMAPPED))
            at = max(at, min(stop, last))
        if at < last:
            gaps.append(Gap(at, last, UNMAPPED))
        gaps.append(Gap(last, TOP >> PAGE_SHIFT, BEYOND))
        return cls(td.shared_mask, tuple(gaps), at << PAGE_SHIFT if td.memslots else 0)

    def between(self, first: int, stop: int) -> tuple[Gap, ...]:
        """The gaps that these pages touch."""
        low = bisect_right(self.gaps, first, key=_stop)
        return self.gaps[low : bisect_left(self.gaps, stop, low, key=_first)]


class Cells:
    """The states of a window's cells, kept from one map to the next."""

    def __init__(self) -> None:
        self.states = bytearray()
        self._of: tuple[GpaMap, Ground, Window] | None = None

    def update(self, gpa_map: GpaMap, ground: Ground, window: Window) -> None:
        """Let `states` be those of this map in this window."""
        known, self._of = self._of, (gpa_map, ground, window)
        if known is None or known[1] is not ground or known[2] != window:
            self.states = sweep(gpa_map.edges, ground, window, 0, window.columns * window.rows)
            return
        if known[0] is gpa_map:
            return
        first, last = window.start >> PAGE_SHIFT, window.end >> PAGE_SHIFT
        dirty = changed_pages(known[0].edges, gpa_map.edges, first, last)
        if dirty is not None:
            low, high = (page << PAGE_SHIFT for page in dirty)
            cells = window.cells(low, high - low)
            self.states[cells.start : cells.stop] = sweep(
                gpa_map.edges, ground, window, cells.start, cells.stop
            )


def sweep(edges: Edges, ground: Ground, window: Window, first: int, stop: int) -> bytearray:
    """The states of the window's cells from number `first` up to `stop`."""
    pages = window.cell >> PAGE_SHIFT
    base = (window.start >> PAGE_SHIFT) + first * pages
    states = _conversions(edges, base, pages, stop - first)
    for gap in ground.between(base, base + len(states) * pages):
        inside = slice(max(-(-(gap.first - base) // pages), 0), max((gap.stop - base) // pages, 0))
        states[inside] = states[inside].replace(_KINDS[PRIVATE], bytes((gap.state,)))
    return states


def _conversions(edges: Edges, base: int, pages: int, count: int) -> bytearray:
    """Shared, private or mixed: `count` cells of `pages` pages from page `base` on."""
    states = bytearray()
    index = bisect_left(edges, base)
    while len(states) < count:
        there = (edges[index] - base) // pages if index < len(edges) else count
        if there > len(states):
            states += _KINDS[index & 1] * (min(there, count) - len(states))
            continue
        begin = base + len(states) * pages
        inside = index + (edges[index] == begin)
        index = bisect_left(edges, begin + pages, index)
        states.append(index & 1 if index == inside else MIXED)
    return states


def changed_pages(old: Edges, new: Edges, first: int, stop: int) -> tuple[int, int] | None:
    """Pages in [first, stop) outside of which two maps agree; None: they agree everywhere."""
    start_old, start_new = bisect_right(old, first), bisect_right(new, first)
    one = old[start_old : bisect_left(old, stop)]
    other = new[start_new : bisect_left(new, stop)]
    # The same edges after another state are the opposite everywhere.
    turned = (start_old ^ start_new) & 1
    if one == other:
        return (first, stop) if turned and first < stop else None
    ahead = 0 if turned else _common(one, other)
    low = first if turned else min((*one[ahead : ahead + 1], *other[ahead : ahead + 1]))
    if (start_old + len(one) ^ start_new + len(other)) & 1:
        return low, stop
    behind = _common(one[ahead:][::-1], other[ahead:][::-1])
    ends = one[: len(one) - behind][-1:], other[: len(other) - behind][-1:]
    return low, max((*ends[0], *ends[1]), default=stop)


def _common(one: Edges, other: Edges) -> int:
    """How many edges two tuples begin with alike; comparing halves, that is at C's speed."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
