"""Code of a sample guest in words: what the code pane is given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Event

import pytest

from tdxdbg.backends.elf import GuestFile, read_guest
from tdxdbg.backends.symbols import Symbol, Symbols
from tdxdbg.guests import find
from tdxdbg.ui.layout import CODE
from tdxdbg.ui.live import image as module
from tdxdbg.ui.live.image import Image
from tdxdbg.ui.live.sight import CodeLine
from tests.backends.kernel_images import kernel, names
from tests.ui.fake import FakeProgram
from tests.ui.live import live_app, until
from tests.ui.screens import pane_text, screen_text

GUEST = find("mapgpa_retry").image


@pytest.fixture(scope="module")
def image() -> Image:
    return Image.read(GUEST).wait()


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


def test_nobody_waits_for_names(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = Event()

    def slow(file: GuestFile) -> Symbols:
        assert go_on.wait(60)
        return Symbols([Symbol(file.entry, 0, "start")], problem="not all of them")

    monkeypatch.setattr(module, "symbols_of", slow)
    image = Image.read(GUEST)
    assert image.arrived() is None
    assert image.name(0x100000) == ""
    assert code_at(image, 0x100000)[0].label == ""
    go_on.set()
    image.wait()
    assert image.arrived() == "not all of them"
    assert image.arrived() is None
    assert image.name(0x100000) == "start"


class LateProgram(FakeProgram):
    """Its names come when they are told to."""

    come: str | None = None
    _there = False

    def arrived(self) -> str | None:
        problem, self.come = self.come, None
        self._there = self._there or problem is not None
        return problem

    def lines(
        self, start: int, data: bytes, registers: Mapping[str, int], *, exited: bool = False
    ) -> tuple[CodeLine, ...]:
        lines = super().lines(start, data, registers, exited=exited)
        return lines if self._there else tuple(line._replace(label="") for line in lines)


async def test_names_that_come_late_are_shown(tmp_path: Path) -> None:
    program = LateProgram()
    app = live_app(tmp_path, program=program)
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await until(pilot, lambda: "mov" in pane_text(app, CODE))
            assert "start:" not in pane_text(app, CODE)
            program.come = "there are no \x1b[31m lines"
            await until(pilot, lambda: "start:" in pane_text(app, CODE))
            text = "\n".join(screen_text(app))
            assert "there are no" in text
            assert "\x1b" not in text
    finally:
        app.close()


def test_a_kernel_that_was_moved_has_its_names_where_it_runs(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(kernel(names(), "6.12"))
    kernel_image = Image.read(path).wait()
    entry = kernel_image.symbols.find("entry_SYSCALL_64")
    assert entry is not None
    rip = entry + 0x2E60_0000
    code = {"rip": rip, "is_64bit": 1, "page_fault": 0}
    # Before SYSCALL is set up nobody knows.
    kernel_image.place(code)
    assert kernel_image.name(rip) == ""
    kernel_image.place({**code, "lstar": rip})
    lines = kernel_image.lines(rip, b"\x90" * 16, code)
    assert [line.label for line in lines if line.address == rip] == ["entry_SYSCALL_64"]
    assert kernel_image.symbols.find("entry_SYSCALL_64") == rip
    # What does not fit says nothing about it.
    kernel_image.place({**code, "lstar": 0x1234})
    assert kernel_image.name(rip) == "entry_SYSCALL_64"
