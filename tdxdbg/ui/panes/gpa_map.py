"""Pane 5: which pages are shared, around the range of the current exit."""

from __future__ import annotations

from itertools import groupby, islice
from typing import ClassVar, Final, NamedTuple

from tdxdbg.decode.summary import RowSummary
from tdxdbg.decode.text import Safe
from tdxdbg.decode.values import size_text
from tdxdbg.engine import GpaMap
from tdxdbg.timeline import Moment
from tdxdbg.ui.lines import Line, Span, concat, line, own, repeat, right, word
from tdxdbg.ui.panes.base import Drawn, MomentPane

_PAGE: Final = 4096
_SPACE_END: Final = 1 << 52
_GLYPHS: Final = {"shared": own("▓"), "private": own("░"), "mixed": own("▒")}
_LEGEND: Final = (
    (own("▓ "), "shared"), (own("shared  "), "dim"),
    (own("░ "), "private"), (own("private  "), "dim"),
    (own("▒ "), "mixed"), (own("mixed"), "dim"),
)  # fmt: skip
#: Cells that the address of a row takes: 52 bits.
_LABEL: Final = 13
_NONE: Final = own("")
_EXIT: Final = (own("[exit]  "), "focus")
_CHANGED: Final = (own("changed "), "changed")
_OPEN: Final = own("[")
_CLOSE: Final = own("]")
_SPACE: Final = own(" ")
#: How many ranges are listed around the interesting one.
_LISTED: Final = 64


#: GPA, size in bytes, private.
Asked = tuple[int, int, bool]


class Window(NamedTuple):
    """What the map shows: from `start`, `rows` rows of `columns` cells of `cell` bytes."""

    start: int
    cell: int
    columns: int
    rows: int

    @property
    def end(self) -> int:
        return self.start + self.cell * self.columns * self.rows

    def holds(self, gpa: int, size: int) -> bool:
        """Whether all of the range is seen, and large enough to be seen well."""
        return self.start <= gpa and gpa + size <= self.end and size >= self.cell


def window_around(gpa: int, size: int, columns: int, rows: int) -> Window:
    """A window in which the range takes up to half, its rows at round addresses."""
    cells = max(columns * rows // 2, 1)
    cell = _PAGE
    while size > cell * cells and cell < 1 << 48:
        cell <<= 1
    row = cell * columns
    above = max(rows // 4, 0)
    start = max(gpa // row - above, 0) * row
    last = max(_SPACE_END // row - rows, 0) * row
    return Window(min(start, last), cell, columns, rows)


class GpaMapPane(MomentPane):
    """A map with the range of the exit between brackets, and the same in words."""

    TITLE: ClassVar[Safe] = own("5 GPA map")
    SHORT: ClassVar[Safe] = own("5 GPA")
    PURPOSE: ClassVar[Safe] = own("Here stands which guest pages are shared and which private.")

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self._window: Window | None = None
        self._summed: GpaMap | None = None
        self._sum = 0

    def draw_moment(self, moment: Moment) -> Drawn:
        gpa_map = moment.gpa_map
        if gpa_map is None:
            return self._unknown(moment), (), None
        asked, changed = self._asked(moment), moment.changed
        marks = Marks(asked, changed)
        words = _words(marks)
        listed = min(len(gpa_map.edges) // 2 + 1, 4)
        rows = max(min(self.rows - len(words) - listed - 1, 16), 3)
        window = self._choose(asked or changed, gpa_map, rows)
        lines = [map_row(gpa_map, window, number, marks) for number in range(rows)]
        lines += [line(*_LEGEND), *words, *self._ranges(gpa_map)]
        return lines, (word(f"{size_text(window.cell)} a cell", "dim"),), None

    def _unknown(self, moment: Moment) -> list[Line]:
        text = "What is shared here follows from everything before it, which is still being read"
        return [
            *self.explain(word(f"{text}: this is row {moment.row}.")[0]),
        ]

    # --- which part ---------------------------------------------------------------------

    def _asked(self, moment: Moment) -> Asked | None:
        """The range of the row: GPA, size, whether private is wanted (or accessed)."""
        if self.timeline is None:
            return None
        summary: RowSummary = self.timeline.summary(moment.row)
        if summary.gpa is None or summary.gpa >= _SPACE_END:
            return None
        size = min(max(summary.size or 1, 1), _SPACE_END - summary.gpa)
        return summary.gpa, size, bool(summary.private)

    def _choose(self, asked: Asked | None, gpa_map: GpaMap, rows: int) -> Window:
        """The window shown before as long as the range is well inside it."""
        columns = 8
        while columns * 2 <= self.columns - _LABEL - 2:
            columns *= 2
        old = self._window
        fits = old is not None and (old.columns, old.rows) == (columns, rows)
        if asked is None:
            if old is not None and fits:
                return old
            first = next(gpa_map.shared_ranges(), None)
            if first is None:
                return window_around(0, 1 << 30, columns, rows)
            asked = first.start, first.end - first.start, False
        if old is None or not fits or not old.holds(asked[0], asked[1]):
            old = window_around(asked[0], asked[1], columns, rows)
        self._window = old
        return old

    def _ranges(self, gpa_map: GpaMap) -> list[Line]:
        total = (len(gpa_map.edges) + 1) // 2
        if not total:
            return [line((own("all private"), "dim"))]
        # A sum over every range: once for each map, not for each step.
        if self._summed is not gpa_map:
            self._summed, self._sum = gpa_map, gpa_map.shared_bytes
        text = f"{total} shared range{'s' * (total > 1)}, {size_text(self._sum)}"
        lines = [line(word(text, "title"))]
        for item in islice(gpa_map.shared_ranges(), _LISTED):
            lines.append(
                _range_line((own("  "), "dim"), (item.start, item.end - item.start, False))
            )
        if total > _LISTED:
            lines.append(line(word(f"  and {total - _LISTED} more", "dim")))
        return lines


# --- the map ----------------------------------------------------------------------------


class Marks(NamedTuple):
    """What stands out on the map: the range of the exit, and what was just converted."""

    asked: Asked | None
    changed: Asked | None

    def role(self, state: str, start: int, cell: int) -> str:
        """The role of a cell of this state."""
        if _overlaps(start, cell, self.changed):
            return f"{state}_now"
        return f"{state}_lit" if _overlaps(start, cell, self.asked) else state


def map_row(gpa_map: GpaMap, window: Window, number: int, marks: Marks) -> Line:
    """A row of the map; brackets stand beside those that the range of the exit touches."""
    row = window.columns * window.cell
    start = window.start + number * row
    address = word(f"{start:x}")[0]
    inside = _overlaps(start, row, marks.asked)
    spans: list[Span] = [(right(address, len(f"{min(window.end, _SPACE_END) - 1:x}")), "dim")]
    spans.append((_OPEN if inside else _SPACE, "focus"))
    roles = (
        marks.role(state, start + index * window.cell, window.cell)
        for index, state in enumerate(cell_states(gpa_map, start, window))
    )
    for role, same in groupby(roles):
        glyph = _GLYPHS[role.partition("_")[0]]
        spans.append((repeat(glyph, sum(1 for _ in same)), role))
    spans.append((_CLOSE if inside else _SPACE, "focus"))
    return line(*spans)


def cell_states(gpa_map: GpaMap, start: int, window: Window) -> list[str]:
    """The state of each cell of a row, in one pass over the ranges in it."""
    stop = min(start + window.columns * window.cell, _SPACE_END)
    states: list[str] = ["private"] * window.columns
    touched: dict[int, set[bool]] = {}
    for item in gpa_map.ranges(start, stop):
        first = (item.start - start) // window.cell
        last = (item.end - 1 - start) // window.cell
        if item.shared:
            states[first : last + 1] = ["shared"] * (last - first + 1)
        for edge in (first, last):
            touched.setdefault(edge, set()).add(item.shared)
    for index, kinds in touched.items():
        if len(kinds) > 1:
            states[index] = "mixed"
    return states


def _overlaps(start: int, size: int, item: Asked | None) -> bool:
    return item is not None and start < item[0] + item[1] and item[0] < start + size


# --- the same in words --------------------------------------------------------------------


def _words(marks: Marks) -> list[Line]:
    lines: list[Line] = []
    if marks.asked is not None:
        lines.append(_range_line(_EXIT, marks.asked))
    if marks.changed is not None:
        lines.append(_range_line(_CHANGED, marks.changed, own("→ ")))
    else:
        lines.append(line(_CHANGED, (own("nothing in this step"), "dim")))
    return lines


def _range_line(label: Span, item: Asked, arrow: Safe = _NONE) -> Line:
    gpa, size, private = item
    role = "private" if private else "shared"
    state = concat(arrow, own("private") if private else own("shared"))
    return line(
        label, word(f"{gpa:x} ", "value"), word(f"+{size_text(size)} ", "text"),
        (state, role),
    )  # fmt: skip
