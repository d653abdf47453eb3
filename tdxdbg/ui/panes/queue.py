"""Pane 1: the exit queue, a virtual list; only the rows that are seen are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from tdxdbg.decode.queue import Cell, Role, kind_filter, queue_line
from tdxdbg.decode.summary import RowSummary
from tdxdbg.decode.text import Safe
from tdxdbg.decode.values import time_text
from tdxdbg.errors import TraceError
from tdxdbg.timeline import Moment, Timeline
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
    width_of,
    word,
)
from tdxdbg.ui.matches import Matches
from tdxdbg.ui.panes.base import Drawn, MomentPane

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
_ARROW: Final = 4
_NAME_WIDTH: Final = 13
_RESULT_WIDTH: Final = 12
#: Narrower queues leave the time out.
_WITH_TIME: Final = 64
#: Wider arguments would only stand far from their result.
_ARGUMENTS_WIDTH: Final = 44
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
        self._time_width = 0
        #: The row of which another outcome is shown than the recorded one.
        self.what_if: int | None = None
        #: Called with a row that was clicked.
        self.choose_row: Callable[[int], None] = _nothing

    def count(self) -> int:
        return len(self.timeline or ()) or len(self.lines)

    def show(self, moment: Moment | None) -> None:
        if moment is None or not self.timeline:
            super().show(moment)
            return
        old, self.moment = self.moment, moment
        if not self.outer_size.height:
            return
        top = self._clamped(self._showing(moment.row))
        if top != self.top or old is None:
            self.top = top
            self.refresh()
        elif old.row != moment.row:
            self.refresh_row(old.row - self.top + self.inset)
            self.refresh_row(moment.row - self.top + self.inset)
        self.set_foot(self._foot())

    def draw(self, moment: Moment | None) -> Drawn:
        return self.explain(*self.empty), (), None

    def redraw_foot(self) -> None:
        """The count of matches has grown."""
        self.set_foot(self._foot())

    def redraw(self) -> None:
        """Everything anew: what the rows say has changed."""
        self.refresh()
        self.set_foot(self._foot())

    def _foot(self) -> tuple[Span, ...]:
        matches = self.matches
        if matches is None:
            return ()
        text = f"{matches.count} match" if matches.count == 1 else f"{matches.count} matches"
        if not matches.complete:
            text += f" in the first {matches.seen:,}"
        return (word(text, "dim"),)

    # --- rows -------------------------------------------------------------------------

    def line_at(self, index: int) -> Line:
        timeline = self.timeline
        if not timeline:
            return super().line_at(index)
        current = self.moment is not None and index == self.moment.row
        matched = self.matches is None or self.matches.matches(index)
        try:
            summary = timeline.summary(index)
        except TraceError as error:
            return line(word(f"{index:>6} {error}", "error"), current=current)
        cells = queue_line(summary)
        spans = self._spans(cells, shared=summary.shared)
        if not matched:
            spans = [(text, "dim") for text, _ in spans]
        mark = _MATCH if self.matches is not None and matched else _NONE
        here = _HERE if current else _NONE
        if index == self.what_if:
            spans = [*spans[:-3], (_WHAT_IF, "retry_badge")]
        about = _about(cells, summary)
        return line((here, "focus"), (mark, "focus"), *spans, current=current, about=about)

    def _spans(self, cells: list[Cell], shared: bool | None) -> list[Span]:
        index, time, vcpu, name, arguments, result = cells
        digits = max(3, len(str(max(self.count() - 1, 0))))
        spans: list[Span] = [(right(index.text, digits), "dim"), (_NONE, "dim")]
        if self._time_width and self.columns >= _WITH_TIME:
            spans += [(right(time.text, self._time_width), "dim"), (_NONE, "dim")]
        spans.append((pad(vcpu.text, 3), "dim"))
        used = 2 + width_of(spans) + _NAME_WIDTH + 1
        width = min(max(self.columns - used - _RESULT_WIDTH - 3, 8), _ARGUMENTS_WIDTH)
        room = max(self.columns - used - width - 3, 0)
        if width < _ALIGNED:
            arguments = arguments._replace(text=unpadded(arguments.text))
        if arguments.text:
            spans.append((pad(cut(name.text, _NAME_WIDTH), _NAME_WIDTH + 1), "name"))
            spans += self._arguments(pad(cut(arguments.text, width), width + 1), shared)
        else:
            both = _NAME_WIDTH + 1 + width
            spans.append((pad(cut(name.text, both), both + 1), "name"))
        role = _ROLES[result.role]
        says = result.text if len(result.text) <= room else _brief(result)
        return [*spans, (_GLYPHS[result.role], role), (_NONE, role), (cut(says, room), role)]

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
        if self.timeline is not None:
            self._measure_time(self.timeline)
        self.redraw()

    def _measure_time(self, timeline: Timeline) -> None:
        last = timeline.summary(len(timeline) - 1).time if len(timeline) else None
        self._time_width = 0 if last is None else len(time_text(last))

    # --- the mouse --------------------------------------------------------------------

    def clicked(self, index: int) -> None:
        self.choose_row(index)


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
