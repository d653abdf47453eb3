"""Scrolling, and which rows are drawn again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from textual.app import App, ComposeResult
from textual.geometry import Region

from tdxdbg.ui.lines import Line, line, word
from tdxdbg.ui.themes import choose, load_themes
from tdxdbg.ui.widgets.pane import Pane


class Counting(Pane):
    """Remembers what was asked to be drawn again."""

    def __init__(self) -> None:
        super().__init__("pane")
        self.drawn: list[int | None] = []

    def refresh_row(self, y: int) -> None:
        self.drawn.append(y)
        super().refresh_row(y)

    def refresh(
        self,
        *regions: Region,
        repaint: bool = True,
        layout: bool = False,
        recompose: bool = False,
    ) -> Counting:
        if not regions and repaint:
            self.drawn.append(None)
        super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)
        return self


class PaneApp(App[None]):
    CSS = "Counting { width: 1fr; height: 1fr; }"

    def __init__(self) -> None:
        super().__init__()
        self.pane = Counting()
        self.pane.dress(choose(load_themes(), None), ascii_only=False)

    def compose(self) -> ComposeResult:
        yield self.pane


def lines(count: int, **other: str) -> list[Line]:
    return [line(word(other.get(f"l{number}", f"line {number}"))) for number in range(count)]


@asynccontextmanager
async def pane_of(width: int, height: int) -> AsyncIterator[Counting]:
    app = PaneApp()
    async with app.run_test(size=(width, height)) as pilot:
        await pilot.pause()
        yield app.pane


async def test_only_what_differs_is_drawn_again() -> None:
    async with pane_of(20, 10) as pane:
        pane.set_lines(lines(8))
        pane.drawn.clear()
        pane.set_lines(lines(8))
        assert pane.drawn == []
        pane.set_lines(lines(8, l2="other", l5="other"))
        assert pane.drawn == [3, 6]


async def test_the_line_to_keep_is_in_view_and_scrolling_is_least() -> None:
    async with pane_of(20, 10) as pane:
        pane.set_lines(lines(50), keep=4)
        assert pane.top == 0
        pane.set_lines(lines(50), keep=20)
        assert pane.top == 15
        pane.set_lines(lines(50), keep=18)
        assert pane.top == 15
        pane.set_lines(lines(50), keep=49)
        assert pane.top == 42
        pane.set_lines(lines(3))
        assert pane.top == 0


async def test_scrolling_stops_at_the_ends() -> None:
    async with pane_of(20, 10) as pane:
        pane.set_lines(lines(12, l0="x" * 30))
        pane.scroll_lines(-5, -5)
        assert (pane.top, pane.left) == (0, 0)
        pane.scroll_lines(0, 100)
        assert pane.left == 12
        pane.scroll_lines(100)
        assert pane.top == 4


async def test_without_room_for_a_frame_there_is_none() -> None:
    async with pane_of(3, 2) as pane:
        pane.set_lines(lines(5))
        assert (pane.inset, pane.rows, pane.columns) == (0, 2, 3)
        assert pane.line_for(0).text == "line 0"
