"""A row's records as steps: an input, and the record of what it did."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import Kind, Record

#: How far the outcome of an answer is looked for: records of other vCPUs lie between.
_LOOK_AHEAD: Final = 64


class RowStep(NamedTuple):
    """Places in the journal of an input and its outcome; None: the recording has none."""

    place: int
    input: Record | None
    output: Record | None


def row_steps(records: Iterable[tuple[int, Record]]) -> list[RowStep]:
    """The steps of one row, in journal order. Damaged rows give what is there."""
    steps: list[RowStep] = []
    waiting: tuple[int, Record] | None = None
    for index, record in records:
        if record.kind in (Kind.TD_EXIT, Kind.ANSWER):
            if waiting is not None:
                steps.append(RowStep(waiting[0], waiting[1], None))
            waiting = (index, record)
        elif record.kind in (Kind.USERSPACE_EXIT, Kind.TD_ENTRY):
            if waiting is not None:
                steps.append(RowStep(waiting[0], waiting[1], record))
                waiting = None
            else:
                steps.append(RowStep(index, None, record))
    if waiting is not None:
        steps.append(RowStep(waiting[0], waiting[1], None))
    return steps


def read_row(trace: Trace, row: int) -> tuple[list[RowStep], bool]:
    """The steps of a row, and whether it has more than are read."""
    records, cut = trace.row(row)
    return row_steps(records), cut


def has_ended(steps: list[RowStep]) -> bool:
    """Whether the TD was entered again, so that nothing more can come."""
    output = steps[-1].output if steps else None
    return output is not None and output.kind is Kind.TD_ENTRY


def output_of(trace: Trace, place: int, answer: Record) -> Record | None:
    """What the kernel did after this answer, for what the answer does not say itself."""
    for _, record in trace.records(place + 1, place + 1 + _LOOK_AHEAD):
        if record.row == answer.row and record.kind in (Kind.USERSPACE_EXIT, Kind.TD_ENTRY):
            return record
    return None
