"""Where the user is in a trace: pure arithmetic over a timeline."""

from __future__ import annotations

from dataclasses import dataclass

from tdxdbg.timeline import Timeline


@dataclass
class Cursor:
    """A row and a step in it. Every method moves, and clamps to what there is."""

    timeline: Timeline
    row: int = 0
    step: int = 0

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.timeline)

    def to_row(self, row: int, step: int = 0) -> None:
        """To that row; its last step for a `step` that it does not have."""
        self.row = min(max(row, 0), max(self.rows - 1, 0))
        last = self.timeline.steps(self.row) - 1 if self.rows else 0
        self.step = min(max(step, 0), last)

    def forward(self) -> bool:
        """One input on, into the next row after the last; False at the end."""
        if not self.rows:
            return False
        if self.step + 1 < self.timeline.steps(self.row):
            self.step += 1
            return True
        if self.row + 1 >= self.rows:
            return False
        self.to_row(self.row + 1)
        return True

    def back(self) -> bool:
        """One input back, to the last of the row before; False at the beginning."""
        if self.step:
            self.step -= 1
            return True
        if not self.row:
            return False
        self.to_row(self.row - 1, self.timeline.steps(self.row - 1) - 1)
        return True

    def under(self, timeline: Timeline) -> None:
        """The same place on another timeline of the same trace."""
        self.timeline = timeline
        self.to_row(self.row, self.step)
