"""Nothing is said by colour alone: what differs in look differs in letters too."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult

from tdxdbg.ui.lines import own, word
from tdxdbg.ui.live.sight import Sight
from tdxdbg.ui.panes.code import CodePane
from tdxdbg.ui.panes.memory import Ask, MemoryPane
from tdxdbg.ui.prompt import Choice, Offer, Prompt, Verdict
from tdxdbg.ui.status import Message
from tdxdbg.ui.stop_list import StopList
from tdxdbg.ui.themes import choose, load_themes
from tdxdbg.ui.widgets.pane import Pane
from tests.ui import demo
from tests.ui.screens import app_on, screen_text

DARK = choose(load_themes(), None)


class Host(App[None]):
    """One pane and nothing else."""

    def __init__(self, pane: Pane) -> None:
        super().__init__()
        self.pane = pane

    def compose(self) -> ComposeResult:
        self.pane.dress(DARK, False)
        self.pane.styles.width = self.pane.styles.height = "100%"
        yield self.pane


def texts(pane: Pane) -> list[str]:
    return [pane.line_at(index).text for index in range(pane.count())]


@pytest.mark.parametrize("width", [40, 100])
async def test_a_register_that_changed_has_an_arrow(width: int) -> None:
    pane = CodePane("code")
    async with Host(pane).run_test(size=(width, 12)):
        pane.look(Sight((0, 0), 0, 1, {"rip": 0, "rax": 1, "rcx": 2}))
        assert "→" not in "".join(texts(pane))
        pane.look(Sight((0, 1), 0, 1, {"rip": 0, "rax": 7, "rcx": 2}))
        shown = "\n".join(texts(pane)).replace(" ", "")
        assert "rax→7" in shown
        assert "rcx2" in shown


async def test_a_line_of_memory_that_changed_has_an_arrow() -> None:
    pane = MemoryPane("memory")
    async with Host(pane).run_test(size=(100, 6)):
        pane.look_at(0x1000, linear=False)
        for first in (0, 1):
            pane.stopped()
            pane.give(Ask(0x1000, 256, False), bytes([first]) + bytes(255))
        changed, same = texts(pane)[:2]
        assert changed.startswith("00001000→01")
        assert same.startswith("00001010 00") or same.startswith("00001020 00")


async def test_the_line_that_is_chosen_has_a_mark() -> None:
    app = app_on(demo.mapgpa())
    stops = [
        {"id": at, "kind": "condition", "text": "retry", "enabled": True, "hits": 0}
        for at in range(2)
    ]
    offers = [Offer(name, (), word(name)[0], (word(name),)) for name in ("one", "two")]
    async with app.run_test(size=(80, 24)) as pilot:
        for dialog in (
            Choice(own("which"), (), offers, DARK, False),
            StopList(stops, lambda how, stop: None, DARK, False),
        ):
            _ = app.push_screen(dialog)
            for expected in ([True, False], [False, True]):
                await pilot.pause()
                assert ["▶" in line for line in texts(app.screen.query_one(Pane))] == expected
                await pilot.press("j")
            await pilot.press("escape")


@pytest.mark.parametrize(("good", "mark"), [(True, "✓ it is"), (False, "‼ it is")])
async def test_what_is_typed_is_judged_with_a_mark(good: bool, mark: str) -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(80, 24)) as pilot:
        prompt = Prompt(own("type"), (), lambda text, at: Verdict(good, "it is"), DARK, False)
        _ = app.push_screen(prompt)
        await pilot.pause()
        assert any(mark in line for line in texts(prompt.query_one(Pane)))


@pytest.mark.parametrize(
    ("role", "said", "expected"),
    [
        ("error", "no", " ‼ no"),
        ("error", "‼ no", " ‼ no"),
        ("ok", "done", " ✓ done"),
        ("dim", "x", " x"),
    ],
)
async def test_news_have_a_mark(role: str, said: str, expected: str) -> None:
    app = app_on(demo.mapgpa())
    async with app.run_test(size=(80, 24)) as pilot:
        app.hints.say(Message(own(said), role))
        await pilot.pause()
        assert screen_text(app)[-1].rstrip() == expected
