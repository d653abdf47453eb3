"""`trace.dat`, which trace-cmd records: read directly, without its text in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from tdxdbg.errors import TraceError
from tdxdbg.traces.native import Trace
from tdxdbg.traces.reader import EVERYBODY, Pids
from tdxdbg.traces.trace_dat_layout import MAGIC, Buffer, Layout, read_layout

if TYPE_CHECKING:
    from tdxdbg.traces.columns import Block


def sniff(head: bytes) -> bool:
    """Whether a file starts like a trace.dat."""
    return head.startswith(MAGIC)


def read(file: BinaryIO, name: str, pids: Pids = EVERYBODY) -> Trace:
    """Joins the events of the recording into exits; raises TraceError when there are none.

    Of several trace instances one is read: the main one, or the largest that
    has exits.
    """
    layout = read_layout(file, name)
    failure = TraceError(f"{name}: has no pages of any CPU; record with trace-cmd record -e kvm")
    for buffer in _in_order(layout):
        try:
            return _read(file, name, layout, buffer, pids)
        except TraceError as problem:
            failure = problem
    unread = [buffer.name for buffer in layout.buffers if not buffer.page_size]
    if unread:
        raise TraceError(
            f"{failure}; its trace instances can be read after trace-cmd convert --file-version 7"
        )
    raise failure


def _in_order(layout: Layout) -> list[Buffer]:
    readable = [buffer for buffer in layout.buffers if buffer.streams]
    return sorted(readable, key=lambda item: (item.name != "", -item.size))


def _read(file: BinaryIO, name: str, layout: Layout, buffer: Buffer, pids: Pids) -> Trace:
    from tdxdbg.traces.binary import Importer, Recording, read_blocks
    from tdxdbg.traces.trace_dat_events import Events

    def blocks(importer: Importer) -> Iterator[Block]:
        importer.tasks = layout.tasks
        yield from Events(file, name, layout, buffer, importer).blocks()
        if len(layout.buffers) > 1:
            importer.note(f"trace instances left out: {len(layout.buffers) - 1}")

    return read_blocks(Recording(name, "trace-cmd", layout.kernel, pids), blocks)
