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
import numpy.typing as npt

from tdxdbg.traces.column_join import ROWS, OddEventError
from tdxdbg.traces.columns import I64, U64, Block, Mask
from tdxdbg.traces.kernel_lines import KernelLines, Layout, meaning, thread_name
from tdxdbg.traces.lines import split
from tdxdbg.traces.reader import Reader

#: Spaces in front of the first line, so that eight bytes may be read before any place.
_FRONT: Final = 16
_BACK: Final = 16
#: The parts of a line that are looked up are no longer, in bytes.
_MOST_BEFORE: Final = 100
_MOST_BETWEEN: Final = 48
_MOST_BEHIND: Final = 400
#: When more lines than one in so many have to be read one by one, all are.
_MOST_ODD: Final = 4
_SECOND: Final = 1_000_000_000
_UNKNOWN: Final = -1
#: Of a part that no quick way reads.
_ODD: Final = -2
_SLOTS: Final = 1 << 16
_SLOT_SHIFT: Final = np.uint64(48)
_MOST_MEANINGS: Final = 1 << 17
_FACTOR: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
_MIX: Final = np.uint64(29)
_MASKS: Final = np.array([(1 << 8 * size) - 1 for size in range(8)] + [(1 << 64) - 1], np.uint64)
_ZEROS: Final = np.uint64(0x3030_3030_3030_3030)

Bytes = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.int32]


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


class _Meanings:
    """What parts of lines mean: a table by their hashes. A meaning is a small number."""

    def __init__(self) -> None:
        self._keys = np.zeros(_SLOTS, np.uint64)
        self._codes = np.full(_SLOTS, _UNKNOWN, np.int32)

    def find(self, keys: U64) -> Codes:
        """The meanings of these; _UNKNOWN where there is none yet."""
        slot = (keys >> _SLOT_SHIFT).astype(np.int64)
        return np.where(self._keys[slot] == keys, self._codes[slot], np.int32(_UNKNOWN))

    def learn(self, key: np.uint64, code: int) -> None:
        slot = int(key >> _SLOT_SHIFT)
        self._keys[slot], self._codes[slot] = key, code


class LineColumns:
    """Reads chunks of lines; `feed` takes blocks of events, `plain` the odd lines."""

    def __init__(self, reader: Reader, feed: Callable[[Block], object], plain: KernelLines) -> None:
        self._reader = reader
        self._feed = feed
        self._plain = plain
        self._layout: Layout | None = None
        self._forget()

    def _forget(self) -> None:
        self._before, self._between, self._behind = _Meanings(), _Meanings(), _Meanings()
        self._threads: list[int] = []
        self._thread_names: list[bytes] = []
        self._named: set[int] = set()
        #: kind and numbers of each meaning; kind 0: events that carry nothing, by name.
        self._rows: list[tuple[int, ...]] = []
        self._names: list[bytes] = []
        self._table = np.zeros((0, 6), np.uint64)

    def read(self, first: int, data: bytes) -> None:
        """Lines without the end of the last one, the first of this number."""
        layout = self._plain.layouts[0]
        if layout is not self._layout or len(self._rows) > _MOST_MEANINGS:
            self._layout = layout
            self._forget()
        text = bytes(_FRONT) + data + b"\n" + bytes(_BACK)
        view = np.frombuffer(text, np.uint8)
        spans, time, good = _take_apart(view)
        count = len(good)
        codes = np.full((3, count), _UNKNOWN, np.int32)
        at = np.flatnonzero(good)
        if len(at) * _MOST_ODD < count:
            self._plain.read(first, split(data))
            return
        codes[:, at] = self._look_up(text, view, _Spans(*(span[at] for span in spans)))
        odd = np.flatnonzero((codes < 0).any(axis=0))
        self._give(first, text, spans, time, codes, odd)

    def _look_up(self, text: bytes, view: Bytes, spans: _Spans) -> Codes:
        words = np.ndarray(len(view) - 7, "<u8", view, strides=(1,))
        keys = (
            _hash(words, spans.start, spans.bracket),
            _hash(words, spans.bracket, spans.time),
            _hash(words, spans.colon, spans.end),
        )
        tables = (self._before, self._between, self._behind)
        codes = np.stack([table.find(key) for table, key in zip(tables, keys, strict=True)])
        unknown = np.flatnonzero((codes == _UNKNOWN).any(axis=0))
        if len(unknown):
            met: set[tuple[int, ...]] = set()
            for line in unknown.tolist():
                key = tuple(int(column[line]) for column in keys)
                if key not in met:
                    met.add(key)
                    self._learn(text, spans.of(line), key)
            codes = np.stack([table.find(key) for table, key in zip(tables, keys, strict=True)])
            self._table = np.array(self._rows, np.uint64).reshape(-1, 6)
        return codes

    # --- what parts mean --------------------------------------------------------------------

    def _learn(self, text: bytes, spans: tuple[int, ...], keys: tuple[int, ...]) -> None:
        """Reads one line by its pattern, and remembers what its parts mean."""
        assert self._layout is not None
        start, bracket, time, colon, end = spans
        found = self._layout.pattern.match(text[start:end])
        if found is None or not found[1]:
            return
        places = (found.start(3) - 1, found.start(4), found.end(5))
        if places != (bracket - start, time - start, colon - start):
            return
        before, between, behind = (np.uint64(key) for key in keys)
        self._before.learn(before, len(self._threads))
        self._threads.append(int(found[1]))
        self._thread_names.append(thread_name(found))
        self._between.learn(between, 0)
        self._behind.learn(behind, self._meaning(found[6]))

    def _meaning(self, text: bytes) -> int:
        event = meaning(text)
        if event is None:
            return _ODD
        if isinstance(event, bytes):
            row: tuple[int, ...] = (0, self._number_of(event), 0, 0, 0, 0)
        else:
            make = ROWS.get(type(event))
            if make is None:
                raise OddEventError
            row = make(event)
        self._rows.append(row)
        return len(self._rows) - 1

    def _number_of(self, name: bytes) -> int:
        if name not in self._names:
            self._names.append(name)
        return self._names.index(name)

    # --- events ---------------------------------------------------------------------------

    def _give(
        self, first: int, text: bytes, spans: _Spans, time: U64, codes: Codes, odd: I64
    ) -> None:
        """Events in the order of their lines, the odd ones one by one."""
        good = np.flatnonzero((codes >= 0).all(axis=0))
        rows = self._table[codes[2, good]]
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
        for number in np.flatnonzero(counts).tolist():
            self._reader.unused(self._names[number], int(counts[number]))

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
    start[:1] = _FRONT
    start[1:] = end[:-1] + 1
    bracket, good = _next(view, ord("["), start, end)
    colon, has_colon = _next(view, ord(":"), bracket, end)
    good &= has_colon
    words = np.ndarray(len(view) - 7, "<u8", view, strides=(1,))
    short = view[colon - 7] == ord(".")
    good &= short | (view[colon - 10] == ord("."))
    dot = colon - np.where(short, 7, 10)
    seconds = words[dot - 8]
    digits = _trailing_digits(seconds)
    good &= (digits > 0) & (digits < 8)
    time_at = dot - digits
    spans = _Spans(start, bracket, time_at, colon, end)
    good &= (bracket - start <= _MOST_BEFORE) & (time_at - bracket <= _MOST_BETWEEN)
    good &= (time_at > bracket) & (end - colon <= _MOST_BEHIND)
    fraction = words[dot + 1]
    # Six digits as the last ones of eight, or eight of nine.
    eight = np.where(short, fraction << np.uint64(16) | np.uint64(0x3030), fraction)
    ninth = view[np.minimum(dot + 9, len(view) - 1)] - np.uint8(ord("0"))
    good &= (_not_digits(eight) == 0) & (short | (ninth < 10))
    low = ((8 - np.clip(digits, 1, 8)) * 8).astype(np.uint64)
    filled = (seconds >> low << low) | (_ZEROS & ~(np.uint64(0xFFFF_FFFF_FFFF_FFFF) << low))
    nanos = np.where(
        short, _number(eight) * np.uint64(1000), _number(eight) * np.uint64(10) + ninth
    )
    return spans, _number(filled) * np.uint64(_SECOND) + nanos, good


def _next(view: Bytes, byte: int, start: I64, end: I64) -> tuple[I64, Mask]:
    """The first such byte of each line from `start` on, and whether there is one."""
    places = np.flatnonzero(view == byte)
    if not len(places):
        return start, np.zeros(len(start), np.bool_)
    index = np.searchsorted(places, start)
    found = places[np.minimum(index, len(places) - 1)]
    good = (index < len(places)) & (found < end)
    return np.where(good, found, start), good


def _not_digits(word: U64) -> U64:
    """Bits in each byte of a word that is no digit."""
    value = word ^ _ZEROS
    low = value & np.uint64(0x7F7F_7F7F_7F7F_7F7F)
    return (low + np.uint64(0x0606_0606_0606_0606) | value) & np.uint64(0xF0F0_F0F0_F0F0_F0F0)


def _trailing_digits(word: U64) -> I64:
    """How many digits a text of eight bytes ends in."""
    _, exponent = np.frexp(_not_digits(word).astype(np.float64))
    return (64 - exponent.astype(np.int64)) // 8


def _number(word: U64) -> U64:
    """The number that eight digits are: pairs, then fours, then all."""
    word = word - _ZEROS
    word = word * np.uint64(10) + (word >> np.uint64(8))
    pairs = np.uint64(0x0000_00FF_0000_00FF)
    high = (word & pairs) * np.uint64(0x000F_4240_0000_0064)
    low = (word >> np.uint64(16) & pairs) * np.uint64(0x0000_2710_0000_0001)
    return (high + low) >> np.uint64(32)


def _hash(words: U64, start: I64, end: I64) -> U64:
    """A hash of the bytes from `start` to `end`, for each."""
    length = end - start
    key = length.astype(np.uint64) * _FACTOR
    longest = int(length.max(initial=0))
    some = np.arange(len(start))
    for at in range(0, longest, 8):
        left = length[some] - at
        if (left <= 0).any():
            some = some[left > 0]
            left = length[some] - at
        value = words[start[some] + at] & _MASKS[np.minimum(left, 8)]
        mixed = (key[some] ^ value) * _FACTOR
        key[some] = mixed ^ mixed >> _MIX
    return key
