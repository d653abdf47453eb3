"""`perf.data`, which perf records: read directly, without the text of perf script in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from tdxdbg.traces.native import Trace
from tdxdbg.traces.perf_data_layout import MAGIC, read_layout
from tdxdbg.traces.reader import EVERYBODY, Pids

if TYPE_CHECKING:
    from tdxdbg.traces.columns import Block


def sniff(head: bytes) -> bool:
    """Whether a file starts like a perf.data."""
    return head.startswith((MAGIC, MAGIC[::-1]))


def read(file: BinaryIO, name: str, pids: Pids = EVERYBODY) -> Trace:
    """Joins the events of the recording into exits; raises TraceError when there are none."""
    layout = read_layout(file, name)
    from tdxdbg.traces.binary import Importer, Recording, read_blocks
    from tdxdbg.traces.perf_data_events import Events

    def blocks(importer: Importer) -> Iterator[Block]:
        for problem in layout.problems:
            importer.note_problem(problem)
        events = Events(file, name, layout, importer)
        importer.tasks = events.tasks
        yield from events.blocks()

    return read_blocks(Recording(name, "perf", layout.kernel, pids), blocks)
