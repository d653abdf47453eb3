"""`tdxdbg` alone at a pty: the start page, to a recording or a guest, and back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.terminal import ROOT, Terminal


def start(tmp_path: Path, columns: int = 100, rows: int = 30) -> Terminal:
    env = {"XDG_STATE_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    return Terminal(columns=columns, rows=rows, env=env)


def test_a_sample_a_guest_a_file_that_is_none_and_the_end(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.tdxt"
    nothing.write_bytes(b"")
    with start(tmp_path) as terminal:
        terminal.wait_for("sample recordings", "Enter open")
        terminal.send("/64mib\r")
        terminal.wait_for(" REPLAY ", "mapgpa_64mib_interrupted.tdxt", "1 exits")
        terminal.send("q")
        terminal.wait_for("sample recordings", "▶ mapgpa_64mib_interrupted", gone="REPLAY")
        terminal.send("/hello_serial\r")
        terminal.wait_for(" LIVE ", "the start of the run")
        terminal.send("q")
        terminal.wait_for("▶ hello_serial", gone=" LIVE ")
        terminal.send(f"o{nothing}\r")
        terminal.wait_for("‼", "nothing.tdxt: the file")
        terminal.send("q")
        assert terminal.wait_for_end() == 0
        assert "Traceback" not in terminal.text


@pytest.mark.parametrize("inside", [False, True])
def test_ctrl_c_ends_it_from_everywhere(tmp_path: Path, inside: bool) -> None:
    with start(tmp_path) as terminal:
        terminal.wait_for("sample recordings")
        if inside:
            terminal.send("\r")
            terminal.wait_for(" REPLAY ")
        terminal.send("\x03")
        assert terminal.wait_for_end() == 130
        assert bytes(terminal.output).rfind(b"?1049l") > bytes(terminal.output).rfind(b"?1049h")


def test_live_without_a_guest_asks_for_one(tmp_path: Path) -> None:
    env = {"XDG_STATE_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    with Terminal("live", "--kernel", "6.16", columns=100, rows=30, env=env) as terminal:
        terminal.wait_for("sample guests, run live", gone="sample recordings")
        terminal.send("/naive\r")
        terminal.wait_for(" LIVE ", "mapgpa_naive", "6.16")
        terminal.send("q")
        assert terminal.wait_for_end() == 0


@pytest.mark.parametrize("wanted", [[], ["--debug"]])
def test_without_a_terminal_there_is_the_help_as_before(wanted: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tdxdbg", *wanted],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Usage: tdxdbg [OPTIONS] [COMMAND]" in done.stderr
    assert done.stdout == ""
