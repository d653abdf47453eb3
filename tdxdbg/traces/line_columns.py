"""Lines of the kernel's tracing as columns, thousands at a time.

A line is what stands before "[cpu]", what stands from there to the time, the
time, and the rest. All but the time come again and again: what they mean is
found out once, by reading a line with the layout's pattern, and is looked up by
a hash of the bytes from then on. Lines that do not fit this are read one by
one, in their place. This module imports numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from tdxdbg.traces.byte_columns import (
    MARGIN,
    UNKNOWN,
    Bytes,
    Codes,
    Meanings,
    decimal,
    hashes,
    last_bytes,
    next_byte,
    not_digits,
    trailing_digits,
    words_of,
)
from tdxdbg.traces.column_feed import ROWS
from tdxdbg.traces.column_work import OddEventError
from tdxdbg.traces.columns import I64, U64, Block, Mask
from tdxdbg.traces.kernel_lines import NAMED, KernelLines, Layout, meaning, thread_name
from tdxdbg.traces.kvm_text import PARSERS, Instruction
from tdxdbg.traces.lines import split
from tdxdbg.traces.reader import Reader
from tdxdbg.traces.text_shapes import Rows, Shapes, Understood

#: The parts of a line that are looked up are no longer, in bytes.
_MOST_BEFORE: Final = 100
_MOST_BETWEEN: Final = 48
_MOST_BEHIND: Final = 400
#: When more lines than one in so many have to be read one by one, all are.
_MOST_ODD: Final = 4
_SECOND: Final = 1_000_000_000
#: Whole texts that are remembered.
_MOST_TEXTS: Final = 1 << 15


class _Spans(NamedTuple):
    """Where the parts of lines are: offsets in the bytes, each behind the one before."""

    start: I64
    bracket: I64
    time: I64
    colon: I64
    end: I64

    def of(self, line: int) -> tuple[int, ...]:
        """Those of one line."""
        return tuple(int(column[line]) for column in self)


class LineColumns:
    """Reads chunks of lines; `feed` takes blocks of events, `plain` the odd lines."""

    def __init__(self, reader: Reader, feed: Callable[[Block], object], plain: KernelLines) -> None:
        self._reader = reader
        self._feed = feed
        self._plain = plain
        self._layout: Layout | None = None
        self._forget()

    def _forget(self) -> None:
        self._before, self._between, self._behind = Meanings(), Meanings(), Meanings()
        self._shapes = Shapes(self._understand)
        self._threads: list[int] = []
        self._thread_names: list[bytes] = []
        self._named: set[int] = set()
        #: Kind and numbers of each text; kind 0: events that carry nothing, by name.
        self._table = np.zeros((0, 6), np.uint64)
        self._names: dict[bytes, int] = {}

    def read(self, first: int, data: bytes) -> None:
        """Lines without the end of the last one, the first of this number."""
        layout = self._plain.layouts[0]
        if layout is not self._layout:
            self._layout = layout
            self._forget()
        text = bytes(MARGIN) + data + b"\n" + bytes(MARGIN)
        view = np.frombuffer(text, np.uint8)
        spans, time, good = _take_apart(view)
        count = len(good)
        codes = np.full((3, count), UNKNOWN, np.int32)
        at = np.flatnonzero(good)
        if len(at) * _MOST_ODD < count:
            self._plain.read(first, split(data))
            return
        codes[:, at], table = self._look_up(text, view, _Spans._make(span[at] for span in spans))
        odd = np.flatnonzero((codes < 0).any(axis=0))
        self._give(first, text, spans, time, table, codes, odd)

    def _look_up(self, text: bytes, view: Bytes, spans: _Spans) -> tuple[Codes, Rows]:
        """What the three parts of lines mean; of the last one, a row in a table."""
        words = words_of(view)
        keys = (
            hashes(words, spans.start, spans.bracket),
            hashes(words, spans.bracket, spans.time),
            hashes(words, spans.colon, spans.end),
        )
        before, between = self._before.find(keys[0]), self._between.find(keys[1])
        unknown = np.flatnonzero((before == UNKNOWN) | (between == UNKNOWN))
        if len(unknown):
            met: set[tuple[int, int]] = set()
            for line in unknown.tolist():
                key = int(keys[0][line]), int(keys[1][line])
                if key not in met:
                    met.add(key)
                    self._learn(text, spans.of(line), keys[0][line:][:1], keys[1][line:][:1])
            before, between = self._before.find(keys[0]), self._between.find(keys[1])
        behind, both = self._behind.find(keys[2]), self._table
        unknown = np.flatnonzero((behind == UNKNOWN) & (before >= 0) & (between >= 0))
        if len(unknown):
            rows, good = self._shapes.rows(
                text, view, spans.start[unknown], spans.colon[unknown] + 1, spans.end[unknown]
            )
            count = len(self._table)
            codes = np.arange(count, count + len(rows), dtype=np.int32)
            behind[unknown] = np.where(good, codes, np.int32(UNKNOWN))
            both = np.concatenate([self._table, rows])
            if count < _MOST_TEXTS:
                self._table = both
                self._behind.learn(keys[2][unknown[good]], codes[good])
        return np.stack([before, between, behind]), both

    # --- what parts mean --------------------------------------------------------------------

    def _learn(self, text: bytes, spans: tuple[int, ...], before: U64, between: U64) -> None:
        """Reads one line by its pattern, and remembers what stands in front of its time."""
        assert self._layout is not None
        start, bracket, time, colon, end = spans
        found = self._layout.pattern.match(text[start:end])
        if found is None or not found[1]:
            return
        places = (found.start(3) - 1, found.start(4), found.end(5))
        if places != (bracket - start, time - start, colon - start):
            return
        self._before.learn(before, np.array([len(self._threads)], np.int32))
        self._threads.append(int(found[1]))
        self._thread_names.append(thread_name(found))
        self._between.learn(between, np.zeros(1, np.int32))

    def _understand(self, line: bytes) -> Understood | None:
        """What the event of a line is; None when it is not as it should be."""
        assert self._layout is not None
        found = self._layout.pattern.match(line)
        event = None if found is None else meaning(found[6])
        if found is None or event is None:
            return None
        named = NAMED.match(found[6]) is not None
        if isinstance(event, bytes):
            by_name = named and event not in PARSERS
            return Understood((0, self._number_of(event), 0, 0, 0, 0), by_name)
        make = ROWS.get(type(event))
        if make is None:
            raise OddEventError
        return Understood(make(event), named and isinstance(event, Instruction))

    def _number_of(self, name: bytes) -> int:
        return self._names.setdefault(name, len(self._names))

    # --- events ---------------------------------------------------------------------------

    def _give(
        self,
        first: int,
        text: bytes,
        spans: _Spans,
        time: U64,
        table: Rows,
        codes: Codes,
        odd: I64,
    ) -> None:
        """Events in the order of their lines, the odd ones one by one."""
        good = np.flatnonzero((codes >= 0).all(axis=0))
        rows = table[codes[2, good]]
        carries = rows[:, 0] != 0
        self._count(rows[~carries, 1])
        at, rows = good[carries], rows[carries]
        thread = np.array(self._threads, np.int64)[codes[0, at]] if len(at) else at
        names = self._new_names(at, codes[0, at])
        block = Block(
            rows[:, 0].astype(np.uint8),
            thread,
            time[at],
            (at + first).view(np.uint64),
            *rows[:, 1:].T,
        )
        self._reader.fed(len(at))
        done = 0
        for place, line in zip(np.searchsorted(at, odd).tolist(), odd.tolist(), strict=True):
            if place > done:
                self._feed(block.take(slice(done, place)))
                done = place
            self._name(names, line)
            whole = text[int(spans.start[line]) : int(spans.end[line])]
            self._plain.read(first + line, split(whole))
        self._feed(block.take(slice(done, None)))
        self._name(names, len(time))

    def _count(self, names: U64) -> None:
        """Counts events that carry nothing."""
        counts = np.bincount(names.astype(np.int64), minlength=0)
        for name, number in self._names.items():
            if number < len(counts) and counts[number]:
                self._reader.unused(name, int(counts[number]))

    def _new_names(self, at: I64, codes: Codes) -> list[tuple[int, int, bytes]]:
        """Threads that were not met before: (line, number, name), the first line last."""
        used = np.flatnonzero(np.bincount(codes, minlength=len(self._threads)))
        names = []
        for code in used.tolist():
            if code in self._named:
                continue
            self._named.add(code)
            line = int(at[np.argmax(codes == code)])
            names.append((line, self._threads[code], self._thread_names[code]))
        return sorted(names, reverse=True)

    def _name(self, names: list[tuple[int, int, bytes]], before: int) -> None:
        """Says the names of threads that were met before this line."""
        while names and names[-1][0] < before:
            _, number, name = names.pop()
            self._reader.name_thread(number, name)


def _take_apart(view: Bytes) -> tuple[_Spans, U64, Mask]:
    """Where the parts of each line are, its time in ns, and whether it has them."""
    end = np.flatnonzero(view == ord("\n"))
    start = np.empty(len(end), np.int64)
    start[:1] = MARGIN
    start[1:] = end[:-1] + 1
    bracket, good = next_byte(view, ord("["), start, end)
    colon, has_colon = next_byte(view, ord(":"), bracket, end)
    good &= has_colon
    words = words_of(view)
    short = view[colon - 7] == ord(".")
    good &= short | (view[colon - 10] == ord("."))
    dot = colon - np.where(short, 7, 10)
    seconds = words[dot - 8]
    digits = trailing_digits(seconds)
    good &= (digits > 0) & (digits < 8)
    time_at = dot - digits
    spans = _Spans(start, bracket, time_at, colon, end)
    good &= (bracket - start <= _MOST_BEFORE) & (time_at - bracket <= _MOST_BETWEEN)
    good &= (time_at > bracket) & (end - colon <= _MOST_BEHIND)
    fraction = words[dot + 1]
    # Six digits as the last ones of eight, or eight of nine.
    eight = np.where(short, fraction << np.uint64(16) | np.uint64(0x3030), fraction)
    ninth = view[np.minimum(dot + 9, len(view) - 1)] - np.uint8(ord("0"))
    good &= (not_digits(eight) == 0) & (short | (ninth < 10))
    filled = last_bytes(seconds, np.clip(digits, 0, 8))
    nanos = np.where(
        short, decimal(eight) * np.uint64(1000), decimal(eight) * np.uint64(10) + ninth
    )
    return spans, decimal(filled) * np.uint64(_SECOND) + nanos, good
