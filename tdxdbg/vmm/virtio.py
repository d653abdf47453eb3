"""The registers that a driver looks at first on a virtio-mmio device.

It negotiates as a device does (virtio 1.2, 4.2.2), and has no queue: a driver
that gets that far sees QueueNumMax 0 and gives up. Registers are read and
written as aligned 32-bit words; any other width reads 0 and is not written.
"""

from __future__ import annotations

from typing import Final, NamedTuple

BASE: Final = 0xFEB0_0000
SIZE: Final = 0x200

MAGIC: Final = int.from_bytes(b"virt", "little")
VERSION: Final = 2
#: An entropy source.
DEVICE_ID: Final = 4
VENDOR: Final = int.from_bytes(b"tdxd", "little")

# Offsets, in bytes.
MAGIC_VALUE: Final = 0x000
DEVICE_VERSION: Final = 0x004
DEVICE: Final = 0x008
VENDOR_ID: Final = 0x00C
DEVICE_FEATURES: Final = 0x010
DEVICE_FEATURES_SEL: Final = 0x014
DRIVER_FEATURES: Final = 0x020
DRIVER_FEATURES_SEL: Final = 0x024
STATUS: Final = 0x070

FEATURES_OK: Final = 8
#: VIRTIO_F_VERSION_1.
FEATURES: Final = 1 << 32

_IDENTITY: Final = {
    MAGIC_VALUE: MAGIC,
    DEVICE_VERSION: VERSION,
    DEVICE: DEVICE_ID,
    VENDOR_ID: VENDOR,
}


class VirtioState(NamedTuple):
    """What the driver wrote."""

    status: int = 0
    device_features_sel: int = 0
    driver_features_sel: int = 0
    driver_features: int = 0


class Virtio:
    """The device; a write of 0 to its status resets it."""

    def __init__(self) -> None:
        self.state = VirtioState()

    def read(self, offset: int, size: int) -> int:
        if size != 4:
            return 0
        if offset == DEVICE_FEATURES:
            select = self.state.device_features_sel
            return FEATURES >> 32 * select & 0xFFFF_FFFF if select < 2 else 0
        if offset == STATUS:
            return self.state.status
        return _IDENTITY.get(offset, 0)

    def write(self, offset: int, size: int, value: int) -> str:
        state = self.state
        if size != 4:
            return ""
        if offset == STATUS:
            self.state = VirtioState() if not value else self._with_status(value & 0xFF)
        elif offset == DEVICE_FEATURES_SEL:
            self.state = state._replace(device_features_sel=value)
        elif offset == DRIVER_FEATURES_SEL:
            self.state = state._replace(driver_features_sel=value)
        elif offset == DRIVER_FEATURES:
            self._accept(value)
        return ""

    def _with_status(self, status: int) -> VirtioState:
        """FEATURES_OK holds only when the driver accepted what is offered, and VERSION_1."""
        if self.state.driver_features != FEATURES:
            status &= ~FEATURES_OK
        return self.state._replace(status=status)

    def _accept(self, value: int) -> None:
        """Half of the features; they are fixed once FEATURES_OK holds."""
        state = self.state
        if state.driver_features_sel > 1 or state.status & FEATURES_OK:
            return
        shift = 32 * state.driver_features_sel
        kept = state.driver_features & ~(0xFFFF_FFFF << shift)
        self.state = state._replace(driver_features=kept | value << shift)
