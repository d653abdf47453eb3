"""A firmware image becomes a TD, and a kernel is what the firmware boots.

The image is mapped below 4 GiB. What its metadata names is added before the TD
is finalized; all other memory the firmware accepts, as it is told by the TD
HOB. The vCPUs start in 32-bit protected mode at the reset vector (Intel TDX
Virtual Firmware Design Guide, chapters 4, 7 and 11; facts: tdvf). Kernel,
initrd and command line are given by fw_cfg, as QEMU does with -kernel.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tdxdbg.abi import fw_cfg
from tdxdbg.abi.regs import Regs
from tdxdbg.backends import bzimage
from tdxdbg.backends.elf import read_file
from tdxdbg.backends.emulated import acpi_linker, linux
from tdxdbg.backends.emulated.linux import LinuxOptions
from tdxdbg.backends.emulated.measurement import mrtd_of_sections
from tdxdbg.backends.emulated.memory import Slot
from tdxdbg.backends.emulated.td import Image, TdConfig, engine_td
from tdxdbg.backends.emulated.vmcb import StartState, protected_mode
from tdxdbg.backends.tdvf import END, Kind, Section, Tdvf
from tdxdbg.engine.state import Td
from tdxdbg.errors import BackendError

_RESET_VECTOR: Final = END - 16

# Hand-off blocks (PI specification 1.8, volume 3, chapter 5).
_HANDOFF: Final = struct.Struct("<HHIII5Q")
_RESOURCE: Final = struct.Struct("<HHI16sIIQQ")
_END_OF_LIST: Final = struct.pack("<HHI", 0xFFFF, 8, 0)
_HANDOFF_TYPE, _RESOURCE_TYPE = 1, 3
_HANDOFF_VERSION: Final = 9
#: EFI_RESOURCE_SYSTEM_MEMORY, EFI_RESOURCE_MEMORY_UNACCEPTED.
_ADDED, _UNACCEPTED = 0, 7
#: Present, initialized, tested.
_ATTRIBUTES: Final = 7

_E820: Final = struct.Struct("<QQI")
_E820_RAM: Final = 1


@dataclass(frozen=True, slots=True)
class LoadedFirmware:
    """`config` opens the machine, `td` is the engine's; `content` is for the VMM's fw_cfg.

    `ram` and `rom`: (GPA, bytes) of the memory, and of the firmware's image.
    """

    config: TdConfig
    td: Td
    content: fw_cfg.Content
    ram: tuple[int, int]
    rom: tuple[int, int]


def build(image: Tdvf, kernel: Path | None, options: LinuxOptions) -> LoadedFirmware:
    """The TD of a firmware image, which finds a kernel if there is one; raises BackendError."""
    linux.check(options)
    ram, rom = Slot(0, options.ram_bytes), Slot(END - image.size, image.size)
    _check(image, (ram, rom))
    sections = tuple(
        section._replace(data=_hob(image, ram)) if section.kind is Kind.TD_HOB else section
        for section in image.sections
    )
    measured = ((each.gpa, _contents(each), each.measured) for each in sections)
    params = linux.td_params(options, mrtd_of_sections(measured))
    config = TdConfig(
        params,
        (ram, rom),
        tuple(
            _start(image.hob.gpa, params.gpaw, params.cpuid[1, 0][0], index)
            for index in range(options.vcpus)
        ),
        tuple(Image(each.gpa, _contents(each)) for each in sections),
        seed=options.seed,
    )
    td = engine_td(params, config.ram)
    return LoadedFirmware(config, td, content(kernel, options), ram, rom)


def _contents(section: Section) -> bytes:
    return section.data.ljust(section.size, b"\0")


def _check(image: Tdvf, slots: tuple[Slot, ...]) -> None:
    """Every section is in memory, and no two are at the same place."""
    end = 0
    for section in sorted(image.sections, key=lambda each: each.gpa):
        what = f"{image.name}: the section at GPA {section.gpa:#x}, {section.size:#x} bytes,"
        if section.gpa < end:
            raise BackendError(f"{what} overlaps another one; the image is damaged")
        end = section.gpa + section.size
        if not any(slot.gpa <= section.gpa and end <= slot.gpa + slot.size for slot in slots):
            raise BackendError(f"{what} is outside the TD's memory; give the TD more of it")


def _start(hob: int, gpaw: int, version: int, index: int) -> StartState:
    """How the TDX module starts a vCPU (TDH.VP.INIT with the HOB's address)."""
    regs = Regs(rbx=gpaw, rcx=hob, r8=hob, rsi=index, rdx=version)
    return protected_mode(_RESET_VECTOR, regs)


def _hob(image: Tdvf, ram: Slot) -> bytes:
    """The TD HOB: which memory is there, and what of it is to be accepted."""
    ranges = tuple(_ranges(image, ram))
    size = _HANDOFF.size + len(ranges) * _RESOURCE.size + len(_END_OF_LIST)
    if size > image.hob.size:
        raise BackendError(f"{image.name}: {image.hob.size} bytes for a TD HOB of {size}")
    end = image.hob.gpa + size
    hob = _HANDOFF.pack(_HANDOFF_TYPE, _HANDOFF.size, 0, _HANDOFF_VERSION, 0, 0, 0, 0, 0, end)
    for kind, gpa, length in ranges:
        hob += _RESOURCE.pack(
            _RESOURCE_TYPE, _RESOURCE.size, 0, b"", kind, _ATTRIBUTES, gpa, length
        )
    return hob + _END_OF_LIST


def _ranges(image: Tdvf, ram: Slot) -> Iterator[tuple[int, int, int]]:
    """Resource type, GPA and bytes of each range of the RAM."""
    at, end = ram.gpa, ram.gpa + ram.size
    for section in sorted(image.sections, key=lambda each: each.gpa):
        if section.gpa >= end:
            break
        if section.gpa > at:
            yield _UNACCEPTED, at, section.gpa - at
        yield _ADDED, section.gpa, section.size
        at = section.gpa + section.size
    if at < end:
        yield _UNACCEPTED, at, end - at


# --- fw_cfg ---------------------------------------------------------------------------


def content(kernel: Path | None, options: LinuxOptions) -> fw_cfg.Content:
    """What the VMM gives the firmware; raises BackendError."""
    tables = acpi_linker.linked(options.vcpus)
    cpus = options.vcpus.to_bytes(2, "little")
    return fw_cfg.Content(
        (
            (fw_cfg.NB_CPUS, cpus),
            (fw_cfg.MAX_CPUS, cpus),
            (fw_cfg.BOOT_MENU, bytes(2)),
            *(_kernel(kernel, options) if kernel is not None else ()),
        ),
        (
            ("etc/e820", _E820.pack(0, options.ram_bytes, _E820_RAM)),
            (acpi_linker.RSDP, tables.rsdp),
            (acpi_linker.TABLES, tables.tables),
            (acpi_linker.SCRIPT, tables.script),
        ),
    )


def _kernel(kernel: Path, options: LinuxOptions) -> Iterator[tuple[int, bytes]]:
    """A bzImage in its two parts, command line and initrd, each with its size."""
    image = read_file(kernel, "a bzImage")
    if not bzimage.is_bzimage(image):
        raise BackendError(
            f"{kernel.name} is no bzImage, and firmware boots no other kernel: "
            "give the distribution's vmlinuz"
        )
    at = bzimage.setup_header(image, kernel.name).kernel_at
    initrd = read_file(options.initrd, "an initrd") if options.initrd is not None else b""
    for size, key, data in (
        (fw_cfg.SETUP_SIZE, fw_cfg.SETUP_DATA, image[:at]),
        (fw_cfg.KERNEL_SIZE, fw_cfg.KERNEL_DATA, image[at:]),
        (fw_cfg.CMDLINE_SIZE, fw_cfg.CMDLINE_DATA, linux.command_line(options)),
        (fw_cfg.INITRD_SIZE, fw_cfg.INITRD_DATA, initrd),
    ):
        if data:
            yield size, len(data).to_bytes(4, "little")
            yield key, data
