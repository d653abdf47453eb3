"""`perf.data`, which perf records: read directly, without the text of perf script in between."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import BinaryIO

from tdxdbg.traces.builder import Builder
from tdxdbg.traces.native import Trace
from tdxdbg.traces.perf_data_layout import MAGIC, read_layout
from tdxdbg.traces.reader import EVERYBODY, Pids


def sniff(head: bytes) -> bool:
    """Whether a file starts like a perf.data."""
    return head.startswith((MAGIC, MAGIC[::-1]))


def read(file: BinaryIO, name: str, pids: Pids = EVERYBODY) -> Trace:
    """Joins the events of the recording into exits; raises TraceError when there are none."""
    layout = read_layout(file, name)
    from tdxdbg.traces.binary import AnyJoiner, Importer, metadata, quickly
    from tdxdbg.traces.perf_data_events import Events

    def attempt(join: Callable[[Builder], AnyJoiner]) -> Trace:
        meta = metadata("perf", layout.kernel)
        with Builder(meta, name) as builder, closing(join(builder)) as joiner:
            importer = Importer(builder, joiner, pids, "perf")
            for problem in layout.problems:
                importer.note_problem(problem)
            events = Events(file, name, layout, importer)
            importer.tasks = events.tasks
            for block in events.blocks():
                importer.add(block)
            return importer.finish(name)

    return quickly(attempt)
