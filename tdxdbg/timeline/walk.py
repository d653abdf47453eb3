"""The state of a whole recording, in journal order, with jumps by its own checkpoints."""

from __future__ import annotations

from tdxdbg.engine import Engine, Generation, Step, Td
from tdxdbg.engine.snapshot import load
from tdxdbg.timeline.gaps import full_place
from tdxdbg.timeline.rows import output_of
from tdxdbg.timeline.shadow import Shadow
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import KNOWN_HAS_EVENTS, Kind, Record


class Walk:
    """`engine` has the state after the records before `at`."""

    def __init__(self, trace: Trace, td: Td, generation: Generation) -> None:
        self.at = 0
        self._trace = trace
        self._shadow = Shadow(td, generation)

    @property
    def engine(self) -> Engine:
        return self._shadow.engine

    @property
    def lost(self) -> set[int]:
        """vCPUs of which too little is known until their next TD exit."""
        return self._shadow.lost

    def feed(self, place: int, record: Record) -> Step | None:
        """Take in the record at this place; what the engine does with an input."""
        output = None
        if record.kind is Kind.ANSWER and not record.known & KNOWN_HAS_EVENTS:
            output = output_of(self._trace, place, record)
        self.at = place + 1
        return self._shadow.feed(record, output)

    def go_to(self, place: int) -> None:
        """Go on to just before this place, from the newest checkpoint where that is ahead."""
        newest = full_place(self._trace, self._trace.newest_checkpoint(place - 1)) if place else -1
        if self.at <= newest < place:
            self._start_at(newest)
        for index, record in self._trace.records(self.at, place):
            self.feed(index, record)
        self.at = place

    def _start_at(self, place: int) -> None:
        for _, record in self._trace.records(place, place + 1):
            body = record.body
            try:
                state = load(body) if isinstance(body, dict) else None
            except ValueError:
                return
            if state is not None:
                self._shadow.load_checkpoint(state)
                self.at = place + 1
