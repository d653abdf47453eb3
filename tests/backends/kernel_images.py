"""Kernels made by hand: an ELF whose read-only data has a kallsyms of each layout."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from tests.backends.elves import Load, elf

TEXT: Final = 0xFFFF_FFFF_8100_0000
GPA: Final = 0x100_0000
#: Layouts of the kernels with these versions; `late 6.1` is what 6.2 and 6.3 have too.
LAYOUTS: Final = ("6.1", "late 6.1", "6.12", "6.15", "7.2")
#: Tokens for more than one character, in the places of characters that no name has.
_LONGER: Final = {0: "tdx_", 1: "__x64_sys_", 0xFF: "module"}


class Name(NamedTuple):
    address: int
    kind: str
    name: str


def names(count: int = 700) -> list[Name]:
    """So many, ascending, with two of one address, a name per CPU, and a long one."""
    found = [Name(TEXT + 16 * (i // 2), "Tt"[i % 2], f"tdx_module_{i}") for i in range(count - 3)]
    end = found[-1].address
    return [
        *found,
        Name(end + 1, "T", "entry_SYSCALL_64"),
        Name(end + 2, "t", "early_idt_handler_array"),
        Name(end + 3, "D", "__x64_sys_" + "long" * 60),
    ]


def tables(every: Sequence[Name], layout: str, address: int, *, before: bytes = b"") -> bytes:
    """What is at `address`: `before`, and the tables."""
    made = _Made(layout, address, before)
    old = layout.endswith("6.1")
    seqs = bytes(range(1, 4)) * len(every)
    tokens = [_LONGER.get(value, chr(value)) for value in range(256)]
    begins, table = [], b""
    for token in tokens:
        begins.append(len(table))
        table += token.encode("latin-1") + b"\0"
    packed, markers = _packed(every, tokens)
    if old:
        _offsets(made, every, layout)
    made.add(struct.pack("<I", len(every)))
    made.add(packed)
    made.add(struct.pack(f"<{len(markers)}I", *markers))
    if layout == "late 6.1":
        made.add(seqs)
    made.add(table)
    made.add(struct.pack("<256H", *begins))
    if not old:
        _offsets(made, every, layout)
        made.add(seqs)
    return bytes(made.data)


def kernel(every: Sequence[Name], layout: str) -> bytes:
    """An ELF with its code, where the tables come after 4 KiB of something else."""
    data = tables(every, layout, TEXT, before=b"\xcc" * 4096)
    return elf(Load(GPA, data, address=TEXT), entry=GPA)


class _Made:
    def __init__(self, layout: str, address: int, before: bytes) -> None:
        self.data = bytearray(before)
        self.address = address
        self._align = 4 if layout == "7.2" else 8

    def add(self, part: bytes) -> None:
        self.data += bytes(-len(self.data) % self._align) + part


def _packed(every: Sequence[Name], tokens: Sequence[str]) -> tuple[bytes, list[int]]:
    packed, markers = b"", []
    longer = [(token, value) for value, token in enumerate(tokens) if len(token) > 1]
    for number, each in enumerate(every):
        if not number % 256:
            markers.append(len(packed))
        text, name = each.kind + each.name, b""
        while text:
            found = next(((t, v) for t, v in longer if text.startswith(t)), (text[0], ord(text[0])))
            name += bytes([found[1]])
            text = text[len(found[0]) :]
        length = len(name)
        packed += bytes([length] if length < 128 else [length & 0x7F | 0x80, length >> 7]) + name
    return packed, markers


def _offsets(made: _Made, every: Sequence[Name], layout: str) -> None:
    made.add(b"")
    at = made.address + len(made.data)
    for number, each in enumerate(every):
        if layout == "7.2":
            offset = each.address - (at + 4 * number)
        elif layout == "6.15":
            offset = each.address - TEXT
        else:
            offset = TEXT - 1 - each.address if each.address >= TEXT else each.address
        made.data += struct.pack("<i", offset)
    if layout != "7.2":
        made.add(struct.pack("<Q", TEXT))
