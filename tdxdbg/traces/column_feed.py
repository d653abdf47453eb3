"""Gives events to a `ColumnJoiner`: in blocks or one by one, in large pieces, beside the reading.

From the second piece on a thread joins them, while the next ones are read:
numpy leaves the interpreter to others while it computes. This module imports
numpy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from queue import Queue
from threading import Thread
from typing import Any, Final

import numpy as np

from tdxdbg.traces import columns, kvm_text
from tdxdbg.traces.builder import Builder
from tdxdbg.traces.column_join import ColumnJoiner
from tdxdbg.traces.column_work import OddEventError
from tdxdbg.traces.columns import NONE, Block
from tdxdbg.traces.join import At
from tdxdbg.traces.layout import NO_TIME
from tdxdbg.traces.probes import Event

#: So many events are joined at once.
AT_ONCE: Final = 1 << 15
#: How many pieces may wait for the thread.
_WAITING: Final = 2
_MMIO: Final = {kind: number for number, kind in enumerate(columns.MMIO_KINDS)}


def _number(value: int | None) -> int:
    return NONE if value is None else value


#: The kind of an event, and its numbers as `columns.event` takes them.
ROWS: Final[dict[type[Event], Callable[[Any], tuple[int, ...]]]] = {
    kvm_text.Exit: lambda event: (
        columns.EXIT, _number(event.reason), event.info1, event.info2, event.intr_info,
        _number(event.vcpu),
    ),
    kvm_text.Entry: lambda event: (columns.ENTRY, 0, 0, 0, 0, _number(event.vcpu)),
    kvm_text.UserspaceExit: lambda event: (columns.USERSPACE_EXIT, *event, 0, 0, 0),
    kvm_text.Pio: lambda event: (columns.PIO, int(event.write), *event[1:]),
    kvm_text.Mmio: lambda event: (
        columns.MMIO, _MMIO[event.kind], event.gpa, event.size, 0, event.value,
    ),
    kvm_text.Msr: lambda event: (columns.MSR, int(event.write), event.number, 0, 0, event.value),
    kvm_text.Hypercall: lambda event: (columns.HYPERCALL, event.number, *event.args),
    kvm_text.PageFault: lambda event: (columns.PAGE_FAULT, 0, event.address, 0, 0, 0),
    kvm_text.Instruction: lambda event: (columns.INSTRUCTION, 0, 0, 0, 0, 0),
}  # fmt: skip


class ColumnFeed:
    """An EventJoiner; `close` has to be called in the end."""

    def __init__(self, builder: Builder) -> None:
        self._joiner = ColumnJoiner(builder)
        self.unused: Counter[str] = self._joiner.unused
        #: Events that wait for more: blocks, and behind them single ones.
        self._blocks: list[Block] = []
        self._count = 0
        self._single: list[tuple[int, ...]] = []
        self._pieces: Queue[Block | None] = Queue(_WAITING)
        self._thread: Thread | None = None
        self._failure: BaseException | None = None

    def vcpus(self) -> dict[int, int]:
        """The number of the vCPU that each thread is."""
        return self._joiner.vcpus()

    def feed_block(self, block: Block) -> list[int]:
        """Many events, none of which it refuses; raises OddEventError."""
        if self._single:
            self._gather()
        if len(block.kind):
            self._blocks.append(block)
            self._count += len(block.kind)
            if self._count >= AT_ONCE:
                self._hand_over()
        return []

    def feed(self, at: At, event: Event) -> None:
        """One event; raises OddEventError."""
        make = ROWS.get(type(event))
        if make is None:
            raise OddEventError
        self._wait(at.thread, at.time, at.line, make(event))

    def lost(self) -> None:
        """Events were lost here."""
        self._wait(-1, None, 0, (columns.LOST, 0, 0, 0, 0, 0))

    def finish(self) -> None:
        """No more events come; raises OddEventError."""
        self._hand_over()
        self.close()
        if self._failure is not None:
            raise self._failure
        self._joiner.finish()

    def close(self) -> None:
        """Ends the thread."""
        if self._thread is not None:
            self._pieces.put(None)
            self._thread.join()
            self._thread = None

    def _wait(self, thread: int, time: int | None, source: int, numbers: tuple[int, ...]) -> None:
        self._single.append((thread, NO_TIME if time is None else time, source, *numbers))
        if len(self._single) + self._count >= AT_ONCE:
            self._hand_over()

    def _gather(self) -> None:
        """Makes a block of the single events."""
        single, self._single = self._single, []
        thread, time, source, kind, *numbers = zip(*single, strict=True)
        self._blocks.append(
            Block(
                np.array(kind, np.uint8),
                np.array(thread, np.int64),
                *(np.array(column, np.uint64) for column in (time, source, *numbers)),
            )
        )
        self._count += len(single)

    def _hand_over(self) -> None:
        if self._single:
            self._gather()
        blocks, self._blocks, self._count = self._blocks, [], 0
        if not blocks:
            return
        piece = columns.concatenate(blocks)
        if self._thread is None and len(piece.kind) < AT_ONCE:
            # All of a small recording.
            self._joiner.join(piece)
            return
        if self._thread is None:
            self._thread = Thread(target=self._run, daemon=True)
            self._thread.start()
        self._pieces.put(piece)
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while (piece := self._pieces.get()) is not None:
            if self._failure is not None:
                continue
            try:
                self._joiner.join(piece)
            except BaseException as problem:
                self._failure = problem
