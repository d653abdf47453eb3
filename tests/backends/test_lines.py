"""Source lines: against pyelftools on real files, and against damage."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from tdxdbg.backends.dwarf_lines import Row, read_rows
from tdxdbg.backends.elf import read_guest
from tdxdbg.backends.lines import Lines, Place, lines_of
from tests.backends.elves import GUESTS

NOTHING = memoryview(b"")


def oracle(data: bytes) -> Iterator[tuple[int, str, int]]:
    """(address, file name, line) of each byte of loaded code, by pyelftools.

    Sequences of functions that the linker left out begin at 0.
    """
    dwarf = ELFFile(io.BytesIO(data)).get_dwarf_info()
    for unit in dwarf.iter_CUs():
        program = dwarf.line_program_for_CU(unit)
        assert program is not None
        shift = program["version"] < 5
        last = None
        for entry in program.get_entries():
            if entry.state is None:
                continue
            if last is not None and not last.end_sequence:
                name = program["file_entry"][last.file - shift].name.decode()
                for address in range(max(last.address, 0x100000), entry.state.address):
                    yield address, name, last.line
            last = entry.state


def same_as_oracle(path: Path) -> int:
    data = path.read_bytes()
    lines = lines_of(read_guest(data))
    count = 0
    for address, name, line in oracle(data):
        place = lines.at(address)
        assert place is not None
        assert (place.file.rpartition("/")[2], place.line) == (name.rpartition("/")[2], line)
        count += 1
    return count


@pytest.mark.parametrize("name", ["mapgpa_retry", "hello_serial"])
def test_every_byte_of_a_sample_guest(name: str) -> None:
    assert same_as_oracle(GUESTS / f"{name}.elf") > 100


SOURCE = ".globl _start\n_start:\n" + "nop\nmov $1, %eax\n.skip 300\n" * 40 + "hlt\n"


@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_each_version_of_the_format(tmp_path: Path, version: int) -> None:
    for tool in ("as", "ld"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (Debian package binutils)")
    folder = tmp_path / "part"
    folder.mkdir()
    (folder / "code.S").write_text(SOURCE)
    for command in (
        ["as", "--64", f"--gdwarf-{version}", "-o", "guest.o", "part/code.S"],
        ["ld", "-static", "-nostdlib", "-Ttext=0x100000", "-N", "-o", "guest.elf", "guest.o"],
    ):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert same_as_oracle(tmp_path / "guest.elf") == 40 * 306 + 1
    lines = lines_of(read_guest(tmp_path / "guest.elf"))
    place = lines.at(0x100000)
    assert place == Place("part/code.S", 3)
    assert lines.text(Place("part/code.S", 4)) == "mov $1, %eax"
    assert lines.find("code.S", 6) == lines.find("part/code.S", 6) == [0x100000 + 306]
    assert lines.find("other.S", 6) == lines.find("t/code.S", 6) == []


def test_none_in_a_flat_file() -> None:
    lines = lines_of(read_guest(b"\xf4"))
    assert lines.at(0x100000) is None
    assert "compile with -g" in lines.problem


# --- where sources are looked for -----------------------------------------------------


@pytest.fixture
def beside(tmp_path: Path) -> Lines:
    home = tmp_path / "home"
    (home / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (home / "code.S").write_bytes(b"one\r\ntwo \xff\n")
    (home / "sub" / "code.S").write_text("below")
    os.mkfifo(home / "pipe")
    (home / "link").symlink_to(tmp_path / "secret")
    (home / "loop").symlink_to("loop")
    return Lines(read_guest(b"\xf4"), home)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("code.S", "one"),
        ("./code.S", "one"),
        ("sub/code.S", "below"),
        ("/usr/src/code.S", "one"),
        ("other/code.S", "one"),
        ("../home/code.S", "one"),
        ("../secret", None),
        ("sub/../../secret", None),
        ("link", None),
        ("loop", None),
        ("pipe", None),
        ("sub", None),
        ("/dev/zero", None),
        ("", None),
        (".", None),
        ("..", None),
        ("a\0b", None),
        ("\udcff", None),
        ("x" * 1000, None),
    ],
)
def test_only_beside_the_image(beside: Lines, file: str, text: str | None) -> None:
    assert beside.text(Place(file, 1)) == text


def test_lines_are_counted_from_one(beside: Lines) -> None:
    assert beside.text(Place("code.S", 2)) == "two \ufffd"
    assert [beside.text(Place("code.S", line)) for line in (0, -1, 4, 1 << 40)] == [None] * 4


# --- damage ---------------------------------------------------------------------------


def unit(program: bytes, *, tables: bytes = b"\0a\0\0\0\0\0", version: int = 4) -> bytes:
    """A unit of .debug_line, of the file `a`."""
    head = b"\1" + b"\1" * (version >= 4) + b"\1\xfb\x0e\x0d\0\1\1\1\1\0\0\0\1\0\0\1" + tables
    sizes = b"\x08\0" * (version == 5)
    body = struct.pack("<H", version) + sizes + struct.pack("<I", len(head)) + head + program
    return struct.pack("<I", len(body)) + body


START = b"\0\x09\2" + struct.pack("<Q", 0x1000)
END = b"\2\4\0\1\1"


def rows(data: bytes) -> list[Row]:
    return list(read_rows(memoryview(data), NOTHING, NOTHING))


def test_a_sound_unit() -> None:
    assert rows(unit(START + b"\1" + END)) == [Row(0x1000, 0x1004, "a", 1)]
    assert rows(unit(START + b"\1" + END, version=3)) == [Row(0x1000, 0x1004, "a", 1)]


#: DWARF 5: no formats, and 2^34 entries; a reader that does not look counts to the end.
ENDLESS = b"\0\0" + b"\0" + b"\xff\xff\xff\xff\x3f"
DAMAGED = {
    "an endless table of files": unit(START + b"\1" + END, tables=ENDLESS, version=5),
    "files by a form of no bytes": unit(b"", tables=b"\0\0\1\1\x19\xff\x7f", version=5),
    "a number without an end": unit(START + b"\2" + b"\xff" * 40),
    "an opcode beyond the unit": unit(START + b"\0\xff\xff\x7f\2"),
    "an empty opcode": unit(START + b"\0\0\1"),
    "a file that is not there": unit(START + b"\4\7\1" + END),
    "a name without an end": unit(b"", tables=b"\0aaaa"),
    "a header beyond the unit": b"\x10\0\0\0\4\0\xff\xff\xff\xff" + bytes(10),
    "line_range 0": unit(START + b"\1" + END).replace(b"\xfb\x0e", b"\xfb\0"),
    "version 9": unit(START + b"\1" + END, version=9),
    "no program": b"\0\0\0\0" * 3,
}


@pytest.mark.parametrize("what", DAMAGED)
def test_damage_ends_a_unit_and_no_more(what: str) -> None:
    sound = unit(START + b"\1" + END)
    assert rows(DAMAGED[what] + sound) == rows(sound)


@pytest.mark.parametrize("size", [b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff" + b"\xff" * 8])
def test_a_unit_beyond_the_section_ends_it(size: bytes) -> None:
    assert rows(size + b"\4\0") == []


def test_every_cut_and_every_byte() -> None:
    sound = unit(START + b"\1\x83\x4a\5\1\3\x7f\1\x08\1\x09\2\0\1\x0a" + END)
    for at in range(len(sound)):
        rows(sound[:at])
        for value in (0, 1, 0x7F, 0x80, 0xFF):
            rows(sound[:at] + bytes([value]) + sound[at + 1 :])
