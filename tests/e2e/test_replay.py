"""The real program at a pty: a person's keys in, a terminal's screen out."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tdxdbg.resources import samples_dir
from tests.e2e.terminal import ROOT, Terminal

RETRY = str(samples_dir() / "mapgpa_64mib_interrupted.tdxt")
ROW = 9


def test_stepping_forward_and_back_shows_every_chunk_and_the_retry() -> None:
    with Terminal("replay", RETRY, "--at", str(ROW), columns=120, rows=40) as terminal:
        terminal.wait_for("exit 9/21", "step 0/11", "▶ 0 KVM_EXIT_HYPERCALL  P→S 74000000 +2M")
        terminal.send("s")
        terminal.wait_for("step 1/11", "▶ 1 KVM_EXIT_HYPERCALL  P→S 74200000 +2M")
        terminal.send("s" * 10)
        terminal.wait_for("step 11/11", "▶11 TD entry  RETRY", "8000075600000", "22 MiB")
        terminal.send("S")
        terminal.wait_for("step 10/11", "▶10 KVM_EXIT_HYPERCALL  P→S 75400000 +2M")
        terminal.send("j")
        terminal.wait_for("exit 10/21", "WRMSR")
        terminal.send("S")
        terminal.wait_for("exit 9/21", "step 11/11")
        terminal.send("q")
        assert terminal.wait_for_end() == 0


def test_another_kernel_says_that_the_guest_would_have_gone_on_differently() -> None:
    with Terminal("replay", RETRY, "--at", str(ROW), columns=120, rows=40) as terminal:
        terminal.wait_for("kernel 6.16 recorded")
        terminal.send("VVV")
        terminal.wait_for("kernel v19 WHAT IF")
        terminal.send("G")
        terminal.wait_for("exit 21/21", "guest diverged")


def test_resizing_while_it_runs() -> None:
    with Terminal("replay", RETRY, columns=200, rows=60) as terminal:
        terminal.wait_for("1 exits", "2 decode", "3 uAPI", "4 registers", "5 GPA map")
        terminal.resize(80, 24)
        terminal.wait_for("2 decode │ 3 uAPI │ 6 chain", "4 regs │ 5 GPA │ 7 lanes │ 9")
        terminal.resize(60, 14)
        terminal.wait_for("1 exits", gone="2 decode")
        terminal.resize(10, 4)
        terminal.wait_for("needs")
        terminal.resize(120, 40)
        terminal.wait_for("1 exits", "2 decode", "3 uAPI", "4 registers", "5 GPA map")
        terminal.send("q")
        assert terminal.wait_for_end() == 0


@pytest.mark.parametrize(("key", "status"), [("q", 0), ("\x11", 0), ("\x03", 130)])
def test_the_terminal_is_left_as_it_was(key: str, status: int) -> None:
    with Terminal("replay", RETRY) as terminal:
        terminal.wait_for("exit 0/21")
        raw = termios.tcgetattr(terminal.fd)[3]
        assert not raw & termios.ICANON
        terminal.send(key)
        assert terminal.wait_for_end() == status
        written = bytes(terminal.output)
        # The other screen, the cursor, the mouse, bracketed paste: what was set is reset.
        for mode in (b"?1049", b"?1000", b"?1003", b"?1006", b"?2004"):
            assert written.rfind(mode + b"h") < written.rfind(mode + b"l"), mode
        assert written.rfind(b"\x1b[?25l") < written.rfind(b"\x1b[?25h")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_restores_the_terminal(number: signal.Signals) -> None:
    with Terminal("replay", RETRY) as terminal:
        terminal.wait_for("exit 0/21")
        os.kill(terminal.pid, number)
        assert terminal.wait_for_end() == 128 + number
        assert bytes(terminal.output).rfind(b"?1049l") > 0


#: The parameters of every SGR sequence that was written.
_SGR = re.compile(rb"\x1b\[([0-9;]*)m")


def colours(written: bytes) -> set[str]:
    """Which colours were asked for, by number or as RGB; the terminal's own are none."""
    found: set[str] = set()
    for match in _SGR.finditer(written):
        codes = [int(code or 0) for code in match[1].split(b";")]
        while codes:
            code = codes.pop(0)
            if code in (38, 48):
                kind = codes.pop(0)
                found.add("rgb" if kind == 2 else "256")
                del codes[: 3 if kind == 2 else 1]
            elif code not in (39, 49) and (30 <= code <= 47 or 90 <= code <= 107):
                found.add("16")
    return found


KEYS = "j" * 9 + "?" + "\x1b"


@pytest.mark.parametrize(
    ("env", "arguments", "expected"),
    [
        ({}, (), {"rgb"}),
        ({"COLORTERM": "", "TERM": "xterm-256color"}, (), {"256"}),
        ({"COLORTERM": "", "TERM": "xterm"}, (), {"16"}),
        ({"COLORTERM": "", "TERM": "linux"}, (), {"16"}),
        ({}, ("--theme", "tdx-16"), {"16"}),
        ({"NO_COLOR": "1"}, (), set()),
        ({"NO_COLOR": "1"}, ("--ascii",), set()),
        ({"NO_COLOR": "1"}, ("--theme", "tdx-light"), set()),
        ({"NO_COLOR": "1", "TERM": "linux", "COLORTERM": ""}, (), set()),
    ],
)
def test_the_terminal_gets_only_colours_that_it_has(
    env: dict[str, str], arguments: tuple[str, ...], expected: set[str]
) -> None:
    with Terminal("replay", RETRY, *arguments, env=env) as terminal:
        terminal.wait_for("exit 0/21", "1 exits")
        terminal.send(KEYS)
        terminal.wait_for("exit 9/21", gone="Esc closes")
        terminal.settle()
        written = bytes(terminal.output)
        assert colours(written) == expected
        # Bold and reverse stay whatever the colours are.
        codes = {code for match in _SGR.finditer(written) for code in match[1].split(b";")}
        assert {b"1", b"7"} <= codes
        if "--ascii" in arguments:
            assert "+= 1 exits =" in terminal.text
            assert terminal.text.isascii()


def test_a_theme_of_the_user_and_a_bad_one(tmp_path: Path) -> None:
    folder = tmp_path / "tdxdbg" / "themes"
    folder.mkdir(parents=True)
    mine = 'name = "mine"\nbase = "tdx-dark"\ndark = true\n[colors]\nbackground = "#010203"\n'
    (folder / "mine.toml").write_text(mine, "utf-8")
    (folder / "bad.toml").write_text('name = "\x1b[31m"\n', "utf-8")
    (folder / "worse.toml").write_bytes(b"\xff")
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    with Terminal("replay", RETRY, "--theme", "mine", columns=120, env=env) as terminal:
        terminal.wait_for("exit 0/21", "bad.toml: ", "(and 1 more)")
        assert b"48;2;1;2;3" in terminal.output
        terminal.send("j")
        terminal.wait_for("exit 1/21", gone="bad.toml")


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("replay", "/nowhere/a.tdxt"), 3, "no such file"),
        (("replay", RETRY, "--theme", "nope"), 2, "no theme"),
        (("replay", RETRY, "--filter", "lef == 3"), 2, "leaf"),
        (("replay", RETRY, "--kernel", "9.9"), 2, "7.2"),
    ],
)
def test_what_is_wrong_is_said_before_the_screen_opens(
    arguments: tuple[str, ...], status: int, text: str
) -> None:
    with Terminal(*arguments, columns=200) as terminal:
        assert terminal.wait_for_end() == status
        assert text in terminal.text
        assert b"?1049h" not in terminal.output
        assert "Traceback" not in terminal.text


def test_suspending_and_coming_back() -> None:
    with Terminal("replay", RETRY) as terminal:
        terminal.wait_for("exit 0/21")
        terminal.send("\x1a")
        end = time.monotonic() + 20
        while _state(terminal.pid) != "T" and time.monotonic() < end:
            terminal.settle(0.1)
        assert _state(terminal.pid) == "T"
        terminal.settle()
        # What the shell's screen would show; pyte has one screen only.
        terminal.screen.reset()
        os.kill(terminal.pid, signal.SIGCONT)
        terminal.wait_for("exit 0/21", "1 exits", "q quit")
        terminal.send("q")
        assert terminal.wait_for_end() == 0


def _state(pid: int) -> str:
    """The letter that Linux gives a process: T when it is stopped."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def test_without_a_terminal_it_says_what_to_use_instead() -> None:
    command = [sys.executable, "-m", "tdxdbg", "replay", RETRY]
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 4
    assert done.stderr.strip().endswith("use: tdxdbg print")
    assert len(done.stderr.splitlines()) == 1


def test_an_exit_beyond_the_end_opens_the_last_and_says_so() -> None:
    with Terminal("replay", RETRY, "--at", "99") as terminal:
        terminal.wait_for("exit 21/21", "there is no exit 99: the recording has 22")


def test_along_the_chain_of_a_conversion_and_from_vcpu_to_vcpu() -> None:
    with Terminal("replay", RETRY, columns=120, rows=40) as terminal:
        terminal.wait_for("exit 0/21", "No MapGPA before this exit.")
        terminal.send("]")
        terminal.wait_for("exit 9/21", "another chain", "P→S 74000000 +64 MiB  v0  3 requests")
        terminal.send("]")
        terminal.wait_for("exit 11/21", "▶ 11 ", "↻ 77000000")
        terminal.send("ss")
        terminal.wait_for("chunk 3 of 13")
        terminal.send("][[")
        terminal.wait_for("exit 9/21", "chunk 1 of 11")
        terminal.send("}{")
        terminal.wait_for("exit 9/21", "▶v0 ")
        terminal.send("q")
        assert terminal.wait_for_end() == 0


def chain_width(terminal: Terminal) -> int:
    """Cells of the upper edge of the chain's pane, which has the focus."""
    found = re.search("╔═ 6 MapGPA chain ═+╗", terminal.settle())
    assert found is not None
    return len(found[0])


def test_borders_are_moved_by_keys_and_kept_at_any_size() -> None:
    with Terminal("replay", RETRY, columns=200, rows=60) as terminal:
        terminal.wait_for("6 MapGPA chain", "7 vCPU lanes")
        terminal.send("6")
        terminal.wait_for("╔═ 6 MapGPA chain")
        before = chain_width(terminal)
        # Textual's names for them; a terminal sends Ctrl-Up as this.
        terminal.send(">>\x1b[1;5A")
        terminal.wait_for("╔═ 6 MapGPA chain")
        after = chain_width(terminal)
        assert after > before
        for columns, rows in ((120, 40), (80, 24), (60, 15), (80, 24), (120, 40)):
            terminal.resize(columns, rows)
            terminal.wait_for("╔═", "6 ")
            assert "6 " in terminal.settle()
        terminal.resize(200, 60)
        terminal.wait_for("6 MapGPA chain", "7 vCPU lanes")
        assert chain_width(terminal) == after
        terminal.send("=")
        terminal.wait_for("╔═ 6 MapGPA chain")
        assert chain_width(terminal) == before
        terminal.send("q")
        assert terminal.wait_for_end() == 0
