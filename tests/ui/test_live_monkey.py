"""Any keys in any order: the screen stays, and says where the guest is."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tdxdbg.ui.keys import LIVE_KEYS
from tests.ui.live import live_app, session_of
from tests.ui.screens import screen_text

KEYS = [name for key in LIVE_KEYS for name in key.keys.split(",")]
#: Those end it or stop the process.
LEAVE = {"q", "ctrl+q", "ctrl+c", "ctrl+z"}
LEAVE_TYPING = "ctrl+right_square_bracket"
TYPED = [*"0123456789abcdefx+- ", "enter", "escape", "tab", "backspace"]
WORDS = ("LIVE", "PAST", "FORK")
DOES = ("RUNNING", "HELD", "IN TD", "ENDED", "DIED", "back")


async def monkey(folder: Path, seed: int, count: int) -> None:
    choice = random.Random(seed)
    app = live_app(folder, slow=choice.random() < 0.3)
    keys = [key for key in KEYS if key not in LEAVE and key != "x"]
    async with app.run_test(size=choice.choice([(80, 24), (120, 40), (50, 12)])) as pilot:
        for _ in range(count):
            pressed = choice.choice(TYPED if len(app.screen_stack) > 1 else keys)
            if app.typing and choice.random() < 0.3:
                pressed = LEAVE_TYPING
            await pilot.press(pressed)
            assert app.crash is None
            if choice.random() < 0.1:
                session_of(app).finish()
            if choice.random() < 0.003:
                session_of(app).die()
        while len(app.screen_stack) > 1:
            await pilot.press("escape")
        await pilot.press(LEAVE_TYPING, "escape")
        await pilot.pause(0.2)
        badges = "".join(text for text, _ in app.status.badges)
        assert any(word in badges for word in WORDS), badges
        assert any(word in badges for word in DOES), badges
        shown = "\n".join(screen_text(app))
        assert "\x1b" not in shown
    app.close()


@pytest.mark.parametrize("seed", range(2))
async def test_any_keys(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TDXDBG_FAKE", str(tmp_path))
    await monkey(tmp_path, seed, 50)


@pytest.mark.fuzz
async def test_many_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TDXDBG_FAKE", str(tmp_path))
    for seed in range(100, 100 + int(os.environ.get("TDXDBG_FUZZ", "0")) // 1000):
        folder = tmp_path / str(seed)
        folder.mkdir()
        monkeypatch.setenv("TDXDBG_FAKE", str(folder))
        await monkey(folder, seed, 200)
