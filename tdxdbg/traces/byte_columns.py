"""Pieces of a text as columns: where they are, what numbers they are, and what they mean.

A piece is `start` and `end`, offsets in the bytes; eight bytes at a time are
read from any place, so there must be some in front of the first piece and
behind the last one. This module imports numpy.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from tdxdbg.traces.columns import I64, U64, Mask

#: Bytes that are wanted in front of what is read, and behind it.
MARGIN: Final = 16
#: No meaning is known.
UNKNOWN: Final = -1

Bytes = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.int32]

_SLOTS: Final = 1 << 16
_SLOT_SHIFT: Final = np.uint64(48)
_FACTOR: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
_MIX: Final = np.uint64(29)
_FULL: Final = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_MASKS: Final = np.array([(1 << 8 * size) - 1 for size in range(9)], np.uint64)
_ZEROS: Final = np.uint64(0x3030_3030_3030_3030)


def words_of(view: Bytes) -> U64:
    """The eight bytes from each place on."""
    return np.ndarray(len(view) - 7, "<u8", view, strides=(1,))


def next_byte(view: Bytes, byte: int, start: I64, end: I64) -> tuple[I64, Mask]:
    """The first such byte of each piece, and whether there is one."""
    places = np.flatnonzero(view == byte)
    if not len(places):
        return start, np.zeros(len(start), np.bool_)
    index = np.searchsorted(places, start)
    found = places[np.minimum(index, len(places) - 1)]
    good = (index < len(places)) & (found < end)
    return np.where(good, found, start), good


# --- numbers ----------------------------------------------------------------------------


def not_digits(word: U64) -> U64:
    """Bits in each of eight bytes that is no decimal digit."""
    value = word ^ _ZEROS
    low = value & np.uint64(0x7F7F_7F7F_7F7F_7F7F)
    return (low + np.uint64(0x0606_0606_0606_0606) | value) & np.uint64(0xF0F0_F0F0_F0F0_F0F0)


def trailing_digits(word: U64) -> I64:
    """How many decimal digits eight bytes end in."""
    _, exponent = np.frexp(not_digits(word).astype(np.float64))
    return (64 - exponent.astype(np.int64)) // 8


def last_bytes(word: U64, count: I64) -> U64:
    """The last `count` of eight bytes, 0 to 8, behind as many zeros ("0") as are missing."""
    keep = ~_MASKS[8 - count]
    return (word & keep) | (_ZEROS & ~keep)


def decimal(word: U64) -> U64:
    """The number that eight decimal digits are: pairs, then fours, then all."""
    word = word - _ZEROS
    word = word * np.uint64(10) + (word >> np.uint64(8))
    pairs = np.uint64(0x0000_00FF_0000_00FF)
    high = (word & pairs) * np.uint64(0x000F_4240_0000_0064)
    low = (word >> np.uint64(16) & pairs) * np.uint64(0x0000_2710_0000_0001)
    return (high + low) >> np.uint64(32)


def hexadecimal(word: U64) -> tuple[U64, Mask]:
    """The number that eight digits 0-9, a-f are, and whether they are."""
    value = (word & np.uint64(0x0F0F_0F0F_0F0F_0F0F)) + (
        word >> np.uint64(6) & np.uint64(0x0101_0101_0101_0101)
    ) * np.uint64(9)
    value &= np.uint64(0x0F0F_0F0F_0F0F_0F0F)
    letters = (value + np.uint64(0x0606_0606_0606_0606)) >> np.uint64(4)
    letters &= np.uint64(0x0101_0101_0101_0101)
    good: Mask = value + _ZEROS + letters * np.uint64(0x27) == word
    value = (value << np.uint64(4) | value >> np.uint64(8)) & np.uint64(0x00FF_00FF_00FF_00FF)
    value = (value << np.uint64(8) | value >> np.uint64(16)) & np.uint64(0x0000_FFFF_0000_FFFF)
    return (value << np.uint64(16) | value >> np.uint64(32)) & np.uint64(0xFFFF_FFFF), good


# --- meanings ---------------------------------------------------------------------------


def hashes(words: U64, start: I64, end: I64) -> U64:
    """A hash of each piece."""
    length = end - start
    key = length.astype(np.uint64) * _FACTOR
    some = np.arange(len(start))
    for at in range(0, int(length.max(initial=0)), 8):
        left = length[some] - at
        if (left <= 0).any():
            some = some[left > 0]
            left = length[some] - at
        value = words[start[some] + at] & _MASKS[np.minimum(left, 8)]
        mixed = (key[some] ^ value) * _FACTOR
        key[some] = mixed ^ mixed >> _MIX
    return key


class Meanings:
    """Small numbers by the hashes of pieces; a newer one may take an older one's place."""

    def __init__(self) -> None:
        self._keys = np.zeros(_SLOTS, np.uint64)
        self._codes = np.full(_SLOTS, UNKNOWN, np.int32)

    def find(self, keys: U64) -> Codes:
        """The meanings of these; UNKNOWN where there is none."""
        slot = (keys >> _SLOT_SHIFT).astype(np.int64)
        return np.where(self._keys[slot] == keys, self._codes[slot], np.int32(UNKNOWN))

    def learn(self, keys: U64, codes: Codes) -> None:
        """What these mean from now on."""
        slot = (keys >> _SLOT_SHIFT).astype(np.int64)
        # Of several in one place the same one has to win in both tables.
        _, last = np.unique(slot[::-1], return_index=True)
        last = len(slot) - 1 - last
        self._keys[slot[last]], self._codes[slot[last]] = keys[last], codes[last]
