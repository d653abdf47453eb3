"""A person types into a guest at a pty: keys in, the guest's echo out."""

from __future__ import annotations

import pytest

from tests.e2e.terminal import Terminal
from tests.e2e.test_hostile_text import unexplained


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_a_guest_that_runs_gets_every_key_but_ctrl_bracket(size: tuple[int, int]) -> None:
    """The posted v1 has no HLT call: the guest asks its port for ever."""
    columns, rows = size
    arguments = ("live", "echo_serial", "--kernel", "exits-v1")
    with Terminal(*arguments, columns=columns, rows=rows) as terminal:
        terminal.wait_for(" IN TD ")
        terminal.send("cA")
        terminal.wait_for(" RUNNING ", "Ctrl-D ends.", " typing: Ctrl-] leaves")
        terminal.send("helo\x7flo")
        terminal.wait_for("> hello ")
        terminal.send("\x1b[200~, paste\n\x1b[201~q?\x03")
        terminal.wait_for("> hello, paste", "> q?\\x03")
        terminal.send("\x1b]0;owned\x07\x9b\u202e")
        terminal.wait_for("\\xe2\\x80\\xae")
        terminal.send("\x1d")
        terminal.wait_for("Ctrl-c stop", gone="typing")
        terminal.send("\x03")
        terminal.wait_for(" LIVE ", gone="RUNNING")
        terminal.send("A\r\x15")
        terminal.wait_for("It waits in the port: then c runs the guest on")
        terminal.send("\x1dcA\x04")
        terminal.wait_for(" ENDED ", "> \\x15", "nobody reads this")
        terminal.send("q\x1dq")
        assert terminal.wait_for_end() == 0
        assert unexplained(bytes(terminal.output)) == []


def test_one_runs_to_what_the_guest_writes() -> None:
    with Terminal("live", "echo_serial", columns=120, rows=40) as terminal:
        terminal.wait_for(" IN TD ")
        terminal.send("tcon\tCtrl")
        terminal.wait_for("> console Ctrl", "on until the guest has written 'Ctrl'")
        terminal.send("\r")
        terminal.wait_for(" HELD ", "Type; Ctrl ", gone="run to")
        terminal.send("q")
        assert terminal.wait_for_end() == 0
