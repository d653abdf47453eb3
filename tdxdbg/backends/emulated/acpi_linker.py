"""ACPI tables as QEMU hands them to firmware: two blobs, and a script that links them.

The firmware places the blobs where it likes, then adds their addresses to the
pointers in them and computes the checksums (QEMU hw/acpi/bios-linker-loader.c;
EDK2 OvmfPkg/AcpiPlatformDxe). Whatever a pointer leads to it installs as a
table.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from tdxdbg.backends.emulated import acpi

TABLES: Final = "etc/acpi/tables"
RSDP: Final = "etc/acpi/rsdp"
SCRIPT: Final = "etc/table-loader"

_ENTRY_SIZE: Final = 128
_ALLOCATE: Final = Struct("<I56sIB")  # command, file, alignment, zone
_ADD_POINTER: Final = Struct("<I56s56sIB")  # command, file, file pointed to, offset, size
_ADD_CHECKSUM: Final = Struct("<I56sIII")  # command, file, offset, start, length
_HIGH, _F_SEGMENT = 1, 2

_RSDP_SIZE: Final = 36
_RSDP_OLD_SIZE: Final = 20
_HEADER_SIZE: Final = 36
_CHECKSUM_AT: Final = 9


class Linked(NamedTuple):
    """The files of the firmware."""

    rsdp: bytes
    tables: bytes
    script: bytes


def linked(vcpus: int) -> Linked:
    """The tables of `acpi`, with offsets for addresses and nothing where a checksum will be."""
    everything = acpi.tables(-acpi.ALIGNMENT, vcpus)
    rsdp, tables = bytearray(everything[:_RSDP_SIZE]), bytearray(everything[acpi.ALIGNMENT :])
    xsdt = int.from_bytes(rsdp[24:32], "little")
    script = [
        _command(_ALLOCATE, 1, RSDP, 16, _F_SEGMENT),
        _command(_ALLOCATE, 1, TABLES, acpi.ALIGNMENT, _HIGH),
    ]
    for pointer in range(xsdt + _HEADER_SIZE, xsdt + _size(tables, xsdt), 8):
        table = int.from_bytes(tables[pointer : pointer + 8], "little")
        if tables[table : table + 4] == b"FACP":
            script += (_pointer(TABLES, table + 40, 4), _pointer(TABLES, table + 140, 8))
            script.append(_checksum(TABLES, tables, table))
        script.append(_pointer(TABLES, pointer, 8))
    script.append(_checksum(TABLES, tables, xsdt))
    script.append(_pointer(RSDP, 24, 8))
    for at, size in ((8, _RSDP_OLD_SIZE), (32, _RSDP_SIZE)):
        rsdp[at] = 0
        script.append(_command(_ADD_CHECKSUM, 3, RSDP, at, 0, size))
    return Linked(bytes(rsdp), bytes(tables), b"".join(script))


def _size(tables: bytearray, at: int) -> int:
    return int.from_bytes(tables[at + 4 : at + 8], "little")


def _command(layout: Struct, command: int, file: str, *rest: object) -> bytes:
    return layout.pack(command, file.encode(), *rest).ljust(_ENTRY_SIZE, b"\0")


def _pointer(file: str, at: int, size: int) -> bytes:
    return _command(_ADD_POINTER, 2, file, TABLES.encode(), at, size)


def _checksum(file: str, tables: bytearray, table: int) -> bytes:
    at = table + _CHECKSUM_AT
    tables[at] = 0
    return _command(_ADD_CHECKSUM, 3, file, at, table, _size(tables, table))
