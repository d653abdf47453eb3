"""Filter, breakpoints and bookmarks by the real program at a pty."""

from __future__ import annotations

from pathlib import Path

from tdxdbg.resources import samples_dir
from tdxdbg.traces import Record, TraceMeta, Writer, open_trace
from tests.e2e.terminal import Terminal

RETRY = str(samples_dir() / "mapgpa_64mib_interrupted.tdxt")


def test_a_filter_is_typed_applied_and_cleared() -> None:
    with Terminal("replay", RETRY) as terminal:
        terminal.wait_for("exit 0/21")
        terminal.send("/leaf == Mpa")
        terminal.wait_for("leaf has no value Mpa", "^")
        terminal.send("\x7f\x7fap\t")
        terminal.wait_for("> leaf == MapGPA", "4 of 22 exits match")
        terminal.send("\r")
        terminal.wait_for("leaf == MapGPA  4 matches", gone="WRMSR")
        terminal.send("jj")
        terminal.wait_for("exit 11/21")
        terminal.send("\x1b")
        terminal.wait_for("no filter any more", "WRMSR")
        terminal.send("/\x1b[A")
        terminal.wait_for("> leaf == MapGPA")
        terminal.send("\x1b")
        terminal.wait_for("exit 11/21", gone="> leaf")


def test_a_breakpoint_continue_and_reverse_continue() -> None:
    with Terminal("replay", RETRY, columns=120, rows=40) as terminal:
        terminal.wait_for("exit 0/21")
        terminal.send("b\x15retry\r")
        terminal.wait_for("breakpoint 1: retry; c runs on to it, C back")
        terminal.send("c")
        terminal.wait_for("exit 9/21", "step 11/11", "stopped: breakpoint 1 retry", "▶●")
        terminal.send("c")
        terminal.wait_for("exit 11/21")
        terminal.send("C")
        terminal.wait_for("exit 9/21")
        terminal.send("w\x15gpa in 0x77e00000..0x77ffffff\r")
        terminal.wait_for("breakpoint 2")
        terminal.send("gccc")
        terminal.wait_for("stopped: breakpoint 2 gpa in 0x77e00000..0x77ffffff")
        terminal.send("B")
        terminal.wait_for("1 exit   retry", "2 gpa    gpa in", "hits")
        terminal.send("\x1b")
        terminal.wait_for(gone="╔═ breakpoints")
        terminal.send("q")
        assert terminal.wait_for_end() == 0


def test_a_bookmark_and_back() -> None:
    with Terminal("replay", RETRY, "--at", "9") as terminal:
        terminal.wait_for("exit 9/21")
        terminal.send("maG")
        terminal.wait_for("exit 21/21")
        terminal.send("'a")
        terminal.wait_for("exit 9/21")
        terminal.send("''")
        terminal.wait_for("exit 21/21")
        terminal.send("T'a\r")
        terminal.wait_for("exit 9/21")


def test_a_recording_is_followed_while_it_is_written(tmp_path: Path) -> None:
    with open_trace(RETRY) as trace:
        records: list[Record] = [record for _, record in trace.records()]
        meta = TraceMeta(generation=trace.meta.generation, td=trace.meta.td)
    path = tmp_path / "growing.tdxt"
    with Writer(path, meta) as writer:

        def write(*rows: int) -> None:
            for record in records:
                if record.row in rows:
                    writer.write(record)
            writer.flush()

        write(0, 1)
        with Terminal("replay", str(path), "--follow") as terminal:
            terminal.wait_for("FOLLOW", "exit 1/1")
            write(2)
            terminal.wait_for("FOLLOW", "exit 2/2")
            terminal.send("g")
            terminal.wait_for("exit 0/2", gone="FOLLOW")
            write(3)
            terminal.wait_for("exit 0/3")
            terminal.send("f")
            terminal.wait_for("FOLLOW", "exit 3/3")
