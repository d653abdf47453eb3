"""What the importers of binary recordings share: events in, a trace out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from tdxdbg.errors import TraceError
from tdxdbg.traces import columns
from tdxdbg.traces.builder import Builder
from tdxdbg.traces.column_feed import ColumnFeed
from tdxdbg.traces.column_work import OddEventError
from tdxdbg.traces.columns import I64, Block, BlockJoiner, Mask
from tdxdbg.traces.event_columns import Columns, Found, Raw
from tdxdbg.traces.native import Trace
from tdxdbg.traces.reader import Pids, Reader, metadata
from tdxdbg.traces.unread import EVENTS

#: Trace clocks that count nanoseconds (Documentation/trace/ftrace.rst).
_NS_CLOCKS: Final = frozenset({"", "local", "global", "perf", "mono", "mono_raw", "boot", "tai"})
_REMEDY: Final = "record kvm:kvm_userspace_exit or kvm:kvm_exit, best all of kvm"

AnyJoiner = ColumnFeed | BlockJoiner


def counts_ns(clock: str) -> bool:
    """Whether times of this clock are in ns."""
    return clock in _NS_CLOCKS


class Importer(Reader):
    """Joins blocks of events into a trace, and keeps account of what is not used."""

    unit = EVENTS
    #: What threads are called, as far as the recording tells.
    tasks: Mapping[int, bytes] = MappingProxyType({})

    def __init__(self, joiner: AnyJoiner, pids: Pids) -> None:
        super().__init__(joiner, pids, _REMEDY)
        self._blocks = joiner
        self._wanted = np.array(sorted(self._pids), np.int64)

    def look_at(self, columns: Columns, raw: Raw, process: I64 | None = None) -> Found:
        """What raw events say, of the wanted threads or, where these are told, processes."""
        found = self._wanted_of(columns, raw, process)
        for number, count in found.unused.items():
            self.unused(columns.name(number).encode(), count)
        return found

    def _wanted_of(self, columns: Columns, raw: Raw, process: I64 | None) -> Found:
        if not self.selective:
            return columns.block(raw)
        wanted: Mask = np.isin(columns.threads(raw), self._wanted)
        if process is not None:
            wanted |= np.isin(process, self._wanted)
        which = np.flatnonzero(wanted)
        self.left_out += len(wanted) - len(which)
        found = columns.block(raw.take(which))
        bad = np.zeros(len(wanted), np.bool_)
        bad[which] = found.bad
        return found._replace(where=which[found.where], bad=bad)

    def add(self, block: Block) -> None:
        """The next events."""
        for count in block.a[block.kind == columns.LOST].tolist():
            self._losses += 1
            self._lost += count
        for source in self._blocks.feed_block(block):
            self.unread.add(source, "more threads than vCPU numbers")
        self._fed += len(block.kind)

    def bad_event(self, source: int, size: int) -> None:
        """An event that says what none can."""
        self._garbled += 1
        self.unread.add(source, f"{size} bytes")

    def nothing(self) -> str:
        why = "".join(f"; {line}" for line in [*self._problems][:1])
        return f"{super().nothing()}{why}"

    def finish(self) -> None:
        """No more events come."""
        self._joiner.finish()
        for thread in self._joiner.vcpus():
            self.name_thread(thread, self.tasks.get(thread))


class Recording(NamedTuple):
    """A file to be read: its name for messages, the tool, the kernel, and whose events."""

    name: str
    source: str
    kernel: str
    pids: Pids


def read_blocks(recording: Recording, blocks: Callable[[Importer], Iterator[Block]]) -> Trace:
    """Joins events into exits; raises TraceError when there are none.

    `blocks` reads the events, and may be asked a second time, for them to be
    joined one by one where the quick way does not do.
    """
    try:
        return _read_blocks(recording, blocks, ColumnFeed)
    except OddEventError:
        return _read_blocks(recording, blocks, BlockJoiner)


def _read_blocks(
    recording: Recording,
    blocks: Callable[[Importer], Iterator[Block]],
    join: Callable[[Builder], AnyJoiner],
) -> Trace:
    name, source, kernel, pids = recording
    meta = metadata(source, kernel, "exits to userspace as the kernel traced them")
    with Builder(meta, name) as builder, closing(join(builder)) as joiner:
        importer = Importer(joiner, pids)
        for block in blocks(importer):
            importer.add(block)
        importer.finish()
        if not builder.rows:
            raise TraceError(f"{name}: {importer.nothing()}")
        trace = builder.finish(importer.problems())
    importer.tell(trace, source, importer.events)
    return trace
