"""Rows that pass a test, found in slices so that the screen never waits."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from tdxdbg.errors import TraceError

_CACHED: Final = 4096


class Tested:
    """`seen`: how many rows, from the first, were counted; `at`: where a search is looking."""

    def __init__(self, test: Callable[[int], bool], total: Callable[[], int]) -> None:
        """`test` is asked of a row, and may raise TraceError; `total`: how many rows there are."""
        self.seen = 0
        self.at = 0
        self._asked = test
        self._total = total
        #: Ascending; found here in an array, or by somebody else.
        self._rows: array[int] | Sequence[int] = array("Q")
        self._known: dict[int, bool] = {}

    @property
    def count(self) -> int:
        """Matches among the rows counted so far."""
        return len(self._rows)

    @property
    def complete(self) -> bool:
        """Whether every row was counted."""
        return self.seen >= self._total()

    @property
    def to_count(self) -> bool:
        """Whether `scan` has something to do: some rows were not counted, and nobody else does."""
        return not self.complete

    @property
    def rows(self) -> Sequence[int]:
        """The rows found so far, in order; not to be changed."""
        return self._rows

    def matches(self, row: int) -> bool:
        """Whether this row passes."""
        if row < self.seen:
            at = bisect_left(self._rows, row)
            return at < len(self._rows) and self._rows[at] == row
        found = self._known.get(row)
        if found is None:
            if len(self._known) >= _CACHED:
                self._known.clear()
            found = self._known[row] = self._test(row)
        return found

    def _test(self, row: int) -> bool:
        try:
            return self._asked(row)
        except TraceError:
            return False

    def scan(self, rows: int) -> None:
        """Count on for so many rows."""
        stop = min(self.seen + rows, self._total())
        assert isinstance(self._rows, array)
        self._rows.extend(row for row in range(self.seen, stop) if self._test(row))
        self.seen = max(stop, self.seen)

    def grown(self, rows: Iterable[int]) -> None:
        """These rows had no end when they were counted: count them again."""
        for row in rows:
            self._known.pop(row, None)
        self.seen = min([self.seen, *rows])
        assert isinstance(self._rows, array)
        while self._rows and self._rows[-1] >= self.seen:
            self._rows.pop()

    def search(self, start: int, direction: int) -> Iterator[int | None]:
        """The nearest match beyond `start`: yields None after each row looked at, then its row.

        Ends without a row when there is none.
        """
        row = start + direction
        while 0 <= row < self._total():
            if row < self.seen:
                row = self._jump(row, direction)
                if row < 0:
                    return
                if row < self.seen:
                    yield row
                    return
            self.at = row
            if row < self._total() and self.matches(row):
                yield row
                return
            yield None
            row += direction

    def _jump(self, row: int, direction: int) -> int:
        """From a counted row: the next match, or the first row not counted; -1: there is none."""
        if direction > 0:
            at = bisect_left(self._rows, row)
            return self._rows[at] if at < len(self._rows) else self.seen
        at = bisect_right(self._rows, row) - 1
        return self._rows[at] if at >= 0 else -1
