"""Code of a sample guest in words: what the code pane is given."""

from __future__ import annotations

import pytest

from tdxdbg.backends.elf import read_guest
from tdxdbg.guests import find
from tdxdbg.ui.live.image import Image
from tdxdbg.ui.live.sight import CodeLine

GUEST = find("mapgpa_retry").image


@pytest.fixture(scope="module")
def image() -> Image:
    return Image.read(GUEST)


def code_at(image: Image, rip: int, **registers: int) -> tuple[CodeLine, ...]:
    """As a session would read it: some bytes before RIP, and more behind."""
    segment = next(
        item for item in read_guest(GUEST).segments
        if item.address <= rip < item.address + len(item.data)
    )  # fmt: skip
    start = max(rip - 512, segment.address)
    data = bytes(segment.data[start - segment.address :][:1536])
    return image.lines(start, data, {"rip": rip, "is_64bit": 1, **registers})


def test_rip_is_one_of_the_lines_and_symbols_are_labels(image: Image) -> None:
    rip = image.symbols.find("map_gpa")
    assert rip is not None
    lines = code_at(image, rip)
    at = next(number for number, line in enumerate(lines) if line.address == rip)
    assert lines[at].label == "map_gpa"
    assert at > 0, "what is before it, too"
    assert [line.address + len(line.data) for line in lines[:-1]] == [
        line.address for line in lines[1:]
    ]
    assert image.name(rip + 2) == "map_gpa+0x2"


def test_source_lines_are_named(image: Image) -> None:
    rip = image.symbols.find("map_gpa")
    assert rip is not None
    assert any(".S:" in line.source for line in code_at(image, rip))


def test_a_tdcall_says_what_it_asks_with_the_registers_of_now(image: Image) -> None:
    rip = image.symbols.find("map_gpa")
    assert rip is not None
    tdcalls = [line for line in code_at(image, rip) if line.text == "tdcall"]
    assert tdcalls
    (there,) = [
        line for line in code_at(image, tdcalls[0].address, rcx=0xFC00, r11=0x10001)
        if line.address == tdcalls[0].address
    ]  # fmt: skip
    assert there.comment == "TDG.VP.VMCALL<MapGPA>"


def test_bytes_that_end_in_the_middle(image: Image) -> None:
    assert image.lines(0x1000, b"\x66\x0f\x01", {"rip": 0x1000})
    assert image.lines(0x1000, b"", {"rip": 0x1000}) == ()
