"""Source lines of addresses, and where sources are looked for."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tdxdbg.backends.debug_info import Row
from tdxdbg.backends.elf import read_guest
from tdxdbg.backends.lines import Lines, Place, lines_of
from tests.backends.bzimages import bzimage

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
    lines = lines_of(read_guest(tmp_path / "guest.elf"))
    assert lines.problem == ""
    found = [lines.at(0x100000 + offset) for offset in range(40 * 306 + 2)]
    # A nop of one byte, and the rest of 306; the last one is hlt.
    wanted: list[Place | None] = []
    for line in range(3, 3 * 40 + 3, 3):
        wanted += [Place("part/code.S", line), *[Place("part/code.S", line + 1)] * 305]
    assert found == [*wanted, Place("part/code.S", 3 * 40 + 3), None]
    assert lines.text(Place("part/code.S", 4)) == "mov $1, %eax"
    assert lines.find("code.S", 6) == lines.find("part/code.S", 6) == [0x100000 + 306]
    assert lines.find("other.S", 6) == lines.find("t/code.S", 6) == []


def test_none_in_a_flat_file() -> None:
    lines = lines_of(read_guest(b"\xf4"))
    assert lines.at(0x100000) is None
    assert "flat image" in lines.problem


def test_rows_beside_what_is_loaded_and_none_at_all() -> None:
    lines = Lines([Row(0x20, 0x30, "b", 2), Row(0x10, 0x18, "a", 1)])
    assert [lines.at(at) for at in (0xF, 0x10, 0x17, 0x18, 0x20, 0x30)] == [
        None,
        Place("a", 1),
        Place("a", 1),
        None,
        Place("b", 2),
        None,
    ]
    assert Lines().at(0) is None


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
    return Lines(folder=home)


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


def test_nothing_is_said_of_the_lines_of_a_distributions_kernel() -> None:
    found = lines_of(read_guest(bzimage(b"packed")))
    assert (found.at(0xFFFF_FFFF_8100_0000), found.problem) == (None, "")
