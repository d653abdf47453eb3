"""Texts of events that differ in nothing but their numbers, thousands at a time.

The shape of a text is what is left when the digits of some numbers are blanked:
those behind names that say that the number goes into an event as it is. What
events of a shape are is found out once, by reading texts of it with other
numbers; from then on only the numbers are read. Of some events the name alone
says everything. This module imports numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tdxdbg.traces.byte_columns import (
    UNKNOWN,
    Bytes,
    Codes,
    Meanings,
    hashes,
    hexadecimal,
    last_bytes,
    words_of,
)
from tdxdbg.traces.columns import I64, U64, Mask

#: The last four bytes in front of "0x" of numbers that are taken as they are.
_NAMES: Final = np.array(
    sorted(
        int.from_bytes(name, "little")
        for name in (
            b"fo1 ", b"fo2 ", b"nfo ", b"rip ", b"gpa ", b"val ", b"ess ", b"ode ", b"sts ",
            b" a0 ", b" a1 ", b" a2 ", b" a3 ",
            b"fo1=", b"fo2=", b"nfo=", b"rip=", b"gpa=", b"val=", b"ess=", b"ode=", b"ata=",
            b" a0=", b" a1=", b" a2=", b" a3=",
        )
    ),
    np.uint64,
)  # fmt: skip
#: "0x" in two bytes.
_HEX: Final = ord("0") | ord("x") << 8
_MAX_DIGITS: Final = 16
_SPACE: Final = ord(" ")
#: Names are padded with no more spaces.
_MAX_PADDING: Final = 24
_COLUMNS: Final = 6
#: What has more is read line by line.
_MOST_SHAPES: Final = 1 << 13
#: Digits of the texts by which a shape is learned: other ones for each number.
_DIGITS: Final = (b"123456789abcdef", b"fedcba987654321")

Row = tuple[int, ...]
Rows = npt.NDArray[np.uint64]


class Understood(NamedTuple):
    """The row of an event, and whether its name alone says it."""

    row: Row
    by_name: bool


class _Numbers(NamedTuple):
    """Numbers in a text in order: where their digits are, and their values."""

    start: I64
    end: I64
    value: U64


class Shapes:
    """Rows of texts. `understand` reads a text: None when it cannot."""

    def __init__(self, understand: Callable[[bytes], Understood | None]) -> None:
        self._understand = understand
        self._names, self._shapes = Meanings(), Meanings()
        #: Of each meaning a row, and of each of its columns the number that goes there; -1: none.
        self._learned: list[tuple[Row, list[int]]] = []
        self._rows = np.zeros((0, _COLUMNS), np.uint64)
        self._sources = np.zeros((0, _COLUMNS), np.int64)

    def rows(self, text: bytes, view: Bytes, lines: I64, start: I64, end: I64) -> tuple[Rows, Mask]:
        """The rows of texts from `start` to `end`, and which are known.

        `lines` is where the lines begin in which they are, which `understand` gets.
        """
        result = np.zeros((len(start), _COLUMNS), np.uint64)
        words = words_of(view)
        behind = _name_end(view, start, end)
        name_keys = hashes(words, start, np.maximum(behind, start))
        codes = np.where(behind > start, self._names.find(name_keys), np.int32(UNKNOWN))
        rest = np.flatnonzero(codes == UNKNOWN)
        if not len(rest):
            return self._rows[codes], np.ones(len(start), np.bool_)
        numbers = _numbers(view, words, start[rest], end[rest])
        keys = hashes(words_of(_blanked(view, numbers)), start[rest], end[rest])
        shapes = self._shapes.find(keys)
        unknown = np.flatnonzero(shapes == UNKNOWN)
        if len(unknown):
            _, first = np.unique(keys[unknown], return_index=True)
            for at in unknown[first].tolist():
                line = int(rest[at])
                spans = (int(lines[line]), int(start[line]), int(end[line]))
                name = name_keys[line : line + 1] if behind[line] > start[line] else name_keys[:0]
                self._learn(text, spans, numbers, keys[at : at + 1], name)
            rows, sources = [row for row, _ in self._learned], [each for _, each in self._learned]
            self._rows = np.array(rows, np.uint64).reshape(-1, _COLUMNS)
            self._sources = np.array(sources, np.int64).reshape(-1, _COLUMNS)
            codes = np.where(behind > start, self._names.find(name_keys), np.int32(UNKNOWN))
            shapes = self._shapes.find(keys)
        codes[rest] = np.where(codes[rest] == UNKNOWN, shapes, codes[rest])
        good = codes != UNKNOWN
        result[good] = self._rows[codes[good]]
        self._fill(result, codes, start, numbers)
        return result, good

    def _fill(self, rows: Rows, codes: Codes, start: I64, numbers: _Numbers) -> None:
        """Puts the numbers of texts where they belong."""
        if not len(self._learned):
            return
        sources = self._sources[codes]
        first = np.searchsorted(numbers.start, start)
        for column in range(_COLUMNS):
            source = sources[:, column]
            at = np.flatnonzero((source >= 0) & (codes != UNKNOWN))
            rows[at, column] = numbers.value[first[at] + source[at]]

    def _learn(
        self, text: bytes, spans: tuple[int, int, int], numbers: _Numbers, key: U64, name: U64
    ) -> None:
        line, start, end = spans
        whole = text[line:end]
        found = self._understand(whole)
        if found is None or len(self._learned) >= _MOST_SHAPES:
            return
        low, high = np.searchsorted(numbers.start, (start, end)).tolist()
        places = [
            (int(numbers.start[at]) - line, int(numbers.end[at]) - line) for at in range(low, high)
        ]
        if found.by_name and len(name):
            self._add(self._names, name, found.row, [-1] * _COLUMNS)
            return
        sources = self._sources_of(whole, found.row, places)
        if sources is not None:
            self._add(self._shapes, key, found.row, sources)

    def _sources_of(
        self, whole: bytes, row: Row, places: Sequence[tuple[int, int]]
    ) -> list[int] | None:
        """Which number goes into which column; None when it is not as simple as that."""
        values = [[int(whole[start:end], 16) for start, end in places]]
        rows = [row]
        for digits in _DIGITS:
            other = bytearray(whole)
            for number, (start, end) in enumerate(places):
                digit = digits[number % len(digits) : number % len(digits) + 1]
                other[start:end] = digit * (end - start)
            values.append([int(other[start:end], 16) for start, end in places])
            found = self._understand(bytes(other))
            if found is None:
                return None
            rows.append(found.row)
        sources = []
        for column in range(_COLUMNS):
            shown = [each[column] for each in rows]
            matching = [
                number
                for number in range(len(places))
                if [each[number] for each in values] == shown
            ]
            if len(set(shown)) > 1 and not matching:
                return None
            sources.append(matching[0] if len(set(shown)) > 1 else -1)
        return sources

    def _add(self, table: Meanings, key: U64, row: Row, sources: list[int]) -> None:
        table.learn(key, np.array([len(self._learned)], np.int32))
        self._learned.append((row, sources))


def _name_end(view: Bytes, start: I64, end: I64) -> I64:
    """Behind the first byte of what an event says; `start` when that cannot be told quickly."""
    place = start.copy()
    # Spaces, the name and its ":", and spaces again.
    for byte in (_SPACE, ord(":"), _SPACE):
        for _ in range(_MAX_PADDING if byte == _SPACE else 64):
            here = view[np.minimum(place, end)]
            more = (here == _SPACE) if byte == _SPACE else (here != byte)
            more &= place < end
            if not more.any():
                break
            place += more
        if byte != _SPACE:
            place += 1
            good = view[np.minimum(place, end)] == _SPACE
            place = np.where(good, place, end)
    ended = place >= end
    ended |= view[np.minimum(place, end)] == _SPACE
    return np.where(ended, start, place + 1)


def _numbers(view: Bytes, words: U64, start: I64, end: I64) -> _Numbers:
    """The numbers in texts that are taken as they are."""
    pairs = words[: len(view) - 7] & np.uint64(0xFFFF)
    at = np.flatnonzero(pairs == _HEX)
    index = np.searchsorted(start, at, "right") - 1
    at = at[(index >= 0) & (at < end[np.maximum(index, 0)])]
    name = words[at - 4] & np.uint64(0xFFFF_FFFF)
    place = np.minimum(np.searchsorted(_NAMES, name), len(_NAMES) - 1)
    # "msr_read 1b = 0x..."
    at = at[(_NAMES[place] == name) | (name >> np.uint64(8) == int.from_bytes(b" = ", "little"))]
    gaps = np.flatnonzero(view <= _SPACE)
    begin = at + 2
    stop = gaps[np.minimum(np.searchsorted(gaps, begin), len(gaps) - 1)] if len(gaps) else begin
    length = stop - begin
    good = (length > 0) & (length <= _MAX_DIGITS)
    begin, stop, length = begin[good], stop[good], length[good]
    low, low_good = hexadecimal(last_bytes(words[stop - 8], np.minimum(length, 8)))
    high, high_good = hexadecimal(last_bytes(words[stop - 16], np.maximum(length - 8, 0)))
    good = low_good & high_good
    value = high << np.uint64(32) | low
    return _Numbers(begin[good], stop[good], value[good])


def _blanked(view: Bytes, numbers: _Numbers) -> Bytes:
    """The bytes with no digits of these numbers."""
    copy = view.copy()
    length = numbers.end - numbers.start
    total = int(length.sum())
    before = np.cumsum(length) - length
    copy[np.repeat(numbers.start - before, length) + np.arange(total)] = 0
    return copy
