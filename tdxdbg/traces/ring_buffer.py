"""Pages of the kernel's ring buffer, many of them at once.

A page starts with its time and the length of its events, and then has them one
behind another. An event's head is 32 bits: 5 of its type or length, and 27 of
the time since the one before. Facts: include/linux/ring_buffer.h, and
kernel/trace/ring_buffer.c (rb_event_length, rb_update_read_stamp).

Where the next event lies is known only when the head of this one is, so the
first events of all pages are looked at together, then the second ones, and so
on. This module imports numpy.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tdxdbg.traces.columns import I64, U64
from tdxdbg.traces.event_columns import Bytes, gather
from tdxdbg.traces.event_format import PageLayout

_DATA_MAX: Final = 28
_PADDING: Final = 29
_TIME_EXTEND: Final = 30
_TIME_STAMP: Final = 31
_DELTA_SHIFT: Final = 5
_EXTEND_SHIFT: Final = 27
#: An absolute stamp has 59 bits; those above are the ones of the time before it.
_STAMP_MASK: Final = (1 << 59) - 1

#: The page's length field: what was lost before the page, and whether its number is there.
_COMMIT: Final = (1 << 27) - 1
_MISSED_EVENTS: Final = 1 << 31
_MISSED_STORED: Final = 1 << 30


class Decoded(NamedTuple):
    """Events of pages, in the order of the pages and in each of its events.

    `at` is where an event's bytes lie among those of the pages, `time` its
    time; `start` is the time of each page. `damaged` are the pages whose events
    do not end where they should; `lost` the pages before which events are
    missing, with their numbers, 0 where it was not recorded.
    """

    page: I64
    at: I64
    length: I64
    time: U64
    start: U64
    damaged: I64
    lost: dict[int, int]


def decode(data: Bytes, page_size: int, layout: PageLayout) -> Decoded:
    """The events of pages that lie one behind another in `data`, in whole pages."""
    count = len(data) // page_size
    start = np.arange(count, dtype=np.int64) * page_size
    time = gather(data, start + layout.timestamp, 8)
    commit = gather(data, start + layout.commit, layout.commit_size).view(np.int64)
    length = commit & _COMMIT
    room = page_size - layout.data
    damaged = length > room
    end = start + layout.data + np.minimum(length, room) // 4 * 4
    words = data.view("<u4")
    walk = _Walk(words, start + layout.data, end, time, damaged)
    while len(walk.page):
        walk.step()
    return walk.finish(_lost(data, page_size, start + layout.data, commit, layout))


def _lost(
    data: Bytes, page_size: int, start: I64, commit: I64, layout: PageLayout
) -> dict[int, int]:
    lost = {}
    for page in np.flatnonzero(commit & _MISSED_EVENTS).tolist():
        flags = int(commit[page])
        at = int(start[page]) + (flags & _COMMIT)
        size = layout.commit_size
        stored = flags & _MISSED_STORED and at + size <= (page + 1) * page_size
        lost[page] = int.from_bytes(data[at : at + size].tobytes(), "little") if stored else 0
    return lost


class _Events(NamedTuple):
    page: I64
    at: I64
    length: I64
    time: U64


class _Walk:
    """One event of each page that still has some, a step."""

    def __init__(
        self,
        words: npt.NDArray[np.uint32],
        at: I64,
        end: I64,
        time: U64,
        damaged: npt.NDArray[np.bool_],
    ) -> None:
        self._words = words
        self._damaged = damaged
        self._found: list[_Events] = []
        self._pages = len(at)
        self.page: I64 = np.arange(len(at), dtype=np.int64)
        self._at, self._end, self._time, self._start = at, end, time, time
        self._keep(at < end)

    def step(self) -> None:
        words, at = self._words, self._at >> 2
        head = words[at]
        kind = (head & np.uint32(31)).astype(np.int64)
        delta = (head >> np.uint32(_DELTA_SHIFT)).astype(np.uint64)
        # What follows the head; at the very end of everything there is nothing.
        more = words[np.minimum(at + 1, len(words) - 1)].astype(np.int64)
        length = kind << 2
        skip = np.full(len(at), 4, np.int64)
        special = np.flatnonzero((kind == 0) | (kind > _DATA_MAX))
        if len(special):
            self._special(special, kind, delta, more, length, skip)
        self._time = time = self._time_after(kind, delta)
        begin = self._at + skip
        next_at = begin + length
        ended = (kind == _PADDING) & (delta == 0)
        fits = (next_at <= self._end) & (length >= 0)
        self._damaged[self.page[~fits & ~ended]] = True
        data = (kind <= _DATA_MAX) & fits
        if data.all():
            self._found.append(_Events(self.page, begin, length, time))
        else:
            some = (self.page[data], begin[data], length[data], time[data])
            self._found.append(_Events(*some))
        self._at = next_at
        self._keep(fits & ~ended & (next_at < self._end))

    def _special(
        self, which: I64, kind: I64, delta: U64, more: I64, length: I64, skip: I64
    ) -> None:
        """Heads with a word behind them: longer events, padding, times."""
        kinds, words = kind[which], more[which]
        long = which[kinds == 0]
        skip[long] = 8
        # The number counts itself.
        length[long] = (more[long] - 4 + 3) & ~3
        padding = which[kinds == _PADDING]
        length[padding] = (more[padding] + 3) & ~3
        timed = kinds >= _TIME_EXTEND
        times = which[timed]
        skip[times] = 8
        length[times] = 0
        delta[times] += words[timed].astype(np.uint64) << np.uint64(_EXTEND_SHIFT)

    def _time_after(self, kind: I64, delta: U64) -> U64:
        time = self._time + delta
        stamps = np.flatnonzero(kind == _TIME_STAMP)
        if len(stamps):
            mask = np.uint64(_STAMP_MASK)
            time[stamps] = (self._time[stamps] & ~mask) | (delta[stamps] & mask)
        return time

    def _keep(self, which: npt.NDArray[np.bool_]) -> None:
        if which.all():
            return
        self.page, self._at = self.page[which], self._at[which]
        self._end, self._time = self._end[which], self._time[which]

    def finish(self, lost: dict[int, int]) -> Decoded:
        none = np.empty(0, np.int64)
        nothing = (none, none, none, np.empty(0, np.uint64))
        found = _Events._make(
            np.concatenate([*pieces, empty])
            for *pieces, empty in zip(*self._found, nothing, strict=True)
        )
        # Each page's events were found in order; few pages are sorted in linear time.
        pages = found.page.astype(np.uint32 if self._pages > 1 << 16 else np.uint16)
        order = np.argsort(pages, kind="stable")
        events = _Events._make(column[order] for column in found)
        return Decoded(*events, self._start, np.flatnonzero(self._damaged), lost)
