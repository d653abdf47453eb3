"""Looks at all that a trace can be asked for, through every room that shows it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from typing import Final

from tdxdbg import report
from tdxdbg.analysis import compare_text
from tdxdbg.analysis.compare import compare
from tdxdbg.analysis.shadow import check, difference_text, summary_text
from tdxdbg.engine import GENERATIONS
from tdxdbg.engine.state import Step
from tdxdbg.filters import Filter, compile_filter
from tdxdbg.timeline import Timeline
from tdxdbg.traces import jsonl
from tdxdbg.traces.native import Trace

_ROWS: Final = 3
_COMPARED: Final = 40
_DIFFERENCES: Final = 1000
_FILTERS: Final = (
    'not (leaf == MapGPA) or gpa in 0..1G and time > 1s or message contains "x"',
    "exit == IO or status != SUCCESS or outcome == guest or retry or error",
)


def look_at(trace: Trace) -> None:
    """What the command line and the screen would ask for, and more."""
    _records(trace)
    filters = [compile_filter(text) for text in _FILTERS]
    own = Timeline(trace)
    for generation in (None, _another(own)):
        timeline = own if generation is None else own.with_generation(GENERATIONS[generation])
        for row in _some_rows(trace):
            _row(timeline, row, filters)
    done = check(trace)
    for difference in islice(done, _DIFFERENCES):
        _plain(difference_text(difference))
    _plain(summary_text(done))
    sides = [own.own_generation, GENERATIONS[_another(own)]]
    for compared in compare(trace, sides, _COMPARED):
        for line in compare_text.text_lines(compared):
            _plain(line)
        _mail(compare_text.mail_lines(compared))
        json.dumps(compare_text.json_object(compared), allow_nan=False)
    assert all("\n" not in line for line in [*trace.problems, *trace.remarks])


def _records(trace: Trace) -> None:
    count = 0
    for _, record in trace.records():
        count += 1
        if isinstance(record.body, Step) and record.body.run is not None:
            record.body.run.values()
    assert count <= trace.n_records
    assert len(trace) <= trace.n_records
    for row in _some_rows(trace):
        found = trace.row(row)
        assert all(record.row == row for _, record in found.records)
        trace.checkpoint_before(trace.first_record(row))
    for _ in jsonl.lines(trace):
        pass


def _some_rows(trace: Trace) -> list[int]:
    """The first few, the middle one and the last one."""
    rows = len(trace)
    return sorted({*range(min(rows, _ROWS)), rows // 2, rows - 1} & {*range(rows)})


def _another(timeline: Timeline) -> int:
    """The place of a generation that is not the trace's own; which one, the trace decides."""
    own = GENERATIONS.index(timeline.own_generation)
    return (own + 1 + len(timeline) % (len(GENERATIONS) - 1)) % len(GENERATIONS)


def _row(timeline: Timeline, row: int, filters: list[Filter]) -> None:
    summary = timeline.summary(row)
    for wanted in filters:
        wanted.matches(summary)
    moments = report.row_moments(timeline, row)
    assert moments
    timeline.moment(row, timeline.steps(row) - 1)
    for line in report.text_lines(summary, moments):
        _plain(line)
    if row % 2 == 0:
        # The same lines, wrapped: what takes longest here.
        _mail(report.mail_lines(summary, moments))
    json.dumps(report.json_object(summary, moments), allow_nan=False)


def _mail(lines: Sequence[str]) -> None:
    for line in lines:
        _plain(line)
        assert len(line) <= report.MAIL_WIDTH, line


def _plain(line: str) -> None:
    assert line.isascii(), line
    assert line.isprintable(), line
