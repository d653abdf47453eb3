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
#: Gaps that are told from memory; a file can claim any number of slots.
_MOST_GAPS: Final = 4096
#: Edges that are compared at once, and edges a cell from which on looking cells up is faster.
_PIECE: Final = 512
_MANY: Final = 64

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
            if at < first and len(gaps) < _MOST_GAPS:
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
        count = window.columns * window.rows
        if known is None or known[1] is not ground or known[2] != window:
            self.states = sweep(gpa_map.edges, ground, window, 0, count)
            return
        if known[0] is gpa_map:
            return
        old, new = known[0].edges, gpa_map.edges
        first, stop = window.start >> PAGE_SHIFT, window.end >> PAGE_SHIFT
        cells = range(count)
        if bisect_left(new, stop) - bisect_left(new, first) < _MANY * count:
            dirty = changed_pages(old, new, first, stop) or (0, 0)
            low, high = (page << PAGE_SHIFT for page in dirty)
            cells = window.cells(low, high - low)
        self.states[cells.start : cells.stop] = sweep(new, ground, window, cells.start, cells.stop)


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
    if first >= stop:
        return None
    one = _Part(old, bisect_right(old, first), bisect_left(old, stop))
    other = _Part(new, bisect_right(new, first), bisect_left(new, stop))
    room = min(one.stop - one.first, other.stop - other.first)
    # The same edges after another state are the opposite everywhere.
    turned = (one.first ^ other.first) & 1
    ahead = 0 if turned else _alike(one, other, room)
    heads = [part.edges[at] for part in (one, other) if (at := part.first + ahead) < part.stop]
    if not heads and not turned:
        return None
    low = first if turned else min(heads)
    if (one.stop ^ other.stop) & 1:
        return low, stop
    behind = _alike_at_end(one, other, room - ahead)
    return low, max(
        part.edges[at] for part in (one, other) if (at := part.stop - behind - 1) >= part.first
    )


class _Part(NamedTuple):
    """The edges from number `first` up to `stop`."""

    edges: Edges
    first: int
    stop: int


def _alike(one: _Part, other: _Part, room: int) -> int:
    """How many edges two parts begin with alike, at most `room`."""
    done = 0
    while done < room:
        stop = min(done + _PIECE, room)
        left = one.edges[one.first + done : one.first + stop]
        right = other.edges[other.first + done : other.first + stop]
        if left != right:
            return done + _same(left, right)
        done = stop
    return room


def _alike_at_end(one: _Part, other: _Part, room: int) -> int:
    """How many edges two parts end with alike, at most `room`."""
    done = 0
    while done < room:
        stop = min(done + _PIECE, room)
        left = one.edges[one.stop - stop : one.stop - done]
        right = other.edges[other.stop - stop : other.stop - done]
        if left != right:
            return done + _same(left[::-1], right[::-1])
        done = stop
    return room


def _same(left: Edges, right: Edges) -> int:
    """How many items two tuples of one length, which differ, begin with alike."""
    return next(at for at, (one, other) in enumerate(zip(left, right, strict=True)) if one != other)
