"""The rows of a trace as another kernel would have done them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Final

from tdxdbg.engine import Engine, Generation, GpaMap, Td
from tdxdbg.timeline.cache import CACHED_ROWS
from tdxdbg.timeline.gaps import gaps_before
from tdxdbg.timeline.marks import Marks, weight_of
from tdxdbg.timeline.rows import RowStep, has_ended, read_row
from tdxdbg.timeline.whatif import WhatIf, WhatIfRow, WhatIfState
from tdxdbg.traces.native import Trace

_SPARSE: Final = 4096
_DENSE: Final = 16
#: Steps of all cached rows together: a guest's number decides how many one row has.
_CACHED_STEPS: Final = 8192


class Rerun:
    """Walks row by row, and reads (`read`) a row that is too far to walk to by itself.

    `renewed` is told of rows whose history was not known and is now.
    """

    def __init__(
        self,
        trace: Trace,
        td: Td,
        generation: Generation,
        read: Callable[[int], tuple[list[RowStep], bool]],
        renewed: Callable[[int], object],
    ) -> None:
        self._trace = trace
        self._td = td
        self._generation = generation
        self._read = read
        self._renewed = renewed
        self._rows: OrderedDict[int, tuple[WhatIfRow, GpaMap | None]] = OrderedDict()
        self._marks: Marks[WhatIfState] = Marks(_DENSE, _SPARSE, 256)
        self._whatif = self._fresh()
        self._at = 0
        self._marks.put(0, self._whatif.save())
        #: How far `catch_up` has read, and what it does it with.
        self._passed = 0, self._fresh()
        #: The first row without an end that it was fed with.
        self._open: int | None = None

    def _fresh(self) -> WhatIf:
        return WhatIf(Engine(self._td, self._generation))

    def row(self, row: int, reach: int) -> tuple[WhatIfRow, GpaMap | None]:
        """A row, and the map before it (None: history unknown)."""
        found = self._rows.get(row)
        # What had no history may have it now.
        if found is not None and (found[1] is not None or not self._within(row, reach)):
            self._rows.move_to_end(row)
            return found
        if found is not None:
            self._renewed(row)
        if self._within(row, reach):
            result: tuple[WhatIfRow, GpaMap | None] = self._walk(row)
        else:
            steps, more = self._read(row)
            result = self._fresh().feed_row(steps, cut=more), None
        self._rows[row] = result
        steps_kept = sum(len(kept.steps) for kept, _ in self._rows.values())
        while len(self._rows) > 1 and (len(self._rows) > CACHED_ROWS or steps_kept > _CACHED_STEPS):
            steps_kept -= len(self._rows.popitem(last=False)[1][0].steps)
        return result

    def engine_before(self, row: int, reach: int) -> Engine | None:
        """The engine as it stood before this row; None when the history is unknown."""
        if not self._within(row, reach):
            return None
        if self._at < row:
            self._walk(row - 1)
        return self._whatif.engine

    def _within(self, row: int, reach: int) -> bool:
        """Whether it can walk to this row; it stands at the row or before it then."""
        mark = self._marks.before(row)
        start = mark[0] if mark is not None else 0
        reach = self._marks.reach(reach)
        if row - start > reach and not self._at <= row <= self._at + reach:
            return False
        if mark is not None and not start <= self._at <= row:
            self._whatif.load(mark[1])
            self._at = start
        return True

    def _walk(self, row: int) -> tuple[WhatIfRow, GpaMap]:
        while True:
            at = self._at
            weight = weight_of(self._whatif.engine)
            if self._open is None and self._marks.wanted(at, weight):
                self._marks.put(at, self._whatif.save(), weight)
            if self._trace.meta.is_excerpt:
                self._whatif.resume(gaps_before(self._trace, at))
            before = self._whatif.engine.gpa_map
            steps, more = read_row(self._trace, at)
            if self._open is None and not more and not has_ended(steps):
                self._open = at
            result = self._whatif.feed_row(steps, cut=more)
            self._at = at + 1
            if at == row:
                return result, before

    def grown(self, rows: Collection[int]) -> int | None:
        """Forget these rows, and all from the first on that had no end; returns it."""
        first, self._open = self._open, None
        for row in [at for at in self._rows if at in rows or (first is not None and at >= first)]:
            del self._rows[row]
        if first is not None:
            # No state is saved beyond a row without an end, so one before it is found.
            self._at = -1
            if self._passed[0] > first:
                self._passed = 0, self._fresh()
        return first

    def catch_up(self, rows: int) -> int:
        """Read on for at most so many rows; how many are left."""
        start, whatif = self._passed
        stop = min(start + rows, len(self._trace))
        if start >= stop:
            return 0
        cursor = self._whatif, self._at
        self._whatif, self._at = whatif, start
        self._walk(stop - 1)
        self._passed = stop, whatif
        self._whatif, self._at = cursor
        return len(self._trace) - stop

    @property
    def passed(self) -> float:
        """How much of the recording `catch_up` has read, 0 to 1."""
        return self._passed[0] / len(self._trace) if len(self._trace) else 1.0
