"""Keys that arrive all at once do what they would do one by one."""

from __future__ import annotations

import pytest
from textual import events
from textual.pilot import Pilot

from tests.ui import demo
from tests.ui.screens import app_on
from tests.ui.test_filtering import SIZE, filtered, listed
from tests.ui.test_finding import place

_NAMES = {"/": "slash", "'": "apostrophe", "=": "equals_sign", " ": "space", "\r": "enter",
          "\x15": "ctrl+u", "\x1b": "escape"}  # fmt: skip


def burst(pilot: Pilot[int], keys: str) -> None:
    """As a terminal driver sends them, without a pause."""
    for key in keys:
        character = key if key.isprintable() else None
        pilot.app.post_message(events.Key(_NAMES.get(key, key), character))


@pytest.mark.parametrize(
    ("keys", "at", "wanted", "stops"),
    [
        ("/leaf == MapGPA\rjj", (3, 0), "leaf == MapGPA", 0),
        ("b\x15retry\rc", (1, 2), "", 1),
        ("jjmagg'a", (2, 0), "", 0),
        ("t7\rkT3\r", (3, 0), "", 0),
        ("/retry\r\x1bj", (1, 0), "", 0),
        ("b\x15retry\rB \x1bj", (1, 0), "", 1),
        ("ljj''", (0, 0), "", 0),
    ],
)
async def test_a_burst(keys: str, at: tuple[int, int], wanted: str, stops: int) -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=SIZE) as pilot:
        burst(pilot, keys)
        await pilot.pause(0.3)
        assert place(app) == at
        assert filtered(app) == wanted
        assert len(app.stops) == stops
        assert len(app.screen_stack) == 1
        assert listed(app)
