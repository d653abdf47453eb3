"""Where marks lie in a whole recording, in as many cells as a pane has rows.

Each cell stands for a stretch of exits. The kinds are in the order in which
they are wanted: the first that has an exit in a stretch is seen there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, NamedTuple

from tdxdbg.ui.lines import Span, own

_HERE: Final[Span] = (own("▶"), "focus")
MARKS: Final[dict[str, Span]] = {
    "breakpoint": (own("●"), "error"),
    "bookmark": (own("◆"), "focus"),
    "error": (own("‼"), "error"),
    "retry": (own("↻"), "retry"),
    "match": (own("▪"), "focus"),
}
#: A list that is no longer than this is compared exit by exit.
_SHORT: Final = 64

#: A kind, and exits in order.
Kind = tuple[str, Sequence[int]]


class Cell(NamedTuple):
    """What is seen of a stretch of exits ("": nothing), and the first exit of that."""

    kind: str
    row: int


class Marks:
    """Kinds with their exits, of a recording of `total`. Equal keys: nothing differs."""

    def __init__(self, total: int, kinds: Sequence[Kind]) -> None:
        self.key = total, tuple((name, _print(rows)) for name, rows in kinds)
        self._total = total
        self._kinds = kinds
        self._cells: tuple[Cell, ...] = ()

    def cells(self, count: int) -> tuple[Cell, ...]:
        """The recording in so many cells."""
        if count != len(self._cells):
            self._cells = tuple(self._stretch(cell, count) for cell in range(count))
        return self._cells

    def _stretch(self, cell: int, count: int) -> Cell:
        start, stop = (-(-edge * self._total // count) for edge in (cell, cell + 1))
        for name, rows in self._kinds:
            at = bisect_left(rows, start)
            if at < len(rows) and rows[at] < stop:
                return Cell(name, rows[at])
        return Cell("", max(min(start, self._total - 1), 0))

    def edge(self, count: int, here: int | None) -> tuple[Span | None, ...]:
        """What stands in the cells, with the cursor at exit `here`."""
        spans = [MARKS.get(cell.kind) for cell in self.cells(count)]
        if here is not None and self._total and spans:
            spans[min(here * count // self._total, count - 1)] = _HERE
        return tuple(spans)


def _print(rows: Sequence[int]) -> tuple[int, ...]:
    """Differs when the rows do: longer lists only ever get longer, or other ones."""
    if len(rows) <= _SHORT:
        return tuple(rows)
    return len(rows), rows[0], rows[-1]


EMPTY: Final = Marks(0, ())
