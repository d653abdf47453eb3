"""Ways to damage a trace: those of a disk, of a careless person, and of a hostile one."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from random import Random
from zlib import crc32

from tdxdbg.traces import layout
from tdxdbg.traces.layout import RECORD_SIZE
from tdxdbg.traces.pack import checksum
from tests.fuzz import binary

_ABSURD = (0, 1, 7, 255, 4096, 0x7FFF_FFFF, 0xFFFF_FFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)
_HEADER = 4096


def flip(data: bytearray, chance: Random) -> None:
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        if data:
            data[chance.randrange(len(data))] = chance.randrange(256)


def cut(data: bytearray, chance: Random) -> None:
    del data[chance.randrange(len(data) + 1) :]


def drop(data: bytearray, chance: Random) -> None:
    start = chance.randrange(len(data) + 1)
    del data[start : start + chance.choice((1, 16, 256, 4096))]


def insert(data: bytearray, chance: Random) -> None:
    start = chance.randrange(len(data) + 1)
    size = chance.choice((1, 16, 256, 4096))
    data[start:start] = bytes(size) if chance.random() < 0.5 else chance.randbytes(size)


def repeat(data: bytearray, chance: Random) -> None:
    start = chance.randrange(len(data) + 1)
    piece = data[start : start + chance.choice((16, 256, 1024))]
    at = chance.randrange(len(data) + 1)
    data[at:at] = piece * chance.choice((1, 2, 30))


# --- native: what a wrong checksum would hide ------------------------------------------


def _seal(data: bytearray, at: int) -> None:
    if at + RECORD_SIZE <= len(data):
        struct.pack_into("<I", data, at + 4, checksum(data, at))


def record_number(data: bytearray, chance: Random) -> None:
    """An absurd number in a field of a record, with a right checksum."""
    slots = (len(data) - _HEADER) // RECORD_SIZE
    if slots <= 0:
        return
    at = _HEADER + chance.randrange(slots) * RECORD_SIZE
    fields = [*layout.HEAD_FIELDS, *layout.STEP_FIELDS, *layout.ANSWER_FIELDS]
    field = chance.choice(fields)
    size = struct.calcsize("<" + field.code)
    value = chance.choice((*_ABSURD, chance.getrandbits(64)))
    data[at + field.offset : at + field.offset + size] = value.to_bytes(8, "little")[:size]
    _seal(data, at)


def record_bytes(data: bytearray, chance: Random) -> None:
    """Random bytes in a record, with a right checksum."""
    slots = (len(data) - _HEADER) // RECORD_SIZE
    if slots <= 0:
        return
    at = _HEADER + chance.randrange(slots) * RECORD_SIZE
    for _ in range(chance.choice((1, 4, 64))):
        data[at + chance.randrange(8, RECORD_SIZE)] = chance.randrange(256)
    _seal(data, at)


def swap_records(data: bytearray, chance: Random) -> None:
    slots = (len(data) - _HEADER) // RECORD_SIZE
    if slots <= 0:
        return
    first, second = (_HEADER + chance.randrange(slots) * RECORD_SIZE for _ in range(2))
    piece = data[first : first + RECORD_SIZE]
    data[first : first + RECORD_SIZE] = data[second : second + RECORD_SIZE]
    data[second : second + RECORD_SIZE] = piece


def header(data: bytearray, chance: Random) -> None:
    """An absurd number in the header, or other metadata, with a right checksum."""
    if len(data) < _HEADER:
        return
    if chance.random() < 0.5:
        field = chance.choice(layout.HEADER_FIELDS)
        size = struct.calcsize("<" + field.code)
        value = chance.choice(_ABSURD).to_bytes(8, "little")[:size]
        data[field.offset : field.offset + len(value)] = value
    else:
        length = struct.unpack_from("<I", data, 24)[0]
        text = data[32 : 32 + min(length, _HEADER - 32)]
        tokens(text, chance)
        text = text[: _HEADER - 32]
        struct.pack_into("<I", data, 24, len(text))
        data[32:_HEADER] = text.ljust(_HEADER - 32, b"\0")
    data[28:32] = bytes(4)
    data[28:32] = crc32(data[:_HEADER]).to_bytes(4, "little")


# --- text ----------------------------------------------------------------------------------

_TOKENS = re.compile(rb'"[^"]*"|[0-9a-fx]+|[a-z_]+|[{}\[\],:]')
_SPECIAL = (
    b"null", b"true", b"-1", b"1e999", b"NaN", b"0.5", b'"0x"', b'"0xffffffffffffffff"',
    b"99999999999999999999999999", b"9" * 5000, b"[]", b"{}", b"[" * 2000, b'{"a":' * 2000,
    b'""', b'"\\ud800"', b'"\xff"', b"\n", b"\0", b"-", b"\x1b[31m", b"1" * 40, b"0x" + b"f" * 40,
)  # fmt: skip


def tokens(data: bytearray, chance: Random) -> None:
    """Replaces, doubles or takes away words of a text."""
    for _ in range(chance.choice((1, 1, 2, 5))):
        found = list(_TOKENS.finditer(data))
        if not found:
            return
        token = chance.choice(found)
        other = chance.choice(
            (chance.choice(_SPECIAL), bytes(chance.choice(found)[0]), b"", bytes(token[0]) * 2)
        )
        data[token.start() : token.end()] = other


def lines(data: bytearray, chance: Random) -> None:
    """Puts lines elsewhere, doubles them or takes them away."""
    items = bytes(data).split(b"\n")
    for _ in range(chance.choice((1, 3, 20))):
        action = chance.randrange(3)
        at = chance.randrange(len(items)) if items else 0
        if not items:
            break
        if action == 0:
            del items[at]
        elif action == 1:
            items.insert(chance.randrange(len(items) + 1), items[at])
        else:
            chance.shuffle(items)
    data[:] = b"\n".join(items)


Mutation = Callable[[bytearray, Random], None]
_ANY: tuple[Mutation, ...] = (flip, cut, drop, insert, repeat)
MUTATIONS: dict[str, tuple[Mutation, ...]] = {
    "native": (*_ANY, record_number, record_number, record_bytes, swap_records, header),
    "jsonl": (*_ANY, tokens, tokens, tokens, tokens, lines),
    **dict.fromkeys(binary.corpus(), (*_ANY, *binary.MUTATIONS)),
}
#: Of any other format: they are text.
_TEXT: tuple[Mutation, ...] = (*_ANY, tokens, tokens, tokens, lines)


def mutate(kind: str, good: bytes, chance: Random) -> bytes:
    """A damaged copy of a good file of this format."""
    data = bytearray(good)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        chance.choice(MUTATIONS.get(kind, _TEXT))(data, chance)
    return bytes(data)
