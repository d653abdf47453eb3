"""fw_cfg: how QEMU hands files and numbers to the firmware (QEMU hw/nvram/fw_cfg.c).

The guest selects a key, then reads its bytes one by one from a port or all at
once by DMA, which reaches shared memory only (`shared`). Nothing of it can be
written.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Final, NamedTuple

from tdxdbg.abi import fw_cfg as abi
from tdxdbg.vmm.ask import GuestMemory
from tdxdbg.vmm.shared import read_shared, write_shared

PORT: Final = abi.SELECTOR_PORT
SIZE: Final = 2
DMA_PORT: Final = abi.DMA_PORT
DMA_SIZE: Final = 8

_SIGNATURE: Final = b"QEMU"
#: What the DMA register reads as.
_DMA_SIGNATURE: Final = b"QEMU CFG"
_ACCESS: Final = Struct(">IIQ")  # control, length, address
_CONTROL: Final = Struct(">I")
_COUNT: Final = Struct(">I")
_FILE: Final = Struct(f">IHH{abi.NAME_SIZE}s")  # size, key, reserved, name
_ZEROES: Final = bytes(1 << 16)

#: Bytes of one DMA access: more than any file has, and no more than the host can spare time for.
LARGEST: Final = 1 << 28


class FwCfgState(NamedTuple):
    """`offset` in the item `selected`; `dma`: the upper half of the next access's address."""

    selected: int = 0
    offset: int = 0
    dma: int = 0


def items_of(content: abi.Content) -> Mapping[int, bytes]:
    """Every item by key: those of `content`, its files and their directory."""
    items = {
        abi.SIGNATURE: _SIGNATURE,
        abi.ID: (abi.ID_TRADITIONAL | abi.ID_DMA).to_bytes(4, "little"),
        **dict(content.items),
    }
    files = sorted(content.files)
    directory = _COUNT.pack(len(files))
    for key, (name, data) in enumerate(files, abi.FILE_FIRST):
        items[key] = data
        directory += _FILE.pack(len(data), key, 0, name.encode())
    items[abi.FILE_DIR] = directory
    return items


class FwCfg:
    """The device: selector and data ports."""

    def __init__(self, content: abi.Content) -> None:
        self._items = items_of(content)
        self.state = FwCfgState()
        #: GPA of a DMA access that was asked for, until `transfer`; -1: none.
        self.due = -1

    def read(self, offset: int, size: int) -> int:
        """One byte of the item, through either port."""
        if size != 1:
            return 0
        selected, at, dma = self.state
        data = self._items.get(selected, b"")
        if at >= len(data):
            return 0
        self.state = FwCfgState(selected, at + 1, dma)
        return data[at]

    def write(self, offset: int, size: int, value: int) -> str:
        if offset == 0 and size == 2:
            self._select(value)
        return ""

    def _select(self, key: int) -> None:
        self.state = FwCfgState(key & ~abi.SELECTOR_FLAGS, 0, self.state.dma)

    # --- DMA --------------------------------------------------------------------------

    def ask(self, offset: int, size: int, value: int) -> None:
        """A write to the address register: big-endian, the second half starts the access."""
        raw = value.to_bytes(size, "little")
        high = self.state.dma if size == 4 else 0
        if size == 8 or (size == 4 and offset == 4):
            self.due = high << 32 | int.from_bytes(raw, "big")
            self.state = self.state._replace(dma=0)
        elif size == 4 and offset == 0:
            self.state = self.state._replace(dma=int.from_bytes(raw, "big"))

    def transfer(self, memory: GuestMemory) -> None:
        """Do what was asked for; the guest sees the outcome in `control`."""
        gpa, self.due = self.due, -1
        access = read_shared(memory, gpa, _ACCESS.size)
        error = abi.DMA_ERROR
        if access is not None:
            control, length, address = _ACCESS.unpack(access)
            error = 0 if self._access(memory, control, length, address) else abi.DMA_ERROR
        write_shared(memory, gpa, _CONTROL.pack(error))

    def _access(self, memory: GuestMemory, control: int, length: int, address: int) -> bool:
        """False: some of it could not be done."""
        if control & abi.DMA_SELECT:
            self._select(control >> 16)
        if not control & (abi.DMA_READ | abi.DMA_WRITE | abi.DMA_SKIP) or not length:
            return True
        if length > LARGEST:
            return False
        if control & abi.DMA_READ:
            return self._read(memory, address, length)
        if control & abi.DMA_WRITE:
            return False
        self._skip(length)
        return True

    def _read(self, memory: GuestMemory, address: int, length: int) -> bool:
        """The rest of the item, then zeroes."""
        selected, at, _ = self.state
        data = memoryview(self._items.get(selected, b""))[at : at + length]
        self._skip(length)
        if data and not write_shared(memory, address, bytes(data)):
            return False
        done = len(data)
        while done < length:
            piece = _ZEROES[: length - done]
            if not write_shared(memory, address + done, piece):
                return False
            done += len(piece)
        return True

    def _skip(self, length: int) -> None:
        """On by `length`, at most to the end of the item."""
        selected, at, dma = self.state
        size = len(self._items.get(selected, b""))
        self.state = FwCfgState(selected, max(at, min(at + length, size)), dma)


class FwCfgDma:
    """The address register of the DMA interface."""

    def __init__(self, device: FwCfg) -> None:
        self._device = device

    def read(self, offset: int, size: int) -> int:
        return int.from_bytes(_DMA_SIGNATURE[offset : offset + size], "little")

    def write(self, offset: int, size: int, value: int) -> str:
        self._device.ask(offset, size, value)
        return ""
