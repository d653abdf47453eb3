"""The guest start contract (tdxdbg/guests/README.md): from an image to a TD that runs."""

from __future__ import annotations

import shutil
import struct
import subprocess
from hashlib import sha384
from pathlib import Path
from typing import Any

import pytest

from tdxdbg.abi import tdx_fields
from tdxdbg.abi.regs import NO_REGS, Regs
from tdxdbg.backends.emulated import images, kvm_tables
from tdxdbg.backends.emulated.images import GuestOptions, LoadedGuest, build
from tdxdbg.backends.emulated.machine import Machine
from tdxdbg.backends.emulated.measurement import mrtd
from tdxdbg.backends.emulated.td import Image, open_machine
from tdxdbg.engine.state import TdExit
from tdxdbg.errors import BackendError
from tests.backends.elves import Load, Name, elf

MIB = 1 << 20
HALT = b"\xfa\xf4"


def opened(guest: LoadedGuest) -> Machine:
    machine = open_machine(guest.config)
    machine.instruction_limit = 10_000
    return machine


def words(machine: Machine, gpa: int, count: int) -> tuple[int, ...]:
    data = machine.read_gpa(gpa, 8 * count)
    assert data is not None
    return struct.unpack(f"<{count}Q", data)


# --- where things are -----------------------------------------------------------------


@pytest.mark.parametrize("gpaw", [48, 52])
def test_boot_information_and_start_states(gpaw: int) -> None:
    guest = build(HALT, GuestOptions(ram_bytes=8 * MIB, gpaw=gpaw, vcpus=2))
    machine = opened(guest)
    assert machine.read_gpa(0x1000, 8) == b"TDXDBG\0\1"
    assert words(machine, 0x1008, 4) == (8 * MIB, gpaw, 2, 2 * MIB)
    first, second = guest.config.starts
    assert first.regs == Regs(rbx=gpaw, rsi=0, rcx=0x1000, r8=0x1000, rsp=0x24000)
    assert second.regs == Regs(rbx=gpaw, rsi=1, rcx=0x1000, r8=0x1000, rsp=0x28000)
    for start in guest.config.starts:
        assert (start.rip, start.cr3, start.idt) == (0x100000, 0x10000, (0, 0))
        assert (start.code_selector, start.data_selector, start.gdt) == (8, 0x10, (0x2000, 0x17))
    assert words(machine, 0x2000, 3) == (0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF)


@pytest.mark.parametrize("gpaw", [48, 52])
@pytest.mark.parametrize("gpa", [0, 0x1F_F000, 2 * MIB, 0x3FFF_FFFF, 1 << 30, 0xFEB0_0000])
def test_page_tables(gpaw: int, gpa: int) -> None:
    machine = opened(build(HALT, GuestOptions(gpaw=gpaw)))

    def walk(address: int) -> int:
        table = 0x10000
        for shift in (39, 30):
            (entry,) = words(machine, table + (address >> shift & 511) * 8, 1)
            assert entry & 0xFFF == 7
            table = entry & ~0xFFF
        (entry,) = words(machine, table + (address >> 21 & 511) * 8, 1)
        assert entry & 0x1F_FFFF == 0x87
        return entry & ~0x1F_FFFF | address & 0x1F_FFFF

    assert walk(gpa) == gpa
    assert walk(images.SHARED_WINDOW + gpa) == gpa | 1 << (gpaw - 1)


def test_the_tables_are_below_the_stacks() -> None:
    config = build(HALT).config
    tables = next(image for image in config.images if image.gpa == images.TABLES)
    assert tables.gpa + len(tables.data) <= images.STACKS
    most = build(HALT, GuestOptions(vcpus=images.MOST_VCPUS))
    assert most.config.starts[-1].regs.rsp <= 0xA0000


@pytest.mark.parametrize(
    ("last", "accepted"),
    [(0x100001, 2 * MIB), (2 * MIB, 2 * MIB), (2 * MIB + 1, 4 * MIB), (8 * MIB, 8 * MIB)],
)
def test_accepted_up_to_the_end_of_the_image(last: int, accepted: int) -> None:
    data = elf(Load(0x100000, HALT[:1], last - 0x100000))
    guest = build(data, GuestOptions(ram_bytes=8 * MIB))
    assert guest.accepted == accepted
    assert guest.config.added == ((0, accepted),)
    assert words(opened(guest), 0x1020, 1) == (accepted,)


def test_segments_are_loaded() -> None:
    data = elf(Load(0x100000, HALT), Load(0x300FFE, b"abcd", 0x5000), entry=0x100000)
    machine = opened(build(data, GuestOptions(ram_bytes=8 * MIB)))
    assert machine.read_gpa(0x300FFC, 8) == b"\0\0abcd\0\0"


def test_the_engines_side() -> None:
    guest = build(HALT, GuestOptions(ram_bytes=8 * MIB, gpaw=52))
    td = guest.td
    assert (td.gpaw, td.memslots) == (52, ((0, 2048),))
    assert td.attributes == guest.config.params.attributes
    assert td.attributes == tdx_fields.ATTRIBUTES_SEPT_VE_DISABLE
    assert struct.pack("<3I", *td.cpuid[0x4000_0000, 0][1:]) == b"KVMKVMKVM\0\0\0"
    assert td.cpuid[0x15, 0] == guest.config.params.cpuid[0x15, 0]
    # facts: kernel_exits 4.6: these are KVM's, x2APIC TPR and TSC are not.
    assert td.msrs[0x6E0].readable
    assert td.msrs[0x6E0].writable
    assert not td.msrs[0x1B].writable
    assert td.msrs[0x830].writable
    assert not {0x10, 0x808, 0x80B, 0x810, 0x828 - 1, 0x277 + 1} & td.msrs.keys()
    assert kvm_tables.MSRS is td.msrs


REFUSED: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "below 1 MiB": (elf(Load(0xFF000, HALT), entry=0xFF000), {}, "link it at 0x100000"),
    "above the RAM": (
        elf(Load(0x100000, HALT), Load(16 * MIB, b"x")),
        {"ram_bytes": 16 * MIB},
        "give it 18 MiB",
    ),
    "a terabyte of zeroes": (elf(Load(0x100000, HALT, 1 << 40)), {}, "link it lower"),
    "all of the address space": (elf(Load(0x100000, HALT, (1 << 64) - 1)), {}, "link it lower"),
    "a flat file that is too large": (bytes(4 * MIB), {"ram_bytes": 4 * MIB}, "give it 6 MiB"),
    "odd RAM": (HALT, {"ram_bytes": 5 * MIB}, "steps of 2 MiB"),
    "no RAM": (HALT, {"ram_bytes": 0}, "give 4 to 3072 MiB"),
    "too much RAM": (HALT, {"ram_bytes": 4096 * MIB}, "give 4 to 3072 MiB"),
    "no vCPU": (HALT, {"vcpus": 0}, "1 to 32"),
    "too many vCPUs": (HALT, {"vcpus": 33}, "1 to 32"),
    "a width that is none": (HALT, {"gpaw": 47}, "48 and 52"),
    "attributes that are none": (HALT, {"attributes": 2}, "TDH.MNG.INIT would refuse"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_with_a_remedy(what: str) -> None:
    data, options, text = REFUSED[what]
    with pytest.raises(BackendError) as caught:
        build(data, GuestOptions(**options))
    assert text in str(caught.value)


# --- the measurement ------------------------------------------------------------------


def test_mrtd_by_hand() -> None:
    """Two pages are added, one of them has an image and is measured."""
    record = b"MEM.PAGE.ADD\0\0\0\0" + bytes(8) + bytes(104)
    record += b"MEM.PAGE.ADD\0\0\0\0" + b"\0\x10" + bytes(6) + bytes(104)
    page = bytes(0xFFE) + b"ab"
    for chunk in range(16):
        record += b"MR.EXTEND\0\0\0\0\0\0\0" + bytes([0, 0x10 + chunk]) + bytes(6) + bytes(104)
        record += page[256 * chunk : 256 * chunk + 256]
    assert mrtd([Image(0x1FFE, b"ab")], 0x2000) == sha384(record).digest()


def test_mrtd_of_images_that_share_a_page() -> None:
    parts = [Image(0x1000, b"abcd"), Image(0x1800, b"efgh"), Image(0x1FFF, b"ij")]
    whole = bytearray(0x2000)
    whole[:4], whole[0x800:0x804], whole[0xFFF:0x1001] = b"abcd", b"efgh", b"ij"
    assert mrtd(parts, 0x4000) == mrtd([Image(0x1000, bytes(whole))], 0x4000)


def test_mrtd_is_of_what_the_td_is_and_its_rtmrs_are_not() -> None:
    one, other = build(HALT), build(b"\xf4\xf4")
    assert one.config.params.mrtd == build(HALT).config.params.mrtd
    assert one.config.params.mrtd != other.config.params.mrtd
    assert one.config.params.mrtd != build(HALT, GuestOptions(gpaw=52)).config.params.mrtd


# --- running --------------------------------------------------------------------------

#: TDG.VP.VMCALL with R10..R15, RSI, RDI and RBX shown; R11 = 0x1234. Then HLT.
SHOW = bytes.fromhex(
    "4531d2"  # xor r10d, r10d
    "41bb34120000"  # mov r11d, 0x1234
    "4989cc"  # mov r12, rcx
    "4d89c5"  # mov r13, r8
    "4989e6"  # mov r14, rsp
    "65488b0425"  # mov rax, gs:[...]: SS and DS work as well
    "00100000"  # ... 0x1000
    "4989c7"  # mov r15, rax
    "b9c8fc0000"  # mov ecx, 0xfcc8
    "31c0"  # xor eax, eax
    "660f01cc"  # tdcall
    "faf4"  # cli; hlt
)


@pytest.mark.parametrize("gpaw", [48, 52])
@pytest.mark.parametrize("form", ["elf", "flat"])
def test_a_guest_finds_what_the_contract_says(form: str, gpaw: int) -> None:
    image = elf(Load(0x100000, SHOW)) if form == "elf" else SHOW
    guest = build(image, GuestOptions(ram_bytes=8 * MIB, gpaw=gpaw, vcpus=2))
    machine = opened(guest)
    exit_ = machine.vp_enter(1, NO_REGS)
    assert isinstance(exit_, TdExit)
    assert exit_.vp_enter_ret == 77
    regs = exit_.regs
    assert (regs.r10, regs.r11, regs.rbx, regs.rsi, regs.rdi) == (0, 0x1234, gpaw, 1, 0)
    assert (regs.r12, regs.r13, regs.r14) == (0x1000, 0x1000, 0x28000)
    assert regs.r15 == int.from_bytes(b"TDXDBG\0\1", "little")


SOURCE = """
    .globl _start
_start:
    push %rbx
    pop %r12
    mov $0x8000000000, %rax     # the shared window: nothing is shared there yet
    mov 0x200000(%rax), %rdx
there:
    hlt
"""


def assembled(folder: Path) -> Path:
    for tool in ("as", "ld"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (Debian package binutils)")
    (folder / "guest.S").write_text(SOURCE)
    for command in (
        ["as", "--64", "-g", "-o", "guest.o", "guest.S"],
        ["ld", "-static", "-nostdlib", "-Ttext=0x100000", "-N", "-o", "guest.elf", "guest.o"],
    ):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "guest.elf"


def test_an_assembled_guest_runs(tmp_path: Path) -> None:
    guest = build(assembled(tmp_path), GuestOptions(ram_bytes=8 * MIB))
    there = guest.symbols.find("there")
    assert there is not None
    place = guest.lines.at(guest.entry)
    assert place is not None
    assert (place.file, guest.lines.text(place)) == ("guest.S", "    push %rbx")
    exit_ = opened(guest).vp_enter(0, NO_REGS)
    assert isinstance(exit_, TdExit)
    # An EPT violation by the read of a shared GPA: KVM has not mapped it yet.
    assert (exit_.vp_enter_ret, exit_.regs.r8) == (0x30, 1 << 47 | 0x200000)


def test_symbols_belong_to_the_guest() -> None:
    guest = build(elf(Load(0x100000, SHOW), names=(Name("begin", 0x100000),)))
    assert guest.symbols.describe(0x100003) == "begin+0x3"
    assert guest.symbols is guest.symbols
