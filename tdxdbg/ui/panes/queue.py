"""Pane 1: the exit queue, a virtual list; only the rows that are seen are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from tdxdbg.decode.queue import (
    Cell,
    Role,
    delta_text,
    exits_text,
    gpa_text,
    kind_filter,
    queue_line,
    size_cell,
)
from tdxdbg.decode.summary import RowSummary
from tdxdbg.decode.text import Safe
from tdxdbg.decode.values import time_text
from tdxdbg.errors import TraceError
from tdxdbg.timeline import Moment, Timeline
from tdxdbg.ui.columns import DEFAULT, fitted
from tdxdbg.ui.lines import (
    About,
    Line,
    Span,
    concat,
    cut,
    line,
    own,
    pad,
    part,
    right,
    unpadded,
    word,
    wrap,
)
from tdxdbg.ui.matches import Matches
from tdxdbg.ui.overview import EMPTY, Marks
from tdxdbg.ui.panes.base import Drawn, MomentPane
from tdxdbg.ui.shown import All, Selected

_ROLES: Final[dict[Role, str]] = {
    Role.INDEX: "dim",
    Role.TIME: "dim",
    Role.VCPU: "dim",
    Role.NAME: "name",
    Role.ARGUMENTS: "value",
    Role.OK: "ok",
    Role.KERNEL: "dim",
    Role.RETRY: "retry",
    Role.ERROR: "error",
    Role.USERSPACE: "text",
    Role.UNKNOWN: "unknown",
}
#: The same by glyph, so that colour is never alone.
_GLYPHS: Final[dict[Role, Safe]] = {
    Role.OK: own("✓"),
    Role.KERNEL: own("·"),
    Role.RETRY: own("↻"),
    Role.ERROR: own("‼"),
    Role.USERSPACE: own("←"),
    Role.UNKNOWN: own("?"),
}
_HERE: Final = own("▶")
_MATCH: Final = own("≡")
_NONE: Final = own(" ")
_WHAT_IF: Final = own("WHAT IF")
_GAP: Final = own("  ")
_STOP: Final = (own("●"), "error")
_BLANK: Final = (_NONE, "focus")
_ARROW: Final = 4
#: From this width on addresses keep their zeros, and stand below each other.
_ALIGNED: Final = 34


class QueuePane(MomentPane):
    """Rows of the trace; the row of the moment is marked and kept in view."""

    TITLE: ClassVar[Safe] = own("1 exits")
    SHORT: ClassVar[Safe] = own("1 exits")
    PURPOSE: ClassVar[Safe] = own(
        "Open a recording with: tdxdbg replay FILE. The shipped ones: tdxdbg samples."
    )

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.matches: Matches | None = None
        #: Rows that the filter does not select are not listed; else they are dim.
        self.hides = True
        #: Names out of `columns.COLUMNS`.
        self.wanted: tuple[str, ...] = DEFAULT
        #: Whether a breakpoint would stop at a row.
        self.stops_at: Callable[[int], bool] = _never
        #: Bookmarks: rows with their letters.
        self.letters: dict[int, str] = {}
        #: What is said below where the filter selects nothing.
        self.advice: Sequence[Safe] = ()
        self._overview = EMPTY
        self._edge: tuple[Span | None, ...] = ()
        self._time_width = 0
        self._listed: All = All(0)
        self._listed_for: tuple[object, ...] = ()
        self._widths: dict[str, int] = {}
        #: The row of which another outcome is shown than the recorded one.
        self.what_if: int | None = None
        #: Called with a row that was clicked.
        self.choose_row: Callable[[int], None] = _nothing

    # --- what is listed ---------------------------------------------------------------

    @property
    def listed(self) -> All:
        """The rows that stand in the lines now."""
        total, matches = len(self.timeline or ()), self.matches
        here = self.moment.row if self.moment is not None else 0
        selects = matches is not None and self.hides and total
        key = (total, here, matches, matches.count) if matches and selects else (total,)
        if key != self._listed_for:
            self._listed_for = key
            self._listed = Selected(matches.rows, here) if matches and selects else All(total)
        return self._listed

    def count(self) -> int:
        if not self.timeline:
            return len(self.lines)
        return len(self.listed) + len(self._advice_lines())

    def show(self, moment: Moment | None) -> None:
        if moment is None or not self.timeline:
            super().show(moment)
            return
        old, self.moment = self.moment, moment
        if not self.outer_size.height:
            return
        before, listed = self._listed, self.listed
        top = self._clamped(self._showing(listed.line(moment.row)))
        if top != self.top or old is None or listed is not before:
            self.top = top
            self.refresh()
        elif old.row != moment.row:
            self.refresh_row(listed.line(old.row) - self.top + self.inset)
            self.refresh_row(listed.line(moment.row) - self.top + self.inset)
        self.set_foot(self._foot())
        self._show_edge()

    def draw(self, moment: Moment | None) -> Drawn:
        return self.explain(*map(self.spoken, self.empty)), (), None

    def redraw_foot(self) -> None:
        """The count of matches has grown, and so has the list of them."""
        before = self._listed
        if self.listed is not before:
            self.redraw()
        self.set_foot(self._foot())

    def redraw(self) -> None:
        """Everything anew: what the rows say has changed."""
        if self.moment is not None and self.outer_size.height:
            self.top = self._clamped(self._showing(self.listed.line(self.moment.row)))
        self.refresh()
        self.set_foot(self._foot())

    def _foot(self) -> tuple[Span, ...]:
        matches = self.matches
        if matches is None:
            return ()
        text = f"{matches.count} match" if matches.count == 1 else f"{matches.count} matches"
        if not matches.complete:
            text += f" in the first {matches.seen:,}"
        room = max(self.columns - len(text) - 8, 0)
        wanted = cut(word(matches.wanted.text)[0], room)
        return (wanted, "value"), (_GAP, "dim"), word(text, "dim")

    # --- rows -------------------------------------------------------------------------

    def line_at(self, index: int) -> Line:
        timeline = self.timeline
        if not timeline:
            return super().line_at(index)
        listed = self.listed
        if index >= len(listed):
            return self._advice_lines()[index - len(listed)]
        row = listed.row(index)
        current = self.moment is not None and row == self.moment.row
        matched = self.matches is None or self.matches.matches(row)
        try:
            summary = timeline.summary(row)
            previous = timeline.summary(listed.row(index - 1)) if self._deltas and index else None
        except TraceError as error:
            return line(word(f"{row:>6} {error}", "error"), current=current)
        cells = queue_line(summary)
        marks = self._marks(row, cells[-1].role, matched)
        spans = self._spans(cells, summary, previous, self.columns - len(marks) - 1)
        if not matched:
            spans = [(text, "dim") for text, _ in spans]
        here = _HERE if current else _NONE
        if row == self.what_if:
            spans = [*spans[:-3], (_WHAT_IF, "retry_badge")]
        about = _about(cells, summary)
        return line((here, "focus"), *marks, *spans, current=current, about=about)

    def _marks(self, row: int, result: Role, matched: bool) -> tuple[Span, ...]:
        """A breakpoint or match; and where it is needed a bookmark, error or retry."""
        stops = self.stops_at(row)
        selected = (_MATCH, "focus") if self._dims and matched else _BLANK
        first = _STOP if stops else selected
        if not (self.letters or self._dims or "result" not in self.wanted):
            return (first,)
        letter = self.letters.get(row)
        if letter is not None:
            return first, word(letter, "focus"), _BLANK
        if stops and selected is not _BLANK:
            return first, selected, _BLANK
        telling = result in (Role.ERROR, Role.RETRY)
        return first, (_GLYPHS[result], _ROLES[result]) if telling else _BLANK, _BLANK

    @property
    def _dims(self) -> bool:
        return self.matches is not None and not self.hides

    @property
    def _deltas(self) -> bool:
        return "delta" in self.wanted

    def _fitted(self, room: int) -> dict[str, int]:
        """The columns with their widths."""
        digits = max(3, len(str(max(len(self.timeline or ()) - 1, 0))))
        return fitted(self.wanted, room, digits, self._time_width)

    def _spans(
        self,
        cells: list[Cell],
        summary: RowSummary,
        previous: RowSummary | None,
        room: int,
    ) -> list[Span]:
        index, time, vcpu, name, arguments, result = cells
        widths = self._fitted(room)
        texts = {
            "index": (index.text, "dim"),
            "time": (time.text, "dim"),
            "vcpu": (vcpu.text, "dim"),
            "name": (name.text, "name"),
            "gpa": (gpa_text(summary), "value"),
            "size": (size_cell(summary), "value"),
            "exit": (exits_text(summary), "text"),
        }
        if previous is not None:
            texts["delta"] = delta_text(previous.time, summary.time), "dim"
        if not arguments.text and "arguments" in widths and "name" in widths:
            # A name without arguments may take their room.
            widths = {**widths, "name": widths["name"] + widths["arguments"]}
            del widths["arguments"]
        spans: list[Span] = []
        used = 0
        for column, width in widths.items():
            if column == "result":
                spans += self._result(result, max(room - used - 2, 0))
            elif column == "arguments":
                spans += self._arguments(_sized(arguments.text, width), summary.shared)
            else:
                text, role = texts.get(column, _BLANK)
                spans += _placed(column, text, role, width)
            used += width
        return spans

    def _result(self, result: Cell, room: int) -> list[Span]:
        role = _ROLES[result.role]
        says = result.text if len(result.text) <= room else _brief(result)
        return [(_GLYPHS[result.role], role), (_NONE, role), (cut(says, room), role)]

    def _arguments(self, text: Safe, shared: bool | None) -> list[Span]:
        """The arguments; of a conversion, the direction in the colour of what is wanted."""
        if shared is None or text[1:2] != "→":
            return [(text, "value")]
        role = "shared" if shared else "private"
        return [(part(text, 0, _ARROW), role), (part(text, _ARROW), "value")]

    def attach(self, timeline: Timeline) -> None:
        super().attach(timeline)
        self._measure_time(timeline)

    def grown(self) -> None:
        """The recording has more rows now, or more in its last ones."""
        self._listed_for = ()
        if self.timeline is not None:
            self._measure_time(self.timeline)
        self.redraw()

    def _measure_time(self, timeline: Timeline) -> None:
        last = timeline.summary(len(timeline) - 1).time if len(timeline) else None
        self._time_width = 0 if last is None else len(time_text(last))

    # --- the whole recording, in the right edge ---------------------------------------

    def show_overview(self, marks: Marks) -> None:
        """Where marks lie in the whole recording."""
        self._overview = marks
        self._show_edge()

    def _show_edge(self) -> None:
        """Only what differs is drawn again."""
        here = self.moment.row if self.moment is not None else None
        before, self._edge = self._edge, self._overview.edge(self.rows, here)
        if len(before) != len(self._edge):
            self.refresh()
            return
        for y, (old, new) in enumerate(zip(before, self._edge, strict=True)):
            if old != new:
                self.refresh_row(y + self.inset)

    def mark_at(self, y: int) -> Span | None:
        return self._edge[y] if y < len(self._edge) else None

    def edge_clicked(self, y: int) -> None:
        cells = self._overview.cells(self.rows)
        if self.timeline and 0 <= y < len(cells):
            self.choose_row(cells[y].row)

    # --- the mouse --------------------------------------------------------------------

    def clicked(self, index: int) -> None:
        if index < len(self.listed):
            self.choose_row(self.listed.row(index))

    # --- nothing is selected ----------------------------------------------------------

    def _advice_lines(self) -> list[Line]:
        matches = self.matches
        if matches is None or not self.hides or matches.count or not matches.complete:
            return []
        return [line((piece, "dim")) for text in self.advice for piece in wrap(text, self.columns)]


def _sized(text: Safe, width: int) -> Safe:
    """Arguments in a column of that width; with little room, without the zeros of addresses."""
    if width - 1 < _ALIGNED:
        text = unpadded(text)
    return pad(cut(text, width - 1), width)


def _placed(column: str, text: Safe, role: str, width: int) -> list[Span]:
    """A cell in its column: numbers at the right of it."""
    if column == "vcpu":
        return [(pad(text, width), role)]
    if column in _AT_RIGHT:
        return [(right(cut(text, width - 1), width - 1), role), (_NONE, role)]
    return [(pad(cut(text, width - 1), width), role)]


_AT_RIGHT: Final = frozenset({"index", "time", "delta", "size"})


def _about(cells: list[Cell], summary: RowSummary) -> About:
    """The exit; its filter selects exits of its kind."""
    return About(concat(own("exit "), cells[0].text), cells[3].text, None, kind_filter(summary))


def _brief(result: Cell) -> Safe:
    """`userspace` for `userspace: KVM_EXIT_IO`, which the name says too."""
    if result.role is not Role.USERSPACE or ":" not in result.text:
        return result.text
    return part(result.text, 0, result.text.index(":"))


def _nothing(row: int) -> None:
    """No one listens."""


def _never(row: int) -> bool:
    return False
