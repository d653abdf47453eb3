"""Which guest pages are shared: an interval map over 52-bit GPAs."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final, NamedTuple

PAGE_SHIFT: Final = 12
MAX_PAGE: Final = 1 << (52 - PAGE_SHIFT)


class Range(NamedTuple):
    """Pages [start, end) in bytes, all private or all shared."""

    start: int
    end: int
    shared: bool


class GpaMap:
    """Private or shared for every page; starts as all private.

    `edges` are the page numbers where the state flips, in order, so a lookup
    is a bisection and the cost of a change depends on the number of ranges
    and never on their size. Maps are immutable: `convert` returns a new one
    (or the same one when nothing changed), so a checkpoint is a reference.
    """

    __slots__ = ("edges",)

    def __init__(self, edges: tuple[int, ...] = ()) -> None:
        """`edges`: strictly ascending page numbers below 2^40."""
        self.edges = edges

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GpaMap) and self.edges == other.edges

    def __hash__(self) -> int:
        return hash(self.edges)

    def __repr__(self) -> str:
        return f"GpaMap({self.edges!r})"

    def is_shared(self, gpa: int) -> bool:
        """Whether the page of `gpa` (bytes, without the shared bit) is shared."""
        return bool(bisect_right(self.edges, gpa >> PAGE_SHIFT) & 1)

    def convert(self, gpa: int, size: int, *, private: bool) -> GpaMap:
        """The map after pages touched by [gpa, gpa + size) got this state.

        `gpa` and `size` are bytes; what lies above 52 bits does not exist and
        is left out. A range without bytes touches no page.
        """
        if size <= 0:
            return self
        low = max(gpa, 0) >> PAGE_SHIFT
        high = min((gpa + size + (1 << PAGE_SHIFT) - 1) >> PAGE_SHIFT, MAX_PAGE)
        if low >= high:
            return self
        edges = self.edges
        first = bisect_left(edges, low)
        last = bisect_right(edges, high)
        shared = not private
        new = edges[:first]
        if (first & 1) != shared:
            new += (low,)
        # The end of the space is no edge: nothing lies beyond it.
        if (last & 1) != shared and high != MAX_PAGE:
            new += (high,)
        new += edges[last:]
        return self if new == edges else GpaMap(new)

    def ranges(self, start: int = 0, end: int = 1 << 52) -> Iterator[Range]:
        """The ranges of one state that cover [start, end), in order, clipped to it."""
        edges = self.edges
        index = bisect_right(edges, start >> PAGE_SHIFT)
        at = start
        while at < end:
            stop = min(end, edges[index] << PAGE_SHIFT) if index < len(edges) else end
            yield Range(at, stop, bool(index & 1))
            at = stop
            index += 1

    def shared_ranges(self) -> Iterator[Range]:
        """Every shared range, in order."""
        return (item for item in self.ranges() if item.shared)

    @property
    def shared_bytes(self) -> int:
        """How much is shared, in bytes."""
        return sum(item.end - item.start for item in self.shared_ranges())


def conversion_states(gpa_map: GpaMap, start: int, end: int) -> str:
    """`private`, `shared` or `mixed`: what [start, end) holds now."""
    states = {item.shared for item in gpa_map.ranges(start, end)}
    if len(states) > 1:
        return "mixed"
    return "shared" if states == {True} else "private"
