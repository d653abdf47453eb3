"""A guest image becomes a TD: where everything is when its vCPUs start.

This is the guest start contract (tdxdbg/guests/README.md). Below 1 MiB:

    0x1000   boot information: magic, RAM in bytes, GPAW, vCPUs, first GPA that
             is not accepted; 8 bytes each
    0x2000   GDT: 0x08 code of 64 bits, 0x10 data
    0x10000  page tables: VA = GPA up to 4 GiB; the same GPAs with the shared
             bit at VA 512 GiB. 2 MiB pages, writable, executable, ring 3 too
    0x20000  stacks, 16 KiB for each vCPU

All vCPUs start at the entry point in 64-bit mode, as if firmware had run: RBX
GPAW, RSI the vCPU's number, RCX and R8 the boot information, RSP its stack, no
IDT, interrupts off. What is below the end of the image, rounded up to 2 MiB,
was added before the TD was finalized; the rest of the RAM has to be accepted.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from tdxdbg.abi import cpuid as leaves
from tdxdbg.abi import tdx_fields
from tdxdbg.abi.regs import Regs
from tdxdbg.backends.elf import FLAT_GPA, GuestFile, read_guest
from tdxdbg.backends.emulated.measurement import mrtd
from tdxdbg.backends.emulated.memory import Slot
from tdxdbg.backends.emulated.td import Image, TdConfig, engine_td, new_params
from tdxdbg.backends.emulated.vmcb import StartState
from tdxdbg.backends.lines import Lines, lines_of
from tdxdbg.backends.symbols import Symbols, symbols_of
from tdxdbg.engine.state import Td
from tdxdbg.errors import BackendError

MIB: Final = 1 << 20
DEFAULT_RAM: Final = 64 * MIB
#: Devices are above.
LARGEST_RAM: Final = 3 << 30

BOOT_INFO: Final = 0x1000
BOOT_MAGIC: Final = b"TDXDBG\0\1"
GDT: Final = 0x2000
TABLES: Final = 0x10000
STACKS: Final = 0x20000
STACK_SIZE: Final = 0x4000
#: What fits below the old VGA memory at 640 KiB.
MOST_VCPUS: Final = (0xA0000 - STACKS) // STACK_SIZE
#: Images go here or above.
IMAGE_GPA: Final = FLAT_GPA
#: VA of GPA 0 with the shared bit.
SHARED_WINDOW: Final = 1 << 39

_CODE, _DATA = 0x08, 0x10
_DESCRIPTORS: Final = struct.pack("<3Q", 0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF)

_LARGE: Final = 2 * MIB
_MAPPED: Final = 4 << 30
_TABLE_SIZE: Final = 0x1000
_TABLE_ENTRY: Final = 0x07  # present, writable, user
_LARGE_ENTRY: Final = 0x87


@dataclass(frozen=True, slots=True)
class GuestOptions:
    """The TD around a guest.

    `ram_bytes` from GPA 0 on; `attributes` as TDX's (SEPT_VE_DISABLE is what
    Linux asks for: without it an access to a page that is not accepted is a
    #VE); `cpuid` None: a CPU that is no more than the emulated one. `seed`:
    RDRAND and RDSEED. `large_pages`: KVM maps 2 MiB where 2 MiB are accepted
    (upstream maps 4 KiB).
    """

    ram_bytes: int = DEFAULT_RAM
    gpaw: int = 48
    vcpus: int = 1
    attributes: int = tdx_fields.ATTRIBUTES_SEPT_VE_DISABLE
    cpuid: Mapping[tuple[int, int], leaves.Values] | None = None
    seed: int = 0
    large_pages: bool = False


@dataclass(frozen=True)
class LoadedGuest:
    """A guest and its TD: `config` opens the machine, `td` is the engine's.

    `accepted` is the first GPA that the guest has to accept.
    """

    file: GuestFile
    config: TdConfig
    td: Td
    accepted: int

    @property
    def entry(self) -> int:
        """Where the vCPUs start."""
        return self.file.entry

    @cached_property
    def symbols(self) -> Symbols:
        """Names of addresses, read when they are asked for."""
        return symbols_of(self.file)

    @cached_property
    def lines(self) -> Lines:
        """Source lines of addresses, read when they are asked for."""
        return lines_of(self.file)


_DEFAULTS: Final = GuestOptions()


def build(source: Path | bytes, options: GuestOptions = _DEFAULTS) -> LoadedGuest:
    """The TD of a guest image, a static ELF64 or a flat file; raises BackendError."""
    _check(options)
    file = read_guest(source)
    end = _end_of(file, options.ram_bytes)
    images = (
        Image(BOOT_INFO, _boot_info(options, end)),
        Image(GDT, _DESCRIPTORS),
        Image(TABLES, _page_tables(1 << (options.gpaw - 1))),
        *(Image(segment.gpa, bytes(segment.data)) for segment in file.segments if segment.data),
    )
    cpuid = leaves.DEFAULT if options.cpuid is None else options.cpuid
    params = new_params(
        options.gpaw, options.vcpus, cpuid, mrtd(images, end), attributes=options.attributes
    )
    config = TdConfig(
        params,
        (Slot(0, options.ram_bytes),),
        tuple(_start(file.entry, options.gpaw, index) for index in range(options.vcpus)),
        images,
        ((0, end),),
        options.seed,
        options.large_pages,
    )
    return LoadedGuest(file, config, engine_td(params, config.ram), end)


def _check(options: GuestOptions) -> None:
    ram = options.ram_bytes
    if ram % _LARGE or not 2 * _LARGE <= ram <= LARGEST_RAM:
        raise BackendError(
            f"guest RAM of {ram} bytes: give 4 to {LARGEST_RAM // MIB} MiB in steps of 2 MiB"
        )
    if not 1 <= options.vcpus <= MOST_VCPUS:
        raise BackendError(f"{options.vcpus} vCPUs: the emulated backend has 1 to {MOST_VCPUS}")
    if options.gpaw not in (48, 52):
        raise BackendError(f"a GPA width of {options.gpaw} bits: TDX has 48 and 52")


def _end_of(file: GuestFile, ram: int) -> int:
    """The first GPA that is not accepted."""
    for segment in file.segments:
        if segment.gpa < IMAGE_GPA:
            raise BackendError(
                f"{file.name} wants GPA {segment.gpa:#x}: what is below {IMAGE_GPA:#x} "
                f"is the loader's, link it at {IMAGE_GPA:#x} or above"
            )
    last = max(segment.end for segment in file.segments)
    end = -(-last // _LARGE) * _LARGE
    if end > ram:
        raise BackendError(
            f"{file.name} needs RAM up to GPA {last:#x}, the TD has {ram // MIB} MiB: "
            + (f"give it {end // MIB} MiB" if end <= LARGEST_RAM else "link it lower")
        )
    return end


def _start(entry: int, gpaw: int, index: int) -> StartState:
    stack = STACKS + STACK_SIZE * (index + 1)
    regs = Regs(rbx=gpaw, rsi=index, rcx=BOOT_INFO, r8=BOOT_INFO, rsp=stack)
    return StartState(
        entry,
        regs,
        cr3=TABLES,
        code_selector=_CODE,
        data_selector=_DATA,
        gdt=(GDT, len(_DESCRIPTORS) - 1),
    )


def _boot_info(options: GuestOptions, end: int) -> bytes:
    return BOOT_MAGIC + struct.pack("<4Q", options.ram_bytes, options.gpaw, options.vcpus, end)


def _page_tables(shared_mask: int) -> bytes:
    """PML4, then a PDPT and its page directories for each of the two windows."""
    directories = _MAPPED >> 30
    root = bytearray(_TABLE_SIZE)
    windows = b""
    for number, mask in enumerate((0, shared_mask)):
        pointers = TABLES + _TABLE_SIZE * (1 + number * (1 + directories))
        struct.pack_into("<Q", root, 8 * number, pointers | _TABLE_ENTRY)
        table = bytearray(_TABLE_SIZE)
        for index in range(directories):
            entry = pointers + _TABLE_SIZE * (1 + index) | _TABLE_ENTRY
            struct.pack_into("<Q", table, 8 * index, entry)
        pages = (gpa | mask | _LARGE_ENTRY for gpa in range(0, _MAPPED, _LARGE))
        windows += table + struct.pack(f"<{_MAPPED // _LARGE}Q", *pages)
    return bytes(root + windows)
