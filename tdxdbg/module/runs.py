"""A small number for every guest page, kept as runs of equal pages."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final, NamedTuple

PAGE_SHIFT: Final = 12
PAGE_SIZE: Final = 1 << PAGE_SHIFT
MAX_PAGE: Final = 1 << (52 - PAGE_SHIFT)


class Run(NamedTuple):
    """Pages [first, end) all have `value`."""

    first: int
    end: int
    value: int


class RunMap:
    """A value per 4 KiB page of 52-bit GPAs; starts as all 0.

    `starts` are the page numbers where the value changes, the first is 0. The
    cost of a look-up is a bisection and that of a change the number of runs,
    never their size. Maps are immutable, so a checkpoint is a reference.
    """

    __slots__ = ("starts", "values")

    def __init__(self, starts: tuple[int, ...] = (0,), values: tuple[int, ...] = (0,)) -> None:
        """Neighbouring `values` differ."""
        self.starts = starts
        self.values = values

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, RunMap)
            and self.starts == other.starts
            and self.values == other.values
        )

    def __hash__(self) -> int:
        return hash((self.starts, self.values))

    def __repr__(self) -> str:
        return f"RunMap({self.starts!r}, {self.values!r})"

    def at(self, page: int) -> int:
        """The value of a page (number)."""
        return self.values[bisect_right(self.starts, page) - 1]

    def run(self, page: int) -> Run:
        """The whole run that a page lies in."""
        index = bisect_right(self.starts, page)
        end = self.starts[index] if index < len(self.starts) else MAX_PAGE
        return Run(self.starts[index - 1], end, self.values[index - 1])

    def runs(self, first: int = 0, end: int = MAX_PAGE) -> Iterator[Run]:
        """The runs that cover pages [first, end), in order, clipped to it."""
        while first < end:
            run = self.run(first)
            stop = min(run.end, end)
            yield Run(first, stop, run.value)
            first = stop

    def put(self, first: int, end: int, value: int) -> RunMap:
        """The map after pages [first, end) got `value`; the same one when they had it."""
        if first >= end:
            return self
        starts, values = self.starts, self.values
        low = bisect_left(starts, first)
        high = bisect_right(starts, end)
        new_starts, new_values = starts[:low], values[:low]
        if not low or new_values[-1] != value:
            new_starts += (first,)
            new_values += (value,)
        after = values[high - 1]
        # The end of the space is no start: nothing lies beyond it.
        if after != value and end != MAX_PAGE:
            new_starts += (end,)
            new_values += (after,)
        new_starts += starts[high:]
        if new_starts == starts and new_values + values[high:] == values:
            return self
        return RunMap(new_starts, new_values + values[high:])


def pages_of(gpa: int, size: int) -> tuple[int, int]:
    """Page numbers [first, end) of the pages that [gpa, gpa + size) touches.

    In bytes; what lies above 52 bits does not exist and is left out.
    """
    if size <= 0:
        return 0, 0
    first = min(max(gpa, 0) >> PAGE_SHIFT, MAX_PAGE)
    return first, min((gpa + size + PAGE_SIZE - 1) >> PAGE_SHIFT, MAX_PAGE)
