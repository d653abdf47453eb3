"""Pane 7: the exits around the current one, a lane for each vCPU, in the order of the journal."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import ClassVar, Final

from textual import events

from tdxdbg.abi import vmx
from tdxdbg.abi.ghci import SubFunction
from tdxdbg.decode.summary import RowSummary
from tdxdbg.decode.text import Safe
from tdxdbg.errors import TraceError
from tdxdbg.timeline import Moment, Timeline
from tdxdbg.ui.lines import (
    BLANK,
    Line,
    Span,
    blanks,
    joined,
    line,
    own,
    pad,
    repeat,
    width_of,
    word,
)
from tdxdbg.ui.panes.base import Drawn, MomentPane

#: The letter of a call in its lane, by sub-function.
_LETTERS: Final[dict[int, Safe]] = {
    SubFunction.MAP_GPA: own("M"),
    SubFunction.IO: own("i"),
    SubFunction.MMIO: own("m"),
    SubFunction.HLT: own("h"),
    SubFunction.CPUID: own("c"),
    SubFunction.RDMSR: own("r"),
    SubFunction.WRMSR: own("w"),
    SubFunction.REPORT_FATAL_ERROR: own("F"),
    SubFunction.GET_QUOTE: own("Q"),
    SubFunction.GET_TD_VM_CALL_INFO: own("I"),
    SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT: own("N"),
}
_HYPERCALL: Final = own("H")
_OTHER_CALL: Final = own("u")
_FAULT: Final = own("p")
_OTHER_EXIT: Final = own("x")
_UNKNOWN: Final = own("?")
_NOTHING: Final = own("─")
_RETRY: Final = own("↻")
_ERROR: Final = own("‼")
_HERE: Final = own("▶")
_ARROW: Final = own("↑")
_SPACE: Final = own(" ")
_LEGEND: Final = (
    (own("M"), own("MapGPA")), (own("i"), own("IO")), (own("m"), own("MMIO")),
    (own("h"), own("HLT")), (own("c"), own("CPUID")), (own("r w"), own("MSR")),
    (own("H"), own("hypercall")), (own("F"), own("fatal")), (own("Q"), own("quote")),
    (own("p"), own("page")), (own("x"), own("other exit")), (own("u"), own("other call")),
)  # fmt: skip
#: Columns that an exit takes: what is special about it, and what it is.
_CELLS: Final = 2
#: Columns between two row numbers.
_APART: Final = 3

Cell = tuple[Span, Span]


class LanesPane(MomentPane):
    """Reads only the exits that are seen."""

    TITLE: ClassVar[Safe] = own("7 vCPU lanes")
    SHORT: ClassVar[Safe] = own("7 lanes")
    PURPOSE: ClassVar[Safe] = own("Here stands which vCPU left the TD when, and why.")

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.first = 0
        self._vcpus: set[int] = set()
        self._lane = 0
        self._shifted = False
        self._clicked = 0
        #: Called with a row that was clicked.
        self.choose_row: Callable[[int], None] = _nobody

    def attach(self, timeline: Timeline) -> None:
        if self.timeline is None or self.timeline.trace is not timeline.trace:
            self._vcpus = set()
        super().attach(timeline)

    def show(self, moment: Moment | None) -> None:
        if self._other_row(moment):
            self._shifted = False
        super().show(moment)

    # --- which exits ----------------------------------------------------------------------

    @property
    def _label(self) -> int:
        """Cells that the names of the lanes take."""
        return len(str(max(self._vcpus, default=0))) + 3

    def _seen_rows(self) -> range:
        """The exits that have a column."""
        count = max((self.columns - self._label) // _CELLS, 1)
        total = len(self.timeline or ())
        first = min(max(self.first, 0), max(total - count, 0))
        return range(first, min(first + count, total))

    def _place(self, row: int) -> None:
        """Move the window as little as the exit needs; far away, to its middle."""
        seen = self._seen_rows()
        count = len(seen)
        margin = count // 6
        if not seen.start - count <= row < seen.stop + count:
            self.first = row - count // 2
        elif row < seen.start + margin:
            self.first = row - margin
        elif row >= seen.stop - margin:
            self.first = row - count + 1 + margin
        self.first = self._clamped_first(self.first)

    def _clamped_first(self, first: int) -> int:
        count = max((self.columns - self._label) // _CELLS, 1)
        return min(max(first, 0), max(len(self.timeline or ()) - count, 0))

    # --- drawing ------------------------------------------------------------------------

    def draw_moment(self, moment: Moment) -> Drawn:
        if not self.timeline:
            return [], (), None
        self._vcpus.add(moment.vcpu)
        if not self._shifted:
            self._place(moment.row)
        exits = {row: self._summary(row) for row in self._seen_rows()}
        self._vcpus |= {item.vcpu for item in exits.values() if item.vcpu is not None}
        # A longer name of a lane takes a column away.
        rows = self._seen_rows()
        lanes = sorted(self._vcpus)
        room = max(self.rows - 1, 1)
        shown = self._lanes(lanes, moment.vcpu, room)
        lines = [self._lane_line(vcpu, rows, exits, moment) for vcpu in shown]
        lines.append(self._axis(rows, moment.row))
        if self.rows - len(lines) >= 2:
            lines += [BLANK, *self._legend(self.rows - len(lines) - 1)]
        return lines, self._foot(shown, len(lanes)), None

    def _summary(self, row: int) -> RowSummary:
        assert self.timeline is not None
        try:
            return self.timeline.summary(row)
        except TraceError:
            return RowSummary(row)

    def _lanes(self, lanes: list[int], current: int, room: int) -> list[int]:
        """As many lanes as fit, that of the current exit among them."""
        at = lanes.index(current)
        last = max(len(lanes) - room, 0)
        if not self._shifted:
            self._lane = min(max(self._lane, at - room + 1), at)
        self._lane = min(max(self._lane, 0), last)
        return lanes[self._lane : self._lane + room]

    def _lane_line(
        self, vcpu: int, rows: range, exits: dict[int, RowSummary], moment: Moment
    ) -> Line:
        own_lane = vcpu == moment.vcpu
        role = "focus" if own_lane else "name"
        spans: list[Span] = [
            (_HERE if own_lane else _SPACE, "focus"),
            (pad(word(f"v{vcpu}")[0], self._label - 1), role),
        ]
        cells: list[Span] = []
        for row in rows:
            summary = exits.get(row)
            if summary is not None and summary.vcpu == vcpu:
                cells += _cell(summary, current=row == moment.row)
            else:
                cells += [(_NOTHING, "frame"), (_NOTHING, "frame")]
        for rest, same in groupby(cells, key=lambda cell: cell[0] == _NOTHING):
            group = list(same)
            spans += [(repeat(_NOTHING, len(group)), "frame")] if rest else group
        return line(*spans)

    def _axis(self, rows: range, current: int) -> Line:
        """Row numbers below their columns, the current one with an arrow."""
        width = len(rows) * _CELLS
        marks: list[tuple[int, list[Span]]] = []
        taken = range(0)
        if current in rows:
            arrow = (current - rows.start) * _CELLS + 1
            number = word(str(current), "focus")
            # The number stands behind its arrow, or before it where there is no room.
            behind = arrow + 1 + len(number[0]) <= width
            start = arrow if behind else arrow - len(number[0])
            found = [(_ARROW, "focus"), number]
            marks.append((max(start, 0), found if behind else found[::-1]))
            taken = range(start - _APART, start + 1 + len(number[0]) + _APART)
        step = _step(len(str(rows.stop)))
        for row in range(rows.start + -rows.start % step, rows.stop, step):
            number = word(str(row), "dim")
            start = (row - rows.start) * _CELLS + 1
            stop = start + len(number[0])
            if stop <= width and start not in taken and stop not in taken:
                marks.append((start, [number]))
        spans: list[Span] = [(blanks(self._label), "dim")]
        at = 0
        for start, group in sorted(marks, key=lambda mark: mark[0]):
            spans += [(blanks(start - at), "dim"), *group]
            at = start + width_of(group)
        return line(*spans)

    def _legend(self, room: int) -> list[Line]:
        lines: list[Line] = []
        groups = [[(letter, "value"), (_SPACE, "dim"), (text, "dim")] for letter, text in _LEGEND]
        groups += [[(_RETRY, "retry"), (_SPACE, "dim"), (own("RETRY"), "dim")],
                   [(_ERROR, "error"), (_SPACE, "dim"), (own("error"), "dim")]]  # fmt: skip
        row: list[list[Span]] = []
        for group in groups:
            if row and width_of(joined([*row, group], own("  "))) > self.columns:
                lines.append(line(*joined(row, own("  "))))
                row = []
            row.append(group)
        return [*lines, line(*joined(row, own("  ")))][:room]

    def _foot(self, shown: list[int], total: int) -> tuple[Span, ...]:
        if len(shown) == total:
            return ((self.spoken("{previous_of_vcpu} {next_of_vcpu} same vCPU"), "dim"),)
        return (word(f"v{shown[0]} to v{shown[-1]} of {total} vCPUs", "dim"),)

    # --- scrolling, the mouse -------------------------------------------------------------

    def scroll_lines(self, lines: int, cells: int = 0) -> None:
        """Other lanes, other exits; the next key that moves comes back."""
        if self.moment is None:
            return
        self._shifted = True
        self._lane += lines
        self.first = self._clamped_first(self.first + cells)
        self.show(self.moment)

    def on_click(self, event: events.Click) -> None:
        self._clicked = event.x - self.inset - self._label
        super().on_click(event)

    def clicked(self, index: int) -> None:
        rows = self._seen_rows()
        if 0 <= self._clicked < len(rows) * _CELLS:
            self.choose_row(rows.start + self._clicked // _CELLS)


def letter_of(summary: RowSummary) -> Safe:
    """The letter of an exit."""
    if summary.leaf is not None:
        return _LETTERS.get(summary.leaf, _OTHER_CALL)
    if summary.vendor:
        return _HYPERCALL
    if summary.reason in (vmx.EPT_VIOLATION, vmx.EPT_MISCONFIG):
        return _FAULT
    if summary.reason is not None or summary.rax is not None:
        return _UNKNOWN if summary.reason == vmx.TDCALL else _OTHER_EXIT
    return _UNKNOWN


def _cell(summary: RowSummary, *, current: bool) -> Cell:
    """What is special about an exit, and its letter."""
    letter = letter_of(summary)
    if summary.error:
        mark, role = (_ERROR, "error"), "error"
    elif summary.retry:
        mark, role = (_RETRY, "retry"), "retry"
    else:
        mark, role = (_NOTHING, "frame"), "value"
    return mark, (letter, "badge" if current else role)


def _step(digits: int) -> int:
    """Every how many rows a number is written, so that they stand apart."""
    wanted = (digits + _APART) // _CELLS + 1
    return next(step for step in (5, 10, 20, 50) if step >= wanted)


def _nobody(row: int) -> None:
    """No one listens."""
