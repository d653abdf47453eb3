"""KVM's events as columns, for recordings that are read many events at a time.

`Block` is a stretch of a recording in its order: an entry is an event of a
kind that says something of an exit, or LOST. What `a` to `e` mean depends on
the kind, see `event`. This module imports numpy, and is imported by importers
when they are asked to read something.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tdxdbg.traces.join import At, Joiner
from tdxdbg.traces.kvm_text import (
    Entry,
    Event,
    Exit,
    Hypercall,
    Instruction,
    Mmio,
    Msr,
    PageFault,
    Pio,
    UserspaceExit,
)
from tdxdbg.traces.layout import NO_TIME

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

# Kinds. The first ones change what a thread is doing, the others only tell more.
EXIT: Final = 1
ENTRY: Final = 2
USERSPACE_EXIT: Final = 3
PIO: Final = 4
MMIO: Final = 5
INSTRUCTION: Final = 6
MSR: Final = 7
HYPERCALL: Final = 8
PAGE_FAULT: Final = 9
LOST: Final = 10

#: A number that an event does not tell: a vCPU, an exit reason.
NONE: Final = (1 << 64) - 1
#: Times that do not fit the format's signed neighbours are left out, as in text.
TIME_LIMIT: Final = 1 << 63
#: kvm_mmio's `type`, in the kernel's numbers.
MMIO_KINDS: Final = ("unsatisfied-read", "read", "write")
MMIO_READ: Final = 1
MMIO_WRITE: Final = 2


class Block(NamedTuple):
    """Events in order. `time` in ns or NO_TIME; `source` is an offset or a line."""

    kind: npt.NDArray[np.uint8]
    thread: I64
    time: U64
    source: U64
    a: U64
    b: U64
    c: U64
    d: U64
    e: U64

    def take(self, which: npt.NDArray[np.generic] | slice) -> Block:
        """These entries."""
        return Block._make(column[which] for column in self)


def empty() -> Block:
    """No events."""
    numbers = (np.empty(0, np.uint64) for _ in range(7))
    return Block(np.empty(0, np.uint8), np.empty(0, np.int64), *numbers)


def losses(time: U64, source: U64, count: U64) -> Block:
    """So many events were lost at each of these places; 0: nobody knows how many."""
    zero = np.zeros(len(count), np.uint64)
    kind, thread = np.full(len(count), LOST, np.uint8), np.full(len(count), -1, np.int64)
    return Block(kind, thread, time, source, count, zero, zero, zero, zero)


def concatenate(blocks: list[Block]) -> Block:
    """Blocks one behind another."""
    if len(blocks) == 1:
        return blocks[0]
    return Block._make(np.concatenate(columns) for columns in zip(*blocks, strict=True))


def event(kind: int, a: int, b: int, c: int, d: int, e: int) -> Event:
    """The same as text gives it; KeyError for LOST."""
    return _EVENTS[kind](a, b, c, d, e)


def _known(value: int) -> int | None:
    return None if value == NONE else value


_EVENTS: Final[dict[int, Callable[[int, int, int, int, int], Event]]] = {
    # reason, info1, info2, intr_info, vcpu
    EXIT: lambda a, b, c, d, e: Exit(_known(e), _known(a), b, c, d),
    # vcpu
    ENTRY: lambda a, b, c, d, e: Entry(_known(e)),
    # reason, errno
    USERSPACE_EXIT: lambda a, b, c, d, e: UserspaceExit(a, b),
    # write, port, size, elements, value
    PIO: lambda a, b, c, d, e: Pio(bool(a), b, c, d, e),
    # kind, GPA, size, -, value
    MMIO: lambda a, b, c, d, e: Mmio(MMIO_KINDS[a], c, b, e),
    # write, number, -, -, value
    MSR: lambda a, b, c, d, e: Msr(bool(a), b, e),
    # nr, a0 to a3
    HYPERCALL: lambda a, b, c, d, e: Hypercall(a, (b, c, d, e)),
    # -, address
    PAGE_FAULT: lambda a, b, c, d, e: PageFault(b),
    INSTRUCTION: lambda a, b, c, d, e: Instruction(),
}


class BlockJoiner(Joiner):
    """Joins blocks event by event: what decides where ways to do it quicker disagree."""

    def feed_block(self, block: Block) -> list[int]:
        """Many events; returns the sources of those that it refuses."""
        refused = []
        rows = zip(*(column.tolist() for column in block), strict=True)
        for kind, thread, time, source, *numbers in rows:
            if kind == LOST:
                self.lost()
                continue
            at = At(thread, None if time == NO_TIME else time, source)
            try:
                self.feed(at, event(kind, *numbers))
            except ValueError:
                refused.append(source)
        return refused
