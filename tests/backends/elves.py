"""ELF64 files made by hand, sound and otherwise."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final, NamedTuple

GUESTS: Final = Path(__file__).parents[2] / "tdxdbg" / "guests"
HEADER: Final = 64
PROGRAM: Final = 56
LOAD: Final = 1


class Load(NamedTuple):
    """A program header and what it loads; `size` -1: as much as there is."""

    gpa: int
    data: bytes
    size: int = -1
    kind: int = LOAD
    address: int = -1


class Name(NamedTuple):
    """A symbol; `info` is binding and type, `section` 1 the only one."""

    name: str
    address: int
    size: int = 0
    info: int = 0x12
    section: int = 1


def elf(
    *loads: Load,
    entry: int = 0x100000,
    kind: int = 2,
    machine: int = 62,
    ident: bytes = b"\x7fELF\2\1\1",
    count: int = -1,
    entry_size: int = PROGRAM,
    names: tuple[Name, ...] = (),
) -> bytes:
    """The header, the program headers, what is loaded, and a symbol table if there are names."""
    at = HEADER + PROGRAM * len(loads)
    programs, contents = b"", b""
    for load in loads:
        size = len(load.data) if load.size < 0 else load.size
        address = load.gpa if load.address < 0 else load.address
        place = at + len(contents)
        programs += struct.pack(
            "<IIQQQQQQ", load.kind, 7, place, address, load.gpa, len(load.data), size, 0x10
        )
        contents += load.data
    tables, shoff, sections = _symbol_table(names, at + len(contents)) if names else (b"", 0, 0)
    head = struct.pack(
        "<16sHHIQQQIHHHHHH",
        ident, kind, machine, 1, entry, HEADER, shoff, 0, HEADER, entry_size,
        len(loads) if count < 0 else count, 64, sections, max(sections - 1, 0),
    )  # fmt: skip
    return head + programs + contents + tables


def _symbol_table(names: tuple[Name, ...], at: int) -> tuple[bytes, int, int]:
    """Sections: none, .text (empty), .symtab, .strtab, which also has the sections' names."""
    strings = b"\0.text\0.symtab\0.strtab\0"
    symbols = bytes(24)
    for each in names:
        symbols += struct.pack(
            "<IBBHQQ", len(strings), each.info, 0, each.section, each.address, each.size
        )
        strings += each.name.encode("utf-8", "surrogateescape") + b"\0"
    rows = (
        (0, 0, 0, 0, 0),
        (1, 1, 0, 0, 0),
        (7, 2, at, len(symbols), 3),
        (15, 3, at + len(symbols), len(strings), 0),
    )
    headers = b"".join(
        struct.pack("<IIQQQQIIQQ", name, kind, 0, 0, place, size, link, 0, 1, 24)
        for name, kind, place, size, link in rows
    )
    return symbols + strings + headers, at + len(symbols) + len(strings), len(rows)
