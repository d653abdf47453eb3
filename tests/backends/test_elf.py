"""Reading a guest image: what is refused, with which remedy, and never with a traceback."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.backends.elf import FLAT_GPA, read_guest
from tdxdbg.errors import BackendError
from tests.backends.elves import GUESTS, HEADER, PROGRAM, Load, Name, elf

CODE = Load(0x100000, b"\xf4" * 32)
SOUND = elf(CODE, Load(0x102000, b"data", 0x2000), names=(Name("start", 0x100000, 32),))
#: One with symbols, DWARF and everything.
REAL = (GUESTS / "mapgpa_retry.elf").read_bytes()

REFUSED = {
    "an empty file": (b"", "is empty"),
    "half a header": (SOUND[:40], "ends before the end of its ELF header"),
    "only the magic": (b"\x7fELF", "ends before the end of its ELF header"),
    "no program headers there": (SOUND[:HEADER], "ends before the end of its program headers"),
    "a segment cut off": (elf(CODE)[:-1], "ends before the end of segment 0"),
    "32 bits": (elf(CODE, ident=b"\x7fELF\1\1\1"), "is no ELF64 (class 1)"),
    "big endian": (elf(CODE, ident=b"\x7fELF\2\2\1"), "not x86-64"),
    "ARM": (elf(CODE, machine=183), "is for machine 183, not x86-64"),
    "an object file": (elf(CODE, kind=1), "link it with ld -static"),
    "position-independent": (elf(CODE, kind=3), "-no-pie"),
    "a core dump": (elf(CODE, kind=4), "core dump"),
    "an unknown type": (elf(CODE, kind=0xFE00), "ELF type 65024"),
    "no program header": (elf(), "has 0 program headers"),
    "too many program headers": (elf(CODE, count=0xFFFF), "has 65535 program headers"),
    "program headers of an odd size": (elf(CODE, entry_size=8), "of 8 bytes"),
    "a dynamic linker": (elf(CODE, Load(0, b"/lib/ld.so", kind=3)), "-static"),
    "nothing to load": (elf(Load(0x100000, b"", kind=4)), "has no segment to load"),
    "more in the file than in memory": (elf(Load(0x100000, bytes(8), 4)), "(0x8) than in memory"),
    "overlapping segments": (
        elf(CODE, Load(0x10001F, b"x")),
        "overlap at GPA 0x10001f",
    ),
    "one segment twice": (elf(CODE, CODE), "overlap at GPA 0x100000"),
    "an entry outside": (elf(CODE, entry=0x100020), "entry point"),
    "an entry at a virtual address": (
        elf(Load(0x100000, b"\xf4", address=0xFFFF_FFFF_8010_0000), entry=0xFFFF_FFFF_8010_0000),
        "physical and virtual addresses are the same",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_with_a_remedy(what: str) -> None:
    data, text = REFUSED[what]
    with pytest.raises(BackendError) as caught:
        read_guest(data)
    assert text in str(caught.value)
    assert ": " in str(caught.value)


def test_segments_by_gpa() -> None:
    file = read_guest(elf(Load(0x102000, b"data", 0x2000), Load(0x101000, b""), CODE))
    assert file.is_elf
    assert file.entry == 0x100000
    assert [(each.gpa, bytes(each.data[:4]), each.size) for each in file.segments] == [
        (0x100000, b"\xf4" * 4, 32),
        (0x102000, b"data", 0x2000),
    ]


def test_another_file_is_flat() -> None:
    file = read_guest(b"\x7fELG and so on")
    assert not file.is_elf
    assert (file.entry, file.segments[0].gpa) == (FLAT_GPA, FLAT_GPA)


def test_a_file_has_a_name_in_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "guest.elf"
    path.write_bytes(SOUND[:80])
    with pytest.raises(BackendError, match=r"guest\.elf ends before"):
        read_guest(path)
    path.write_bytes(SOUND)
    assert read_guest(path).path == path


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        with pytest.raises(BackendError, match="not a regular file"):
            read_guest(path)
    with pytest.raises(BackendError, match="cannot read"):
        read_guest(tmp_path / "absent")
    with pytest.raises(BackendError, match="cannot read"):
        read_guest(tmp_path / "a\0b")


def test_a_file_of_a_terabyte_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(BackendError, match="strip it"):
        read_guest(path)


def survives(data: bytes) -> None:
    """Refused politely, or read."""
    try:
        file = read_guest(data)
    except BackendError:
        return
    assert any(each.gpa <= file.entry < each.end for each in file.segments)
    assert all(len(each.data) <= each.size for each in file.segments)


@given(data=st.binary(max_size=400))
def test_anything_behind_the_magic(data: bytes) -> None:
    survives(b"\x7fELF" + data)


BYTES = st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), max_size=8)


@given(changes=BYTES, end=st.integers(0, len(SOUND)))
def test_a_sound_file_with_bytes_changed(changes: list[tuple[int, int]], end: int) -> None:
    data = bytearray(SOUND)
    for at, value in changes:
        data[at] = value
    survives(bytes(data[:end]))
    survives(bytes(data))


FIELDS = st.sampled_from(
    [(at, 8) for at in (24, 32, 40)]
    + [(at, 2) for at in (16, 18, 52, 54, 56, 58, 60, 62)]
    + [(HEADER + PROGRAM * n + at, 8) for n in range(2) for at in (8, 16, 24, 32, 40)]
)
EDGES = st.sampled_from(
    [0, 1, 0xFFFF, 0x100000, 1 << 31, 1 << 32, 1 << 52, 1 << 63, (1 << 64) - 4096, (1 << 64) - 1]
)


@given(changes=st.lists(st.tuples(FIELDS, EDGES), min_size=1, max_size=4))
def test_a_sound_file_with_fields_changed(changes: list[tuple[tuple[int, int], int]]) -> None:
    data = bytearray(SOUND)
    for (at, size), value in changes:
        data[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
    survives(bytes(data))


@given(
    at=st.integers(0, len(REAL) - 8),
    value=st.binary(min_size=1, max_size=8),
    end=st.integers(0, len(REAL)),
)
def test_a_real_file_with_anything_changed(at: int, value: bytes, end: int) -> None:
    data = bytearray(REAL)
    data[at : at + len(value)] = value
    survives(bytes(data))
    survives(bytes(data[:end]))
