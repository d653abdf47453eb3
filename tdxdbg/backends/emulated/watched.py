"""Which bytes of the RAM are watched for writes, and the news that one comes next.

The CPU's own writes are seen by `stops`; whoever writes for it from Python (the
frame of an exception, the TDX module) asks `check` before anything changes.
"""

from __future__ import annotations

from collections.abc import Iterable


class WatchedError(Exception):
    """A write to watched memory comes next, and nothing of it is done.

    `offset` in the RAM buffer and `size` of the write, in bytes; `linear`: its
    linear address, -1 where that is not known here; `who`: who writes, for a
    person, empty for the instruction at RIP.
    """

    def __init__(self, offset: int, size: int, linear: int = -1, who: str = "") -> None:
        super().__init__(offset, size, linear, who)
        self.offset = offset
        self.size = size
        self.linear = linear
        self.who = who


class Watched:
    """Ranges of the RAM buffer; `passing`: a write that comes now was announced before."""

    __slots__ = ("passing", "ranges")

    def __init__(self) -> None:
        #: (start, end) in bytes; in order, and they touch nowhere.
        self.ranges: tuple[tuple[int, int], ...] = ()
        self.passing = False

    def replace(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Watch these (start, end) and nothing else."""
        merged: list[tuple[int, int]] = []
        for start, end in sorted(ranges):
            if merged and start <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(end, merged[-1][1])
            else:
                merged.append((start, end))
        self.ranges = tuple(merged)

    def touches(self, offset: int, size: int) -> bool:
        """Whether a write of `size` bytes at `offset` changes a watched byte."""
        end = offset + size
        return any(offset < high and low < end for low, high in self.ranges)

    def check(self, offset: int, size: int, who: str, linear: int = -1) -> None:
        """Raise WatchedError before a write, unless it was announced."""
        if self.ranges and not self.passing and self.touches(offset, size):
            raise WatchedError(offset, size, linear, who)
