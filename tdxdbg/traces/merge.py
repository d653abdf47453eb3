"""Events of several CPUs in one order: by time, each CPU's own order kept.

Each CPU's events come in pieces. What is older than the newest event of every
CPU of which more is to come can be given out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import numpy as np

from tdxdbg.traces import columns
from tdxdbg.traces.columns import U64, Block

#: So many events are worth giving out at once.
WANTED: Final = 1 << 17


class Piece:
    """Events of one CPU that wait, with the times they are sorted by, which never fall."""

    __slots__ = ("block", "ended", "newest", "times")

    def __init__(self) -> None:
        self.block: Block = columns.empty()
        self.times: U64 = np.empty(0, np.uint64)
        #: The newest time that was seen.
        self.newest = np.uint64(0)
        self.ended = False

    def add(self, block: Block, times: U64) -> None:
        """More events, in the CPU's order; `times` are made not to fall."""
        if not len(times):
            return
        rising = np.maximum(np.maximum.accumulate(times), self.newest)
        self.newest = rising[-1]
        self.block = columns.concatenate([self.block, block]) if len(self.times) else block
        self.times = np.concatenate([self.times, rising]) if len(self.times) else rising

    def split(self, at: int) -> tuple[Block, U64]:
        """Takes the first `at` events away."""
        block, times = self.block.take(slice(at)), self.times[:at]
        self.block, self.times = self.block.take(slice(at, None)), self.times[at:]
        return block, times


class Source(Protocol):
    """Where pieces are filled from."""

    def fill(self, which: Sequence[int]) -> None:
        """Adds more events to these pieces, or marks them ended."""


def merged(pieces: Sequence[Piece], source: Source) -> Iterator[Block]:
    """All events in order, in blocks."""
    source.fill(range(len(pieces)))
    while True:
        going = [number for number, piece in enumerate(pieces) if not piece.ended]
        if not going:
            yield from _out(pieces, [len(piece.times) for piece in pieces])
            return
        bound = min(pieces[number].newest for number in going)
        counts = [int(np.searchsorted(piece.times, bound)) for piece in pieces]
        waiting = sum(len(piece.times) for piece in pieces)
        if not sum(counts) and waiting > 2 * WANTED:
            # One time for all of them: no other order is better.
            counts = [int(np.searchsorted(piece.times, bound, "right")) for piece in pieces]
        yield from _out(pieces, counts)
        source.fill(
            [
                number
                for number in going
                if pieces[number].newest <= bound or _is_low(pieces[number])
            ]
        )


def _is_low(piece: Piece) -> bool:
    return len(piece.times) < WANTED // 64


def _out(pieces: Sequence[Piece], counts: Sequence[int]) -> Iterator[Block]:
    if not sum(counts):
        return
    taken = [piece.split(count) for piece, count in zip(pieces, counts, strict=True) if count]
    block = columns.concatenate([block for block, _ in taken])
    if len(taken) > 1:
        order = np.argsort(np.concatenate([times for _, times in taken]), kind="stable")
        block = block.take(order)
    yield block
