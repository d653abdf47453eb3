"""Which rows are exported: a range, a filter, at most so many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from tdxdbg.errors import TraceError
from tdxdbg.filters import Filter
from tdxdbg.timeline import Timeline


class Selection(NamedTuple):
    """Rows from `first` on that match `wanted` (None: all of them), at most `most` (None: all)."""

    first: int = 0
    most: int | None = None
    wanted: Filter | None = None

    def is_everything(self, rows: int) -> bool:
        """Whether no row of a recording of so many is left out."""
        whole = self.most is None or self.most >= rows
        return self.wanted is None and not self.first and whole

    def text(self) -> str:
        """What was selected, for people; the filter's text comes from a person."""
        parts = []
        if self.wanted is not None:
            parts.append(f"that match {self.wanted.text}")
        if self.first:
            parts.append(f"from {self.first} on")
        if self.most is not None:
            parts.append(f"at most {self.most}")
        return ", ".join(parts) or "all"


#: Takes the number of a row that was looked at, now and then.
Looked = Callable[[int], None]

_OFTEN: Final = 256


def selected(
    timeline: Timeline, selection: Selection, looked: Looked | None = None
) -> Iterator[int]:
    """The rows, ascending; a row that cannot be read matches no filter."""
    rows: Iterator[int]
    if selection.wanted is None:
        rows = iter(range(selection.first, len(timeline)))
    elif timeline.what_if:
        rows = _asked(timeline, selection.wanted, selection.first, looked)
    else:
        rows = _by_columns(timeline, selection.wanted, selection.first, looked)
    return islice(rows, selection.most)


def _asked(timeline: Timeline, wanted: Filter, first: int, looked: Looked | None) -> Iterator[int]:
    for row in range(first, len(timeline)):
        if looked is not None and row % _OFTEN == 0:
            looked(row)
        if _matches(timeline, wanted, row):
            yield row


def _matches(timeline: Timeline, wanted: Filter, row: int) -> bool:
    try:
        return wanted.matches(timeline.summary(row))
    except TraceError:
        return False


def _by_columns(
    timeline: Timeline, wanted: Filter, first: int, looked: Looked | None
) -> Iterator[int]:
    """The same from the columns of many rows at once; a row of which they are not sure is asked."""
    # numpy is slow to import, and only needed here.
    import numpy as np

    from tdxdbg.index.columns import ask, columns_of
    from tdxdbg.index.window import NoColumnsError, Place, read_rows

    trace = timeline.trace
    if first >= len(trace):
        return
    at = Place(trace.first_record(first), first)
    while True:
        try:
            rows, following = read_rows(trace, at)
        except NoColumnsError:
            break
        if following == at:
            break
        found, exact = wanted.candidates(columns_of(rows, at.rows, wanted.fields))
        unsure = ask(rows)
        if not exact:
            unsure |= found
        for place in np.flatnonzero(found | unsure).tolist():
            row = at.rows + place
            if not unsure[place] or _matches(timeline, wanted, row):
                yield row
        at = following
        if looked is not None:
            looked(at.rows)
    yield from _asked(timeline, wanted, at.rows, looked)
