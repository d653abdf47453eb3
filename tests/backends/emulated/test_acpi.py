"""The ACPI tables: sums, pointers, vCPUs, and AML that can be walked to its end."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import pytest

from tdxdbg.backends.emulated import acpi
from tdxdbg.vmm import acpi_pm, cmos, ioapic, pci, serial

AT: Final = 0xE0000
MAILBOX: Final = 0x98000


class Tables(NamedTuple):
    data: bytes

    def at(self, gpa: int) -> bytes:
        """The table at a GPA, whose bytes sum to 0."""
        start = gpa - AT
        size = struct.unpack_from("<I", self.data, start + 4)[0]
        table = self.data[start : start + size]
        assert len(table) == size
        assert sum(table) & 0xFF == 0
        return table

    @property
    def by_name(self) -> dict[str, bytes]:
        rsdp = self.data[:36]
        assert rsdp[:8] == b"RSD PTR "
        assert sum(rsdp[:20]) & 0xFF == sum(rsdp) & 0xFF == 0
        xsdt = self.at(struct.unpack_from("<Q", rsdp, 24)[0])
        assert xsdt[:4] == b"XSDT"
        found = [self.at(gpa) for (gpa,) in struct.iter_unpack("<Q", xsdt[36:])]
        fadt = next(table for table in found if table[:4] == b"FACP")
        found.append(self.at(struct.unpack_from("<Q", fadt, 140)[0]))
        assert struct.unpack_from("<I", fadt, 40)[0] == struct.unpack_from("<Q", fadt, 140)[0]
        return {table[:4].decode(): table for table in found}


def tables(vcpus: int = 2) -> dict[str, bytes]:
    return Tables(acpi.tables(AT, vcpus, MAILBOX)).by_name


def test_there_are_what_a_hardware_reduced_platform_has() -> None:
    assert set(tables()) == {"FACP", "APIC", "DSDT"}
    assert struct.unpack_from("<I", tables()["FACP"], 112)[0] & 1 << 20


@pytest.mark.parametrize("vcpus", [1, 2, 8])
def test_the_madt_has_every_vcpu_the_ioapic_and_the_mailbox(vcpus: int) -> None:
    madt, entries = tables(vcpus)["APIC"], []
    at = 44
    while at < len(madt):
        entries.append(madt[at : at + madt[at + 1]])
        at += madt[at + 1]
    assert at == len(madt)
    assert [tuple(entry[2:5]) for entry in entries if entry[0] == 0] == [
        (index, index, 1) for index in range(vcpus)
    ]
    assert struct.unpack_from("<II", entries[-2], 4) == (acpi.IOAPIC_GPA, 0)
    assert entries[-1] == struct.pack("<BBHIQ", 0x10, 16, 0, 0, MAILBOX)


@pytest.mark.parametrize(
    ("offset", "port"),
    [(116, 0xCF9), (244, 0x640), (256, 0x641)],
    ids=["reset", "sleep control", "sleep status"],
)
def test_the_fadt_names_ports_of_the_board(offset: int, port: int) -> None:
    assert struct.unpack_from("<BBBBQ", tables()["FACP"], offset) == (1, 8, 0, 1, port)


def package(aml: bytes, at: int) -> tuple[int, int]:
    """A PkgLength at `at`: where what it counts begins and ends."""
    lead = aml[at]
    more = lead >> 6
    length = lead & (0xF if more else 0x3F)
    for index in range(more):
        length |= aml[at + 1 + index] << 4 + 8 * index
    return at + 1 + more, at + length


def devices(aml: bytes) -> dict[bytes, bytes]:
    assert aml[0] == 0x10
    start, end = package(aml, 1)
    assert aml[start : start + 5] == b"\\_SB_"
    found, at = {}, start + 5
    while at < end:
        assert aml[at : at + 2] == b"\x5b\x82"
        inside, at_next = package(aml, at + 2)
        found[aml[inside : inside + 4]] = aml[inside + 4 : at_next]
        at = at_next
    assert at == end
    assert aml[end : end + 5] == b"\x08_S5_"
    assert package(aml, end + 6)[1] == len(aml)
    return found


def test_the_dsdt_has_the_serial_port_with_its_interrupt_the_clock_and_s5() -> None:
    found = devices(tables()["DSDT"][36:])
    assert set(found) == {b"COM1", b"RTC_"}
    # IO(Decode16, 0x3f8, 0x3f8, 1, 8), IRQNoFlags {4}, end.
    assert found[b"COM1"].endswith(bytes.fromhex("4701f803f8030108 221000 7900"))
    assert b"\x41\xd0\x05\x01" in found[b"COM1"]
    assert found[b"RTC_"].endswith(bytes.fromhex("4701700070000102 7900"))


def test_the_tables_name_the_boards_own_ports() -> None:
    """The VMM's devices are in another room; what is said of them here has to be so."""
    assert acpi.IOAPIC_GPA == ioapic.BASE
    assert acpi._RESET == pci.PORT + 1
    assert (acpi._SLEEP_CONTROL, acpi._SLEEP_STATUS) == (
        acpi_pm.SLEEP_PORT + acpi_pm.SLEEP_CONTROL,
        acpi_pm.SLEEP_PORT + acpi_pm.SLEEP_STATUS,
    )
    assert acpi._SOFT_OFF == acpi_pm.S5_REDUCED
    assert (acpi._SERIAL, acpi._CLOCK) == (serial.PORT, cmos.PORT)
