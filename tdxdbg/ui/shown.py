"""Which rows the queue lists: all of them, or those that a filter selects and the cursor's."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


class All:
    """Every row: line n of the queue is row n."""

    def __init__(self, total: int) -> None:
        self._total = total

    def __len__(self) -> int:
        return self._total

    def row(self, line: int) -> int:
        """The row that a line shows."""
        return line

    def line(self, row: int) -> int:
        """The line that shows a row, else the one where it would stand."""
        return row

    def beyond(self, row: int, lines: int) -> int:
        """The row so many lines below that of a row; it may be more than there are."""
        return row + lines


class Selected(All):
    """Selected rows, and the cursor's among them, whether or not it is selected."""

    def __init__(self, rows: Sequence[int], here: int) -> None:
        """`rows` ascend; `here` is the row of the cursor."""
        self._rows = rows
        at = bisect_left(rows, here)
        #: Where the cursor's row stands if it is none of them, else beyond the end.
        self._extra = at if at == len(rows) or rows[at] != here else len(rows) + 1
        self._here = here
        super().__init__(len(rows) + (self._extra <= len(rows)))

    def row(self, line: int) -> int:
        if line == self._extra:
            return self._here
        return self._rows[line - (line > self._extra)]

    def line(self, row: int) -> int:
        at = bisect_left(self._rows, row)
        return at + (self._extra <= len(self._rows) and row > self._here)

    def beyond(self, row: int, lines: int) -> int:
        return self.row(min(max(self.line(row) + lines, 0), len(self) - 1))
