"""The recorded kernel's state before any record of a trace."""

from __future__ import annotations

from typing import Final

from tdxdbg.engine import Engine, Generation, Step, Td
from tdxdbg.engine.snapshot import load as load_checkpoint
from tdxdbg.timeline.gaps import full_place
from tdxdbg.timeline.marks import REACH, Marks, weight_of
from tdxdbg.timeline.rows import RowStep, output_of
from tdxdbg.timeline.shadow import Shadow, ShadowState
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import Kind

_SPARSE: Final = 4096
_DENSE: Final = 32


class Recorded:
    """`shadow` is where `walk_to` and `feed` brought it."""

    def __init__(self, trace: Trace, td: Td, generation: Generation) -> None:
        self.marks: Marks[ShadowState] = Marks(_DENSE, _SPARSE, 256)
        self._trace = trace
        self._td = td
        self._generation = generation
        self.shadow = self._fresh()
        self._at = 0
        self.marks.put(0, self.shadow.save())
        #: The checkpoint of the file that was read last, by its place.
        self._read_checkpoint: tuple[int, tuple[int, ShadowState] | None] = -1, None
        #: How far `catch_up` has read, and the shadow that it does it with.
        self._passed = 0, self._fresh()

    def _fresh(self) -> Shadow:
        return Shadow(self._td, self._generation)

    def feed(self, at: RowStep) -> Step | None:
        """Feed the step's input (or, without one, its outcome) from the place before it."""
        record = at.input or at.output
        if record is None:
            return None
        self._at = at.place + 1
        return self.shadow.feed(record, at.output)

    def walk_to(self, index: int, reach: int) -> bool:
        """Bring the shadow to just before this record; False when the history is unknown."""
        mark = self.marks.before(index)
        in_file = self._checkpoint_before(index)
        if in_file is not None and (mark is None or in_file[0] > mark[0]):
            mark = in_file
            self.marks.put(*in_file)
        start = mark[0] if mark is not None else 0
        reach = self.marks.reach(reach)
        if index - start > reach and not self._at <= index <= self._at + reach:
            self.shadow = self._fresh()
            self._at = -1
            return False
        if mark is not None and not start <= self._at <= index:
            self.shadow.load(mark[1])
            self._at = start
        self._advance(index)
        return True

    def engine_before(self, index: int, reach: int) -> Engine | None:
        """The engine as it stood before this record; None when the history is unknown."""
        return self.shadow.engine if self.walk_to(index, reach) else None

    def _advance(self, index: int) -> None:
        while self._at < index:
            at = self._at
            self._mark(at)
            for place, record in self._trace.records(at, min(index, at + 1024)):
                if place % _DENSE == 0:
                    self._mark(place)
                answered = record.kind == Kind.ANSWER
                output = output_of(self._trace, place, record) if answered else None
                self.shadow.feed(record, output)
            self._at = min(index, at + 1024)

    def _mark(self, place: int) -> None:
        weight = weight_of(self.shadow.engine)
        if self.marks.wanted(place, weight):
            self.marks.put(place, self.shadow.save(), weight)

    def _checkpoint_before(self, index: int) -> tuple[int, ShadowState] | None:
        """The newest usable checkpoint that the file itself carries."""
        newest = self._trace.newest_checkpoint(index)
        if self._trace.meta.is_excerpt:
            index = newest = full_place(self._trace, newest)
        if newest != self._read_checkpoint[0]:
            # A large one takes long to read: the last one read is kept, usable or not.
            self._read_checkpoint = newest, self._load_checkpoint(index)
        return self._read_checkpoint[1]

    def _load_checkpoint(self, index: int) -> tuple[int, ShadowState] | None:
        found = self._trace.checkpoint_before(index) if index >= 0 else None
        if found is None:
            return None
        try:
            checkpoint = load_checkpoint(found[1])
        except ValueError as error:
            self._trace.note_problem(f"the checkpoint at record {found[0]} is left out: {error}")
            return None
        shadow = self._fresh()
        shadow.load_checkpoint(checkpoint)
        return found[0] + 1, shadow.save()

    def catch_up(self, count: int) -> int:
        """Read on for at most `count` records; how many are left."""
        start, shadow = self._passed
        in_file = self._checkpoint_before(min(start + REACH, self._trace.n_records))
        if in_file is not None and in_file[0] > start:
            start = in_file[0]
            shadow.load(in_file[1])
        stop = min(start + count, self._trace.n_records)
        if start >= stop:
            return 0
        cursor = self.shadow, self._at
        self.shadow, self._at = shadow, start
        self._advance(stop)
        self._passed = stop, self.shadow
        self.shadow, self._at = cursor
        return self._trace.n_records - stop

    @property
    def passed(self) -> float:
        """How much of the recording `catch_up` has read, 0 to 1."""
        count = self._trace.n_records
        return self._passed[0] / count if count else 1.0
