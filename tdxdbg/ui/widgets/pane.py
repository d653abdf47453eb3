"""A framed, scrolling pane of lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.geometry import Region

from tdxdbg.decode.text import Safe
from tdxdbg.ui.lines import BLANK, Line, Span, own, width_of
from tdxdbg.ui.widgets.frame import Frame, Tab, thumb_rows
from tdxdbg.ui.widgets.lines_widget import LinesWidget

_WHEEL = 3
_NO_LINES: list[Line] = []


class Pane(LinesWidget, can_focus=True):
    """What every pane can do: a frame, tabs, scrolling, the mouse.

    `top` and `left` are the first line and cell that are seen. Subclasses make
    `lines`, or override `count` and `line_at` to make them when they are shown.
    """

    TITLE: ClassVar[Safe] = own("")
    #: The title where panes share one place and there is little room.
    SHORT: ClassVar[Safe] = own("")

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.lines = _NO_LINES
        self.top = 0
        self.left = 0
        self.foot: tuple[Span, ...] = ()
        self.tabs: tuple[Tab, ...] = (Tab(id, self.TITLE, True),)
        #: Called with the pane of a tab that was clicked.
        self.choose_tab: Callable[[str], None] = _nothing

    # --- lines ------------------------------------------------------------------------

    def count(self) -> int:
        """How many lines there are."""
        return len(self.lines)

    def line_at(self, index: int) -> Line:
        """The line at this index."""
        return self.lines[index] if 0 <= index < len(self.lines) else BLANK

    def set_lines(
        self, lines: list[Line], foot: tuple[Span, ...] = (), keep: int | None = None
    ) -> None:
        """Other lines; only what differs is drawn again. `keep`: the line to have in view."""
        old, old_top, count = self.lines, self.top, len(lines)
        self.lines = lines
        self.top = self._clamped(self.top if keep is None else self._showing(keep))
        self.set_foot(foot)
        if len(old) != count or self.top != old_top:
            self.refresh()
            return
        for y in range(self.rows):
            index = self.top + y
            before = old[index] if index < count else BLANK
            if before != self.line_at(index):
                self.refresh_row(y + self.inset)

    def set_foot(self, foot: tuple[Span, ...]) -> None:
        """Another text in the lower edge."""
        if foot != self.foot:
            self.foot = foot
            self.refresh_row(self.outer_size.height - 1)

    # --- geometry ---------------------------------------------------------------------

    @property
    def inset(self) -> int:
        """Cells that the frame takes at each side: none where there is no room for it."""
        return 1 if self.outer_size.height >= 3 and self.outer_size.width >= 4 else 0

    @property
    def rows(self) -> int:
        """Lines that are seen at once."""
        return max(self.outer_size.height - 2 * self.inset, 0)

    @property
    def columns(self) -> int:
        """Cells of a line that are seen at once."""
        return max(self.outer_size.width - 2 * self.inset, 0)

    def refresh_row(self, y: int) -> None:
        """Draw one row of the widget again."""
        self.refresh(Region(0, y, self.outer_size.width, 1))

    def line_for(self, y: int) -> Line:
        inset = self.inset
        index = self.top + y - inset
        if not inset:
            return self.line_at(index)
        frame = Frame(self.outer_size.width, self.outer_size.height, self.has_focus)
        if y == 0:
            return frame.top(self.tabs)
        if y == self.outer_size.height - 1:
            return frame.bottom(self.foot)
        line = self.line_at(index) if index < self.count() else BLANK
        thumb = y - inset in thumb_rows(self.top, self.rows, self.count())
        return frame.body(line.spans, self.left, line.current, thumb, self.mark_at(y - inset))

    def mark_at(self, y: int) -> Span | None:
        """What stands in the right edge beside visible row `y`, if not the thumb."""
        return None

    # --- scrolling --------------------------------------------------------------------

    def scroll_lines(self, lines: int, cells: int = 0) -> None:
        """Scroll by so many lines and cells, as far as there is something."""
        top = self._clamped(self.top + lines)
        longest = max((width_of(line.spans) for line in self._seen()), default=0)
        left = min(max(self.left + cells, 0), max(longest - self.columns, self.left, 0))
        if (top, left) != (self.top, self.left):
            self.top, self.left = top, left
            self.refresh()

    def _seen(self) -> list[Line]:
        stop = min(self.top + self.rows, self.count())
        return [self.line_at(index) for index in range(self.top, stop)]

    def _clamped(self, top: int) -> int:
        return min(max(top, 0), max(self.count() - self.rows, 0))

    def _showing(self, index: int) -> int:
        """The scroll position nearest to the present one that shows this line."""
        rows = max(self.rows, 1)
        margin = min(2, (rows - 1) // 2)
        if index < self.top + margin:
            return index - margin
        return max(self.top, index - rows + 1 + margin)

    # --- events -----------------------------------------------------------------------

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.wheel(_WHEEL)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.wheel(-_WHEEL)

    def wheel(self, lines: int) -> None:
        """The mouse wheel turned over the pane."""
        self.scroll_lines(lines)

    def on_click(self, event: events.Click) -> None:
        event.stop()
        if self.inset and event.y == 0:
            self._click_tab(event.x)
            return
        if self.inset and event.x == self.outer_size.width - 1:
            self.edge_clicked(event.y - self.inset)
            return
        index = self.top + event.y - self.inset
        if 0 <= event.y - self.inset < self.rows and index < self.count():
            self.clicked(index)

    def clicked(self, index: int) -> None:
        """A line was clicked."""

    def edge_clicked(self, y: int) -> None:
        """The right edge was clicked beside visible row `y`; it may be a corner."""

    def _click_tab(self, x: int) -> None:
        at = 3
        for tab in self.tabs:
            if at <= x < at + len(tab.title):
                self.choose_tab(tab.pane)
            at += len(tab.title) + 3


def _nothing(pane: str) -> None:
    """No one listens."""
