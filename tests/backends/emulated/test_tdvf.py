"""From a firmware image to a TD: TD HOB, MRTD, start states, and what fw_cfg gives."""

from __future__ import annotations

import struct
from contextlib import suppress
from hashlib import sha384
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.abi import fw_cfg
from tdxdbg.abi.regs import NO_REGS
from tdxdbg.backends.emulated.acpi_linker import Linked, linked
from tdxdbg.backends.emulated.linux import LinuxOptions
from tdxdbg.backends.emulated.machine import Machine
from tdxdbg.backends.emulated.td import open_machine
from tdxdbg.backends.emulated.tdvf import LoadedFirmware, build
from tdxdbg.backends.tdvf import parse
from tdxdbg.errors import BackendError
from tdxdbg.module import SeptState, TdxModule
from tests.backends.bzimages import bzimage
from tests.backends.tdvfs import BASE, BFV, HOB, TD_HOB, TEMP_MEM, TEMPORARY, USUAL, Row, tdvf

MIB = 1 << 20
RAM = 128 * MIB
OPTIONS = LinuxOptions(ram_bytes=RAM)

#: mov $0x810000, %edi; mov %ebx, (%edi); mov %ecx, 4(%edi); mov %esi, 8(%edi); jmp .
STORE = bytes.fromhex("bf00008100891f894f04897708ebfe")


def loaded(
    sections: tuple[Row, ...] = USUAL, options: LinuxOptions = OPTIONS, code: bytes = b"\xeb\xfe"
) -> LoadedFirmware:
    return build(parse(tdvf(sections, code), "fw.fd"), None, options)


def ran(firmware: LoadedFirmware, instructions: int = 1000) -> Machine:
    machine = open_machine(firmware.config)
    assert machine.enter(0, NO_REGS) is None
    machine.run_to(instructions)
    return machine


# --- the start ------------------------------------------------------------------------


@pytest.mark.parametrize("gpaw", [48, 52])
def test_the_first_instruction_is_at_the_reset_vector(gpaw: int) -> None:
    """In 32-bit protected mode, with what TDH.VP.INIT was given."""
    options = LinuxOptions(ram_bytes=RAM, gpaw=gpaw, vcpus=2)
    firmware = loaded(options=options, code=STORE)
    machine = ran(firmware, 5)
    assert machine.read_gpa(TEMPORARY, 12) == struct.pack("<3I", gpaw, HOB, 0)
    for index, start in enumerate(firmware.config.starts):
        assert start.rip == 0xFFFF_FFF0
        assert start.regs.r8 == start.regs.rcx == HOB
        assert (start.regs.rsi, start.regs.rdx) == (index, 0x806F8)


def test_what_is_added_and_what_is_to_be_accepted() -> None:
    machine = ran(loaded())
    module = machine.platform.module
    assert isinstance(module, TdxModule)
    sept = module.td.sept
    added = {HOB, TEMPORARY, TEMPORARY + 0x1000, *range(BASE, 1 << 32, 0x1000)}
    for gpa in (*added, 0, HOB + 0x1000, TEMPORARY + 0x2000, RAM - 0x1000):
        expected = SeptState.MAPPED if gpa in added else SeptState.FREE
        assert sept.state(gpa) is expected, hex(gpa)
    assert machine.read_gpa(0xFFFF_FFF0, 2) == b"\xeb\xfe"


def test_the_engine_knows_both_slots() -> None:
    firmware = loaded()
    assert firmware.td.memslots == ((0, RAM >> 12), (BASE >> 12, 1 << 20))
    assert (firmware.ram, firmware.rom) == ((0, RAM), (BASE, 0x8000))


# --- TD HOB ---------------------------------------------------------------------------


def hobs(firmware: LoadedFirmware) -> list[tuple[int, int, int]]:
    """Resource type, start and bytes of each range, read as the PI specification says."""
    (data,) = (image.data for image in firmware.config.images if image.gpa == HOB)
    kind, length, _, version, _, *_, end = struct.unpack_from("<HHIII5Q", data)
    assert (kind, length, version) == (1, 56, 9)
    found: list[tuple[int, int, int]] = []
    at = length
    while True:
        kind, length = struct.unpack_from("<HH", data, at)
        if kind == 0xFFFF:
            assert end == HOB + at + length
            return found
        assert (kind, length) == (3, 48)
        _, owner, resource, attributes, start, size = struct.unpack_from("<I16sIIQQ", data, at + 4)
        assert (owner, attributes) == (bytes(16), 7)
        found.append((resource, start, size))
        at += length


def test_the_hob_covers_all_of_the_ram() -> None:
    assert hobs(loaded()) == [
        (7, 0, HOB),
        (0, HOB, 0x1000),
        (7, HOB + 0x1000, TEMPORARY - HOB - 0x1000),
        (0, TEMPORARY, 0x2000),
        (7, TEMPORARY + 0x2000, RAM - TEMPORARY - 0x2000),
    ]


def test_sections_at_the_ends_of_the_ram_and_side_by_side() -> None:
    sections = (
        USUAL[3],
        Row(TEMP_MEM, 0, 0x1000),
        Row(TEMP_MEM, RAM - 0x1000, 0x1000),
        Row(TEMP_MEM, HOB - 0x1000, 0x1000),
    )
    assert hobs(loaded(sections)) == [
        (0, 0, 0x1000),
        (7, 0x1000, HOB - 0x2000),
        (0, HOB - 0x1000, 0x1000),
        (0, HOB, 0x1000),
        (7, HOB + 0x1000, RAM - HOB - 0x2000),
        (0, RAM - 0x1000, 0x1000),
    ]


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        pytest.param(
            (Row(TEMP_MEM, RAM, 0x1000), USUAL[3]),
            "0x8000000, 0x1000 bytes, is outside the TD's memory; give the TD more of it",
            id="behind the RAM",
        ),
        pytest.param(
            (Row(TEMP_MEM, RAM - 0x1000, 0x2000), USUAL[3]),
            "0x7fff000, 0x2000 bytes, is outside the TD's memory",
            id="half behind it",
        ),
        pytest.param(
            (Row(TEMP_MEM, (1 << 64) - 0x1000, 0x1000), USUAL[3]),
            "0xfffffffffffff000, 0x1000 bytes, is outside",
            id="at the end of everything",
        ),
        pytest.param(
            (Row(BFV, BASE + 0x7000, 0x2000, 0, 0x1000), USUAL[3]),
            "0xfffff000, 0x2000 bytes, is outside",
            id="behind the image",
        ),
        pytest.param(
            (Row(TEMP_MEM, HOB, 0x1000), USUAL[3]), "overlaps another one", id="twice the same"
        ),
        pytest.param(
            (Row(TEMP_MEM, HOB - 0x1000, 0x2000), USUAL[3]), "overlaps another one", id="into it"
        ),
        pytest.param(
            (
                *(Row(TEMP_MEM, 0x2000 * at, 0x1000) for at in range(50)),
                Row(TD_HOB, HOB, 0x1000),
            ),
            "4096 bytes for a TD HOB of",
            id="more ranges than the HOB's page holds",
        ),
    ],
)
def test_sections_that_fit_nowhere(sections: tuple[Row, ...], reason: str) -> None:
    with pytest.raises(BackendError) as caught:
        loaded(sections)
    assert reason in str(caught.value)
    assert str(caught.value).startswith("fw.fd: ")


@given(st.lists(st.tuples(st.integers(0, RAM // 0x1000 + 1), st.integers(1, 0x1000)), max_size=12))
def test_any_sections_are_refused_or_the_hob_is_of_all_the_ram(
    places: list[tuple[int, int]],
) -> None:
    rows = (Row(TEMP_MEM, 0x1000 * page, 0x1000 * count) for page, count in places)
    with suppress(BackendError):
        at = 0
        for _, start, size in hobs(loaded((USUAL[3], *rows))):
            assert start == at
            at += size
        assert at == RAM


# --- MRTD -----------------------------------------------------------------------------


def test_mrtd_is_extended_section_by_section() -> None:
    """TDH.MEM.PAGE.ADD of every page, TDH.MR.EXTEND of those that are measured."""
    image = tdvf()
    digest = sha384()
    for kind, gpa, size, at, _, measured in USUAL:
        for page in range(gpa, gpa + size, 0x1000):
            digest.update(struct.pack("<16sQ104x", b"MEM.PAGE.ADD", page))
            for chunk in range(page, page + 0x1000, 0x100) if measured else ():
                start = at + chunk - gpa
                assert kind == BFV
                digest.update(struct.pack("<16sQ104x", b"MR.EXTEND", chunk))
                digest.update(image[start : start + 0x100])
    assert loaded().config.params.mrtd == digest.digest()


def test_mrtd_does_not_depend_on_the_memory_and_the_kernel() -> None:
    options = LinuxOptions(ram_bytes=2 * RAM, append="quiet")
    assert loaded(options=options).config.params.mrtd == loaded().config.params.mrtd
    assert loaded(code=STORE).config.params.mrtd != loaded().config.params.mrtd


# --- fw_cfg ---------------------------------------------------------------------------


def test_a_kernel_in_its_parts(tmp_path: Path) -> None:
    kernel, initrd = tmp_path / "vmlinuz", tmp_path / "initrd"
    kernel.write_bytes(bzimage(b"payload"))
    initrd.write_bytes(b"cpio")
    options = LinuxOptions(ram_bytes=RAM, initrd=initrd, append="quiet", vcpus=3)
    items = dict(build(parse(tdvf(), "fw.fd"), kernel, options).content.items)
    image = kernel.read_bytes()
    for size, key, data in (
        (fw_cfg.SETUP_SIZE, fw_cfg.SETUP_DATA, image[:1536]),
        (fw_cfg.KERNEL_SIZE, fw_cfg.KERNEL_DATA, image[1536:]),
        (fw_cfg.CMDLINE_SIZE, fw_cfg.CMDLINE_DATA, b"quiet\0"),
        (fw_cfg.INITRD_SIZE, fw_cfg.INITRD_DATA, b"cpio"),
    ):
        assert items[key] == data
        assert items[size] == len(data).to_bytes(4, "little")
    assert items[fw_cfg.NB_CPUS] == items[fw_cfg.MAX_CPUS] == b"\3\0"


def test_without_a_kernel() -> None:
    content = loaded().content
    assert {fw_cfg.KERNEL_DATA, fw_cfg.INITRD_SIZE}.isdisjoint(dict(content.items))
    assert dict(content.files)["etc/e820"] == struct.pack("<QQI", 0, RAM, 1)


@pytest.mark.parametrize("data", [b"", b"MZ", bytes(4096), b"\x7fELF" + bytes(4096)])
def test_what_is_no_kernel(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(data)
    with pytest.raises(BackendError, match="vmlinuz is no bzImage, and firmware boots no other"):
        build(parse(tdvf(), "fw.fd"), path, OPTIONS)


# --- the script that links ACPI tables ------------------------------------------------

_PLACES = {b"etc/acpi/rsdp": 0xF_0000, b"etc/acpi/tables": 0x7F_0000}


def link(parts: Linked) -> dict[bytes, bytearray]:
    """What the firmware does with the script."""
    given = {b"etc/acpi/rsdp": parts.rsdp, b"etc/acpi/tables": parts.tables}
    files: dict[bytes, bytearray] = {}
    for at in range(0, len(parts.script), 128):
        command = parts.script[at : at + 128]
        (number,) = struct.unpack_from("<I", command)
        name = command[4:60].rstrip(b"\0")
        if number == 1:
            alignment, zone = struct.unpack_from("<IB", command, 60)
            assert not _PLACES[name] % alignment
            assert zone == (2 if name.endswith(b"rsdp") else 1)
            files[name] = bytearray(given[name])
        elif number == 2:
            source = command[60:116].rstrip(b"\0")
            offset, size = struct.unpack_from("<IB", command, 116)
            piece = slice(offset, offset + size)
            value = int.from_bytes(files[name][piece], "little")
            assert value < len(files[source])
            files[name][piece] = (value + _PLACES[source]).to_bytes(size, "little")
        else:
            assert number == 3
            offset, start, length = struct.unpack_from("<III", command, 60)
            files[name][offset] = -sum(files[name][start : start + length]) & 0xFF
    return files


@pytest.mark.parametrize("vcpus", [1, 2, 8])
def test_linked_tables_are_whole(vcpus: int) -> None:
    files = link(linked(vcpus))
    rsdp, tables = files[b"etc/acpi/rsdp"], files[b"etc/acpi/tables"]

    def table(gpa: int) -> bytes:
        at = gpa - _PLACES[b"etc/acpi/tables"]
        (length,) = struct.unpack_from("<I", tables, at + 4)
        found = bytes(tables[at : at + length])
        assert len(found) == length
        assert not sum(found) & 0xFF
        return found

    assert rsdp[:8] == b"RSD PTR "
    assert not sum(rsdp[:20]) & 0xFF
    assert not sum(rsdp) & 0xFF
    xsdt = table(struct.unpack_from("<Q", rsdp, 24)[0])
    found = {
        entry[:4]: entry for (gpa,) in struct.iter_unpack("<Q", xsdt[36:]) for entry in [table(gpa)]
    }
    assert found.keys() == {b"FACP", b"APIC"}
    fadt = found[b"FACP"]
    low, high = struct.unpack_from("<I", fadt, 40)[0], struct.unpack_from("<Q", fadt, 140)[0]
    assert low == high
    assert table(low)[:4] == b"DSDT"
    # Local APICs and the I/O APIC; the firmware adds the mailbox.
    kinds = []
    madt, at = found[b"APIC"], 44
    while at < len(madt):
        kinds.append(madt[at])
        at += madt[at + 1]
    assert kinds == [0] * vcpus + [1]
