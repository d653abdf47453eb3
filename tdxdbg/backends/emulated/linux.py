"""A Linux kernel becomes a TD: what is in its memory when its vCPUs start.

The kernel is entered by the 64-bit boot protocol (Linux
Documentation/arch/x86/boot.rst), without firmware: a bzImage at its own
decompressor, a vmlinux at startup_64. Below 1 MiB:

    0x7000    boot_params
    0x8000    stack
    0x20000   the command line
    0x90000   page tables (VA = GPA up to 4 GiB), the GDT, the code in which
              additional vCPUs wait, and the mailbox that wakes them (ACPI 6.5,
              5.2.12.19); for the guest this is ACPI NVS
    0xe0000   ACPI tables (`acpi`)

All of the RAM is added before the TD is finalized: only EFI firmware can tell
a kernel that memory is unaccepted (`tdvf` boots through one). What is loaded
is measured, the rest is zeroes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tdxdbg.abi import cpuid as leaves
from tdxdbg.abi.regs import Regs
from tdxdbg.backends import bzimage
from tdxdbg.backends.elf import GuestFile, read_file, read_guest
from tdxdbg.backends.emulated import acpi
from tdxdbg.backends.emulated.measurement import mrtd
from tdxdbg.backends.emulated.memory import PAGE, Slot
from tdxdbg.backends.emulated.td import Image, TdConfig, engine_td, new_params
from tdxdbg.backends.emulated.vmcb import StartState
from tdxdbg.engine.state import Td
from tdxdbg.errors import BackendError
from tdxdbg.module import TdParams

MIB: Final = 1 << 20
DEFAULT_RAM: Final = 512 * MIB
LEAST_RAM: Final = 128 * MIB
#: Devices are above.
LARGEST_RAM: Final = 2 << 30
MOST_VCPUS: Final = 8
_STEP: Final = 2 * MIB

_BOOT_PARAMS: Final = 0x7000
_STACK: Final = 0x9000
_COMMAND_LINE: Final = 0x20000
_FIRMWARE: Final = 0x90000
_TABLES: Final = _FIRMWARE
_GDT: Final = 0x96000
_WAITING: Final = 0x97000
MAILBOX: Final = 0x98000
_FIRMWARE_END: Final = 0xA0000
_ACPI: Final = 0xE0000
_ACPI_END: Final = 0x100000

_CODE, _DATA = 0x10, 0x18
_DESCRIPTORS: Final = struct.pack("<4Q", 0, 0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF)

# boot_params (arch/x86/include/uapi/asm/bootparam.h).
_ACPI_RSDP: Final = 0x70
_E820_ENTRIES: Final = 0x1E8
_TYPE_OF_LOADER: Final = 0x210
_LOADFLAGS: Final = 0x211
_CODE32_START: Final = 0x214
_RAMDISK: Final = 0x218
_CMD_LINE_PTR: Final = 0x228
_E820_TABLE: Final = 0x2D0
_E820: Final = struct.Struct("<QQI")
_RAM, _ACPI_DATA, _ACPI_NVS = 1, 3, 4
_NO_LOADER_ID: Final = 0xFF
_LOADED_HIGH: Final = 1

#: Longest command line that Linux for x86 takes, with its zero byte (COMMAND_LINE_SIZE).
_LONGEST_COMMAND_LINE: Final = 2048

#: The setup header of a vmlinux, which has none: "HdrS" and the protocol's version.
_NO_HEADER: Final = struct.pack("<HHIH", 0xAA55, 0, 0x5372_6448, 0x020F)
_NO_HEADER_AT: Final = 0x1FE

# Where a vCPU waits for its wake-up, RSI = its number and APIC id:
#     mov $MAILBOX, %rbx
#  1: pause
#     cmpw $1, (%rbx)        # command: wake up
#     jne 1b
#     cmp %esi, 4(%rbx)      # APIC id
#     jne 1b
#     mov 8(%rbx), %rax      # wake-up vector
#     movw $0, (%rbx)        # acknowledged
#     jmp *%rax
_WAIT: Final = bytes.fromhex("48c7c300800900f39066833b0175f839730475f3488b430866c7030000ffe0")


@dataclass(frozen=True, slots=True)
class LinuxOptions:
    """The TD around a kernel; sizes in bytes. `append`: the command line.

    `seed`: RDRAND and RDSEED, and with them KASLR.
    """

    ram_bytes: int = DEFAULT_RAM
    gpaw: int = 48
    vcpus: int = 1
    initrd: Path | None = None
    append: str = ""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class LoadedLinux:
    """`config` opens the machine, `td` is the engine's."""

    config: TdConfig
    td: Td


_DEFAULTS: Final = LinuxOptions()


def build(kernel: Path, options: LinuxOptions = _DEFAULTS) -> LoadedLinux:
    """The TD of a kernel image, a bzImage or an ELF; raises BackendError."""
    check(options)
    file = read_guest(kernel, "a bzImage or a vmlinux")
    entry, pieces, header, end = (_vmlinux if file.is_elf else _bzimage)(file)
    if end > options.ram_bytes:
        raise BackendError(
            f"{kernel.name} needs RAM up to GPA {end:#x}, the TD has "
            f"{options.ram_bytes // MIB} MiB: " + _enough(end, "link it lower")
        )
    initrd = _initrd(options, end)
    boot = _boot_params(options, header, initrd)
    images = (
        Image(_BOOT_PARAMS, boot),
        Image(_COMMAND_LINE, command_line(options)),
        Image(_TABLES, _page_tables()),
        Image(_GDT, _DESCRIPTORS),
        Image(_WAITING, _WAIT),
        Image(_ACPI, acpi.tables(_ACPI, options.vcpus, MAILBOX)),
        *pieces,
        *((initrd,) if initrd is not None else ()),
    )
    params = td_params(options, mrtd(images, options.ram_bytes))
    config = TdConfig(
        params,
        (Slot(0, options.ram_bytes),),
        tuple(_start(entry, index) for index in range(options.vcpus)),
        images,
        ((0, options.ram_bytes),),
        options.seed,
    )
    return LoadedLinux(config, engine_td(params, config.ram))


def _enough(size: int, otherwise: str) -> str:
    """What to give for so many bytes and room to work in, in a step that is allowed."""
    needed = -(-(size + 64 * MIB) // _STEP) * _STEP
    return f"give the TD {needed // MIB} MiB" if needed <= LARGEST_RAM else otherwise


def check(options: LinuxOptions) -> None:
    """Raises BackendError for what a TD cannot be here."""
    ram = options.ram_bytes
    if ram % _STEP or not LEAST_RAM <= ram <= LARGEST_RAM:
        raise BackendError(
            f"{ram} bytes of RAM for Linux: give {LEAST_RAM // MIB} to {LARGEST_RAM // MIB} MiB "
            "in steps of 2 MiB"
        )
    if not 1 <= options.vcpus <= MOST_VCPUS:
        raise BackendError(f"{options.vcpus} vCPUs: Linux gets 1 to {MOST_VCPUS} here")
    if options.gpaw not in (48, 52):
        raise BackendError(f"a GPA width of {options.gpaw} bits: TDX has 48 and 52")


_Kernel = tuple[int, tuple[Image, ...], bytes, int]


def _bzimage(file: GuestFile) -> _Kernel:
    """Entry, images, setup header, and the end of the memory that the kernel needs."""
    name, image = file.name, file.data
    header = bzimage.setup_header(image, name)
    at = header.pref_address
    if at < MIB or at % PAGE:
        raise BackendError(f"{name} wants to be loaded at {at:#x}: build it for 1 MiB or above")
    code = Image(at, image[header.kernel_at :])
    end = at + max(header.init_size, len(code.data))
    return at + bzimage.ENTRY_64, (code,), header.raw, end


def _vmlinux(file: GuestFile) -> _Kernel:
    if any(segment.gpa < MIB for segment in file.segments):
        raise BackendError(f"{file.name} wants memory below 1 MiB: that is the loader's")
    pieces = tuple(Image(each.gpa, bytes(each.data)) for each in file.segments if each.data)
    header = bytearray(_NO_HEADER_AT - bzimage.HEADER_AT) + _NO_HEADER
    return file.entry, pieces, bytes(header), max(each.end for each in file.segments)


def _initrd(options: LinuxOptions, kernel_end: int) -> Image | None:
    """At the end of the RAM, as boot loaders do."""
    if options.initrd is None:
        return None
    data = read_file(options.initrd, "an initrd")
    at = (options.ram_bytes - len(data)) & -PAGE
    if at < kernel_end:
        raise BackendError(
            f"{options.initrd.name} ({len(data)} bytes) does not fit behind the kernel in "
            f"{options.ram_bytes // MIB} MiB: {_enough(kernel_end + len(data), 'make it smaller')}"
        )
    return Image(at, data)


def command_line(options: LinuxOptions) -> bytes:
    """With its zero byte; raises BackendError."""
    text = options.append.encode(errors="surrogateescape")
    if len(text) >= _LONGEST_COMMAND_LINE or b"\0" in text:
        raise BackendError(
            f"a command line of {len(text)} bytes: Linux takes {_LONGEST_COMMAND_LINE - 1}, "
            "none of them zero"
        )
    return text + b"\0"


def _boot_params(options: LinuxOptions, header: bytes, initrd: Image | None) -> bytes:
    page = bytearray(PAGE)
    page[bzimage.HEADER_AT : bzimage.HEADER_AT + len(header)] = header

    def put(offset: int, *values: int, form: str = "I") -> None:
        struct.pack_into(f"<{len(values)}{form}", page, offset, *values)

    put(_ACPI_RSDP, _ACPI, form="Q")
    put(_TYPE_OF_LOADER, _NO_LOADER_ID, form="B")
    put(_LOADFLAGS, page[_LOADFLAGS] | _LOADED_HIGH, form="B")
    put(_CMD_LINE_PTR, _COMMAND_LINE)
    if initrd is not None:
        put(_RAMDISK, initrd.gpa, len(initrd.data))
    e820 = (
        (0, _FIRMWARE, _RAM),
        (_FIRMWARE, _FIRMWARE_END - _FIRMWARE, _ACPI_NVS),
        (_ACPI, _ACPI_END - _ACPI, _ACPI_DATA),
        (MIB, options.ram_bytes - MIB, _RAM),
    )
    put(_E820_ENTRIES, len(e820), form="B")
    for index, entry in enumerate(e820):
        _E820.pack_into(page, _E820_TABLE + index * _E820.size, *entry)
    return bytes(page)


def _page_tables() -> bytes:
    """VA = GPA up to 4 GiB, in pages of 2 MiB: PML4, PDPT, four page directories."""
    pml4 = struct.pack("<Q", _TABLES + PAGE | 3).ljust(PAGE, b"\0")
    pdpt = struct.pack("<4Q", *(_TABLES + PAGE * (2 + i) | 3 for i in range(4))).ljust(PAGE, b"\0")
    return pml4 + pdpt + struct.pack("<2048Q", *(page << 21 | 0x83 for page in range(2048)))


def td_params(options: LinuxOptions, measurement: bytes) -> TdParams:
    """The TD of the options; `measurement`: MRTD. Raises BackendError."""
    cpuid = leaves.with_topology(leaves.DEFAULT, options.vcpus)
    return new_params(options.gpaw, options.vcpus, cpuid, measurement)


def _start(entry: int, index: int) -> StartState:
    """The first vCPU at the kernel, the others where they wait."""
    regs = Regs(rsi=_BOOT_PARAMS, rsp=_STACK) if index == 0 else Regs(rsi=index)
    return StartState(
        entry if index == 0 else _WAITING,
        regs,
        cr3=_TABLES,
        code_selector=_CODE,
        data_selector=_DATA,
        gdt=(_GDT, len(_DESCRIPTORS) - 1),
    )
