"""Every range of a map as a list that is never made: a line is computed when it is seen.

Ranges begin at the edges of the map, which may be hundreds of thousands, and
where memory begins or ends inside of what is not shared, which is a handful.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final, NamedTuple

from tdxdbg.engine import GpaMap
from tdxdbg.ui.gpa_map.cells import BEYOND, PRIVATE, SHARED, Edges, Ground
from tdxdbg.ui.gpa_map.window import PAGE_SHIFT, TOP

_LAST: Final = TOP >> PAGE_SHIFT


class Item(NamedTuple):
    """[start, end) in bytes, all of one state."""

    start: int
    end: int
    state: int

    @property
    def size(self) -> int:
        return self.end - self.start


class Ranges:
    """The ranges of a map, in order; those beyond the space only where something is shared."""

    def __init__(self, gpa_map: GpaMap, ground: Ground) -> None:
        self._edges = gpa_map.edges
        self.gpa_map = gpa_map
        self.ground = ground
        borders = {page for gap in ground.gaps for page in gap[:2]}
        self._more = sorted(page for page in borders if self._splits(page))
        #: Where these stand among all pages at which a range begins.
        self._places = [
            bisect_left(self._edges, page) + number for number, page in enumerate(self._more)
        ]
        #: The first range begins at page 0, with an edge there or without one.
        self._first = int(self._edges[:1] != (0,))
        self._starts = len(self._edges) + len(self._more) + self._first
        #: What is private behind the space is not there.
        self.count = self._starts - (self._state(self._start(self._starts - 1)) == BEYOND)
        self.shared_count = (len(self._edges) + 1) // 2
        self.shared_bytes = _shared_pages(self._edges) << PAGE_SHIFT

    def _splits(self, page: int) -> bool:
        """Whether a border of memory is one of ranges: not within or beside what is shared."""
        if not 0 < page < _LAST:
            return False
        index = bisect_right(self._edges, page)
        return not index & 1 and (index == 0 or self._edges[index - 1] != page)

    def _start(self, index: int) -> int:
        """The first page of range `index`."""
        at = index - self._first
        if at < 0:
            return 0
        among = bisect_left(self._places, at)
        if among < len(self._places) and self._places[among] == at:
            return self._more[among]
        return self._edges[at - among]

    def _state(self, page: int) -> int:
        if bisect_right(self._edges, page) & 1:
            return SHARED
        found = self.ground.between(page, page + 1)
        return found[0].state if found else PRIVATE

    def __getitem__(self, index: int) -> Item:
        """Range `index`; 0 up to `count`, not checked."""
        start = self._start(index)
        end = self._start(index + 1) if index + 1 < self._starts else _LAST
        return Item(start << PAGE_SHIFT, end << PAGE_SHIFT, self._state(start))

    def index(self, gpa: int) -> int:
        """Which range has this address; the last one for what lies behind it."""
        page = gpa >> PAGE_SHIFT
        begun = bisect_right(self._edges, page) + bisect_right(self._more, page)
        return min(begun + self._first, self.count) - 1

    def within(self, start: int, end: int) -> int:
        """How many ranges [start, end) touches."""
        return self.index(end - 1) - self.index(start) + 1

    def space(self, gpa: int = 0) -> int:
        """The end of the GPAs to show (bytes): those of the TD, or all where others are in use."""
        end = self.ground.end
        beyond = len(self._edges) & 1 or any(page << PAGE_SHIFT > end for page in self._edges[-1:])
        return TOP if beyond or gpa >= end else end

    def in_use(self, gpa: int) -> int:
        """A power of two (bytes) below which everything is that is there; also this address."""
        last = _LAST if len(self._edges) & 1 else max(self._edges[-1:], default=0)
        return 1 << (max(last << PAGE_SHIFT, self.ground.used, gpa + 1) - 1).bit_length()


def _shared_pages(edges: Edges) -> int:
    open_end = _LAST if len(edges) & 1 else 0
    return sum(edges[1::2]) + open_end - sum(edges[::2])
