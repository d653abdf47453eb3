"""TDVF images made by hand, sound and otherwise."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple
from uuid import UUID

FOOTER: Final = UUID("96b582de-1fb2-45f7-baea-a366c55a082d")
METADATA: Final = UUID("e47a6535-984a-4798-865e-4685a7bf8ec2")
OTHER: Final = UUID("00f771de-1a7e-4fcb-890e-68c77e2fb44e")
VARIABLES: Final = UUID("aaf32c78-947b-439a-a180-2e144ec37792")

SIZE: Final = 0x8000
BASE: Final = (1 << 32) - SIZE
METADATA_AT: Final = 0x7000
HOB: Final = 0x80_9000
TEMPORARY: Final = 0x81_0000

BFV, CFV, TD_HOB, TEMP_MEM = 0, 1, 2, 3


class Row(NamedTuple):
    """A section of the metadata; `at` and `raw` are of the image."""

    kind: int
    gpa: int
    size: int
    at: int = 0
    raw: int = 0
    attributes: int = 0


USUAL: Final = (
    Row(BFV, BASE + 0x2000, 0x6000, 0x2000, 0x6000, 1),
    Row(CFV, BASE, 0x2000, 0, 0x2000),
    Row(TEMP_MEM, TEMPORARY, 0x2000),
    Row(TD_HOB, HOB, 0x1000),
)


def entry(guid: UUID, data: bytes) -> bytes:
    """An entry of the table of GUIDs, which is read from its end."""
    return data + struct.pack("<H", len(data) + 18) + guid.bytes_le


def table(*entries: bytes, length: int | None = None) -> bytes:
    body = b"".join(entries)
    size = len(body) + 18 if length is None else length
    return body + struct.pack("<H", size) + FOOTER.bytes_le


def variables(size: int = 0x1000, header: int = 0x48) -> bytes:
    """The head of a configuration volume, with one thing in its variable store."""
    volume = bytearray(header)
    volume[40:44] = b"_FVH"
    volume[48:50] = struct.pack("<H", header)
    store = VARIABLES.bytes_le + struct.pack("<IBBHI", size, 0x5A, 0xFE, 0, 0)
    return bytes(volume) + store + b"variable"


def tdvf(
    sections: tuple[Row, ...] = USUAL,
    code: bytes = b"\xeb\xfe",
    *,
    size: int = SIZE,
    offset: int | None = None,
    guids: bytes | None = None,
    head: tuple[bytes, int] = (b"TDVF", 1),
    length: int | None = None,
    count: int | None = None,
    volume: bytes = b"",
) -> bytes:
    """An image with `code` at the reset vector; the rest is what can be wrong with it."""
    image = bytearray(size)
    image[: len(volume)] = volume
    rows = b"".join(
        struct.pack("<IIQQII", row.at, row.raw, row.gpa, row.size, row.kind, row.attributes)
        for row in sections
    )
    signature, version = head
    total = 16 + len(rows) if length is None else length
    number = len(sections) if count is None else count
    metadata = struct.pack("<4sIII", signature, total, version, number) + rows
    image[METADATA_AT : METADATA_AT + len(metadata)] = metadata
    where = struct.pack("<I", len(image) - METADATA_AT if offset is None else offset)
    if guids is None:
        guids = table(entry(METADATA, where), entry(OTHER, b"another"))
    image[-0x20 - len(guids) : -0x20] = guids
    image[-0x10 : len(image) - 0x10 + len(code)] = code
    return bytes(image[:size])
