"""A framed, scrolling pane of lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.geometry import Region

from tdxdbg.decode.text import Safe
from tdxdbg.ui.lines import BLANK, About, Line, Span, own, width_of
from tdxdbg.ui.widgets.frame import Frame, Tab, thumb_rows
from tdxdbg.ui.widgets.lines_widget import LinesWidget

_WHEEL = 3
#: Which edges of a pane the mouse took: -1 left or upper, 1 right or lower, 0 none.
Edges = tuple[int, int]
_NO_LINES: list[Line] = []


class Pane(LinesWidget, can_focus=True):
    """What every pane can do: a frame, tabs, scrolling, a cursor on its lines, the mouse.

    `top` and `left` are the first line and cell that are seen. Subclasses make
    `lines`, or override `count` and `line_at` to make them when they are shown.
    """

    #: Whether the pane has a cursor of its own while it is focused.
    POINTS: ClassVar[bool] = False
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
        #: The line that was pointed at; None: none yet.
        self.at: int | None = None
        #: The cell of a line that was clicked last.
        self.column = 0
        #: Called when another line is pointed at, and when a line is double-clicked.
        self.moved: Callable[[], None] = _no_one
        self.act: Callable[[], None] = _no_one
        #: Called while edges are dragged: the pane, which edges, and where on the screen to.
        self.drag: Callable[[str, Edges, int, int], None] | None = None
        self._dragged: Edges = (0, 0)
        #: The first line that the user scrolled to: there is no room for it at some sizes.
        self.scrolled = 0

    @property
    def titles(self) -> tuple[Safe, Safe]:
        """The title, and the one for where there is little room."""
        return self.TITLE, self.SHORT

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
        self.top = self._clamped(self.scrolled if keep is None else self._showing(keep))
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
        pointer = self.pointer if self.has_focus else None
        pointed = index == pointer
        current = pointed if pointer is not None else line.current
        mark = self.mark_at(y - inset)
        return frame.body(line.spans, self.left, current, thumb, pointed, mark)

    def mark_at(self, y: int) -> Span | None:
        """What stands in the right edge beside visible row `y`, if not the thumb."""
        return None

    # --- the cursor of the pane -------------------------------------------------------

    @property
    def pointer(self) -> int | None:
        """The line that the pane's cursor is on; None in a pane without one."""
        count = self.count()
        if not self.POINTS or not count:
            return None
        return self._first() if self.at is None else min(self.at, count - 1)

    @property
    def about(self) -> About | None:
        """What the line under the cursor is about."""
        pointer = self.pointer
        return None if pointer is None else self.line_at(pointer).about

    def _first(self) -> int:
        """Where the cursor is before it was moved: at what matters most among what is seen."""
        seen = self._seen()
        for wanted in ([line.current for line in seen], [line.about for line in seen]):
            for number, found in enumerate(wanted):
                if found:
                    return self.top + number
        return self.top

    def arrow(self, cells: int, lines: int) -> bool:
        """An arrow key; False when the pane only scrolls."""
        if not self.POINTS or not lines:
            return False
        self.point((self.pointer or 0) + lines)
        return True

    def point(self, index: int) -> None:
        """Put the cursor on a line, into view."""
        before = self.pointer
        if before is None:
            return
        self.at = min(max(index, 0), self.count() - 1)
        top = self._clamped(self._showing(self.at))
        self.scrolled = top
        if top != self.top:
            self.top = top
            self.refresh()
        for changed in (before, self.at):
            self.refresh_row(changed - self.top + self.inset)
        self.moved()

    # --- scrolling --------------------------------------------------------------------

    def scroll_lines(self, lines: int, cells: int = 0) -> None:
        """Scroll by so many lines and cells, as far as there is something."""
        top = self._clamped(self.top + lines)
        longest = max((width_of(line.spans) for line in self._seen()), default=0)
        left = min(max(self.left + cells, 0), max(longest - self.columns, self.left, 0))
        if (top, left) != (self.top, self.left):
            self.top, self.left = top, left
            self.scrolled = top
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

    def on_mouse_down(self, event: events.MouseDown) -> None:
        width, height = self.outer_size
        across = 1 if event.x == width - 1 else -1 if event.x == 0 else 0
        along = 1 if event.y == height - 1 else -1 if event.y == 0 else 0
        if self.drag is not None and self.inset and (across or along):
            self._dragged = across, along
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self.drag is not None and any(self._dragged):
            self.drag(self.id or "", self._dragged, event.screen_x, event.screen_y)

    def on_mouse_up(self, event: events.MouseUp) -> None:
        if any(self._dragged):
            self._dragged = 0, 0
            self.release_mouse()

    def on_click(self, event: events.Click) -> None:
        event.stop()
        if self.inset and event.y == 0:
            self._click_tab(event.x)
            return
        if self.inset and event.x == self.outer_size.width - 1:
            self.edge_clicked(event.y - self.inset)
            return
        index = self.top + event.y - self.inset
        self.column = self.left + event.x - self.inset
        if 0 <= event.y - self.inset < self.rows and index < self.count():
            self.clicked(index)
            if event.chain == 2:
                self.act()

    def clicked(self, index: int) -> None:
        """A line was clicked."""
        self.point(index)

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


def _no_one() -> None:
    """No one listens."""
