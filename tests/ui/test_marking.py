"""Bookmarks on the screen: keys that take a letter, notes, the list."""

from __future__ import annotations

import pytest

from tests.ui import demo
from tests.ui.screens import app_on, screen_text
from tests.ui.test_filtering import SIZE, all_text, enter
from tests.ui.test_finding import place

EVIL = "\x1b]0;owned\x07[/x]\u202e"


async def test_set_and_go_there_and_back() -> None:
    app = app_on(demo.mapgpa(), at=4)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("m", "a")
        assert app.hints.message == "bookmark a at exit 4: 'a comes back"
        await pilot.press("j", "j", "m", "Q", "g", "apostrophe", "a")
        assert place(app) == (4, 0)
        await pilot.press("apostrophe", "apostrophe")
        assert place(app) == (0, 0)
        letters = [line[:6] for line in screen_text(app) if line[3:4] in ("a", "Q")]
        assert letters == ["║  a  ", "║  Q  "]


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("m escape", ""),
        ("m 1", "a bookmark is a letter, a to z or A to Z, not '1'"),
        ("m enter", "a bookmark is a letter"),
        ("apostrophe z", "no bookmark z; M lists them"),
        ("apostrophe escape", ""),
        ("apostrophe 7", "a bookmark is a letter; M lists them"),
        ("m", "m: a letter sets a bookmark at this exit"),
    ],
)
async def test_a_letter_belongs_to_the_key_before_it(keys: str, says: str) -> None:
    app = app_on(demo.mapgpa(), wanted="retry")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(0.1)
        await pilot.press(*keys.split())
        assert app.hints.message.startswith(says)
        assert place(app) == (0, 0)
        assert app.matches is not None, "Esc belonged to the key before it, too"
        assert app.bookmarks.items() == []


async def test_a_note_and_the_list() -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("M")
        await pilot.pause()
        assert "There are none." in all_text(app)
        await pilot.press("escape")
        app.command_mark("a why does it stop here")
        await pilot.press("9", "G", "m", "b", "M")
        await pilot.pause()
        rows = [line for line in screen_text(app) if "║ a  " in line or "║ b  " in line]
        assert "MapGPA" in rows[0]
        assert "why does it stop here" in rows[0]
        assert "CPUID" in rows[1]
        await pilot.press("j")
        await enter(pilot, "n", "the last one")
        await pilot.press("j", "enter")
        await pilot.pause()
        assert place(app) == (9, 0)
        await pilot.press("M", "d")
        await pilot.pause()
        assert [letter for letter, _ in app.bookmarks.items()] == ["b"]
        await pilot.press("enter")
        assert app.hints.message == "b: the last one"


@pytest.mark.parametrize(
    ("text", "good", "says"),
    [
        ("a", True, "bookmark a at exit 1"),
        ("a x y", True, "bookmark a at exit 1: x y"),
        ("q", True, "bookmark q at exit 1, which is at 7 now"),
        ("", True, "the next key is the letter"),
        ("ab", False, "a bookmark is a letter"),
        ("1", False, "a bookmark is a letter"),
    ],
)
async def test_the_command(text: str, good: bool, says: str) -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=SIZE):
        app.bookmarks.set("q", 7)
        verdict = app.judge_mark(text, len(text))
        assert verdict.good is good
        assert says in verdict.says


async def test_a_hostile_note_changes_nothing_but_its_own_cells() -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=SIZE) as pilot:
        assert app.restore({"bookmarks": {"a": [3, EVIL], "b": [1 << 60, EVIL]}}) == []
        await pilot.press("M")
        await pilot.pause()
        assert "\\x1b]0;owned" in all_text(app)
        assert "not in this recording" in all_text(app)
        assert not {"\x1b", "\x07", "\u202e"} & set(all_text(app))
        await pilot.press("enter")
        await pilot.pause()
        assert "\\x1b]0;owned" in all_text(app)
        await pilot.press("apostrophe", "b")
        assert "is not in this recording" in app.hints.message
