"""Sample traces for the tests of what runs over whole traces."""

from __future__ import annotations

from collections.abc import Iterable

from tdxdbg.resources import samples_dir
from tdxdbg.traces import open_trace
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import Record, TraceMeta

NAMES = sorted(path.stem for path in samples_dir().glob("*.tdxt"))


def load(name: str) -> tuple[TraceMeta, list[Record]]:
    """The metadata and the records of a sample."""
    with open_trace(samples_dir() / f"{name}.tdxt") as trace:
        return trace.meta, [record for _, record in trace.records()]


def rebuilt(meta: TraceMeta, records: Iterable[Record]) -> Trace:
    """A trace of these records; rows are numbered anew, in order."""
    rows: dict[int, int] = {}
    numbered = [record._replace(row=rows.setdefault(record.row, len(rows))) for record in records]
    return Trace.from_records(meta, numbered)
