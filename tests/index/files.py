"""Traces in files, as a screen opens them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tdxdbg.engine import Generation
from tdxdbg.traces.meta import TraceMeta
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import Record
from tests.index.journals import calls


def write_trace(path: Path, rows: int, generation: Generation, vcpus: int = 3) -> Path:
    return write_records(path, calls(rows, vcpus, generation), generation)


def write_records(path: Path, records: Sequence[Record], generation: Generation) -> Path:
    meta = TraceMeta(generation=generation.name, origin="synthetic")
    path.write_bytes(Trace.from_records(meta, records).data())
    return path
