"""Breakpoints of a recording on the screen: set, list, continue, reverse-continue."""

from __future__ import annotations

import pytest

from tdxdbg.decode.summary import RowSummary
from tdxdbg.ui.breaking import like
from tdxdbg.ui.condition_prompt import ConditionPrompt
from tdxdbg.ui.stop_list import RowStopList
from tests.ui import demo
from tests.ui.screens import app_on, screen_text
from tests.ui.test_filtering import SIZE, all_text, enter
from tests.ui.test_finding import place


async def test_continue_and_reverse_continue_without_a_direction_that_sticks() -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("c")
        assert app.hints.message == "no breakpoints: b sets one, w watches"
        await enter(pilot, "b", "retry")
        assert app.hints.message == "breakpoint 1: retry; c runs on to it, C back"
        visited = []
        for key in ("c", "c", "C", "c", "c", "C", "C"):
            await pilot.press(key)
            visited.append((*place(app), app.hints.message))
        stopped = "stopped: breakpoint 1 retry"
        nothing = ("no breakpoint stops after this exit", "none stops before it")
        assert visited == [
            (1, 2, stopped), (3, 1, stopped), (1, 2, stopped), (3, 1, stopped),
            (3, 1, nothing[0]), (1, 2, stopped), (1, 2, nothing[1]),
        ]  # fmt: skip
        marked = [line[:6] for line in screen_text(app) if "●" in line[:6]]
        assert marked == ["║▶●  1", "║ ●  3"]


async def test_a_watch_on_a_range_and_on_a_register() -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=SIZE) as pilot:
        await enter(pilot, "w", "gpa in 0x40600000..0x407fffff")
        await pilot.press("c")
        assert app.hints.message == "stopped: breakpoint 1 gpa in 0x40600000..0x407fffff"
        assert place(app) == (5, 1)
        await enter(pilot, "w", "r11 == 0x8000040400000")
        await pilot.press("g", "c")
        assert place(app) == (1, 2)
        await pilot.press("c")
        assert place(app) == (5, 1)


async def test_what_is_proposed_is_about_the_exit_under_the_cursor() -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("b")
        await pilot.pause()
        assert "> leaf == MapGPA and retry" in all_text(app)
        await pilot.press("enter", "w")
        await pilot.pause()
        assert "> gpa in 0x40000000..0x407fffff" in all_text(app)
        await pilot.press("enter")
        assert [each.text for each in app.stops.points] == [
            "leaf == MapGPA and retry",
            "gpa in 0x40000000..0x407fffff",
        ]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (RowSummary(0, leaf=0x10001, gpa=5, size=5, retry=True), "leaf == MapGPA and retry"),
        (RowSummary(0, leaf=30, port=0x3F8, direction=1), "leaf == IO and port == 0x3f8"),
        (RowSummary(0, leaf=48, gpa=0xFEC00000, direction=0), "leaf == MMIO and gpa == 0xfec00000"),
        (RowSummary(0, leaf=0x99, error=True), "leaf == 0x99 and error"),
        (RowSummary(0, reason=48, gpa=0x1000), "reason == EPT_VIOLATION"),
        (RowSummary(0, reason=77), ""),
        (RowSummary(0, exit=(3, 3)), "exit == KVM_EXIT_HYPERCALL"),
        (RowSummary(0), ""),
    ],
)
def test_exits_like_this_one(row: RowSummary, expected: str) -> None:
    assert like(row) == expected


async def test_the_list() -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("B")
        await pilot.pause()
        assert "There are none." in all_text(app)
        await pilot.press("a")
        await pilot.pause()
        assert app.on_top(ConditionPrompt) is not None
        await pilot.press("escape")
        app.action_breakpoint("leaf == MapGPA")
        app.action_watch("gpa == 0x40000000")
        app.action_watch("r10 == 1")
        await pilot.pause(0.2)
        await pilot.press("B")
        await pilot.pause()
        lines = [line for line in screen_text(app) if "hit" in line]
        assert [" ".join(line.split("║")[1].split()) for line in lines[:3]] == [
            "▶● 1 exit leaf == MapGPA 5 hits",
            "● 2 gpa gpa in 0x40000000..0x40000000 2 hits",
            "● 3 reg r10 == 1 2 hits",
        ]
        await pilot.press("space")
        await pilot.pause()
        assert any("◇   1 exit" in line for line in screen_text(app))
        assert not app.stops.stops_at(7)
        await pilot.press("j", "j", "d")
        await pilot.pause()
        assert [each.number for each in app.stops.points] == [1, 2]
        # The next hit of the one that is off, from where one is.
        await pilot.press("k", "n")
        await pilot.pause()
        assert app.on_top(RowStopList) is None
        assert place(app) == (1, 0)
        await pilot.press("B", "N")
        await pilot.pause()
        assert app.hints.message == "it stops at none before it"
        await pilot.press("B", "space", "j", "space", "escape", "c", "B", "j", "space", "escape")
        await pilot.press("c")
        assert app.hints.message.startswith("stopped: breakpoint")


async def test_all_of_them_off() -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=SIZE) as pilot:
        app.action_breakpoint("retry")
        await pilot.press("B", "space", "escape", "c")
        assert app.hints.message == "all breakpoints are off: B lists them"
        assert "●" not in all_text(app)


@pytest.mark.parametrize(
    ("command", "text", "says"),
    [
        ("break", "leef == 3", "column 1: unknown field leef"),
        ("watch", "leaf == IO", "b stops at exits"),
        ("watch", "\x1b[31m", "unexpected character"),
        ("break", "retry", "breakpoint 1: retry"),
        ("watch", "74000000 +2M", "breakpoint 1: gpa in 0x74000000..0x741fffff"),
    ],
)
async def test_commands(command: str, text: str, says: str) -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=SIZE):
        getattr(app, f"command_{command}")(text)
        assert says in app.hints.message
        assert "\x1b" not in app.hints.message
        good = getattr(app, f"judge_{command}")(text, len(text)).good
        assert good is app.hints.message.startswith("breakpoint")


async def test_breakpoints_under_another_kernel() -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=SIZE) as pilot:
        app.action_breakpoint("status == SUBFUNC_UNSUPPORTED")
        await pilot.press("c")
        assert place(app) == (10, 0)
        await pilot.press("g", "V", "V", "c")
        assert app.timeline.generation.name == "6.16-rc1"
        assert app.hints.message == "no breakpoint stops after this exit"


async def test_marks_for_an_overview() -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=SIZE) as pilot:
        app.action_breakpoint("retry")
        await pilot.press("4", "G", "m", "x")
        await pilot.pause(0.2)
        marks = {kind: [[*rows] for rows in found] for kind, found in app.marks().items()}
        assert marks == {
            "bookmark": [[4]], "breakpoint": [[1, 3]], "error": [[7, 10]], "retry": [[1, 3]],
        }  # fmt: skip


async def test_nothing_to_stop_at_in_an_empty_recording() -> None:
    app = app_on(demo.Recorder().trace())
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("b", "escape", "w", "escape", "slash", "escape", "m", "a", "l", "d")
        app.action_breakpoint("retry")
        app.command_filter("retry")
        await pilot.press("c", "C", "n", "N", "t", "escape", "j", "G", "f", "h", "B", "escape")
        await pilot.press("M", "escape", "apostrophe", "a", "apostrophe", "apostrophe")
        await pilot.pause(0.1)
        assert place(app) == (0, 0)
        assert "No exits in this recording." in all_text(app)
