"""The rows of a recording as far as they are settled: read, kept, and taken from the cache."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from tdxdbg.index.columns import Rows
from tdxdbg.index.store import Piece, identity, load, save
from tdxdbg.index.window import NoColumnsError, Place, read_rows
from tdxdbg.traces.native import Trace

#: Rows that are looked at by their columns at once, about.
_SLICE: Final = 1 << 18
#: Rows of a block, and of a piece in the cache: many small arrays are slower than few large ones.
_BLOCK: Final = 1 << 20


class Table:
    """The rows of a recording that are settled so far."""

    def __init__(self, trace: Trace, where: Path) -> None:
        self._trace = trace
        self._where = where
        self._which = identity(trace, trace.fileno())
        #: The number of the first row, and the rows; the last ones are not joined yet.
        self._blocks: list[tuple[int, Rows]] = []
        self._small: list[Rows] = []
        #: What came from the cache, and was not read yet.
        self._unproven: list[Piece] = []
        #: What goes into the cache next; None: no more of it does.
        self._unsaved: list[Rows] | None = []
        self.at = Place()
        #: Nothing more is settled until the recording grows.
        self.complete = False
        for piece in load(self._which, trace, where):
            self._blocks.append((piece.start.rows, piece.rows))
            self._unproven.append(piece)
            self.at = piece.after

    def grown(self) -> None:
        """There is more to read; what is read from now on is of another state of the recording."""
        self.complete = False
        self._unsaved = None

    def build(self) -> None:
        """Read on for one window, or prove one piece of what was kept."""
        if self._unproven:
            self._prove(self._unproven[0])
            return
        try:
            rows, at = read_rows(self._trace, self.at)
        except NoColumnsError:
            self.complete = True
            return
        self.complete = at == self.at
        self.at = at
        if len(rows):
            self._small.append(rows)
        if sum(map(len, self._small)) >= _BLOCK or self.complete:
            self._join()
        self._keep(rows)

    def _keep(self, rows: Rows) -> None:
        if self._unsaved is None:
            return
        self._unsaved.append(rows)
        count = sum(map(len, self._unsaved))
        if count >= _BLOCK or (count and self.complete):
            kept = save(self._which, self._unsaved, self.at, self._where)
            self._unsaved = [] if kept else None
        if self.complete:
            self._unsaved = None

    def _join(self) -> None:
        if self._small:
            rows = np.concatenate(self._small)
            self._small = []
            self._blocks.append((self.at.rows - len(rows), rows))

    # --- what is settled ----------------------------------------------------------------

    def prove(self, row: int) -> None:
        """Before this row is used: what was damaged in the cache is read anew, with all behind."""
        for piece in self._unproven:
            if piece.start.rows <= row < piece.after.rows:
                self._prove(piece)
                return

    def _prove(self, piece: Piece) -> None:
        start = piece.start
        if piece.sound:
            self._unproven.remove(piece)
            return
        self._blocks = [block for block in self._blocks if block[0] < start.rows]
        self._unproven = [each for each in self._unproven if each.start.rows < start.rows]
        self.at = start

    def rows(self, start: int) -> Rows:
        """Settled rows from this one on, as many as are looked at at once."""
        self._join_for(start)
        for first, rows in reversed(self._blocks):
            if start >= first:
                rest = rows[start - first :]
                # Of equal size: each slice is a message to the screen, also one of few rows.
                slices = max(round(len(rest) / _SLICE), 1)
                return rest[: -(-len(rest) // slices)]
        raise IndexError(start)

    def _join_for(self, start: int) -> None:
        last = self._blocks[-1] if self._blocks else None
        if last is None or start >= last[0] + len(last[1]):
            self._join()
