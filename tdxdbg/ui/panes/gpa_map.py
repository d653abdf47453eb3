"""Pane 5: which pages are shared: a map around the range of the exit, and every range in words.

The pane keeps only where the user looks. Drawing costs what changed: cells are
looked up again where the map differs from the last one, rows are made again
where their cells do, and of the list only what is seen is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from textual import events

from tdxdbg.decode.summary import RowSummary
from tdxdbg.decode.text import Safe
from tdxdbg.decode.values import size_text
from tdxdbg.engine import GpaMap, Td
from tdxdbg.timeline import Moment
from tdxdbg.ui.gpa_map.cells import Cells, Ground
from tdxdbg.ui.gpa_map.draw import Asked, Marks, Painter, legend
from tdxdbg.ui.gpa_map.layout import GAP, Layout, arranged, list_alone
from tdxdbg.ui.gpa_map.listing import RangeList
from tdxdbg.ui.gpa_map.ranges import Item, Ranges
from tdxdbg.ui.gpa_map.view import MapView
from tdxdbg.ui.gpa_map.window import PAGE, TOP, Window, whole
from tdxdbg.ui.gpa_map.words import (
    changed_line,
    exit_line,
    here_line,
    keys_line,
    list_foot,
    scale_foot,
)
from tdxdbg.ui.lines import Line, blanks, crop, line, own, width_of, word
from tdxdbg.ui.panes.base import Drawn, MomentPane

_WHEEL: Final = 3
#: The least that the overview shows: 1 MiB.
_LEAST_IN_USE: Final = 1 << 20
#: What is shown first where nothing says what to look at.
_FIRST: Final = 1 << 30
#: Colours that a terminal needs for cells of mixed colours.
_MANY_COLOURS: Final = ("256", "truecolor")
_UNKNOWN: Final = "What is shared here follows from everything before it, which is still being read"
_DAMAGED: Final = own("Nothing of this exit can be read: what was shared then is not known.")
_TAKEN_OUT: Final = own("Not known: register values were taken out of this recording.")


class GpaMapPane(MomentPane):
    """A map, its legend, the exit, the last change and the cursor in words, and the list."""

    TITLE: ClassVar[Safe] = own("5 GPA map")
    SHORT: ClassVar[Safe] = own("5 GPA")
    PURPOSE: ClassVar[Safe] = own("Here stands which guest pages are shared and which private.")

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.view = MapView()
        self._td: Td | None = None
        self._ground: Ground | None = None
        self._ranges: Ranges | None = None
        self._cells, self._strip = Cells(), Cells()
        self._painter = Painter()
        self._list = RangeList()
        self._layout: Layout | None = None
        #: Where the mouse is, while it says what is pointed at.
        self._mouse: tuple[int, int] | None = None

    # --- what is drawn --------------------------------------------------------------------

    def _unknown(self, moment: Moment) -> Safe:
        if self.timeline is not None and not self.timeline.has_map:
            return _TAKEN_OUT
        if moment.record < 0:
            return _DAMAGED
        read = 100 * self.timeline.passed if self.timeline is not None else 0
        return word(f"{_UNKNOWN} ({read:.0f} %): this is exit {moment.row:,}.")[0]

    def draw_moment(self, moment: Moment) -> Drawn:
        gpa_map = moment.gpa_map
        if gpa_map is None:
            self._ranges = None
            return self.explain(self._unknown(moment)), (), None
        ranges = self._know(gpa_map, moment.td)
        asked, changed = self._asked(moment), moment.changed
        looked = self.view.at if self.view.moved else 0
        space = ranges.space(max(looked, asked[0] + asked[1] - 1 if asked is not None else 0))
        layout = self._arrange(space)
        window = self.view.fit(self._shape(layout), space, self._wanted(asked or changed, ranges))
        marks = Marks(asked, changed, self._cursor())
        listed = self._listed(ranges, layout, marks)
        if not layout.lines:
            lines = listed
        elif layout.beside:
            lines = _side_by_side(self._map(ranges, layout, marks), listed, layout)
            lines += self._words(ranges, layout, marks)
        else:
            lines = self._map(ranges, layout, marks)
            lines += self._words(ranges, layout, marks)
            lines += listed if layout.list_rows else []
        if not layout.lines:
            return lines, list_foot(self.key), None
        back = self.key("map_follow") if self.view.moved else ""
        return lines, scale_foot(window, space, back, self.columns - 6), None

    @property
    def halves(self) -> bool:
        """Whether a character can be two cells: colours have to say what they are."""
        app = self.app
        many = app.is_headless or app.console.color_system in _MANY_COLOURS
        return self.palette.mixes and not self.ascii_only and not app.no_color and many

    def _know(self, gpa_map: GpaMap, td: Td) -> Ranges:
        """What there is to know of this map; a sum over all ranges, so only once for each."""
        if self._ground is None or self._td is not td:
            self._td, self._ground, self._ranges = td, Ground.of(td), None
        if self._ranges is None or self._ranges.gpa_map is not gpa_map:
            self._ranges = Ranges(gpa_map, self._ground)
        return self._ranges

    def known(self) -> Ranges | None:
        """The ranges of the moment that is shown; None while they are being read."""
        moment = self.moment
        if moment is None or moment.gpa_map is None:
            return None
        return self._know(moment.gpa_map, moment.td)

    def _asked(self, moment: Moment) -> Asked | None:
        """The range of the row: GPA, size, whether private is wanted (or accessed)."""
        if self.timeline is None:
            return None
        summary: RowSummary = self.timeline.summary(moment.row)
        if summary.gpa is None or summary.gpa >= TOP:
            return None
        size = min(max(summary.size or 1, 1), TOP - summary.gpa)
        return summary.gpa, size, bool(summary.private)

    def _arrange(self, space: int) -> Layout:
        how = list_alone if self.view.listing else arranged
        self._layout = how(self.columns, self.rows, len(f"{space - 1:x}"))
        return self._layout

    def _shape(self, layout: Layout) -> Window:
        """The map as large as there is room; behind a list it keeps its shape."""
        if not layout.lines:
            return self.view.window
        pitch = 2 if self.halves else 1
        return Window(0, PAGE, layout.columns, layout.lines * pitch, pitch)

    def _wanted(self, asked: Asked | None, ranges: Ranges) -> tuple[int, int]:
        """What to look at: the range of the exit; without one what was seen, or is shared."""
        if asked is not None:
            return asked[:2]
        if self.view.seen is not None:
            return self.view.seen
        item = next(ranges.gpa_map.shared_ranges(), None)
        return (0, _FIRST) if item is None else (item.start, item.end - item.start)

    def _cursor(self) -> int | None:
        """The address that is pointed at, by the mouse or by the keys."""
        pointed = self._cell_at(*self._mouse) if self._mouse is not None else None
        if pointed is None and self.has_focus:
            return self.view.at
        return pointed

    def _map(self, ranges: Ranges, layout: Layout, marks: Marks) -> list[Line]:
        """The overview and the map."""
        window, halves = self.view.window, self.halves
        self._cells.update(ranges.gpa_map, ranges.ground, window)
        lines = [self._overview(ranges, layout, halves)] if layout.overview else []
        drawn = self._painter.lines(self._cells.states, window, marks, layout.digits, halves)
        return lines + [Line(spans) for spans in drawn]

    def _words(self, ranges: Ranges, layout: Layout, marks: Marks) -> list[Line]:
        """The legend, and what there is to say; the most needed first."""
        window = self.view.window
        if marks.here is None:
            here = keys_line(self.columns, self.keys)
        else:
            here = self._here(ranges, marks)
        words = [
            legend(self.columns, self.halves), exit_line(marks.asked, window),
            changed_line(marks.changed), here,
        ]  # fmt: skip
        return words[: layout.words]

    def _here(self, ranges: Ranges, marks: Marks) -> Line:
        window, at = self.view.window, marks.here or 0
        cell = (at - window.start) // window.cell
        start = window.start + cell * window.cell
        item = Item(start, start + window.cell, self._cells.states[cell])
        return here_line(ranges, item, marks.changed, self.columns)

    def _overview(self, ranges: Ranges, layout: Layout, halves: bool) -> Line:
        """All that is in use in one row, the window lit in it."""
        window = self.view.window
        size = max(ranges.in_use(self.view.at), _LEAST_IN_USE)
        strip = whole(Window(0, PAGE, layout.columns, 1), size)
        self._strip.update(ranges.gpa_map, ranges.ground, strip)
        shown = Marks((window.start, window.size, False), None)
        spans = self._painter.strip(self._strip.states, strip, shown, halves)
        label = word(f"{size_text(size):>{layout.digits}}" if layout.digits else "", "dim")
        return line(label, *spans)

    def _listed(self, ranges: Ranges, layout: Layout, marks: Marks) -> list[Line]:
        index = ranges.index(self.view.at)
        self._list.show(index, layout.list_rows, ranges.count)
        here = index if self.has_focus and (self.view.listing or self.view.moved) else -1
        return self._list.lines(ranges, layout.list_rows, marks[:2], here)

    # --- what the keys do: each says whether there is a map to do it on ------------------------

    def _do(self, change: Callable[[Ranges], None]) -> bool:
        ranges = self.known()
        if ranges is None:
            return False
        self._mouse = None
        change(ranges)
        self.show(self.moment)
        return True

    def pan(self, cells: int, lines: int) -> bool:
        """Move the cursor over the map, or over the list when that is in front."""

        def move(ranges: Ranges) -> None:
            if self.view.listing:
                self._to_range(ranges, lines or cells)
            else:
                self.view.pan(cells, lines)

        return self._do(move)

    def page(self, pages: float) -> bool:
        """By so many heights of what is seen."""

        def move(ranges: Ranges) -> None:
            if self.view.listing and self._layout is not None:
                self._to_range(ranges, round(self._layout.list_rows * pages))
            else:
                self.view.page(pages)

        return self._do(move)

    def _to_range(self, ranges: Ranges, by: int) -> None:
        index = min(max(ranges.index(self.view.at) + by, 0), ranges.count - 1)
        self.view.go(ranges[index].start)

    def zoom(self, steps: int, at: int | None = None) -> bool:
        """Closer (above 0) or further away."""
        return self._do(lambda _: self.view.zoom(steps, at))

    def see_all(self) -> bool:
        """The whole space."""
        return self._do(lambda _: self.view.see_all())

    def follow(self) -> bool:
        """Back to the range of the exit."""
        return self._do(lambda _: self.view.follow())

    def go_to(self, gpa: int) -> bool:
        """The cursor to this address (bytes, without the shared bit)."""
        return self._do(lambda ranges: self._go(ranges, gpa))

    def _go(self, ranges: Ranges, gpa: int) -> None:
        self.view.space = max(self.view.space, ranges.space(gpa))
        self.view.go(gpa)

    def enter(self) -> bool:
        """From the map to the list, and from a range of the list to the map."""

        def turn(ranges: Ranges) -> None:
            if self.view.listing:
                item = ranges[ranges.index(self.view.at)]
                self.view.see(item.start, item.size)
            self.view.listing = not self.view.listing

        return self._do(turn)

    # --- focus and mouse ----------------------------------------------------------------------

    def watch_has_focus(self, _has_focus: bool) -> None:
        """The cursor comes and goes with the focus."""
        super().watch_has_focus(_has_focus)
        self.show(self.moment)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        self._point((event.x, event.y))

    def on_leave(self) -> None:
        self._point(None)

    def _point(self, mouse: tuple[int, int] | None) -> None:
        if mouse != self._mouse:
            self._mouse = mouse
            self.show(self.moment)

    def on_click(self, event: events.Click) -> None:
        gpa = self._cell_at(event.x, event.y)
        if gpa is None:
            index = self._item_at(event.x, event.y)
            if index is None:
                return
            self._do(lambda ranges: self.view.go(ranges[index].start))
        else:
            # A second click is for the lower one of two cells in a character.
            window = self.view.window
            again = window.pitch > 1 and gpa <= self.view.at < gpa + window.cell
            self.go_to(gpa + window.row * again)
        event.stop()
        event.prevent_default()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, 1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, -1)

    def _wheel(self, event: events.MouseEvent, towards: int) -> None:
        """Over the map, or with Ctrl, it zooms at the mouse; over the list it scrolls that."""
        event.stop()
        event.prevent_default()
        gpa = self._cell_at(event.x, event.y)
        if gpa is not None or event.ctrl:
            self.zoom(towards, gpa)
        elif self._ranges is not None and self._layout is not None:
            self._list.scroll(-towards * _WHEEL, self._layout.list_rows, self._ranges.count)
            self.show(self.moment)

    def _cell_at(self, x: int, y: int) -> int | None:
        """The address of the cell that the mouse is on; the upper one of two."""
        layout, window = self._layout, self.view.window
        if layout is None or self._ranges is None:
            return None
        column = x - self.inset - layout.digits - 1
        row = y - self.inset - layout.overview
        if not (0 <= column < layout.columns and 0 <= row < layout.lines):
            return None
        rows = row * (2 if self.halves else 1)
        gpa = window.start + rows * window.row + column * window.cell
        return gpa if gpa < self.view.space else None

    def _item_at(self, x: int, y: int) -> int | None:
        """The range of the list that the mouse is on."""
        layout, ranges = self._layout, self._ranges
        if layout is None or ranges is None:
            return None
        beside = layout.beside
        first = 0 if beside else layout.overview + layout.lines + layout.words
        row = y - self.inset - first - 1
        index = self._list.top + row
        if beside and x - self.inset < layout.map_width:
            return None
        return index if 0 <= row < layout.list_rows and index < ranges.count else None


def _side_by_side(drawn: list[Line], listed: list[Line], layout: Layout) -> list[Line]:
    lines = []
    for at, left in enumerate(drawn):
        other = listed[at].spans if at < len(listed) else ()
        fill = blanks(layout.map_width + GAP - width_of(left.spans))
        lines.append(line(*left.spans, (fill, "text"), *crop(other, 0, layout.list_width)))
    return lines
