"""The committed images are what the sources make."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import pytest

from tdxdbg.backends.emulated.images import GuestOptions, build
from tdxdbg.backends.emulated.td import open_machine
from tdxdbg.engine import GENERATIONS
from tdxdbg.guests import FOLDER, guests
from tdxdbg.session.run import Run
from tdxdbg.vmm import Vmm
from tests.guests.drive import play
from tests.guests.expected import Story
from tools import make_guests

MISSING = make_guests.missing_tools()
needs_tools = pytest.mark.skipif(bool(MISSING), reason=f"no {', '.join(MISSING)} (binutils)")

#: What the example in README.md does.
MINE = r"""
serial "vCPU 0 of a TD\n"
out 0xf4 00
"""

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


@needs_tools
def test_the_guest_in_the_readme_can_be_built_as_it_says(tmp_path: Path) -> None:
    readme = (FOLDER / "README.md").read_text()
    source = re.search(r"```asm\n(.*?)```", readme, re.DOTALL)
    commands = re.findall(r"^    ((?:as|ld) .*)$", readme, re.MULTILINE)
    assert source is not None
    assert len(commands) == 3
    (tmp_path / "mine.S").write_text(source[1])
    (tmp_path / "tdxdbg").symlink_to(FOLDER.parent)
    for command in commands:
        subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    loaded_guest = build(tmp_path / "mine.elf", GuestOptions())
    vmm = Vmm()
    run = Run(open_machine(loaded_guest.config), vmm.td(loaded_guest.td), GENERATIONS[-1], vmm)
    result = play(run, Story("mine", "", (), (), 48, 0, MINE).under("7.3"), 200)
    assert result.console == b"vCPU 0 of a TD\n"
    assert "status 0" in result.ended


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
