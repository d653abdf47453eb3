"""The real program on a real guest at a pty: keys in, a terminal's screen out."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.terminal import Terminal
from tests.e2e.test_hostile_text import unexplained

FULL = (120, 40)


def live(*arguments: str, size: tuple[int, int] = FULL) -> Terminal:
    return Terminal("live", *arguments, columns=size[0], rows=size[1])


def breakpoint_at(terminal: Terminal, text: str) -> None:
    """By the prompt, as a person does."""
    terminal.send("b")
    terminal.wait_for("stop at")
    terminal.send(text)
    terminal.wait_for(f"> {text}", "stops")
    terminal.send("\r")
    terminal.wait_for("HELD" if "HELD" in terminal.text else "IN TD", gone="stop at")


def test_the_second_chunk_gets_eagain_and_everything_can_be_seen_again() -> None:
    """Hold the second chunk, answer EAGAIN under 7.2, retry from R11, back ten, forward again."""
    with live("mapgpa_retry", "--kernel", "7.2") as terminal:
        terminal.wait_for(" LIVE ", " IN TD ", "No exits yet", "s/S step")
        breakpoint_at(terminal, "leaf == MapGPA")
        terminal.send("c")
        terminal.wait_for(" HELD ", "step 0/0", "KVM_EXIT_HYPERCALL")
        terminal.send("s")
        terminal.wait_for(" HELD ", "step 1/1", "the VMM's answer")
        terminal.send("e")
        terminal.wait_for("your answer", "Enter gives it")
        terminal.send("EAGAIN")
        terminal.wait_for("EAGAIN")
        terminal.send("\r")
        terminal.wait_for(" IN TD ", "TD entry  RETRY", "step 2/2")
        terminal.send("c")
        terminal.wait_for(" HELD ", "step 0/0", "held: KVM_EXIT_HYPERCALL P→S 400000 +2M")
        terminal.wait_for("R12 ◆ 800000400000")  # the GPA that R11 said
        terminal.send("k" * 10)
        terminal.wait_for(" PAST ", " before the present", gone="reading the past")
        terminal.send("j" * 10)
        terminal.wait_for(" LIVE ", "held: KVM_EXIT_HYPERCALL P→S 400000 +2M", gone="PAST")
        terminal.send("S" * 10)
        terminal.wait_for(" PAST 10 steps back ", "10 steps before", gone="reading the past")
        terminal.send("s" * 10)
        terminal.wait_for(" LIVE ", "held: KVM_EXIT_HYPERCALL P→S 400000 +2M", gone="PAST")
        terminal.send("q")
        assert terminal.wait_for_end() == 0


def test_a_guest_runs_to_its_end_and_its_console_is_shown() -> None:
    with live("hello_serial", size=(80, 24)) as terminal:
        terminal.wait_for(" IN TD ")
        terminal.send("c")
        terminal.wait_for(" ENDED ", "0 console")
        terminal.send("q")
        assert terminal.wait_for_end() == 0


def test_what_is_typed_ahead_of_a_prompt_is_not_lost() -> None:
    with live("mapgpa_retry") as terminal:
        terminal.wait_for(" IN TD ", "9 code")
        terminal.send("@rsp\r")
        terminal.wait_for("virtual", gone="memory at")


def test_instructions_symbols_and_memory() -> None:
    with live("mapgpa_retry") as terminal:
        terminal.wait_for(" IN TD ", "9 code")
        breakpoint_at(terminal, "map_gpa")
        terminal.send("c")
        terminal.wait_for("stopped at map_gpa", "breakpoint", "map_gpa:")
        terminal.send("i")
        terminal.wait_for("stopped at map_gpa+")
        terminal.send("@")
        terminal.wait_for("memory at")
        terminal.send("rsp\r")
        terminal.wait_for("virtual", gone="memory at")
        terminal.send("I")
        terminal.wait_for(" PAST 1 instruction back ", "at map_gpa", gone="reading")
        terminal.send("q")
        assert terminal.wait_for_end() == 0


def test_the_past_forks_when_it_is_run() -> None:
    with live("hello_serial") as terminal:
        terminal.wait_for(" IN TD ")
        terminal.send("c")
        terminal.wait_for(" ENDED ")
        terminal.send("3G")
        terminal.wait_for(" PAST ", gone="reading")
        terminal.send("c")
        terminal.wait_for("run from the past?")
        terminal.send("f")
        terminal.wait_for(" FORK 1 ", " ENDED ")
        terminal.send("o")
        terminal.wait_for("worlds", "of live")
        terminal.send("1")
        terminal.wait_for(" LIVE ", " ENDED ")
        terminal.send("q")
        assert terminal.wait_for_end() == 0


def test_a_killed_worker_is_said_and_its_recording_stays() -> None:
    with live("hello_serial") as terminal:
        terminal.wait_for(" IN TD ")
        terminal.send("ssss")
        # All four are done: S goes back by one of them.
        terminal.wait_for("exit 1/1", "step 1/1")
        (worker,) = children(terminal.pid)
        os.kill(worker, signal.SIGKILL)
        terminal.wait_for(" DIED ", "R starts the guest again: the worker was killed")
        terminal.send("S")
        terminal.wait_for(" PAST ", "exit 1/1")
        terminal.send("R")
        terminal.wait_for(" LIVE 2 ", " IN TD ")
        terminal.send("q")
        assert terminal.wait_for_end() == 0


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if int(parent) == pid:
                found.append(int(entry.name))
    return found


def test_no_byte_of_a_hostile_guest_arrives_as_a_control() -> None:
    with live("fatal_hostile") as terminal:
        terminal.wait_for(" IN TD ")
        for key in ("s", "s", "c", "S", "2", "\x1b", "3", "\x1b", "6", "\x1b", "9", "\x1b", "0",
                    "\x1b", "z", "z", "B", "\x1b", "o", "\x1b", "?", "q", "f"):  # fmt: skip
            terminal.send(key)
            terminal.settle(0.1)
        terminal.wait_for(" ENDED ", "\\x1b")
        terminal.send("q")
        assert terminal.wait_for_end() == 0
        assert unexplained(bytes(terminal.output)) == []


def test_ctrl_c_stops_a_guest_that_runs() -> None:
    with live("bad_citizen") as terminal:
        terminal.wait_for(" IN TD ")
        terminal.send("c")
        terminal.settle(0.2)
        terminal.send("\x03")
        terminal.settle(0.3)
        if terminal.status is None:
            terminal.send("q")
            assert terminal.wait_for_end() == 0


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("nowhere",), 2, "nowhere"),
        (("hello_serial", "--kernel", "9.9"), 2, "7.2"),
        (("hello_serial", "--policy", "nope"), 2, "nope"),
        (("hello_serial", "--theme", "nope"), 2, "no theme"),
        (("hello_serial", "--record", "/nowhere/a.tdxt"), 3, "/nowhere/a.tdxt"),
    ],
)
def test_what_is_wrong_is_said_before_the_screen_opens(
    arguments: tuple[str, ...], status: int, text: str
) -> None:
    with live(*arguments, size=(200, 24)) as terminal:
        assert terminal.wait_for_end() == status
        assert text in terminal.text
        assert b"?1049h" not in terminal.output
        assert "Traceback" not in terminal.text


def test_without_a_guest_one_is_chosen() -> None:
    with live() as terminal:
        terminal.wait_for("sample guests, run live", "▶ accept_walk")
        terminal.send("\r")
        terminal.wait_for("accept_walk", " IN TD ", gone="sample guests")
        terminal.send("q")
        assert terminal.wait_for_end() == 0


def test_the_recording_can_be_replayed(tmp_path: Path) -> None:
    path = str(tmp_path / "run.tdxt")
    with live("hello_serial", "--record", path) as terminal:
        terminal.wait_for(" IN TD ")
        terminal.send("c")
        terminal.wait_for(" ENDED ")
        terminal.send("q")
        assert terminal.wait_for_end() == 0
    with Terminal("replay", path) as terminal:
        terminal.wait_for(" REPLAY ", "exit 0/")
        terminal.send("q")
        assert terminal.wait_for_end() == 0
