"""The display filter on the screen: typed, counted, hidden or dim, cleared, remembered."""

from __future__ import annotations

import pytest
from textual import events
from textual.pilot import Pilot

from tdxdbg.filters import compile_filter
from tdxdbg.ui.advice import advice
from tdxdbg.ui.app import ReplayApp
from tdxdbg.ui.condition_prompt import ConditionPrompt
from tdxdbg.ui.keys import key_of
from tdxdbg.ui.layout import QUEUE
from tests.ui import demo
from tests.ui.screens import app_on, screen_text

SIZE = (80, 24)
MAPGPA = [1, 3, 5, 7, 8]


def listed(app: ReplayApp) -> list[int]:
    rows = app.queue.listed
    return [rows.row(line) for line in range(len(rows))]


async def enter(pilot: Pilot[int], key: str, text: str, *, then: str = "enter") -> None:
    """A key that asks, and the answer as a paste in place of what stands there."""
    await pilot.press(key)
    assert pilot.app.focused is not None
    await pilot.press("ctrl+e", "ctrl+u")
    pilot.app.focused.post_message(events.Paste(text))
    await pilot.pause()
    await pilot.press(then)
    await pilot.pause()


def filtered(app: ReplayApp) -> str:
    """The filter, empty where there is none."""
    return app.matches.wanted.text if app.matches is not None else ""


def all_text(app: ReplayApp) -> str:
    return "\n".join(screen_text(app))


# --- typing -------------------------------------------------------------------------------


async def test_a_filter_is_judged_and_counted_while_it_is_typed() -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("slash", *"leaf", "space", "equals_sign", "equals_sign", "space", *"Map")
        await pilot.pause()
        text = all_text(app)
        assert "> leaf == Map" in text
        assert "leaf has no value Map" in text
        caret = next(line for line in screen_text(app) if "^" in line)
        typed = next(line for line in screen_text(app) if "> leaf == Map" in line)
        assert caret.index("^") == typed.index("Map")
        await pilot.press("tab")
        await pilot.pause()
        assert "> leaf == MapGPA" in all_text(app)
        assert "5 of 11 exits match" in all_text(app)
        assert listed(app) == [*range(11)], "nothing is filtered before Enter"
        await pilot.press("enter")
        await pilot.pause()
        assert listed(app) == [0, *MAPGPA], "and the exit that one is at"
        assert app.hints.message == "5 of 11 exits match"
        assert "leaf == MapGPA  5 matches" in all_text(app)


async def test_what_is_wrong_is_not_taken() -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=SIZE) as pilot:
        await enter(pilot, "slash", "leef == 3")
        assert isinstance(app.screen, ConditionPrompt)
        assert "did you mean leaf" in all_text(app)
        await pilot.press("escape")
        assert app.matches is None


async def test_the_count_grows_while_the_prompt_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdxdbg.ui.core.SLICE", 0)
    app = app_on(demo.long_run(500))
    async with app.run_test(size=SIZE) as pilot:
        await enter(pilot, "slash", "port == 0x3f9", then="end")
        assert "of the first 64 exits match; counting" in all_text(app)
        monkeypatch.setattr("tdxdbg.ui.core.SLICE", 0.02)
        for _ in range(100):
            await pilot.pause(0.02)
            if "250 of 500 exits match" in all_text(app):
                break
        assert "250 of 500 exits match" in all_text(app)
        await pilot.press("enter")
        await pilot.pause()
        assert app.matches is not None
        assert app.matches.complete, "what was counted is not counted again"


async def test_history_of_what_was_entered() -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=SIZE) as pilot:
        for text in ("retry", "error", "vcpu == 1"):
            await enter(pilot, "slash", text)
        await pilot.press("escape", "slash", "up", "up")
        await pilot.pause()
        assert "> error" in all_text(app)
        await pilot.press("up", "up", "up")
        await pilot.pause()
        assert "> retry" in all_text(app)
        await pilot.press("down", "down", "down", "down", *"er", "up")
        await pilot.pause()
        assert "> error" in all_text(app)


@pytest.mark.parametrize("text", ["leaf == MapGPA", "leaf == Map", "\x1b[31m[/x]", "x" * 600])
async def test_filter_on_this(text: str) -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=SIZE) as pilot:
        app.action_filter_with(text)
        await pilot.pause()
        assert isinstance(app.screen, ConditionPrompt)
        assert "\x1b" not in all_text(app)
        await pilot.press("escape")


# --- what is listed -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "at"),
    [
        ("", 0),
        ("j", 1),
        ("j j j", 5),
        ("j j k", 1),
        ("G", 8),
        ("G g", 1),
        ("G k", 7),
        ("j s s s", 2),
        ("ctrl+d", 5),
        ("2 G", 2),
        ("2 G j", 3),
        ("2 G k", 1),
        ("h j", 1),
        ("h j j", 2),
        ("h G", 10),
        ("G j", 8),
    ],
)
async def test_moving_over_what_is_listed(keys: str, at: int) -> None:
    app = app_on(demo.mapgpa(), wanted="leaf == MapGPA")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(0.1)
        await pilot.press(*keys.split())
        await pilot.pause()
        assert app.cursor.row == at
        if app.queue.hides:
            assert listed(app) == sorted({at, *MAPGPA})
        else:
            assert listed(app) == [*range(11)]
        here = app.queue.line_at(app.queue.listed.line(at))
        assert here.current
        assert here.text.startswith("▶")


async def test_moving_before_everything_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_on(demo.long_run(300), wanted="index in {150, 280}")
    async with app.run_test(size=SIZE) as pilot:
        monkeypatch.setattr("tdxdbg.ui.core.Core._count_on", lambda *_: None)
        assert app.matches is not None
        app.matches.grown([0])
        for keys, row in (("j", 150), ("j", 280), ("k", 150), ("G", 280), ("g", 150)):
            await pilot.press(keys)
            await pilot.pause(0.1)
            assert app.cursor.row == row
        await pilot.press("k")
        await pilot.pause(0.1)
        assert app.hints.message == "no match before it"


async def test_the_mouse_finds_the_row_of_a_line() -> None:
    app = app_on(demo.mapgpa(), wanted="leaf == MapGPA")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(0.1)
        await pilot.click(app.panes[QUEUE], offset=(20, 3))
        assert app.cursor.row == 3
        await pilot.click(app.panes[QUEUE], offset=(20, 8))
        assert app.cursor.row == 3, "below the last line there is nothing"


async def test_dim_instead_of_hidden() -> None:
    app = app_on(demo.mapgpa(), wanted="leaf == MapGPA")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("h")
        await pilot.pause()
        assert app.hints.message == "what does not match is dim"
        marked = [line for line in screen_text(app) if "≡" in line]
        assert len(marked) == 5
        dim = app.queue.line_at(2)
        assert {role for text, role in dim.spans if text.strip()} == {"dim"}
        await pilot.press("h")
        assert app.hints.message == "what does not match is hidden"


async def test_esc_clears_it_and_says_how_to_get_it_back() -> None:
    app = app_on(demo.mapgpa(), wanted="retry")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("7", "escape")
        assert filtered(app) == "retry", "the count was dropped, not the filter"
        await pilot.press("escape")
        assert filtered(app) == ""
        assert listed(app) == [*range(11)]
        assert app.hints.message == "no filter any more: / and Up bring it back"
        await pilot.press("escape")
        assert app.hints.message == "", "there is nothing to clear"
        await pilot.press("slash", "up", "enter")
        await pilot.pause()
        assert filtered(app) == "retry"


@pytest.mark.parametrize("text", ["", "  "])
async def test_an_empty_line_shows_all(text: str) -> None:
    app = app_on(demo.mapgpa(), wanted="retry")
    async with app.run_test(size=SIZE) as pilot:
        await enter(pilot, "slash", text)
        assert app.matches is None


async def test_nothing_matches() -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(120, 40)) as pilot:
        await enter(pilot, "slash", "leaf == GetQuote and vcpu == 7")
        assert app.hints.message == "0 of 11 match; Esc clears"
        text = all_text(app)
        assert "0 of 11 exits match leaf == GetQuote and vcpu == 7" in text
        assert "Esc clears the filter" in text
        assert "Of 11 exits around here, leaf is MapGPA HLT" in text
        assert "vcpu is 0 1" in text
        await pilot.press("j", "G", "g", "n", "pagedown", "down", "h", "h")
        assert app.cursor.row == 0
        await pilot.press("escape")
        assert listed(app) == [*range(11)]


async def test_a_filter_under_another_kernel_is_counted_anew() -> None:
    app = app_on(demo.mapgpa(), wanted="error")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(0.1)
        assert app.matches is not None
        before = app.matches
        await pilot.press("v")
        assert app.matches is not before
        assert app.matches.timeline is app.timeline


# --- advice ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "status == RETRY",
            "Of 0 exits around here none says its status.",
        ),
        ("leaf == WRMSR", "Like it: leaf == RDMSR"),
    ],
)
def test_what_is_like_it(text: str, line: str) -> None:
    assert line in advice(compile_filter(text), 9, [], key_of)


# --- what is remembered ---------------------------------------------------------------------


async def test_what_is_remembered_comes_back() -> None:
    app, other = app_on(demo.mapgpa(), wanted="retry"), app_on(demo.mapgpa())
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("h", "vertical_line", "j", "space", "escape")
        await pilot.press("j", "m", "q")
        app.action_breakpoint("leaf == MapGPA")
        app.action_watch("gpa in 2G..3G")
        state = app.state()
    async with other.run_test(size=SIZE):
        assert other.restore(state) == []
        assert other.state() == state
        assert state == {
            "filter": "retry",
            "hides": False,
            "columns": ["index", "vcpu", "name", "arguments", "result"],
            "bookmarks": {"q": [1, ""]},
            "breakpoints": [
                {"kind": "exit", "text": "leaf == MapGPA", "enabled": True},
                {"kind": "mapping", "text": "gpa in 0x80000000..0xc0000000", "enabled": True},
            ],
        }


@pytest.mark.parametrize(
    ("state", "problems"),
    [
        ({}, 0),
        ({"filter": 7, "hides": "no", "columns": None, "bookmarks": 3, "breakpoints": 1}, 1),
        ({"filter": "leef == 1"}, 1),
        ({"columns": ["indx"]}, 1),
        ({"columns": []}, 1),
        ({"bookmarks": {"\x1b": [1, ""]}, "breakpoints": [[]]}, 2),
    ],
)
async def test_what_cannot_come_back_is_said(state: dict[str, object], problems: int) -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=SIZE):
        assert len(app.restore(state)) == problems
        assert app.matches is None


async def test_hostile_conditions_change_nothing_but_their_own_cells() -> None:
    evil = 'message contains "\u202e[/x]\x1b]0;owned\x07"'
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(120, 40)) as pilot:
        state = {"filter": evil, "breakpoints": [{"kind": "exit", "text": evil}]}
        assert app.restore(state) == []
        for keys in (("c",), ("B",), ("escape", "slash"), ("escape", "escape"), ("slash", "up")):
            await pilot.press(*keys)
            await pilot.pause(0.1)
            assert not {"\x1b", "\x07", "\u202e"} & set(all_text(app))
        await pilot.press("escape")


# --- commands -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "listed_rows", "says"),
    [
        ("retry", [0, 1, 3], "2 of 11 exits match"),
        ("", [*range(11)], ""),
        ("leef == 3", [*range(11)], "filter: column 1: unknown field leef"),
    ],
)
async def test_the_command(text: str, listed_rows: list[int], says: str) -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=SIZE) as pilot:
        app.command_filter(text)
        await pilot.pause(0.1)
        assert listed(app) == listed_rows
        assert says in app.hints.message
