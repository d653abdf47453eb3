"""PCI configuration space: the two functions of a Q35 board that firmware looks for.

Mechanism #1 is behind ports 0xcf8 and 0xcfc, with the reset control register
(port 0xcf9) between them; the enhanced mechanism is memory. Devices have no
base addresses, and what nobody is behind reads as ones (PCI 3.0, 3.2.2.3;
QEMU: hw/pci-host/q35.c, hw/isa/lpc_ich9.c).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tdxdbg.vmm.reset import reset_by

PORT: Final = 0xCF8
SIZE: Final = 8
ECAM_BASE: Final = 0xE000_0000
#: 256 buses.
ECAM_SIZE: Final = 256 << 20

ADDRESS: Final = 0
RESET_CONTROL: Final = 1
DATA: Final = 4

_ENABLE: Final = 1 << 31
_SYSTEM_RESET: Final = 1 << 2
_RESET_KEPT: Final = 0x0A

CONFIG_SIZE: Final = 256
#: Only the command, the cache line and latency, the interrupt line, and what
#: the device itself defines can be written.
_WRITABLE: Final = frozenset((0x04, 0x05, 0x0C, 0x0D, 0x3C, *range(0x40, CONFIG_SIZE)))


class Function(NamedTuple):
    """A function's identity; `at`: device number << 3 | function number, on bus 0."""

    at: int
    vendor: int
    device: int
    class_code: int
    header_type: int = 0

    def config(self) -> bytes:
        """Its configuration space after reset."""
        space = bytearray(CONFIG_SIZE)
        space[0:2] = self.vendor.to_bytes(2, "little")
        space[2:4] = self.device.to_bytes(2, "little")
        space[0x09:0x0C] = self.class_code.to_bytes(3, "little")
        space[0x0E] = self.header_type
        # The subsystem that QEMU gives its devices.
        space[0x2C:0x30] = bytes.fromhex("f41a0011")
        return bytes(space)


HOST_BRIDGE: Final = Function(0x00, 0x8086, 0x29C0, 0x060000)
LPC_BRIDGE: Final = Function(0x1F << 3, 0x8086, 0x2918, 0x060100, header_type=0x80)


class PciState(NamedTuple):
    """`spaces`: (device << 3 | function, configuration space) of each function."""

    address: int
    reset_control: int
    spaces: tuple[tuple[int, bytes], ...]


class Pci:
    """The configuration spaces of bus 0; registers are 32 bits wide at most."""

    def __init__(self, functions: tuple[Function, ...]) -> None:
        self.state = PciState(0, 0, tuple((each.at, each.config()) for each in functions))

    # --- ports ------------------------------------------------------------------------

    def read(self, offset: int, size: int) -> int:
        address, reset_control, _ = self.state
        if offset >= DATA:
            if address & _ENABLE:
                return self.get(address >> 8 & 0xFFFF, address & 0xFC | offset & 3, size)
        elif offset == ADDRESS and size == 4:
            return address
        elif offset == RESET_CONTROL and size == 1:
            return reset_control
        return _ones(size)

    def write(self, offset: int, size: int, value: int) -> str:
        state = self.state
        if offset >= DATA:
            if state.address & _ENABLE:
                at, register = state.address >> 8 & 0xFFFF, state.address & 0xFC | offset & 3
                self.put(at, register, size, value)
        elif offset == ADDRESS and size == 4:
            self.state = state._replace(address=value)
        elif offset == RESET_CONTROL and size == 1:
            self.state = state._replace(reset_control=value & _RESET_KEPT)
            return reset_by("port 0xcf9") if value & _SYSTEM_RESET else ""
        return ""

    # --- configuration spaces ---------------------------------------------------------

    def get(self, at: int, register: int, size: int) -> int:
        """`at`: bus << 8 | device << 3 | function."""
        for each, space in self.state.spaces:
            if each == at:
                # What is beyond the first 256 bytes is an empty list of capabilities.
                return int.from_bytes(space[register : register + size], "little")
        return _ones(size)

    def put(self, at: int, register: int, size: int, value: int) -> None:
        spaces = tuple(
            (
                each,
                _written(space, register, value.to_bytes(size, "little")) if each == at else space,
            )
            for each, space in self.state.spaces
        )
        self.state = self.state._replace(spaces=spaces)


class Ecam:
    """The same spaces as memory, 4 KiB for each function."""

    def __init__(self, pci: Pci) -> None:
        self._pci = pci

    def read(self, offset: int, size: int) -> int:
        return self._pci.get(offset >> 12, offset & 0xFFF, size)

    def write(self, offset: int, size: int, value: int) -> str:
        self._pci.put(offset >> 12, offset & 0xFFF, size, value)
        return ""


def _written(space: bytes, register: int, data: bytes) -> bytes:
    new = bytearray(space)
    for at, byte in enumerate(data, register):
        if at in _WRITABLE:
            new[at] = byte
    return bytes(new)


def _ones(size: int) -> int:
    return (1 << 8 * size) - 1
