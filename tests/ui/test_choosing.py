"""The columns of the queue on the screen."""

from __future__ import annotations

import pytest

from tdxdbg.ui.columns import BY_NAME, DEFAULT
from tests.ui import demo
from tests.ui.screens import app_on, screen_text
from tests.ui.test_filtering import SIZE


async def test_they_are_switched_at_once() -> None:
    app = app_on(demo.mapgpa(), at=1)
    async with app.run_test(size=(200, 60)) as pilot:
        await pilot.press("vertical_line", "j", "space", "j", "space")
        await pilot.pause()
        assert app.queue.wanted == ("index", "delta", "vcpu", "name", "arguments", "result")
        assert "+0.000188" in app.queue.line_at(1).text
        assert "1.024" not in app.queue.line_at(1).text
        await pilot.press("r", "escape")
        assert app.queue.wanted == DEFAULT


async def test_the_last_one_stays() -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=SIZE) as pilot:
        app.command_columns("index")
        await pilot.press("vertical_line", "space", "escape")
        assert app.queue.wanted == ("index",)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("index gpa size exit", "  ↻   1 0000000040000000      8M HYPERCALL x2"),
        ("exit,name", "  ↻ MapGPA        HYPERCALL x2"),
        ("name result", "MapGPA        ↻ RETRY @+4M"),
        ("arguments", "  ↻ P→S 0000000040000000 +8M"),
    ],
)
async def test_a_row(columns: str, expected: str) -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(200, 60)):
        app.command_columns(columns)
        assert expected in app.queue.line_at(1).text


@pytest.mark.parametrize(
    ("text", "good", "says"),
    [
        ("", True, "choose"),
        ("result index", True, "index result"),
        ("vpcu", False, "did you mean vcpu"),
    ],
)
async def test_the_command(text: str, good: bool, says: str) -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=SIZE):
        verdict = app.judge_columns(text, len(text))
        assert verdict.good is good
        assert says in verdict.says
        if not good:
            app.command_columns(text)
            assert says in app.hints.message
    assert app.judge_columns("index de", 8).words == ("delta",)


@pytest.mark.parametrize("width", [1, 5, 20, 33, 60, 80, 200])
@pytest.mark.parametrize("names", [" ".join(BY_NAME), "delta", "result", "exit gpa"])
async def test_any_columns_at_any_width(width: int, names: str) -> None:
    app = app_on(demo.hostile())
    async with app.run_test(size=(width, 24)) as pilot:
        app.command_columns(names)
        await pilot.press("z")
        await pilot.pause()
        assert all(len(text) == width for text in screen_text(app))
        assert not any("\x1b" in text for text in screen_text(app))
