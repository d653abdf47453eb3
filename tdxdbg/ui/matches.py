"""Which rows a filter selects."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import Protocol

from tdxdbg.filters import Filter
from tdxdbg.index.client import Answer
from tdxdbg.timeline import Timeline
from tdxdbg.ui.tested import Tested


class Asks(Protocol):
    """Who finds rows for the screen: an `Index`."""

    alive: bool

    def ask(self, text: str, total: int) -> Answer:
        """The rows before `total` that match a filter; they come later."""


class Matches(Tested):
    """The filter over a timeline; of a long one the rows are found by another process."""

    def __init__(self, timeline: Timeline, wanted: Filter) -> None:
        super().__init__(lambda row: wanted.matches(timeline.summary(row)), lambda: len(timeline))
        self.timeline = timeline
        self.wanted = wanted
        self._answer: Answer | None = None

    def ask(self, index: Asks) -> None:
        """Have the rows found by somebody else from now on."""
        if index.alive:
            self._answer = index.ask(self.wanted.text, len(self.timeline))

    @property
    def to_count(self) -> bool:
        return self._counts and not self.complete

    @property
    def _counts(self) -> bool:
        """Until the first answer, which a process that only starts takes long for, we count."""
        return self._answer is None or not self._answer.seen

    def take(self) -> bool:
        """Take what was answered; False where that is nothing new."""
        answer = self._answer
        if answer is None:
            return False
        news = answer.seen > self.seen
        if news:
            self._rows, self.seen = answer.rows, answer.seen
        if not answer.comes:
            # What is left is counted here.
            self._answer, self._rows = None, array("Q", self._rows)
            return True
        return news

    def scan(self, rows: int) -> None:
        if self._counts:
            super().scan(rows)

    def grown(self, rows: Iterable[int]) -> None:
        answer = self._answer
        if answer is None:
            super().grown(rows)
            return
        self._known.clear()
        start = min([self.seen, answer.firm, *rows])
        count = bisect_left(self._rows, start)
        answer.go_on(start, count, len(self.timeline))
        self._rows, self.seen = answer.rows if start else array("Q"), start
