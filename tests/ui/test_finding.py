"""n, N, d, D, l, L, t, T and find: where one comes out, and what is said where nothing is."""

from __future__ import annotations

import pytest

from tdxdbg.ui.app import ReplayApp
from tests.ui import demo
from tests.ui.screens import app_on
from tests.ui.test_filtering import SIZE, enter, listed


def place(app: ReplayApp) -> tuple[int, int]:
    return app.cursor.row, app.cursor.step


@pytest.mark.parametrize(
    ("keys", "at", "says"),
    [
        ("l", (1, 2), ""),
        ("l l", (3, 1), ""),
        ("l l l", (3, 1), "no RETRY after this exit"),
        ("G L", (3, 1), ""),
        ("G L L L", (1, 2), "no RETRY before it"),
        ("d", (7, 0), ""),
        ("d d", (10, 0), ""),
        ("d d d", (10, 0), "no error after this exit"),
        ("d d D", (7, 0), ""),
        ("D", (0, 0), "no error before it"),
        ("n", (0, 0), "nothing to find: / filters, Ctrl-f finds"),
        ("l '", (1, 2), "' to a bookmark: there are none   '' back"),
        ("l ' '", (0, 0), ""),
        ("l ' ' ' '", (1, 2), ""),
        ("' '", (0, 0), "there was no jump to come back from"),
        ("5 G ' '", (0, 0), ""),
        ("G ' '", (0, 0), ""),
        ("j j ' '", (2, 0), "there was no jump to come back from"),
    ],
)
async def test_errors_and_retries(keys: str, at: tuple[int, int], says: str) -> None:
    names = {"'": "apostrophe"}
    app = app_on(demo.mapgpa())
    async with app.run_test(size=SIZE) as pilot:
        for key in keys.split():
            await pilot.press(names.get(key, key))
            await pilot.pause()
        assert place(app) == at
        assert app.hints.message == says


async def test_find_hides_nothing_and_n_goes_on() -> None:
    app = app_on(demo.mapgpa(), wanted="leaf == MapGPA")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("escape")
        await enter(pilot, "ctrl+f", "vcpu == 1")
        assert place(app) == (2, 0)
        assert listed(app) == [*range(11)]
        await pilot.press("n", "n", "N")
        assert place(app) == (4, 0)
        await pilot.press("G", "n")
        assert app.hints.message == "no match after this exit"
        # A filter that comes later is what n goes by.
        await enter(pilot, "slash", "retry")
        await pilot.press("N")
        assert place(app) == (3, 0)


@pytest.mark.parametrize("text", ["leef == 3", "\x1b[31m"])
async def test_the_find_command_says_what_is_wrong(text: str) -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=SIZE):
        app.command_find(text)
        assert app.hints.message.startswith("find: column 1")
        assert app.judge_find(text, len(text)).good is False
        assert "\x1b" not in app.hints.message


@pytest.mark.parametrize(
    ("start", "key", "text", "at"),
    [
        (0, "t", "7", (7, 0)),
        (9, "T", "7", (7, 0)),
        (0, "t", "retry", (1, 2)),
        (1, "t", "retry", (3, 1)),
        (9, "T", "status == SUCCESS and leaf == MapGPA", (8, 1)),
        (0, "t", "'b", (4, 0)),
        (9, "T", "'b", (4, 0)),
    ],
)
async def test_run_to_and_back_to(start: int, key: str, text: str, at: tuple[int, int]) -> None:
    app = app_on(demo.mapgpa(), at=start)
    async with app.run_test(size=SIZE) as pilot:
        app.bookmarks.set("b", 4)
        await enter(pilot, key, text)
        assert place(app) == at
        await pilot.press("apostrophe", "apostrophe")
        assert place(app) == (start, 0)


@pytest.mark.parametrize(
    ("key", "text"), [("t", "3"), ("T", "8"), ("t", "99"), ("t", "'z"), ("t", "leef == 3")]
)
async def test_what_lies_in_the_other_direction_is_not_taken(key: str, text: str) -> None:
    app = app_on(demo.mapgpa(), at=5)
    async with app.run_test(size=SIZE) as pilot:
        await enter(pilot, key, text)
        assert len(app.screen_stack) == 2
        await pilot.press("escape")
        assert place(app) == (5, 0)
        app.action_run_to(1 if key == "t" else -1, text)
        assert place(app) == (5, 0)
        assert app.hints.message


async def test_a_search_that_is_stopped_stays_where_it_has_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tdxdbg.ui.core.SLICE", 0)
    app = app_on(demo.long_run(2000))
    async with app.run_test(size=SIZE) as pilot:
        app.action_breakpoint("index == 1999")
        for key in ("escape", "ctrl+c"):
            await pilot.press("g")
            app.action_cont(1)
            assert app.hints.message.startswith("searching: exit ")
            await pilot.press(key)
            assert 0 < app.cursor.row < 1999
            assert app.hints.message == f"interrupted at exit {app.cursor.row:,}"
        assert app.is_running
        await pilot.press("apostrophe", "apostrophe")
        assert place(app) == (0, 0)
