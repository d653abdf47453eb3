"""Damaged images: refused in a line, or built, with whatever symbols and lines are left.

TDXDBG_FUZZ says how many a longer run has; case I is always the same file. Names
are asked for of some: they are read in a process of their own.
"""

from __future__ import annotations

import io
import os
from random import Random
from typing import Final

import pytest
from elftools.elf.elffile import ELFFile

from tdxdbg.backends.emulated.images import GuestOptions, build
from tdxdbg.errors import BackendError
from tests.backends.elves import GUESTS

#: Of so many, one is asked for its names.
NAMED: Final = 50
COUNT: Final = int(os.environ.get("TDXDBG_FUZZ", "600"))
REAL: Final = (GUESTS / "mapgpa_retry.elf").read_bytes()
EDGES: Final = (0, 1, 0x7F, 0xFFFF, 1 << 31, (1 << 32) - 1, 1 << 52, 1 << 63, (1 << 64) - 1)
SMALL: Final = GuestOptions(ram_bytes=4 << 20)


def places() -> list[tuple[int, int]]:
    """(start, end) of the headers and of each section that is more than code."""
    elf = ELFFile(io.BytesIO(REAL))
    table = elf["e_shoff"], elf["e_shoff"] + 64 * elf.num_sections()
    found = [(0, 64), (64, 64 + 2 * 56), table]
    for section in elf.iter_sections():
        if section.name.startswith((".debug_line", ".symtab", ".strtab")):
            found.append((section["sh_offset"], section["sh_offset"] + section["sh_size"]))
    assert len(found) >= 6
    assert all(0 <= low < high <= len(REAL) for low, high in found)
    return found


def damaged(chance: Random, where: list[tuple[int, int]]) -> bytes:
    data = bytearray(REAL)
    for _ in range(chance.randint(1, 4)):
        low, high = chance.choice(where)
        if low >= len(data):
            break
        at = chance.randrange(low, min(high, len(data)))
        match chance.randrange(5):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                size = chance.choice((1, 2, 4, 8))
                value = chance.choice(EDGES) & (1 << 8 * size) - 1
                data[at : at + size] = value.to_bytes(size, "little")
            case 2:
                del data[at : at + chance.randint(1, 16)]
            case 3:
                data[at:at] = chance.randbytes(chance.randint(1, 16))
            case _:
                del data[at:]
    return bytes(data)


@pytest.mark.fuzz
def test_damaged_images_are_refused_in_a_line_or_built() -> None:
    where = places()
    built = 0
    for index in range(COUNT):
        data = damaged(Random(f"image:{index}"), where)
        try:
            guest = build(data, SMALL)
        except BackendError as error:
            problem = str(error)
            assert "\n" not in problem, index
            continue
        built += 1
        assert guest.accepted <= SMALL.ram_bytes, index
        if index % NAMED:
            continue
        for address in (guest.entry, guest.entry + 0x200, 0, (1 << 64) - 1):
            guest.symbols.describe(address)
            guest.lines.at(address)
    assert 0 < built < COUNT
