"""The clock and the memory behind ports 0x70 and 0x71 (MC146818)."""

from __future__ import annotations

import pytest

from tdxdbg.vmm.ask import RTC_START
from tdxdbg.vmm.cmos import (
    B_24_HOURS,
    B_BINARY,
    CENTURY,
    DAY,
    HOURS,
    MINUTES,
    MONTH,
    REG_A,
    REG_B,
    REG_C,
    REG_D,
    SECONDS,
    WEEKDAY,
    YEAR,
    Cmos,
)

#: 2024-02-29 23:05:59 UTC, a Thursday.
LEAP = 1_709_247_959
MIB = 1 << 20


def cell(cmos: Cmos, index: int) -> int:
    cmos.write(0, 1, index)
    return cmos.read(1, 1)


def put(cmos: Cmos, index: int, value: int) -> None:
    cmos.write(0, 1, index)
    assert cmos.write(1, 1, value) == ""


@pytest.mark.parametrize(
    ("rtc", "expected"),
    [
        (0, (0, 0, 0, 5, 1, 1, 0x70, 0x19)),
        (LEAP, (0x59, 0x05, 0x23, 5, 0x29, 2, 0x24, 0x20)),
        (RTC_START, (0, 0, 0, 5, 1, 1, 0x26, 0x20)),
    ],
)
def test_the_start_time_in_bcd(rtc: int, expected: tuple[int, ...]) -> None:
    cmos = Cmos(rtc)
    cells = (SECONDS, MINUTES, HOURS, WEEKDAY, DAY, MONTH, YEAR, CENTURY)
    assert tuple(cell(cmos, index) for index in cells) == expected


@pytest.mark.parametrize(
    ("hour", "reg_b", "shown"),
    [
        (0, B_24_HOURS, 0x00),
        (0, 0, 0x12),
        (9, 0, 0x09),
        (12, 0, 0x92),
        (23, 0, 0x91),
        (23, B_24_HOURS, 0x23),
        (23, B_24_HOURS | B_BINARY, 23),
        (23, B_BINARY, 0x8B),
        (0, B_BINARY, 12),
    ],
)
def test_formats_of_the_hour(hour: int, reg_b: int, shown: int) -> None:
    cmos = Cmos(hour * 3600)
    put(cmos, REG_B, reg_b)
    assert cell(cmos, HOURS) == shown
    put(cmos, HOURS, shown)
    put(cmos, REG_B, B_24_HOURS | B_BINARY)
    assert cell(cmos, HOURS) == hour


def test_the_clock_can_be_set_and_stands_still() -> None:
    cmos = Cmos(LEAP)
    put(cmos, MINUTES, 0x42)
    assert cell(cmos, MINUTES) == 0x42
    assert [cell(cmos, SECONDS) for _ in range(100)] == [0x59] * 100


@pytest.mark.parametrize(
    ("index", "written", "read"),
    [
        (REG_A, 0xFF, 0x7F),
        (REG_C, 0xFF, 0x00),
        (REG_D, 0x00, 0x80),
        (0x40, 0xA5, 0xA5),
        (0x7F, 0x01, 0x01),
    ],
)
def test_registers_and_memory(index: int, written: int, read: int) -> None:
    cmos = Cmos(0)
    put(cmos, index, written)
    assert cell(cmos, index) == read


def test_the_index_port() -> None:
    cmos = Cmos(0)
    assert cmos.read(0, 1) == 0xFF
    assert cell(cmos, 0x80 | REG_D) == 0x80


@pytest.mark.parametrize(
    ("ram", "expected"),
    [
        (0, (0, 0, 0, 0)),
        (64 * MIB, (640, 63 * 1024, 63 * 1024, 48 * 16)),
        (8 * MIB, (640, 7 * 1024, 7 * 1024, 0)),
        (8192 * MIB, (640, 0xFFFF, 0xFFFF, 0xFFFF)),
    ],
)
def test_memory_size(ram: int, expected: tuple[int, ...]) -> None:
    cmos = Cmos(0, ram)
    found = tuple(cell(cmos, at) | cell(cmos, at + 1) << 8 for at in (0x15, 0x17, 0x30, 0x34))
    assert found == expected


@pytest.mark.parametrize("value", range(256))
def test_any_byte_is_some_time(value: int) -> None:
    cmos = Cmos(0)
    for reg_b in (0, B_24_HOURS, B_BINARY, B_24_HOURS | B_BINARY):
        put(cmos, REG_B, reg_b)
        for index in (SECONDS, HOURS, YEAR):
            put(cmos, index, value)
            assert 0 <= cell(cmos, index) <= 0xFF
