"""The shadow check: where the recorded kernel and the engine differ.

The engine runs beside the recording, record by record, and what it says to
each input is compared with what the recording says that KVM did, in what the
recording knows. One pass in journal order; memory does not depend on the
length of the trace. Where the recording has a gap the vCPU's steps are left
out until its next TD exit, which puts the engine back into step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from tdxdbg.decode.text import Safe, safe
from tdxdbg.decode.values import UNKNOWN, hexa
from tdxdbg.engine import BY_NAME, Generation, Step
from tdxdbg.engine.generations import NEWEST
from tdxdbg.timeline.moment import differences
from tdxdbg.timeline.rows import output_of
from tdxdbg.timeline.shadow import Shadow
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import KNOWN_HAS_EVENTS, Kind, Record

#: Records done and records in all.
Progress = Callable[[int, int], None]

_REPORT_EVERY: Final = 4096
_INPUTS: Final = (Kind.TD_EXIT, Kind.ANSWER)


class RecordedDifference(NamedTuple):
    """A field in which the recorded kernel and the engine differ.

    `step` counts the inputs of row `row` from 0; `record` is the place in the
    journal where the recording says it; `source` the line or offset in the
    file that it was imported from, 0 for none. None: not there at all.
    """

    row: int
    step: int
    vcpu: int
    record: int
    source: int
    field: str
    recorded: int | str | None
    computed: int | str | None


class _Pending(NamedTuple):
    """An input of a vCPU whose outcome has not come yet."""

    row: int
    step: int
    computed: Step | None


class Check:
    """Iterate over it for the differences; the counts are true so far.

    `compared` are the steps that were compared, `left_out` those whose input
    or outcome the recording does not know well enough; `differing` the steps
    with a difference. Stop iterating to stop the work.
    """

    def __init__(
        self, trace: Trace, generation: Generation | None = None, progress: Progress | None = None
    ) -> None:
        """`generation` None: the trace's own, else the newest."""
        self.trace = trace
        self.generation = generation or BY_NAME.get(trace.meta.generation, NEWEST)
        self.compared = 0
        self.left_out = 0
        self.differing = 0
        self._progress = progress
        self._shadow = Shadow(trace.meta.td, self.generation)
        self._pending: dict[int, _Pending] = {}

    def __iter__(self) -> Iterator[RecordedDifference]:
        total = self.trace.n_records
        for place, record in self.trace.records():
            if self._progress is not None and place % _REPORT_EVERY == 0:
                self._progress(place, total)
            kind = record.kind
            if kind in _INPUTS:
                self._input(place, record)
            elif kind in (Kind.MEMORY_ATTRIBUTES, Kind.CHECKPOINT):
                self._shadow.feed(record)
            else:
                yield from self._outcome(place, record)
        if self._progress is not None:
            self._progress(total, total)

    def _input(self, place: int, record: Record) -> None:
        vcpu = record.vcpu
        before = self._pending.get(vcpu)
        step = 0
        if before is not None and before.row == record.row:
            step = before.step + 1
        elif record.kind == Kind.ANSWER:
            # The row began before the recording did, or its start is damaged.
            self._shadow.lost.add(vcpu)
        output = None
        if record.kind == Kind.ANSWER and not record.known & KNOWN_HAS_EVENTS:
            output = output_of(self.trace, place, record)
        self._pending[vcpu] = _Pending(record.row, step, self._shadow.feed(record, output))

    def _outcome(self, place: int, record: Record) -> Iterator[RecordedDifference]:
        self._shadow.feed(record)
        vcpu, recorded = record.vcpu, record.body
        pending = self._pending.get(vcpu)
        if not isinstance(recorded, Step):
            return
        if pending is None or pending.row != record.row:
            # Nobody saw the input; what the engine believes of this vCPU is void.
            self._shadow.lost.add(vcpu)
            self._pending[vcpu] = _Pending(record.row, 0, None)
            self.left_out += 1
            return
        self._pending[vcpu] = pending._replace(computed=None)
        if pending.computed is None:
            self.left_out += 1
            # Two outcomes without an input between them: an input is missing.
            self._shadow.lost.add(vcpu)
            return
        self.compared += 1
        found = differences(recorded, record.known, pending.computed)
        self.differing += bool(found)
        for item in found:
            yield RecordedDifference(record.row, pending.step, vcpu, place, record.source, *item)


def check(
    trace: Trace, generation: Generation | None = None, progress: Progress | None = None
) -> Check:
    """The shadow check of a trace under its own generation or another one.

    `progress` gets records done and in all, every few thousand records.
    """
    return Check(trace, generation, progress)


def difference_text(difference: RecordedDifference) -> Safe:
    """One line: `row 3 step 1 vCPU 0, record 14: hypercall.ret: recorded 0x0, engine 0x10`."""
    line = f", line {difference.source}" if difference.source else ""
    return safe(
        f"row {difference.row} step {difference.step} vCPU {difference.vcpu},"
        f" record {difference.record}{line}: {difference.field}:"
        f" recorded {_value(difference.recorded)}, engine {_value(difference.computed)}"
    )


def _value(value: int | str | None) -> str:
    if value is None:
        return UNKNOWN
    return hexa(value) if isinstance(value, int) else value


def summary_text(done: Check) -> Safe:
    """What was compared and what came out, in one line."""
    left_out = f", {done.left_out} not known well enough to compare" if done.left_out else ""
    verdict = f"{done.differing} differ" if done.differing else "no difference"
    return safe(
        f"{len(done.trace)} rows, {done.compared} steps compared with {done.generation.name}:"
        f" {verdict}{left_out}"
    )
