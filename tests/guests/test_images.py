"""The committed images are what the sources make."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from tdxdbg.guests import FOLDER, guests
from tools import make_guests

MISSING = make_guests.missing_tools()
needs_tools = pytest.mark.skipif(bool(MISSING), reason=f"no {', '.join(MISSING)} (binutils)")

NAMES = [guest.name for guest in guests()]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("guests")
    make_guests.build(out)
    return out


def maker(image: bytes) -> str:
    """The assembler that made an image, by its own word."""
    found = re.search(rb"GNU AS [0-9.]+", image)
    assert found is not None
    return found[0].decode()


def loaded(image: bytes) -> list[tuple[int, int, bytes]]:
    """Address, size in memory and bytes of each segment."""
    start, count = struct.unpack_from("<Q", image, 32)[0], struct.unpack_from("<H", image, 56)[0]
    segments = []
    for at in range(start, start + 56 * count, 56):
        kind, _, offset, _, address, size, memory, _ = struct.unpack_from("<IIQQQQQQ", image, at)
        if kind == 1:
            segments.append((address, memory, image[offset : offset + size]))
    return segments


@needs_tools
@pytest.mark.parametrize("name", NAMES)
def test_the_sources_make_the_same_image_again(name: str, built: Path) -> None:
    committed = (FOLDER / f"{name}.elf").read_bytes()
    again = (built / f"{name}.elf").read_bytes()
    assert loaded(again) == loaded(committed)
    if maker(committed) == make_guests.version():
        assert again == committed


@pytest.mark.parametrize("name", NAMES)
def test_an_image_keeps_the_start_contract_and_tells_no_path(name: str) -> None:
    image = (FOLDER / f"{name}.elf").read_bytes()
    segments = loaded(image)
    assert segments[0][0] == struct.unpack_from("<Q", image, 24)[0] == 0x100000
    assert all(address + memory <= 0x200000 for address, memory, _ in segments)
    assert b"/home" not in image
    assert b"/tmp" not in image
    assert str(FOLDER).encode() not in image
    assert len(image) < 32 << 10
