"""Records of a trace as columns: a matrix of 64-bit words, a row of it a record.

The words are those of layout.py, which is little-endian; what several fields
share is put together here. Checksums of many records are made at once: CRC-32
is linear, so that of a record is the sum (XOR) of what each of its bytes adds.
This module imports numpy.
"""

from __future__ import annotations

from functools import cache
from typing import Final
from zlib import crc32

import numpy as np
import numpy.typing as npt

from tdxdbg.traces import layout
from tdxdbg.traces.columns import U64
from tdxdbg.traces.layout import RECORD_SIZE

WORDS: Final = RECORD_SIZE // 8
#: Of the head, in words.
ROW: Final = 1
ROWS_STARTED: Final = 2
TIME: Final = 3
KNOWN: Final = 4
SOURCE: Final = 5
LENGTH: Final = 7
#: Of a TD_EXIT.
VP_ENTER_RET: Final = 8
REGS: Final = 9
IN_KERNEL_VALUE: Final = 25
#: Of a USERSPACE_EXIT or TD_ENTRY; what its payload is goes on from STEP_PAYLOAD.
OUTCOME: Final = 8
ERRNO: Final = 9
REASON: Final = 10
STORED: Final = 11
STEP_PAYLOAD: Final = layout.PAYLOAD_AT[2] // 8
#: Of an ANSWER.
ANSWER: Final = 8
ANSWER_PAYLOAD: Final = layout.PAYLOAD_AT[3] // 8

#: How many records are summed up together: they fit into a processor's cache.
_AT_ONCE: Final = 4096
_CRC_BYTES: Final = range(4, 8)

Matrix = npt.NDArray[np.uint64]


def empty(count: int) -> Matrix:
    """Records of zeros."""
    return np.zeros((count, WORDS), np.uint64)


def head(kind: int, flags: int, vcpu: U64) -> U64:
    """The first word of a record, without its checksum."""
    return (vcpu << np.uint64(16)) | np.uint64(kind | flags << 8)


def seal(records: Matrix) -> None:
    """Puts the right checksum into each record."""
    for start in range(0, len(records), _AT_ONCE):
        _seal(records[start : start + _AT_ONCE])


def _seal(records: Matrix) -> None:
    records[:, 0] &= np.uint64(0xFFFF_FFFF)
    data = records.view(np.uint8)
    tables, sums = _tables()
    total = np.full(len(records), sums, np.uint32)
    for at in np.flatnonzero(data.any(axis=0)).tolist():
        total ^= tables[at].take(data[:, at])
    records[:, 0] |= total.astype(np.uint64) << np.uint64(32)


@cache
def _tables() -> tuple[npt.NDArray[np.uint32], int]:
    """What each value of each byte adds to the checksum, and that of zeros."""
    zeros = bytes(RECORD_SIZE - 4)
    base = crc32(zeros)
    tables = np.zeros((RECORD_SIZE, 256), np.uint32)
    # A bit that is `size` bytes before the end, found from the end on.
    for at in range(RECORD_SIZE):
        if at in _CRC_BYTES:
            continue
        place = at if at < 4 else at - 4
        for bit in range(8):
            data = bytearray(zeros)
            data[place] = 1 << bit
            step = crc32(data) ^ base
            values = np.arange(256)
            tables[at] ^= np.where(values >> bit & 1, np.uint32(step), np.uint32(0))
    return tables, base


class Words:
    """Payloads of some records of a matrix, written a number at a time."""

    def __init__(self, records: Matrix, rows: npt.NDArray[np.int64], word: int) -> None:
        self._records = records
        self._rows = rows
        self._word = word

    def put(self, value: U64, at: U64 | int, size: int = 8) -> None:
        """Adds a number of up to 8 bytes at a byte offset; what is there is zero."""
        place = np.broadcast_to(np.asarray(at, np.uint64), value.shape)
        word = (place >> np.uint64(3)).astype(np.int64) + self._word
        shift = (place & np.uint64(7)) << np.uint64(3)
        self._records[self._rows, word] |= value << shift
        beyond = np.flatnonzero((shift > 0) & (shift + np.uint64(8 * size) > 64))
        if len(beyond):
            rest = value[beyond] >> (np.uint64(64) - shift[beyond])
            self._records[self._rows[beyond], word[beyond] + 1] |= rest


def significant(value: U64) -> U64:
    """How many bytes of a number are not zeros above it."""
    count = np.zeros(len(value), np.uint64)
    for size in range(8):
        count += value >> np.uint64(8 * size) > 0
    return count
