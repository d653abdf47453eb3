"""Errors, retries, breakpoints, bookmarks and matches of the whole recording, in one edge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tdxdbg.filters import Filter, compile_filter
from tdxdbg.index.client import FEWEST
from tdxdbg.timeline import Timeline
from tdxdbg.ui.core import count
from tdxdbg.ui.indexing import Indexing
from tdxdbg.ui.matches import Matches
from tdxdbg.ui.overview import Kind, Marks
from tdxdbg.ui.tested import Tested
from tdxdbg.ui.visiting import Visiting

#: Counted in every recording, under its own kernel.
_FIRST: Final = ("breakpoint", "bookmark")
_ALWAYS: Final = ("error", "retry")


class Surveying(Visiting, Indexing, inherit_bindings=False):
    """Counts what the right edge of the queue shows, and shows it where it differs."""

    def set_up(self) -> None:
        self._surveyed: dict[str, Matches] = {}
        super().set_up()
        self._shown: object = None

    def _use_timeline(self) -> None:
        super()._use_timeline()
        timeline = self.timeline
        self._surveyed = {}
        # Another kernel's answers need the way from the start: not for what nobody asked for.
        if not timeline.what_if and (len(timeline) < FEWEST or self.indexed):
            self._surveyed = {
                name: self.matching(timeline, compile_filter(name)) for name in _ALWAYS
            }

    def matching(self, timeline: Timeline, wanted: Filter) -> Matches:
        known = self._surveyed.get(wanted.text)
        if known is not None and known.timeline is timeline:
            return known
        return super().matching(timeline, wanted)

    def marks(self) -> dict[str, list[Sequence[int]]]:
        """With errors and retries, and what the filter selects."""
        found = super().marks()
        counted = [(name, matches.rows) for name, matches in self._surveyed.items()]
        if self.matches is not None:
            counted.append(("match", self.matches.rows))
        # What is rare would not be seen among what is not.
        counted.sort(key=lambda each: len(each[1]))
        return {**found, **{name: [rows] for name, rows in counted}}

    def _survey(self) -> None:
        ordered = self.marks()
        names: list[str] = [name for name in _FIRST if name in ordered]
        names += [name for name in ordered if name not in names]
        kinds: list[Kind] = [(name, rows) for name in names for rows in ordered[name]]
        marks = Marks(len(self.timeline), kinds)
        if marks.key != self._shown:
            self._shown = marks.key
            self.queue.show_overview(marks)

    def on_mount(self) -> None:
        super().on_mount()
        self._survey()

    def _background(self) -> None:
        super()._background()
        self._survey()

    def work_on(self, stop: float) -> None:
        left = next((each for each in self._surveyed.values() if each.to_count), None)
        if left is None:
            super().work_on(stop)
        else:
            count(left, stop)

    def row_sets(self) -> Iterator[Tested]:
        yield from super().row_sets()
        yield from self._surveyed.values()
