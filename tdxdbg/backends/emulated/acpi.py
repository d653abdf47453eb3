"""The ACPI tables of a TD that boots without firmware: what Linux asks of the platform.

Hardware-reduced ACPI, as QEMU's microvm has it: no PM timer, no 8259, no fixed
buttons. The MADT names the vCPUs, the IOAPIC and the mailbox by which
additional vCPUs are woken (ACPI 6.5, 5.2.12.19); the DSDT the serial port, the
clock and the state S5. Layouts: ACPI 6.5, chapter 5; AML: chapter 20.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final

_HEADER: Final = Struct("<4sIBB6s8sI4sI")
_OEM: Final = b"TDXDBG"
_OEM_TABLE: Final = b"TDXDBG  "
_CREATOR: Final = b"TDBG"
ALIGNMENT: Final = 64

#: FADT flags: no fixed power and sleep buttons, a reset register, hardware-reduced.
_FADT_FLAGS: Final = 1 << 4 | 1 << 5 | 1 << 10 | 1 << 20
#: IAPC_BOOT_ARCH: no VGA, no MSI restriction; neither 8042 nor "no clock".
_BOOT_ARCH: Final = 1 << 2
_FADT_SIZE: Final = 276

IOAPIC_GPA: Final = 0xFEC0_0000
_LOCAL_APIC_GPA: Final = 0xFEE0_0000
#: Ports of the board (`vmm`): reset control, sleep control and status, serial port, clock.
_RESET: Final = 0xCF9
_RESET_VALUE: Final = 6
_SLEEP_CONTROL: Final = 0x640
_SLEEP_STATUS: Final = 0x641
_SERIAL: Final = 0x3F8
_SERIAL_IRQ: Final = 4
_CLOCK: Final = 0x70
#: SLP_TYP of S5.
_SOFT_OFF: Final = 5


def tables(at: int, vcpus: int, mailbox: int | None = None) -> bytes:
    """RSDP and the tables behind it, for GPA `at`.

    `mailbox`: GPA of the wake-up mailbox; None: firmware will add one.
    """
    out = bytearray(ALIGNMENT)

    def place(table: bytes) -> int:
        gpa = at + len(out)
        out.extend(table.ljust(-(-len(table) // ALIGNMENT) * ALIGNMENT, b"\0"))
        return gpa

    dsdt = place(_table(b"DSDT", 2, _dsdt()))
    entries = (place(_fadt(dsdt)), place(_madt(vcpus, mailbox)))
    xsdt = place(_table(b"XSDT", 1, b"".join(gpa.to_bytes(8, "little") for gpa in entries)))
    rsdp = _rsdp(xsdt)
    out[: len(rsdp)] = rsdp
    return bytes(out)


def _checksum(data: Iterable[int]) -> int:
    return -sum(data) & 0xFF


def _table(signature: bytes, revision: int, body: bytes) -> bytes:
    size = _HEADER.size + len(body)
    header = _HEADER.pack(signature, size, revision, 0, _OEM, _OEM_TABLE, 1, _CREATOR, 1)
    table = bytearray(header + body)
    table[9] = _checksum(table)
    return bytes(table)


def _rsdp(xsdt: int) -> bytes:
    rsdp = bytearray(Struct("<8sB6sBIIQB3x").pack(b"RSD PTR ", 0, _OEM, 2, 0, 36, xsdt, 0))
    rsdp[8] = _checksum(rsdp[:20])
    rsdp[32] = _checksum(rsdp)
    return bytes(rsdp)


def _port(port: int) -> bytes:
    """A generic address: one byte of I/O space."""
    return Struct("<BBBBQ").pack(1, 8, 0, 1, port)


def _fadt(dsdt: int) -> bytes:
    fadt = bytearray(_FADT_SIZE - _HEADER.size)

    def put(offset: int, data: bytes) -> None:
        fadt[offset - _HEADER.size : offset - _HEADER.size + len(data)] = data

    put(40, dsdt.to_bytes(4, "little"))
    put(109, _BOOT_ARCH.to_bytes(2, "little"))
    put(112, _FADT_FLAGS.to_bytes(4, "little"))
    put(116, _port(_RESET))
    put(128, bytes((_RESET_VALUE,)))
    put(131, b"\5")  # minor version
    put(140, dsdt.to_bytes(8, "little"))
    put(244, _port(_SLEEP_CONTROL))
    put(256, _port(_SLEEP_STATUS))
    return _table(b"FACP", 6, bytes(fadt))


def _madt(vcpus: int, mailbox: int | None) -> bytes:
    body = Struct("<II").pack(_LOCAL_APIC_GPA, 0)
    for index in range(vcpus):
        body += Struct("<BBBBI").pack(0, 8, index, index, 1)
    body += Struct("<BBBBII").pack(1, 12, 0, 0, IOAPIC_GPA, 0)
    if mailbox is not None:
        body += Struct("<BBHIQ").pack(0x10, 16, 0, 0, mailbox)
    return _table(b"APIC", 5, body)


# --- AML ------------------------------------------------------------------------------


def _dsdt() -> bytes:
    serial = _device(b"COM1", b"\x41\xd0\x05\x01", _io(_SERIAL, 8) + _irq(_SERIAL_IRQ))
    clock = _device(b"RTC_", b"\x41\xd0\x0b\x00", _io(_CLOCK, 2))
    soft_off = _name(b"_S5_", b"\x12" + _sized(b"\4" + b"\x0a" + bytes((_SOFT_OFF,)) + b"\0\0\0"))
    return b"\x10" + _sized(b"\\_SB_" + serial + clock) + soft_off


def _sized(body: bytes) -> bytes:
    """A PkgLength, which counts itself, and what it is of."""
    if len(body) + 1 < 64:
        return bytes((len(body) + 1,)) + body
    size = len(body) + 2
    return bytes((0x40 | size & 0xF, size >> 4)) + body


def _name(name: bytes, value: bytes) -> bytes:
    return b"\x08" + name + value


def _device(name: bytes, hid: bytes, resources: bytes) -> bytes:
    """A device that is there (_STA 15) with its EISA id and resources."""
    resources += b"\x79\0"
    buffer = b"\x11" + _sized(b"\x0a" + bytes((len(resources),)) + resources)
    return b"\x5b\x82" + _sized(
        name
        + _name(b"_HID", b"\x0c" + hid)
        + _name(b"_UID", b"\1")
        + _name(b"_STA", b"\x0a\x0f")
        + _name(b"_CRS", buffer)
    )


def _io(port: int, size: int) -> bytes:
    return Struct("<BBHHBB").pack(0x47, 1, port, port, 1, size)


def _irq(number: int) -> bytes:
    return Struct("<BH").pack(0x22, 1 << number)
