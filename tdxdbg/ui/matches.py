"""Which rows a filter selects."""

from __future__ import annotations

from tdxdbg.filters import Filter
from tdxdbg.timeline import Timeline
from tdxdbg.ui.tested import Tested


class Matches(Tested):
    """The filter over a timeline."""

    def __init__(self, timeline: Timeline, wanted: Filter) -> None:
        super().__init__(lambda row: wanted.matches(timeline.summary(row)), lambda: len(timeline))
        self.timeline = timeline
        self.wanted = wanted
