"""ELF64 files made by hand, sound and otherwise."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

GUESTS: Final = Path(__file__).parents[2] / "tdxdbg" / "guests"
HEADER: Final = 64
PROGRAM: Final = 56
LOAD: Final = 1
SYMTAB, STRTAB = 2, 3


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
    sections: Mapping[str, bytes] | None = None,
) -> bytes:
    """The header, the program headers, what is loaded; and a symbol table if there are names."""
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
    tables, shoff, numbers = b"", 0, 0
    if names or sections:
        tables, shoff, numbers = _tables(names, sections or {}, at + len(contents))
    head = struct.pack(
        "<16sHHIQQQIHHHHHH",
        ident, kind, machine, 1, entry, HEADER, shoff, 0, HEADER, entry_size,
        len(loads) if count < 0 else count, 64, numbers, max(numbers - 1, 0),
    )  # fmt: skip
    return head + programs + contents + tables


def _tables(
    names: tuple[Name, ...], sections: Mapping[str, bytes], at: int
) -> tuple[bytes, int, int]:
    """Sections: none, .text (empty), those given, .symtab if there are names, and .strtab."""
    strings = b"\0"
    symbols = bytes(24)
    for each in names:
        symbols += struct.pack(
            "<IBBHQQ", len(strings), each.info, 0, each.section, each.address, each.size
        )
        strings += each.name.encode("utf-8", "surrogateescape") + b"\0"
    every = [(".text", 1, b""), *((name, 1, data) for name, data in sections.items())]
    if names:
        every.append((".symtab", SYMTAB, symbols))
    every.append((".strtab", STRTAB, b""))
    last = len(every)
    contents, headers = b"", bytes(64)
    for name, kind, data in every:
        where = len(strings)
        strings += name.encode() + b"\0"
        # Its own name is the last one.
        content = strings if kind == STRTAB else data
        headers += struct.pack(
            "<IIQQQQIIQQ",
            where, kind, 0, 0, at + len(contents), len(content),
            last if kind == SYMTAB else 0, 0, 1, 24 if kind == SYMTAB else 0,
        )  # fmt: skip
        contents += content
    return contents + headers, at + len(contents), last + 1
