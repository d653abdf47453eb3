"""Ports and addresses: which device answers, and how a wide access becomes narrow ones.

An access goes to the devices in pieces, from its first byte on. A piece is no
wider than the device's registers, is aligned to its own size, and ends where
the device does; where no device is, each byte is a piece of its own.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from typing import NamedTuple, Protocol


class Device(Protocol):
    """Registers; `offset` and `size` in bytes, values little endian."""

    def read(self, offset: int, size: int) -> int: ...

    def write(self, offset: int, size: int, value: int) -> str:
        """The reason why the VM ends by this; "": it goes on."""
        ...


class Region(NamedTuple):
    """A device at [first, first + size); its registers are `width` bytes wide at most."""

    first: int
    size: int
    width: int
    device: Device


class Bus:
    """An address space with devices in it."""

    def __init__(self, regions: tuple[Region, ...], unused: int) -> None:
        """`unused`: the byte that is read where no device is."""
        self._regions = sorted(regions, key=lambda region: region.first)
        self._firsts = [region.first for region in self._regions]
        self._unused = bytes((unused,))
        #: A guest uses few ports, and each very often.
        self._piece = lru_cache(256)(self._find_piece)

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes from `address` on."""
        data = b""
        while len(data) < size:
            region, length = self._piece(address + len(data), size - len(data))
            if region is None:
                data += self._unused
                continue
            value = region.device.read(address + len(data) - region.first, length)
            data += value.to_bytes(length, "little")
        return data

    def write(self, address: int, data: bytes) -> str:
        """Write all of it; the first reason why the VM ends by it, or ""."""
        stop = ""
        at = 0
        while at < len(data):
            region, length = self._piece(address + at, len(data) - at)
            if region is not None:
                value = int.from_bytes(data[at : at + length], "little")
                why = region.device.write(address + at - region.first, length, value)
                stop = stop or why
            at += length
        return stop

    def _find_piece(self, address: int, size: int) -> tuple[Region | None, int]:
        """The device at an address, and how many bytes go there at once."""
        index = bisect_right(self._firsts, address) - 1
        if index < 0:
            return None, 1
        region = self._regions[index]
        left = region.first + region.size - address
        if left <= 0:
            return None, 1
        length = region.width
        while length > min(size, left) or address % length:
            length >>= 1
        return region, length
