"""Which rows are sent to the terminal: those that look otherwise, and no row is ever missed."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region

from tdxdbg.ui.lines import BLANK, Line, line, word
from tdxdbg.ui.themes import choose, load_themes
from tdxdbg.ui.widgets.lines_widget import LinesWidget

HEIGHT = 5
THEMES = load_themes()


class Texts(LinesWidget):
    DEFAULT_CSS = "Texts { width: 1fr; height: 1fr; }"

    def __init__(self) -> None:
        super().__init__("texts")
        self.texts = ["a", "b", "c", "d", "e"]
        self.dress(choose(THEMES, "tdx-dark"), False)

    def line_for(self, y: int) -> Line:
        return line(word(self.texts[y])) if y < len(self.texts) else BLANK

    def sent(self) -> list[int]:
        """The rows that textual would send now."""
        regions = self._exchange_repaint_regions()
        return sorted(y for region in regions for y in region.line_range)


class Host(App[None]):
    def compose(self) -> ComposeResult:
        yield Texts()


async def test_only_rows_that_look_otherwise_are_sent() -> None:
    app = Host()
    async with app.run_test(size=(10, HEIGHT)) as pilot:
        await pilot.pause()
        widget = app.query_one(Texts)
        widget.refresh()
        widget.sent()
        widget.refresh()
        assert widget.sent() == []
        widget.texts[1] = "x"
        widget.texts[3] = "y"
        widget.refresh()
        assert widget.sent() == [1, 3]
        assert widget.sent() == []
        widget.texts[2] = "not asked for"
        widget.texts[4] = "z"
        widget.refresh(Region(0, 4, 10, 1))
        assert widget.sent() == [4]


async def test_a_row_that_was_drawn_for_something_else_is_sent_all_the_same() -> None:
    """A picture of the screen, or a frame that is never shown, tells the terminal nothing."""
    app = Host()
    async with app.run_test(size=(10, HEIGHT)) as pilot:
        await pilot.pause()
        widget = app.query_one(Texts)
        widget.refresh()
        widget.sent()
        widget.texts[2] = "x"
        widget.refresh()
        widget.render_lines(Region(0, 0, 10, HEIGHT))
        assert widget.sent() == [2]
        # And back: the terminal may have been sent the x meanwhile, by a frame of the whole screen.
        widget.texts[2] = "y"
        widget.refresh()
        widget.render_lines(Region(0, 0, 10, HEIGHT))
        widget.texts[2] = "x"
        widget.refresh()
        assert widget.sent() == [2]


@pytest.mark.parametrize("ascii_only", [False, True])
async def test_another_look_is_sent_whole(ascii_only: bool) -> None:
    app = Host()
    async with app.run_test(size=(10, HEIGHT)) as pilot:
        await pilot.pause()
        widget = app.query_one(Texts)
        widget.sent()
        widget.dress(choose(THEMES, "tdx-light"), ascii_only)
        assert widget.sent() == list(range(HEIGHT))


async def test_another_size_is_drawn_anew() -> None:
    app = Host()
    async with app.run_test(size=(10, HEIGHT)) as pilot:
        await pilot.resize_terminal(20, 3)
        await pilot.pause()
        widget = app.query_one(Texts)
        strips = widget.render_lines(Region(0, 0, 20, 3))
        assert [(strip.text.rstrip(), strip.cell_length) for strip in strips] == [
            ("a", 20), ("b", 20), ("c", 20)]  # fmt: skip
        part = widget.render_lines(Region(0, 1, 1, 1))
        assert [strip.text for strip in part] == ["b"]
