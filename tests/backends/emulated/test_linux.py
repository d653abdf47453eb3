"""A kernel becomes a TD: what is in its memory, where its vCPUs start, what is refused."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Final

import pytest

from tdxdbg.backends.bzimage import ENTRY_64, HEADER_AT
from tdxdbg.backends.emulated import linux
from tdxdbg.backends.emulated.linux import MAILBOX, MIB, LinuxOptions, LoadedLinux
from tdxdbg.backends.emulated.td import open_machine
from tdxdbg.engine import BY_NAME
from tdxdbg.errors import BackendError
from tdxdbg.session.run import Run, Why
from tdxdbg.vmm import Board, Chipset, Vmm
from tests.backends.bzimages import USUAL, bzimage

# A "kernel" that wakes vCPU 1 through the mailbox; it says A, the first one then B, and
# turns the TD off. Assembled from:
#
#   .code64
#   start:
#     mov $0x98000, %rbx
#     lea ap(%rip), %rax
#     mov %rax, 8(%rbx)
#     movl $1, 4(%rbx)
#     movw $1, (%rbx)
#   1: pause
#     cmpb $0, flag(%rip)
#     je 1b
#   2: cmpw $0, (%rbx)
#     jne 2b
#     mov $'B', %r15d
#     call say
#     jmp off
#   ap:
#     mov $0x40000, %esp
#     cmp $1, %esi
#     jne 3f
#     mov $'A', %r15d
#     call say
#     movb $1, flag(%rip)
#   3: pause
#     jmp 3b
#   say:
#     mov $30, %r11d
#     mov $0x3f8, %r14d
#     jmp out
#   off:
#     mov $30, %r11d
#     mov $0x640, %r14d
#     mov $0x34, %r15d
#   out:
#     xor %eax, %eax
#     xor %r10d, %r10d
#     mov $1, %r12d
#     mov $1, %r13d
#     mov $0xfc00, %ecx
#     .byte 0x66,0x0f,0x01,0xcc
#     ret
#   flag: .byte 0
WAKES: Final = bytes.fromhex(
    "48c7c300800900488d052e00000048894308c743040100000066c7030100f390"
    "803d700000000074f566833b0075fa41bf42000000e822000000eb2ebc000004"
    "0083fe01751241bf41000000e80b000000c6053f00000001f390ebfc41bb1e00"
    "000041bef8030000eb1241bb1e00000041be4006000041bf3400000031c04531"
    "d241bc0100000041bd01000000b900fc0000660f01ccc300"
)


def kernel(code: bytes = WAKES, **changes: int) -> bytes:
    """A bzImage for 16 MiB, which is entered at `code`."""
    image = bytearray(
        bzimage(b"packed", 6, **{"pref_address": 16 * MIB, "init_size": MIB, **changes})
    )
    at = 3 * 512 + ENTRY_64
    image[at : at + len(code)] = code
    return bytes(image)


BZIMAGE: Final = kernel()


def load(tmp_path: Path, image: bytes = BZIMAGE, **options: Any) -> LoadedLinux:
    path = tmp_path / "vmlinuz"
    path.write_bytes(image)
    return linux.build(path, LinuxOptions(**{"ram_bytes": 128 * MIB, **options}))


def memory_of(loaded: LoadedLinux, gpa: int, size: int) -> bytes:
    memory = bytearray(size)
    for image in loaded.config.images:
        for at, byte in enumerate(image.data):
            if gpa <= image.gpa + at < gpa + size:
                memory[image.gpa + at - gpa] = byte
    return bytes(memory)


def boot_params(loaded: LoadedLinux) -> bytes:
    return memory_of(loaded, loaded.config.starts[0].regs.rsi, 4096)


def test_the_setup_header_is_in_boot_params(tmp_path: Path) -> None:
    page = boot_params(load(tmp_path))
    assert page[0x202:0x206] == b"HdrS"
    assert page[HEADER_AT] == USUAL["setup_sects"]
    assert page[0x210] == 0xFF
    assert page[0x211] & 1


def test_the_memory_map_covers_the_ram_but_what_is_the_firmwares(tmp_path: Path) -> None:
    page = boot_params(load(tmp_path))
    entries = [struct.unpack_from("<QQI", page, 0x2D0 + 20 * i) for i in range(page[0x1E8])]
    assert entries == [
        (0, 0x90000, 1),
        (0x90000, 0x10000, 4),
        (0xE0000, 0x20000, 3),
        (MIB, 127 * MIB, 1),
    ]
    rsdp = struct.unpack_from("<Q", page, 0x70)[0]
    assert memory_of(load(tmp_path), rsdp, 8) == b"RSD PTR "


def test_the_command_line(tmp_path: Path) -> None:
    loaded = load(tmp_path, append="console=ttyS0 quiet")
    at = struct.unpack_from("<I", boot_params(loaded), 0x228)[0]
    assert memory_of(loaded, at, 20) == b"console=ttyS0 quiet\0"


def test_an_initrd_is_at_the_end_of_the_ram(tmp_path: Path) -> None:
    initrd = tmp_path / "initrd"
    initrd.write_bytes(b"07070" * 1000)
    loaded = load(tmp_path, initrd=initrd)
    at, size = struct.unpack_from("<II", boot_params(loaded), 0x218)
    assert (at, size) == (128 * MIB - 0x2000, 5000)
    assert memory_of(loaded, at, size) == b"07070" * 1000


def test_the_first_vcpu_is_at_the_kernel_and_the_others_wait(tmp_path: Path) -> None:
    starts = load(tmp_path, vcpus=3).config.starts
    assert starts[0].rip == 16 * MIB + ENTRY_64
    assert [start.regs.rsi for start in starts[1:]] == [1, 2]
    assert len({start.rip for start in starts[1:]}) == 1
    assert {start.cr3 for start in starts} == {starts[0].cr3}


@pytest.mark.parametrize("gpaw", [48, 52])
def test_a_vcpu_is_woken_through_the_mailbox(tmp_path: Path, gpaw: int) -> None:
    loaded = load(tmp_path, vcpus=2, gpaw=gpaw)
    vmm = Vmm((), Board(((0, 128 * MIB),), gpaw=gpaw, chipset=Chipset.PC, vcpus=2))
    machine = open_machine(loaded.config)
    run = Run(machine, vmm.td(loaded.td), BY_NAME["7.2"], vmm)
    while run.step(1_000_000).why is Why.STEP:
        pass
    assert bytes(vmm.console) == b"AB"
    assert run.ended == "ACPI S5: power off"
    assert machine.read_gpa(MAILBOX, 2) == b"\0\0"


def test_all_of_the_ram_is_accepted_and_measured_with_what_is_loaded(tmp_path: Path) -> None:
    one, other = load(tmp_path), load(tmp_path, append="x")
    assert one.config.added == ((0, 128 * MIB),)
    assert one.config.params.mrtd != other.config.params.mrtd
    assert one.config.params.mrtd == load(tmp_path).config.params.mrtd


def elf(gpa: int, entry: int, *, in_memory: int = 8 * MIB) -> bytes:
    header = b"\x7fELF\2\1\1" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    program = struct.pack("<IIQQQQQQ", 1, 5, 120, gpa, gpa, 4, in_memory, MIB)
    return header + program + b"code"


def test_a_vmlinux_is_loaded_where_its_segments_say(tmp_path: Path) -> None:
    loaded = load(tmp_path, elf(16 * MIB, 16 * MIB + 2))
    assert memory_of(loaded, 16 * MIB, 4) == b"code"
    assert loaded.config.starts[0].rip == 16 * MIB + 2
    assert boot_params(loaded)[0x202:0x206] == b"HdrS"


@pytest.mark.parametrize(
    ("image", "options", "problem"),
    [
        (b"", {}, "is empty"),
        (b"hello", {}, "is no bzImage"),
        (BZIMAGE, {"ram_bytes": 64 * MIB}, "bytes of RAM for Linux: give 128 to 2048 MiB"),
        (BZIMAGE, {"vcpus": 9}, "9 vCPUs: Linux gets 1 to 8"),
        (BZIMAGE, {"gpaw": 50}, "a GPA width of 50 bits"),
        (BZIMAGE, {"append": "x" * 2048}, "a command line of 2048 bytes: Linux takes 2047"),
        (BZIMAGE, {"append": "a\0b"}, "none of them zero"),
        (kernel(pref_address=0x8000), {}, "wants to be loaded at 0x8000"),
        (kernel(pref_address=MIB + 1), {}, "wants to be loaded at 0x100001"),
        (kernel(init_size=200 * MIB), {}, "needs RAM up to GPA"),
        (kernel(pref_address=1 << 63), {}, "needs RAM up to GPA"),
        (elf(0x8000, 0x8001), {}, "wants memory below 1 MiB"),
        (elf(124 * MIB, 124 * MIB), {}, "needs RAM up to GPA"),
        (elf(16 * MIB, 16 * MIB, in_memory=1 << 62), {}, "needs RAM up to GPA"),
        (elf(16 * MIB, 1 << 32), {}, "is in no loaded segment"),
        (elf(16 * MIB, (1 << 64) - 1), {}, "is in no loaded segment"),
        (elf((1 << 64) - MIB, 16 * MIB), {}, "entry"),
        (BZIMAGE[:-30], {}, "ends before the end of its payload"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_booted_is_said_in_a_line(
    tmp_path: Path, image: bytes, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(BackendError, match=problem) as error:
        load(tmp_path, image, **options)
    assert "\n" not in str(error.value)


def test_an_initrd_that_does_not_fit(tmp_path: Path) -> None:
    initrd = tmp_path / "initrd"
    with initrd.open("wb") as file:
        file.truncate(112 * MIB)
    with pytest.raises(BackendError, match="does not fit behind the kernel in 128 MiB"):
        load(tmp_path, initrd=initrd)
    with pytest.raises(BackendError, match=r"cannot read .*nothing: No such file"):
        load(tmp_path, initrd=tmp_path / "nothing")
