"""What a guest or a file says never reaches the terminal as anything but plain characters.

Every byte that the program writes to the pty is taken apart: outside the
control sequences that the program itself is known to use, only printable ASCII
and its own glyphs may stand.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tdxdbg.resources import samples_dir
from tdxdbg.traces import open_trace
from tdxdbg.ui.glyphs import ASCII_FOR
from tests.e2e.terminal import Terminal
from tests.ui import demo

SAMPLE = samples_dir() / "fatal_error_hostile_text.tdxt"

#: The program's own sequences; colours are always 24-bit, so `ESC [31m` is not among them.
SGR = r"(?:0|1|2|3|4|7|[34]8;2;\d+;\d+;\d+)"
OWN = re.compile(
    rf"\x1b\[{SGR}(?:;{SGR})*m"
    r"|\x1b\[\d+;\d+H"
    r"|\x1b\[\?(?:25|7|1000|1003|1004|1006|1015|1049|2004|2026|2048)[hl]"
    r"|\x1b\[\?(?:2026|2048)\$p"
    r"|\x1b\[[<>]\d*u"
    r"|\x1b\]22;[a-z]+\x07"
    r"|\x1b\]52;c;(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}[A-Za-z0-9+/=]=)?\x07"
    r"|\r\n"
)
TEXT = re.compile("[ -~" + "".join(re.escape(glyph) for glyph in ASCII_FOR) + "]*")

#: Opens every pane, dialog and message, and writes the screen to a file.
TOUR = [
    "s", "S", "2", "\x1b", "3", "\x1b", "4", "\x1b", "5", "\x1b", "z", "j", "k", "z",
    "a", "\x1b[B", "q", "v", "v", "V", "?", "q", "K", "q", "x", "\r", "G", "n", "N",
    "2", "\x1b", "\x1b[B", "\x1b[B", "y", "\r", "q", "4", "\x1b", "\x1b[B", "y", "\r", "y",
    "3", "\x1b", "y", "e", "\x1b", "1", "\x1b", "y", "Y", "x", "t", "x", "e", "x", "o",
]  # fmt: skip


def unexplained(written: bytes) -> list[str]:
    """What is neither plain text nor one of the program's own sequences."""
    text = written.decode("utf-8", "surrogateescape")
    return [piece for piece in OWN.split(text) if not TEXT.fullmatch(piece)]


def test_the_check_itself_sees_an_attack() -> None:
    for attack in (
        b"\x1b]52;c;e\x1b[m=\x07", b"\x1b]52;p;eA==\x07", b"\x1b]52;c;?\x07",
        b"\x1b[31m", b"\x1b]0;x\x07", b"\x07", b"\x9b31m", b"\x7f", b"\x08",
        "\u009b".encode(), "\u202e".encode(), "\u200b".encode(), b"\xff", b"\x1bc", b"\x1b[2J",
    ):  # fmt: skip
        assert unexplained(b"before " + attack + b" after") != []
    assert unexplained(b"\x1b[1;38;2;1;2;3;48;2;4;5;6mtext\x1b[0m\x1b[3;4H") == []


def shipped(folder: Path) -> Path:
    return SAMPLE


def hostile_file(folder: Path) -> Path:
    path = folder / "a\x1b[31m\x07[link=x]\u202e\x9b.tdxt"
    path.write_bytes(demo.hostile().data())
    return path


def damaged_file(folder: Path) -> Path:
    path = hostile_file(folder)
    path.write_bytes(path.read_bytes()[:-60])
    return path


@pytest.mark.parametrize(
    ("make", "size"),
    [(shipped, (80, 24)), (hostile_file, (140, 45)), (damaged_file, (80, 24))],
)
def test_no_byte_of_the_recording_arrives_as_a_control(
    make: Callable[[Path], Path],
    size: tuple[int, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = make(tmp_path)
    monkeypatch.chdir(tmp_path)
    arguments = ("replay", str(path), "--filter", "leaf == ReportFatalError")
    with Terminal(*arguments, columns=size[0], rows=size[1]) as terminal:
        terminal.wait_for("exit 0/", "REPLAY")
        for key in TOUR:
            terminal.send(key)
            # An escape alone is one only when nothing follows at once.
            terminal.settle(0.3 if key == "\x1b" else 0.05)
        terminal.settle()
        assert "\\x1b" in terminal.text
        terminal.send("q")
        assert terminal.wait_for_end() == 0
        assert unexplained(bytes(terminal.output)) == []
    (picture,) = tmp_path.glob("tdxdbg-*.svg")
    well_formed(picture.read_text("utf-8"))
    texts = [*copied(bytes(terminal.output))]
    assert len(texts) >= 6
    assert any("\\x1b" in text for text in texts)
    texts += [path.read_text("utf-8") for path in tmp_path.glob("tdxdbg-*.[tj]*")]
    assert len(texts) >= 9
    assert [text for text in texts if not TEXT.fullmatch(text.replace("\n", ""))] == []


def copied(written: bytes) -> Iterator[str]:
    """What was put into the clipboard."""
    for found in re.findall(rb"\x1b\]52;c;([^\x07]*)\x07", written):
        yield b64decode(found, validate=True).decode()


def well_formed(svg: str) -> None:
    ET.fromstring(svg)
    assert not re.search(r"@font-face|@import|<script|<image|href=|url\((?!#)", svg)


def test_the_sample_is_hostile() -> None:
    with open_trace(SAMPLE) as trace:
        assert b"\x1b" in trace.data()
