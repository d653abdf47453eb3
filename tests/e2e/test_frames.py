"""The terminal shows what the program means it to show, whatever was pressed before."""

from __future__ import annotations

import random

import pytest

from tdxdbg.resources import samples_dir
from tests.e2e.terminal import Terminal
from tests.ui.screens import app_on, screen_text

TRACE = samples_dir() / "mapgpa_64mib_interrupted.tdxt"
KEYS = ["j", "j", "k", "s", "s", "S", "g", "G", "v", "V", "\t", "z", "?", "?", "K", "a", "3", "5"]
#: As textual names them, where it does otherwise.
NAMES = {"\t": "tab", "?": "question_mark"}
SIZES = [(120, 40), (80, 24), (200, 60), (70, 16)]


@pytest.mark.parametrize("seed", range(4))
async def test_the_rows_that_were_left_out_are_right_too(seed: int) -> None:
    """The same keys at a pty, where only rows that changed are sent, and on a screen in memory."""
    dice = random.Random(seed)
    size = SIZES[seed]
    keys = [dice.choice(KEYS) for _ in range(60)]
    app = app_on(TRACE)
    async with app.run_test(size=size) as pilot:
        await pilot.press(*(NAMES.get(key, key) for key in keys))
        # A count that is typed is forgotten after a while.
        await pilot.press("escape", "escape")
        await pilot.pause()
        expected = [row.rstrip() for row in screen_text(app)]
    with Terminal("replay", str(TRACE), columns=size[0], rows=size[1]) as terminal:
        terminal.wait_for("exit 0/21")
        for key in keys:
            terminal.send(key)
            terminal.settle(0.03)
        for _ in range(2):
            terminal.send("\x1b")
            terminal.settle(0.3)
        assert [row.rstrip() for row in terminal.screen.display] == expected
