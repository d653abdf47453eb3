"""What the program says about a recording: how it was imported, what could not be read."""

from __future__ import annotations

from pathlib import Path

from tdxdbg.timeline import Timeline
from tdxdbg.traces import open_trace
from tdxdbg.ui.dialogs import about_lines
from tests.traces.trace_dat_files import event, page, short, version_6

DATA = Path(__file__).parents[1] / "data" / "traces"


def told(path: Path) -> str:
    with open_trace(path) as trace:
        lines = about_lines(Timeline(trace), 120)
    return "\n".join(line.text for line in lines)


def test_lines_that_could_not_be_read_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"what is this\x1b[31m\n" + (DATA / "demo3.ftrace.txt").read_bytes())
    text = told(path)
    assert "what could not be read" in text
    assert "line 1: what is this\\x1b[31m" in text
    assert "used for nothing: 202 kvm_emulate_insn" in text
    assert "nothing is damaged" not in text


def test_events_that_could_not_be_read_stand_at_offsets(tmp_path: Path) -> None:
    bad = event("kvm_pio", 7, rw=1, port=0x80, size=3, count=1, val=1)
    data = version_6([page(5, short(event("kvm_userspace_exit", 7, reason=2)), short(bad))])
    (tmp_path / "x.dat").write_bytes(data)
    text = told(tmp_path / "x.dat")
    assert f"offset {data.index(bad):#x}: {len(bad)} bytes" in text


def test_a_recording_that_was_read_whole(tmp_path: Path) -> None:
    text = told(DATA / "demo3.ftrace.txt")
    assert "could not be read" not in text
    assert "nothing is damaged" in text
