"""The command line, the palette, other keys, and coming back, at a pty."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tdxdbg.resources import samples_dir
from tdxdbg.ui.settings import settings_path
from tests.e2e.terminal import Terminal

RETRY = str(samples_dir() / "mapgpa_64mib_interrupted.tdxt")


def replay(*arguments: str) -> Terminal:
    return Terminal("replay", RETRY, *arguments, columns=120, rows=40)


def test_a_line_and_the_palette_and_coming_back() -> None:
    with replay() as terminal:
        terminal.wait_for("exit 0/21")
        terminal.send(":")
        terminal.wait_for("command", "next-row  previous-row")
        terminal.send("go 9.3")
        terminal.wait_for("> go 9.3", "to exit 9, step 3")
        terminal.send("\r")
        terminal.wait_for("exit 9/21  step 3/11", gone="> go")
        # All at once, as over a slow line.
        terminal.send(":kernel v19\rj")
        terminal.wait_for("kernel v19 WHAT IF", "exit 10/21")
        terminal.send("\x10")
        terminal.wait_for("commands", "Enter runs it")
        terminal.send("pane alone")
        terminal.wait_for("▶ zoom")
        terminal.send("\r")
        terminal.wait_for("exit 10/21", gone="2 decode")
        terminal.send(":q\r")
        assert terminal.wait_for_end() == 0
    with replay() as terminal:
        terminal.wait_for("exit 10/21", "v19 WHAT IF", "restored: kernel v19, exit 10; :forget")
        terminal.send(":")
        terminal.wait_for("> ")
        terminal.send("\x1b[A\x1b[A")
        terminal.wait_for("> kernel v19")
        terminal.send("\x15forget\r")
        terminal.wait_for("exit 0/21", "kernel 6.16 recorded", "forgotten")
        terminal.send("q")
        assert terminal.wait_for_end() == 0
    with replay("--at", "3") as terminal:
        terminal.wait_for("exit 3/21", "q quit")


def test_the_command_line_wins_over_what_is_remembered() -> None:
    with replay() as terminal:
        terminal.wait_for("exit 0/21")
        terminal.send(":go 9\r:kernel v19\r")
        terminal.wait_for("exit 9/21", "kernel v19")
        terminal.send("q")
        assert terminal.wait_for_end() == 0
    with replay("--at", "3", "--kernel", "7.2") as terminal:
        terminal.wait_for("exit 3/21", "kernel 7.2 WHAT IF", "q quit")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_loses_nothing(number: signal.Signals) -> None:
    with replay() as terminal:
        terminal.wait_for("exit 0/21")
        terminal.send("jj")
        terminal.wait_for("exit 2/21")
        os.kill(terminal.pid, number)
        assert terminal.wait_for_end() == 128 + number
    with replay() as terminal:
        terminal.wait_for("exit 2/21", "restored: exit 2")


def test_keys_of_the_settings_and_what_is_wrong_with_them() -> None:
    settings_path().parent.mkdir(parents=True)
    settings_path().write_text('ascii = true\n[keys]\nnext_row = "J"\nzom = "x"\n')
    with replay() as terminal:
        terminal.wait_for("exit 0/21", "+= 1 exits =", "there is no key keys.zom; did you mean")
        terminal.send("J")
        terminal.wait_for("exit 1/21", "J/k exit")
        terminal.send("j?")
        terminal.wait_for("J k")
        terminal.send("qq")
        assert terminal.wait_for_end() == 0


def test_settings_that_are_none_and_a_state_folder_that_is_no_folder(tmp_path: Path) -> None:
    settings_path().parent.mkdir(parents=True)
    settings_path().write_text("theme = [")
    (tmp_path / "file").write_text("")
    env = {"XDG_STATE_HOME": str(tmp_path / "file")}
    with Terminal("replay", RETRY, columns=120, rows=40, env=env) as terminal:
        terminal.wait_for("exit 0/21", "settings.toml: not TOML")
        terminal.send("jq")
        assert terminal.wait_for_end() == 0
        terminal.settle()
        assert "tdxdbg: not remembered: Not a directory" in terminal.text


def test_commands_of_a_live_run_are_recalled_the_next_time() -> None:
    with Terminal("live", "mapgpa_retry", columns=120, rows=40) as terminal:
        terminal.wait_for(" LIVE ", " IN TD ")
        terminal.send(":step\r")
        terminal.wait_for(" HELD ", "step 0/0")
        terminal.send(":pane console\r:quit\r")
        assert terminal.wait_for_end() == 0
    with Terminal("live", "mapgpa_retry", columns=120, rows=40) as terminal:
        terminal.wait_for(" LIVE ", " IN TD ", "No exits yet")
        terminal.send(":\x1b[A\x1b[A")
        terminal.wait_for("> pane console")
