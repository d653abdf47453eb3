"""The exits that are exported, one after the other, with what is known of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tdxdbg.decode.summary import summarise
from tdxdbg.export.columns import Exit
from tdxdbg.export.job import Job
from tdxdbg.export.reading import rows_of
from tdxdbg.export.redaction import Redaction
from tdxdbg.export.selection import selected
from tdxdbg.timeline import Timeline
from tdxdbg.traces.records import Record

#: Exits between two words of progress.
_OFTEN: Final = 256

_Row = tuple[int, list[Record], tuple[bool, bool | None, bool | None]]


def exits(job: Job) -> Iterator[Exit]:
    """The selected exits in order; memory does not depend on how many there are."""
    td, progress = job.timeline.td, job.progress
    redaction = None if job.level is None else Redaction(job.level)
    done = 0

    def looked(row: int) -> None:
        if progress is not None:
            progress(row, done)

    wanted = selected(job.timeline, job.selection, looked)
    rows = _computed if job.timeline.what_if else _recorded
    for row, records, extra in rows(job.timeline, wanted):
        if done % _OFTEN == 0:
            looked(row)
        done += 1
        shown = records if redaction is None else redaction.row(records)
        yield Exit(summarise(row, shown, td), shown, *extra)


def _recorded(timeline: Timeline, wanted: Iterator[int]) -> Iterator[_Row]:
    extra = False, None, None
    return ((row, records, extra) for row, records in rows_of(timeline.trace, wanted))


def _computed(timeline: Timeline, wanted: Iterator[int]) -> Iterator[_Row]:
    for row in wanted:
        moment = timeline.moment(row)
        yield row, timeline.row_records(row), (True, moment.assumed, moment.diverged)
