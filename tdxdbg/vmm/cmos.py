"""CMOS memory and the clock in it, behind ports 0x70 and 0x71 (MC146818).

The clock says what it was started with, and stands still. A driver never finds
an update in progress (register A bit 7), so it reads once and is done.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

PORT: Final = 0x70
SIZE: Final = 2

SECONDS: Final = 0x00
MINUTES: Final = 0x02
HOURS: Final = 0x04
WEEKDAY: Final = 0x06
DAY: Final = 0x07
MONTH: Final = 0x08
YEAR: Final = 0x09
REG_A: Final = 0x0A
REG_B: Final = 0x0B
REG_C: Final = 0x0C
REG_D: Final = 0x0D
CENTURY: Final = 0x32

_CLOCK: Final = (SECONDS, MINUTES, HOURS, WEEKDAY, DAY, MONTH, YEAR, CENTURY)
B_24_HOURS: Final = 0x02
B_BINARY: Final = 0x04
_PM: Final = 0x80
#: 32768 Hz, and the rate that every PC firmware leaves there.
_A_USUAL: Final = 0x26
_UIP: Final = 0x80
_D_VALID: Final = 0x80

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_KIB: Final = 1 << 10
_MIB: Final = 1 << 20


class CmosState(NamedTuple):
    """`cells` hold the clock in binary and 24 hours, however it is read."""

    selected: int
    cells: bytes


class Cmos:
    """128 cells; the index port is write-only and reads as ones."""

    def __init__(self, rtc: int, ram_bytes: int = 0) -> None:
        """`rtc`: seconds since 1970; `ram_bytes`: what the memory size cells say."""
        cells = bytearray(128)
        now = _EPOCH + timedelta(seconds=rtc)
        cells[SECONDS], cells[MINUTES], cells[HOURS] = now.second, now.minute, now.hour
        cells[WEEKDAY] = now.isoweekday() % 7 + 1
        cells[DAY], cells[MONTH] = now.day, now.month
        cells[CENTURY], cells[YEAR] = divmod(now.year, 100)
        cells[REG_A], cells[REG_B], cells[REG_D] = _A_USUAL, B_24_HOURS, _D_VALID
        _memory_size(cells, ram_bytes)
        self.state = CmosState(0, bytes(cells))

    def read(self, offset: int, size: int) -> int:
        if offset == 0:
            return 0xFF
        index, cells = self.state
        if index in _CLOCK:
            return _shown(index, cells[index], cells[REG_B])
        return cells[index]

    def write(self, offset: int, size: int, value: int) -> str:
        index, cells = self.state
        if offset == 0:
            # Bit 7 masks NMIs.
            self.state = CmosState(value & 0x7F, cells)
            return ""
        if index in (REG_C, REG_D):
            return ""
        if index in _CLOCK:
            value = _meant(index, value, cells[REG_B])
        elif index == REG_A:
            value &= ~_UIP
        self.state = CmosState(index, cells[:index] + bytes((value,)) + cells[index + 1 :])
        return ""


def _shown(index: int, value: int, reg_b: int) -> int:
    """A cell of the clock in the format that register B asks for."""
    pm = 0
    if index == HOURS and not reg_b & B_24_HOURS:
        pm = _PM if value >= 12 else 0
        value = value % 12 or 12
    if not reg_b & B_BINARY:
        value = value // 10 % 10 << 4 | value % 10
    return value | pm


def _meant(index: int, value: int, reg_b: int) -> int:
    """The other way round; any byte is some number."""
    twelve = index == HOURS and not reg_b & B_24_HOURS
    pm = twelve and bool(value & _PM)
    if twelve:
        value &= ~_PM
    if not reg_b & B_BINARY:
        value = (value >> 4) * 10 + (value & 0xF)
    if twelve:
        value = value % 12 + (12 if pm else 0)
    return value & 0xFF


def _memory_size(cells: bytearray, ram_bytes: int) -> None:
    """Where a PC firmware looks for it: KiB below and above 1 MiB, 64 KiB above 16 MiB."""
    base = min(ram_bytes // _KIB, 640)
    extended = min(max(ram_bytes - _MIB, 0) // _KIB, 0xFFFF)
    high = min(max(ram_bytes - 16 * _MIB, 0) // (64 * _KIB), 0xFFFF)
    for at, value in ((0x15, base), (0x17, extended), (0x30, extended), (0x34, high)):
        cells[at : at + 2] = value.to_bytes(2, "little")
