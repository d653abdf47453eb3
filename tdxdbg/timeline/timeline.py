"""Timeline: moments of a trace, under its own kernel generation or another one.

Theory of operation. A trace is fed to a `Shadow` (its own generation,
`recorded.py`) or a `WhatIf` (another one, `rerun.py`) in journal order. To show
a place, the nearest saved state before it is restored and the records between
are fed again: saved states are those that the file carries, one every few
thousand records for good, and a dense handful around the cursor, so a step
costs a few records. A place too far from any saved state is not walked to at
once: its moment is computed by a fresh engine, and says that the history before
it is not known (`gpa_map` is None) until `catch_up`, which the owner calls in
slices, has passed it.

A trace may still be growing. What was read of a row that had not ended is
forgotten by `grown`; everything else stays as it is, because records are only
ever appended.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from tdxdbg.abi.regs import KNOWN_ALL, NO_REGS, Regs
from tdxdbg.decode.summary import RowSummary, summarise
from tdxdbg.engine import BY_NAME, Engine, Generation, Reentry, Step, TdExit
from tdxdbg.engine.generations import NEWEST
from tdxdbg.timeline.cache import cached
from tdxdbg.timeline.conversions import Conversion, row_conversions
from tdxdbg.timeline.marks import REACH
from tdxdbg.timeline.moment import Moment, differences, registers_after
from tdxdbg.timeline.recorded import Recorded
from tdxdbg.timeline.rerun import Rerun
from tdxdbg.timeline.rows import RowStep, has_ended, read_row
from tdxdbg.timeline.shadow import conversion
from tdxdbg.timeline.whatif import RowEnd
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import KNOWN_ANSWER, Kind, Record, step_record

#: Records that `catch_up` reads in the time that a row of another generation takes.
_RECORDS_A_ROW: Final = 8

Kept = TypeVar("Kept")


class Timeline:
    """Rows and moments of a trace. `generation` None: the trace's own, else the newest."""

    def __init__(self, trace: Trace, generation: Generation | None = None) -> None:
        self.trace = trace
        self.td = trace.meta.td
        self.own_generation = BY_NAME.get(trace.meta.generation, NEWEST)
        self.generation = generation or self.own_generation
        #: Whether this is another kernel than the recorded one.
        self.what_if = self.generation is not self.own_generation
        #: False where nobody will ever know what is shared: it was taken out of the trace.
        self.has_map = "registers" not in trace.meta.redacted
        self._steps: OrderedDict[int, tuple[list[RowStep], bool]] = OrderedDict()
        self._summaries: OrderedDict[int, RowSummary] = OrderedDict()
        self._recorded = Recorded(trace, self.td, self.generation)
        self._rerun = Rerun(
            trace,
            self.td,
            self.generation,
            self.recorded_row,
            lambda row: self._summaries.pop(row, None),
        )
        #: Cached rows that had no end when they were read.
        self._open: set[int] = set()
        #: How far a moment may walk; an owner in a hurry makes it less.
        self.reach = REACH

    def __len__(self) -> int:
        return len(self.trace)

    def with_generation(self, generation: Generation) -> Timeline:
        """The same trace under another kernel."""
        return Timeline(self.trace, generation)

    # --- rows -------------------------------------------------------------------------

    def recorded_steps(self, row: int) -> list[RowStep]:
        """The steps of a row as recorded, at most a few thousand."""
        return self.recorded_row(row)[0]

    def recorded_row(self, row: int) -> tuple[list[RowStep], bool]:
        """The steps, and whether the row has more of them."""
        return self._kept(self._steps, row, lambda: self._read_row(row))

    def _kept(self, cache: OrderedDict[int, Kept], row: int, make: Callable[[], Kept]) -> Kept:
        # What cannot be read any more takes the place of nothing that was read.
        if row not in cache and self.trace.cut:
            return make()
        return cached(cache, row, make)

    def _read_row(self, row: int) -> tuple[list[RowStep], bool]:
        steps, more = read_row(self.trace, row)
        if not more and not has_ended(steps):
            self._open.add(row)
        return steps, more

    def steps(self, row: int) -> int:
        """How many steps a row has; at least 1, so that every row can be shown."""
        if self.what_if:
            return max(1, len(self._rerun.row(row, self.reach)[0].steps))
        return max(1, len(self.recorded_steps(row)))

    def summary(self, row: int) -> RowSummary:
        """What one line of the queue says, under this timeline's generation."""
        return self._kept(self._summaries, row, lambda: self._summarise(row))

    def _summarise(self, row: int) -> RowSummary:
        return summarise(row, self.row_records(row), self.td)

    def row_records(self, row: int) -> list[Record]:
        """The records of a row in journal order, under this timeline's generation."""
        records = [record for _, record in self.trace.row_records(row)]
        if not records or records[-1].kind is not Kind.TD_ENTRY:
            self._open.add(row)
        if self.what_if:
            records = self._what_if_records(row, records)
        return records

    def conversions(self, row: int) -> tuple[Conversion, ...]:
        """The pages that a row converts, also those that had the state already."""
        # Of another kernel nobody recorded the ioctls: see `WhatIf`.
        td = replace(self.td, implicit_conversions=True) if self.what_if else self.td
        return row_conversions(self.row_records(row), td, self.generation)

    def _what_if_records(self, row: int, recorded: list[Record]) -> list[Record]:
        """The row's records as this generation would have made them."""
        steps = self._rerun.row(row, self.reach)[0].steps
        if not steps or not recorded:
            return recorded
        first = recorded[0]
        records = [first]
        for place, item in enumerate(steps):
            if place:
                records.append(Record(Kind.ANSWER, row, first.vcpu, None, item.input, KNOWN_ANSWER))
            records.append(step_record(row, first.vcpu, item.step))
        return records

    # --- a trace that grows -----------------------------------------------------------

    @property
    def open_rows(self) -> frozenset[int]:
        """Rows that had no end when they were read."""
        return frozenset(self._open)

    def grown(self) -> frozenset[int]:
        """Forget what was read of rows that had not ended; returns them.

        To be called after `trace.refresh()` brought something, on each timeline
        of the trace.
        """
        rows = frozenset(self._open)
        self._open.clear()
        for row in rows:
            self._steps.pop(row, None)
            self._summaries.pop(row, None)
        first = self._rerun.grown(rows)
        if first is not None:
            for row in [at for at in self._summaries if at >= first]:
                del self._summaries[row]
        return rows

    # --- moments ----------------------------------------------------------------------

    def moment(self, row: int, step: int = 0) -> Moment:
        """Step `step` of row `row`; both are clamped to what there is.

        Raises IndexError when the trace has no rows at all.
        """
        if not len(self):
            raise IndexError("the trace has no exits")
        row = min(max(row, 0), len(self) - 1)
        step = min(max(step, 0), self.steps(row) - 1)
        if self.what_if:
            return self._what_if_moment(row, step)
        return self._recorded_moment(row, step)

    def _recorded_moment(self, row: int, step: int) -> Moment:
        steps, more = self.recorded_row(row)
        if not steps:
            return self._damaged_moment(row)
        at = steps[step]
        known_history = self._recorded.walk_to(at.place, self.reach) and self.has_map
        computed = self._recorded.feed(at)
        shadow = self._recorded.shadow
        recorded = at.output.body if at.output is not None else None
        seen = recorded if type(recorded) is Step else None
        seen_known = at.output.known if at.output is not None else 0
        after, after_known, after_computed = registers_after(seen, seen_known, computed)
        before, before_known = _row_registers(steps)
        following = steps[step + 1].input if step + 1 < len(steps) else None
        answer = following.body if following is not None else None
        source = at.input or at.output
        body = at.input.body if at.input is not None else None
        return Moment(
            row=row,
            step=step,
            steps=len(steps),
            record=at.place,
            time=source.time if source is not None else None,
            vcpu=source.vcpu if source is not None else 0,
            td=self.td,
            input=body if isinstance(body, TdExit | Reentry) else None,
            before=before,
            before_known=before_known,
            recorded=seen,
            recorded_known=seen_known,
            computed=computed,
            after=after,
            after_known=after_known,
            after_computed=after_computed,
            answer=answer if type(answer) is Reentry else None,
            answer_known=bool(following is not None and following.known & KNOWN_ANSWER),
            gpa_map=shadow.gpa_map if known_history else None,
            changed=conversion(shadow.before, shadow.gpa_map) if known_history else None,
            differences=(
                differences(seen, seen_known, computed)
                if seen is not None and computed is not None
                else ()
            ),
            source=source.source if source is not None else 0,
            more=more,
        )

    def _damaged_moment(self, row: int) -> Moment:
        """A row of which nothing can be read."""
        return Moment(
            row, 0, 1, -1, None, 0, self.td, None, NO_REGS, 0, None, 0, None,
            NO_REGS, 0, 0, None, False, None, None,
        )  # fmt: skip

    # --- another generation -----------------------------------------------------------

    def _what_if_moment(self, row: int, step: int) -> Moment:
        (result, before_map), recorded = self._rerun.row(row, self.reach), self.recorded_steps(row)
        before_map = before_map if self.has_map else None
        plain = self._plain(recorded, row)
        if not result.steps:
            return plain._replace(gpa_map=before_map, diverged=result.diverged)
        item = result.steps[step]
        before = result.steps[step - 1].gpa_map if step else before_map
        known_history = before_map is not None
        return plain._replace(
            step=step,
            steps=len(result.steps),
            input=item.input,
            recorded=None,
            recorded_known=0,
            computed=item.step,
            after=item.step.regs,
            after_known=KNOWN_ALL,
            after_computed=KNOWN_ALL,
            answer=item.answer,
            answer_known=item.answer is not None,
            gpa_map=item.gpa_map if known_history else None,
            changed=conversion(before, item.gpa_map) if known_history and before else None,
            assumed=result.assumed,
            diverged=result.diverged,
            more=result.end is RowEnd.CUT,
        )

    def _plain(self, recorded: list[RowStep], row: int) -> Moment:
        """What the recording itself says about the row, for a moment of another generation."""
        moment = self._damaged_moment(row)
        if not recorded:
            return moment
        first = recorded[0].input or recorded[0].output
        before, before_known = _row_registers(recorded)
        return moment._replace(
            record=recorded[0].place,
            time=first.time if first is not None else None,
            vcpu=first.vcpu if first is not None else 0,
            before=before,
            before_known=before_known,
            source=first.source if first is not None else 0,
        )

    def engine_before(self, row: int) -> tuple[Engine, bool]:
        """A copy of the engine as it stood before this row; False: the history is not known."""
        steps = self.recorded_steps(row)
        engine: Engine | None = None
        if steps and self.has_map and self.what_if:
            engine = self._rerun.engine_before(row, self.reach)
        elif steps and self.has_map:
            engine = self._recorded.engine_before(steps[0].place, self.reach)
        if engine is None:
            return Engine(self.td, self.generation), False
        return engine.fork(), True

    # --- background -------------------------------------------------------------------

    def catch_up(self, count: int) -> int:
        """Read on for at most `count` records, so that history gets known; what is left.

        Leaves saved states behind and does not disturb the cursor's. Where the
        file carries checkpoints it goes from one to the next. Of another
        generation it is rows that are left, and fewer are read: a row takes as
        long as some records do.
        """
        if self.what_if:
            return self._rerun.catch_up(max(count // _RECORDS_A_ROW, 1))
        return self._recorded.catch_up(count)

    @property
    def passed(self) -> float:
        """How much of the recording `catch_up` has read, 0 to 1."""
        return self._rerun.passed if self.what_if else self._recorded.passed


def _row_registers(steps: list[RowStep]) -> tuple[Regs, int]:
    """The registers at the row's TD exit, and which of them were seen."""
    first = steps[0].input
    if first is not None and type(first.body) is TdExit:
        return first.body.regs, first.known & KNOWN_ALL
    return NO_REGS, 0
