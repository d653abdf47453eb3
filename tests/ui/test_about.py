"""What the program says about a recording: how it was imported, what could not be read."""

from __future__ import annotations

from pathlib import Path

from tdxdbg.timeline import Timeline
from tdxdbg.traces import open_trace
from tdxdbg.ui.dialogs import about_lines

DATA = Path(__file__).parents[1] / "data" / "traces"


def told(path: Path) -> str:
    with open_trace(path) as trace:
        lines = about_lines(Timeline(trace), 120)
    return "\n".join(line.text for line in lines)


def test_lines_that_could_not_be_read_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"what is this\x1b[31m\n" + (DATA / "demo3.ftrace.txt").read_bytes())
    text = told(path)
    assert "lines that could not be read" in text
    assert "line 1: what is this\\x1b[31m" in text
    assert "used for nothing: 202 kvm_emulate_insn" in text
    assert "nothing is damaged" not in text


def test_a_recording_that_was_read_whole(tmp_path: Path) -> None:
    text = told(DATA / "demo3.ftrace.txt")
    assert "could not be read" not in text
    assert "nothing is damaged" in text
