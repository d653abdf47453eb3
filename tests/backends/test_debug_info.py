"""Names and lines by pyelftools in another process: sound images, hostile ones, a bad reader."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.backends.debug_info import (
    DebugInfo,
    Limits,
    Row,
    Symbol,
    debug_info,
    read_debug_info,
    understand,
)
from tdxdbg.backends.elf import GuestFile, read_guest
from tdxdbg.backends.lines import Lines, lines_of
from tdxdbg.backends.symbols import Symbols, symbols_of
from tdxdbg.errors import BackendError
from tests.backends.elves import GUESTS, Load, Name, elf

CODE = Load(0x100000, bytes(0x1000))
NAMES = (Name("main", 0x100000, 16),)
IMAGES = sorted(GUESTS.glob("*.elf"))
REAL = (GUESTS / "fatal.elf").read_bytes()


def output_of(tool: str, *arguments: str, text: str = "") -> list[str]:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed (Debian package binutils)")
    done = subprocess.run(
        [tool, *arguments], input=text, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


# --- sound images ---------------------------------------------------------------------


def test_there_are_sample_guests() -> None:
    assert len(IMAGES) >= 26


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_symbols_and_lines_of_a_sample_guest(path: Path) -> None:
    file = read_guest(path)
    symbols, lines = symbols_of(file), lines_of(file)
    assert (symbols.problem, lines.problem) == ("", "")
    assert symbols.find("_start") == file.entry
    assert symbols.describe(file.entry) == "_start"
    place = lines.at(file.entry)
    assert place is not None
    assert place.file.endswith(".S")
    same_as_nm(path, symbols)
    same_as_addr2line(path, symbols, lines)


def same_as_nm(path: Path, symbols: Symbols) -> None:
    known = {tuple(line.split(maxsplit=2)) for line in output_of("nm", str(path))}
    wanted = {(int(at, 16), name) for at, kind, name in known if kind not in "aA"}
    assert {(symbol.address, symbol.name) for symbol in symbols} == wanted


def same_as_addr2line(path: Path, symbols: Symbols, lines: Lines) -> None:
    code = read_guest(path).segments[0]
    every = sorted({symbol.address for symbol in symbols} | set(range(code.address, 1 << 21, 61)))
    asked = [at for at in every if code.address <= at < code.address + len(code.data)]
    said = output_of("addr2line", "-e", str(path), text="".join(f"{at:#x}\n" for at in asked))
    hits = 0
    for at, text in zip(asked, said, strict=True):
        place = lines.at(at)
        name, _, number = text.partition(" ")[0].rpartition(":")
        if place is None:
            assert number in ("?", "0"), hex(at)
            continue
        hits += 1
        assert (Path(name).name, number) == (Path(place.file).name, str(place.line)), hex(at)
    assert hits > 3


def test_an_image_is_read_once() -> None:
    one, other = read_guest(REAL), read_guest(GUESTS / "fatal.elf")
    assert debug_info(one) is debug_info(other)


def test_pyelftools_is_not_in_the_debugger() -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from tdxdbg.backends.elf import read_guest\n"
        "from tdxdbg.backends.symbols import symbols_of\n"
        "print(len(symbols_of(read_guest(Path(sys.argv[1])))), 'elftools' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(GUESTS / "fatal.elf")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count, loaded = done.stdout.split()
    assert (int(count) > 0, loaded) == (True, "False")


# --- images made by hand --------------------------------------------------------------

START = b"\0\x09\2" + struct.pack("<Q", 0x100000)
END = b"\2\4\0\1\1"
#: A sequence of four bytes in line 1.
PROGRAM = START + b"\1" + END
SOUND: Final = Row(0x100000, 0x100004, "a", 1)


def line_unit(program: bytes, *, tables: bytes = b"\0a\0\0\0\0\0", version: int = 4) -> bytes:
    """A unit of .debug_line, of the file `a`."""
    head = b"\1" + b"\1" * (version >= 4) + b"\1\xfb\x0e\x0d\0\1\1\1\1\0\0\0\1\0\0\1" + tables
    sizes = b"\x08\0" * (version == 5)
    body = struct.pack("<H", version) + sizes + struct.pack("<I", len(head)) + head + program
    return struct.pack("<I", len(body)) + body


def with_lines(*units: bytes, names: tuple[Name, ...] = NAMES) -> GuestFile:
    """An image with a compilation unit (DWARF 4: DW_AT_stmt_list alone) for each of `units`."""
    info, at = b"", 0
    for each in units:
        body = struct.pack("<HIBBI", 4, 0, 8, 1, at)
        info += struct.pack("<I", len(body)) + body
        at += len(each)
    sections = {
        ".debug_info": info,
        ".debug_abbrev": b"\1\x11\0\x10\x17\0\0\0",
        ".debug_line": b"".join(units),
    }
    return read_guest(elf(CODE, names=names, sections=sections))


def test_each_version_of_a_unit() -> None:
    # One folder is where the compiler ran, and files are numbered from 0.
    tables = b"\1\1\x08\2/\0d\0" + b"\2\1\x08\2\x0b\3z\0\0a\0\0b\0\1"
    other = START + b"\4\2\1" + END
    old = b"d\0\0a\0\0\0\0b\0\1\0\0\0"
    info = read_debug_info(
        with_lines(
            *(line_unit(PROGRAM + other, tables=old, version=version) for version in (2, 3, 4)),
            line_unit(PROGRAM + other, tables=tables, version=5),
        )
    )
    assert info.rows == (SOUND, SOUND._replace(file="d/b")) * 4
    assert info.no_rows == ""


DAMAGED = {
    "a file that is not there": line_unit(START + b"\4\7\1" + END),
    "a form that is none": line_unit(b"", tables=b"\1\1\x7f\1\1", version=5),
    "line_range 0": line_unit(START + b"\x20" + END).replace(b"\xfb\x0e", b"\xfb\0"),
    "addresses beyond 64 bits": line_unit(
        b"\0\x09\2" + b"\xff" * 8 + b"\1\2" + b"\xff" * 9 + b"\1\1"
    ),
    "a line below 0": line_unit(START + b"\3\x40\1" + END),
    "going back": line_unit(START + b"\1\0\x09\2" + bytes(8) + b"\0\1\1"),
}


def test_a_damaged_unit_does_not_spoil_the_next_one() -> None:
    info = read_debug_info(with_lines(*DAMAGED.values(), line_unit(PROGRAM)))
    assert info.rows == (SOUND,)
    assert "is damaged" in info.no_rows
    assert info.symbols == (Symbol(0x100000, 0, "main", 16),)


#: DWARF 5: no formats, and 2^62 entries of no bytes each: pyelftools counts to the end.
ENDLESS = line_unit(PROGRAM, tables=b"\0\0\0" + b"\xff" * 8 + b"\x3f", version=5)


def test_an_endless_table_costs_the_lines_alone() -> None:
    info = read_debug_info(with_lines(line_unit(PROGRAM), ENDLESS), Limits(cpu=1, memory=4 << 30))
    assert [symbol.name for symbol in info.symbols] == ["main"]
    assert info.no_symbols == ""
    assert info.no_rows == (
        "the source lines of the image were not read, it took more than 1 s of CPU time: "
        "strip it, or build it again"
    )


def test_the_memory_has_a_limit() -> None:
    info = read_debug_info(with_lines(ENDLESS), Limits(memory=64 << 20))
    assert [symbol.name for symbol in info.symbols] == ["main"]
    assert "needs too much memory" in info.no_rows


def test_the_answer_has_a_limit() -> None:
    names = tuple(Name("x" * 900 + str(at), 0x100000 + at) for at in range(100))
    info = read_debug_info(read_guest(elf(CODE, names=names)), Limits(output=50_000))
    assert info.symbols == ()
    assert "there is more than 50000 bytes of them" in info.no_symbols


def test_hostile_names() -> None:
    names = ("\x1b]0;x\7", "a\nb", '"],["end', "\udcff\udc80", "ü" * 3000, "\u202e", "../../x")
    made = tuple(Name(name, 0x100000 + at, 1) for at, name in enumerate(names))
    file = with_lines(line_unit(PROGRAM, tables=b"\0\x1b[2J\xff\n/../x\0\0\0\0\0"), names=made)
    info = read_debug_info(file)
    wanted = ["\ufffd\ufffd" if "\udcff" in name else name[:1024] for name in names]
    assert [symbol.name for symbol in info.symbols] == wanted
    assert [row.file for row in info.rows] == ["\x1b[2J\udcff\n/../x"]


#: Each is a process.
DAMAGE = int(os.environ.get("TDXDBG_FUZZ", "600")) // 100


@pytest.mark.fuzz
def test_damaged_images_have_fewer_names() -> None:
    for index in range(DAMAGE):
        chance = Random(f"names:{index}")
        data = bytearray(REAL)
        for _ in range(chance.randint(1, 30)):
            # Not the headers, which are another test's, and rather the sections' than the code.
            data[-chance.randint(1, len(data) * 3 // 4)] ^= 1 << chance.randrange(8)
        try:
            file = read_guest(bytes(data))
        except BackendError:
            continue
        info = read_debug_info(file, Limits(seconds=20, cpu=2))
        for problem in (info.no_symbols, info.no_rows):
            assert "\n" not in problem, index


# --- a reader that does not do as it should -------------------------------------------

WHOLE = b'["symbol",16,4,0,"a"]\n["end","symbols",""]\n'
LINES = b'["file","x.S"]\n["row",1,2,0,3]\n'
ENDED = b'["end","rows",""]\n'
SEEN = DebugInfo((Symbol(16, 0, "a", 4),), (Row(1, 2, "x.S", 3),))


def read_by(folder: Path, script: str, said: bytes = b"", seconds: float = 20) -> DebugInfo:
    """What comes of a reader that says this, and then does that."""
    (folder / "said").write_bytes(said)
    command = ("sh", "-c", f'cat "$0"; {script}', str(folder / "said"))
    return read_debug_info(read_guest(REAL), Limits(seconds), command)


def test_a_reader_that_ends_well(tmp_path: Path) -> None:
    assert read_by(tmp_path, "exit 0", WHOLE + LINES + ENDED) == SEEN


@pytest.mark.parametrize(
    ("script", "seconds", "why"),
    [
        ("kill -KILL $$", 20, "the reader was killed by signal 9"),
        ("kill -SEGV $$", 20, "the reader was killed by signal 11"),
        ("exit 3", 20, "the reader ended with status 3"),
        ("exec sleep 60", 0.3, "it took more than 0.3 s"),
    ],
)
def test_what_a_reader_said_whole_is_kept(
    tmp_path: Path, script: str, seconds: float, why: str
) -> None:
    info = read_by(tmp_path, script, WHOLE + LINES + b'["row",', seconds)
    assert (info.symbols, info.rows, info.no_symbols) == (SEEN.symbols, SEEN.rows, "")
    assert why in info.no_rows
    info = read_by(tmp_path, script, WHOLE[:-10], seconds)
    assert (info.symbols, info.rows) == ((), ())
    assert why in info.no_symbols
    assert why in info.no_rows


def test_no_reader_at_all() -> None:
    info = read_debug_info(read_guest(REAL), command=("/nowhere/reader",))
    assert not info.symbols + info.rows
    assert "no process for it: No such file" in info.no_symbols


def test_a_flat_image_needs_none() -> None:
    info = read_debug_info(read_guest(b"\xf4"), command=("/nowhere/reader",))
    assert "flat image" in info.no_symbols
    assert "flat image" in info.no_rows


GARBAGE = [
    b"",
    b"Traceback\n",
    b"\xff\xfe\n",
    b"[" * 100_000 + b"\n",
    b"[" * 5000 + b"\n",
    b'["end","rows",' + b"9" * 5000 + b"]\n",
    WHOLE,
    WHOLE + LINES,
    WHOLE + ENDED[:-1],
    WHOLE + LINES + ENDED + b'["end","symbols",""]\n',
    WHOLE + b'["symbol",16,4,0,"late"]\n' + ENDED,
    WHOLE + ENDED + LINES,
    WHOLE + b'["file","x"]\n["row",2,2,0,1]\n' + ENDED,
    WHOLE + b'["file","x"]\n["row",1,2,1,1]\n' + ENDED,
    WHOLE + b'["file","x"]\n["row",1,2,-1,1]\n' + ENDED,
    WHOLE + b'["file","x"]\n["row",1,2,0,4294967296]\n' + ENDED,
    WHOLE + b'["file",null]\n' + ENDED,
    WHOLE + json.dumps(["file", "x" * 1025]).encode() + b"\n" + ENDED,
    b'["symbol",-1,4,0,"a"]\n' + WHOLE + ENDED,
    b'["symbol",1e3,4,0,"a"]\n' + WHOLE + ENDED,
    b'["symbol",18446744073709551616,4,0,"a"]\n' + WHOLE + ENDED,
    b'["symbol",1,4,6,"a"]\n' + WHOLE + ENDED,
    b'["symbol",1,4,0,""]\n' + WHOLE + ENDED,
    b'["symbol",1,4,0,"a",0]\n' + WHOLE + ENDED,
    b'{"symbol":1}\n' + WHOLE + ENDED,
]


@pytest.mark.parametrize("said", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_no_names(said: bytes) -> None:
    info = understand(io.BytesIO(said), "")
    assert not info.symbols + info.rows
    assert "what is not understood: strip it" in info.no_symbols
    assert "what is not understood: strip it" in info.no_rows


RECORDS = st.lists(
    st.one_of(
        st.tuples(st.just("symbol"), *[st.integers(-1, 1 << 64)] * 2, st.integers(0, 6), st.text()),
        st.tuples(st.just("file"), st.text()),
        st.tuples(st.just("row"), *[st.integers(0, 9)] * 4),
        st.tuples(st.just("end"), st.sampled_from(["symbols", "rows", "x"]), st.text()),
    ),
    max_size=12,
)


@given(said=st.one_of(st.binary(), RECORDS), failure=st.sampled_from(["", "it died"]))
def test_whatever_is_said(said: bytes | list[tuple[object, ...]], failure: str) -> None:
    if not isinstance(said, bytes):
        said = b"".join(json.dumps(record).encode() + b"\n" for record in said)
    info = understand(io.BytesIO(said), failure)
    assert all(0 <= symbol.address < 1 << 64 and symbol.name for symbol in info.symbols)
    assert all(row.address < row.end for row in info.rows)
    assert "\n" not in info.no_symbols + info.no_rows
    # They can be used.
    Symbols(info.symbols).describe(5)
    Lines(info.rows).at(5)
