"""ACPI's fixed hardware: the power management timer, and how a guest turns itself off.

Registers: ACPI 6.5, 4.8.3 and 4.8.3.7 (hardware-reduced), where QEMU's Q35 has
them (hw/acpi/core.c, ich9.c, generic_event_device.c). No event is ever pending.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tdxdbg.vmm.now import Now

PORT: Final = 0x600
SIZE: Final = 0x10

#: What a hardware-reduced FADT names as SLEEP_CONTROL_REG and SLEEP_STATUS_REG.
SLEEP_PORT: Final = 0x640
SLEEP_SIZE: Final = 2

# Offsets of PORT, in bytes.
PM1_STATUS: Final = 0
PM1_ENABLE: Final = 2
PM1_CONTROL: Final = 4
TIMER: Final = 8
# Offsets of SLEEP_PORT.
SLEEP_CONTROL: Final = 0
SLEEP_STATUS: Final = 1

#: Hz of the timer, which has 24 bits.
FREQUENCY: Final = 3_579_545
_TIMER_MASK: Final = 0xFF_FFFF

SCI_ENABLE: Final = 1 << 0
SLEEP_ENABLE: Final = 1 << 13
#: SLP_TYP of S5 in PM1_CONTROL (bits 12:10), and in SLEEP_CONTROL (bits 4:2).
S5: Final = 0
S5_REDUCED: Final = 5
_REDUCED_SLEEP_ENABLE: Final = 1 << 5

POWER_OFF: Final = "ACPI S5: power off"


class PmState(NamedTuple):
    """What was written. There is no SMI to turn ACPI on with, so it is on."""

    enabled: int = 0
    control: int = SCI_ENABLE


class AcpiPm:
    """PM1 event and control registers, and the timer; registers are 32 bits wide at most."""

    def __init__(self, now: Now) -> None:
        self._now = now
        self.state = PmState()

    def read(self, offset: int, size: int) -> int:
        ticks = self._now.ns * FREQUENCY // 1_000_000_000 & _TIMER_MASK
        enabled, control = self.state
        registers = enabled << 8 * PM1_ENABLE | control << 8 * PM1_CONTROL | ticks << 8 * TIMER
        return registers >> 8 * offset & (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int) -> str:
        # A byte at a time, for the widths that a guest may take.
        enabled, control = self.state
        registers = enabled << 8 * PM1_ENABLE | control << 8 * PM1_CONTROL
        mask = (1 << 8 * size) - 1 << 8 * offset
        registers = registers & ~mask | value << 8 * offset
        control = registers >> 8 * PM1_CONTROL & 0xFFFF
        self.state = PmState(
            registers >> 8 * PM1_ENABLE & 0xFFFF, control & ~SLEEP_ENABLE | SCI_ENABLE
        )
        return _sleep(control >> 10 & 7) if control & SLEEP_ENABLE else ""


def _sleep(kind: int) -> str:
    if kind == S5:
        return POWER_OFF
    return f"ACPI sleep type {kind}: a TD cannot be suspended"


class SleepControl:
    """The two registers of a hardware-reduced ACPI; any other type than S5 is ignored."""

    def read(self, offset: int, size: int) -> int:
        return 0

    def write(self, offset: int, size: int, value: int) -> str:
        if offset != SLEEP_CONTROL or not value & _REDUCED_SLEEP_ENABLE:
            return ""
        return POWER_OFF if value >> 2 & 7 == S5_REDUCED else ""
