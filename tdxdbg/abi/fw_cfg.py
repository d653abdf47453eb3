"""QEMU's firmware configuration device: ports, keys and files (QEMU docs/specs/fw_cfg.rst)."""

from __future__ import annotations

from typing import Final, NamedTuple

SELECTOR_PORT: Final = 0x510
DATA_PORT: Final = 0x511
DMA_PORT: Final = 0x514

# Keys of items.
SIGNATURE: Final = 0x00
ID: Final = 0x01
NB_CPUS: Final = 0x05
KERNEL_SIZE: Final = 0x08
INITRD_SIZE: Final = 0x0B
BOOT_MENU: Final = 0x0E
MAX_CPUS: Final = 0x0F
KERNEL_DATA: Final = 0x11
INITRD_DATA: Final = 0x12
CMDLINE_SIZE: Final = 0x14
CMDLINE_DATA: Final = 0x15
SETUP_SIZE: Final = 0x17
SETUP_DATA: Final = 0x18
FILE_DIR: Final = 0x19
FILE_FIRST: Final = 0x20

#: Bits of the selector that are no part of the key: write channel, architecture's own.
SELECTOR_FLAGS: Final = 0xC000

# Bits of ID.
ID_TRADITIONAL: Final = 1 << 0
ID_DMA: Final = 1 << 1

# Control of a DMA access; the key is in bits 31:16.
DMA_ERROR: Final = 1 << 0
DMA_READ: Final = 1 << 1
DMA_SKIP: Final = 1 << 2
DMA_SELECT: Final = 1 << 3
DMA_WRITE: Final = 1 << 4

#: Bytes of a file's name, with its zero byte.
NAME_SIZE: Final = 56


class Content(NamedTuple):
    """What a VMM gives its firmware: items by key, and files by name."""

    items: tuple[tuple[int, bytes], ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()


NOTHING: Final = Content()
