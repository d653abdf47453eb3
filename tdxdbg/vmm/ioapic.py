"""The I/O APIC, as QEMU has it for a VM whose local APICs are KVM's (split irqchip).

Registers: the 82093AA data sheet, and the EOI register of version 0x20;
behaviour: QEMU's hw/intc/ioapic.c. A TD's EOIs reach nobody: a level-triggered
pin stays in service until the guest writes its vector to the EOI register (as
Linux does, which finds no trigger mode in its TMR), or makes it edge-triggered.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tdxdbg.vmm.ask import Events

BASE: Final = 0xFEC0_0000
SIZE: Final = 0x1000
PINS: Final = 24

# Offsets, in bytes.
SELECT: Final = 0x00
WINDOW: Final = 0x10
EOI: Final = 0x40

# Registers behind the window.
ID: Final = 0x00
VERSION: Final = 0x01
ARBITRATION: Final = 0x02
#: Two registers for each pin, the low half first.
TABLE: Final = 0x10

VERSION_VALUE: Final = (PINS - 1) << 16 | 0x20

MASKED: Final = 1 << 16
LEVEL: Final = 1 << 15
REMOTE_IRR: Final = 1 << 14
LOGICAL: Final = 1 << 11
_DELIVERY_STATUS: Final = 1 << 12
_READ_ONLY: Final = REMOTE_IRR | _DELIVERY_STATUS
_HALF: Final = 0xFFFF_FFFF

# Delivery modes, bits 10:8.
_FIXED, _LOWEST_PRIORITY = 0, 1
_BROADCAST: Final = 0xFF
#: vCPUs that a logical destination has bits for.
_CLUSTER: Final = 16


class IoapicState(NamedTuple):
    """`waiting` and `high`: one bit for each pin, its IRR and its level."""

    selected: int = 0
    identity: int = 0
    table: tuple[int, ...] = (MASKED,) * PINS
    waiting: int = 0
    high: int = 0


class Ioapic:
    """24 pins; registers are 32 bits wide."""

    def __init__(self) -> None:
        self.state = IoapicState()
        #: Entries whose interrupt is on its way, until `deliver`.
        self.due: list[int] = []

    # --- the guest's side -------------------------------------------------------------

    def read(self, offset: int, size: int) -> int:
        offset &= 0xFF
        if offset == SELECT:
            return self.state.selected & (1 << 8 * size) - 1
        return self._register() if offset == WINDOW and size == 4 else 0

    def _register(self) -> int:
        selected, identity, table = self.state[:3]
        if selected in (ID, ARBITRATION):
            return identity << 24
        if selected == VERSION:
            return VERSION_VALUE
        pin = (selected - TABLE) >> 1
        return table[pin] >> 32 * (selected & 1) & _HALF if 0 <= pin < PINS else 0

    def write(self, offset: int, size: int, value: int) -> str:
        offset &= 0xFF
        if offset == SELECT:
            self.state = self.state._replace(selected=value & 0xFF)
        elif offset == WINDOW and size == 4:
            self._set_register(value)
        elif offset == EOI and size == 4:
            self._end_of_interrupt(value & 0xFF)
        return ""

    def _set_register(self, value: int) -> None:
        selected, _, table = self.state[:3]
        if selected == ID:
            self.state = self.state._replace(identity=value >> 24 & 0xF)
        pin = (selected - TABLE) >> 1
        if not 0 <= pin < PINS:
            return
        shift = 32 * (selected & 1)
        old = table[pin]
        entry = old & ~(_HALF << shift) | value << shift
        entry = entry & ~_READ_ONLY | old & _READ_ONLY
        if not entry & LEVEL:
            entry &= ~REMOTE_IRR
        elif self.state.high >> pin & 1:
            self.state = self.state._replace(waiting=self.state.waiting | 1 << pin)
        self._set_entry(pin, entry)
        self._serve()

    def _end_of_interrupt(self, vector: int) -> None:
        for pin, entry in enumerate(self.state.table):
            if entry & 0xFF == vector and entry & LEVEL and entry & REMOTE_IRR:
                self._set_entry(pin, entry & ~REMOTE_IRR)
        self._serve()

    def _set_entry(self, pin: int, entry: int) -> None:
        table = self.state.table
        self.state = self.state._replace(table=(*table[:pin], entry, *table[pin + 1 :]))

    # --- the devices' side ------------------------------------------------------------

    def is_high(self, pin: int) -> bool:
        """The level of a pin."""
        return bool(self.state.high >> pin & 1)

    def set_pin(self, pin: int, *, high: bool) -> None:
        """The level of a pin, which may have been the same before; an edge is a rise."""
        bit = 1 << pin
        state, entry = self.state, self.state.table[pin]
        rises = high and not state.high & bit
        waiting = state.waiting
        if entry & LEVEL:
            waiting = waiting | bit if high else waiting & ~bit
        elif rises and not entry & MASKED:
            waiting |= bit
        self.state = state._replace(
            waiting=waiting, high=state.high | bit if high else state.high & ~bit
        )
        self._serve()

    def _serve(self) -> None:
        """Send what waits behind entries that are not masked."""
        if not self.state.waiting:
            return
        for pin, entry in enumerate(self.state.table):
            if not self.state.waiting >> pin & 1 or entry & MASKED:
                continue
            if not entry & LEVEL:
                self.state = self.state._replace(waiting=self.state.waiting & ~(1 << pin))
            elif entry & REMOTE_IRR:
                continue
            else:
                self._set_entry(pin, entry | REMOTE_IRR)
            self.due.append(entry)

    def deliver(self, events: Events, vcpus: int) -> None:
        """Raise what is due, at those of `vcpus` local APICs that it is for."""
        for entry in self.due:
            for vcpu in destinations(entry, vcpus):
                events.raise_vector(vcpu, entry & 0xFF)
        self.due.clear()


def destinations(entry: int, vcpus: int) -> tuple[int, ...]:
    """Which of the local APICs 0..`vcpus` - 1 (x2APIC mode) a message is for.

    Bits 55:49 are destination bits 14:8 (KVM_FEATURE_MSI_EXT_DEST_ID). SMI,
    NMI, INIT and ExtINT are for nobody: a TD takes vectors only.
    """
    mode = entry >> 8 & 7
    if mode not in (_FIXED, _LOWEST_PRIORITY) or entry & 0xFF < 16:
        return ()
    destination = entry >> 56 | (entry >> 49 & 0x7F) << 8
    if destination == _BROADCAST:
        found = tuple(range(vcpus))
    elif entry & LOGICAL:
        # Destinations of 15 bits reach cluster 0 only.
        found = tuple(at for at in range(min(vcpus, _CLUSTER)) if destination >> at & 1)
    else:
        found = (destination,) if destination < vcpus else ()
    return found[:1] if mode == _LOWEST_PRIORITY else found
