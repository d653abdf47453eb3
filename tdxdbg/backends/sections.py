"""Sections of an ELF64, for symbols and source lines.

What is damaged is missing: a guest that can be loaded is never refused for its
debug information. Format: System V ABI, "Sections".
"""

from __future__ import annotations

import zlib
from struct import Struct
from typing import Final, NamedTuple

from tdxdbg.backends.elf import HEADER

SYMTAB: Final = 2
_NOBITS: Final = 8
_COMPRESSED: Final = 1 << 11
_ZLIB: Final = 1

#: Name, type, flags, address, offset, size, link, info, align, entry size.
_SECTION: Final = Struct("<IIQQQQIIQQ")
#: Type, reserved, size, align.
_COMPRESSION: Final = Struct("<IIQQ")
_MOST: Final = 1 << 16
_LONGEST_NAME: Final = 64
#: A compressed section may claim anything.
_LARGEST_INFLATED: Final = 64 << 20


class Section(NamedTuple):
    """`data` is empty where the file has no bytes of it; `link` is another section's number."""

    name: str
    kind: int
    flags: int
    data: memoryview
    link: int

    def content(self) -> memoryview:
        """The bytes, inflated if they are compressed; empty when they are damaged."""
        if not self.flags & _COMPRESSED:
            return self.data
        if len(self.data) < _COMPRESSION.size:
            return memoryview(b"")
        kind, _, size, _ = _COMPRESSION.unpack_from(self.data)
        if kind != _ZLIB or not 0 < size <= _LARGEST_INFLATED:
            return memoryview(b"")
        try:
            inflated = zlib.decompressobj().decompress(self.data[_COMPRESSION.size :], size)
        except zlib.error:
            return memoryview(b"")
        return memoryview(inflated)


def sections(data: bytes) -> tuple[Section, ...]:
    """The sections by number; none when the table is not within the file."""
    *_, at, _, _, _, _, entry_size, count, names = HEADER.unpack_from(data)
    if not at or entry_size != _SECTION.size or at + entry_size > len(data):
        return ()
    first = _SECTION.unpack_from(data, at)
    # Numbers too large for the ELF header are in section 0.
    count = count or first[5]
    names = first[6] if names == 0xFFFF else names
    if count > _MOST or at + count * entry_size > len(data):
        return ()
    view = memoryview(data)
    headers = [_SECTION.unpack_from(data, at + index * entry_size) for index in range(count)]
    table = _bytes_of(view, headers[names]) if names < count else memoryview(b"")
    return tuple(
        Section(
            text_at(table, header[0], _LONGEST_NAME), header[1], header[2],
            _bytes_of(view, header), header[6],
        )
        for header in headers
    )  # fmt: skip


def _bytes_of(view: memoryview, header: tuple[int, ...]) -> memoryview:
    _, kind, _, _, offset, size, *_ = header
    if kind == _NOBITS or offset + size > len(view):
        return view[:0]
    return view[offset : offset + size]


def text_at(table: memoryview, offset: int, longest: int) -> str:
    """A string of a string table, raw; one without an end stops after `longest` bytes."""
    head, _, _ = bytes(table[offset : offset + longest]).partition(b"\0")
    return head.decode("utf-8", "surrogateescape")
