"""Pane 4: the registers before and after."""

from __future__ import annotations

from typing import ClassVar, Final

from tdxdbg.abi.regs import REG_NAMES
from tdxdbg.decode.node import UNFILTERED
from tdxdbg.decode.text import Safe
from tdxdbg.decode.tree import RegRow, register_rows
from tdxdbg.engine import Outcome
from tdxdbg.timeline import Moment
from tdxdbg.ui.lines import (
    About,
    Line,
    Span,
    blanks,
    concat,
    cut,
    line,
    own,
    pad,
    width_of,
    word,
)
from tdxdbg.ui.panes.base import Drawn, MomentPane, call_at

_SELECTED: Final = own("◆")
_HIDDEN: Final = own("·")
_UNKNOWN: Final = own("?")
_DIFFERENT: Final = own("≠")
_SPACE: Final = own(" ")
_CHANGED: Final = own(" → ")
_SAME: Final = own(" =")
_NO_ENTRY: Final = own("   ")
_ENGINE: Final = own("     ≠ engine ")
_COMPUTED: Final = own("~")
_NONE_RECORDED: Final = (
    own("No register was recorded here: trace events of KVM and strace have none."),
    own("A recording made by tdxdbg record, or a live run, has all of them."),
)
_HEX: Final = own("0x")
#: The longest that fits.
_LEGENDS: Final = (
    own("◆ selected by RCX  · hidden  ? not recorded  → changed  ~ only computed"),
    own("◆ selected by RCX  · hidden  ? not recorded"),
    own("◆ RCX  · hidden  ? unknown"),
)
#: From so many cells on new values have a column of their own, and below so
#: many the old ones have none.
_ROOMY: Final = 58
_NARROW: Final = 52


class RegistersPane(MomentPane):
    """RAX to R15: what KVM saw, and what the guest gets."""

    TITLE: ClassVar[Safe] = own("4 registers")
    SHORT: ClassVar[Safe] = own("4 regs")
    POINTS: ClassVar[bool] = True
    PURPOSE: ClassVar[Safe] = own("Here stand the registers before and after a step.")

    def draw_moment(self, moment: Moment) -> Drawn:
        step = moment.shown
        entered = step is not None and step.outcome is Outcome.REENTER_TD
        call = call_at(self.timeline, moment)
        rows = register_rows(
            call,
            moment.before,
            moment.after if entered else None,
            moment.before_known,
            moment.after_known,
        )
        if not moment.before_known and not (entered and moment.after_known):
            return self.explain(*_NONE_RECORDED), (), None
        tdcall = call.tdcall is not False
        # What matters first: the registers that cross, as the GHCI names them.
        order = sorted(range(len(rows)), key=lambda at: _rank(rows[at], at, tdcall))
        widths = self._widths(rows, entered)
        differ = {item.field: item.computed for item in moment.differences}
        lines = [self._head(widths, entered, tdcall)]
        for at in order:
            computed = bool(moment.after_computed >> at & 1) and moment.recorded is not None
            lines.append(self._row(rows[at], widths, entered, computed, tdcall))
            if REG_NAMES[at] in differ:
                value = differ[REG_NAMES[at]]
                text = f"{value:x}" if isinstance(value, int) else "?"
                lines.append(line((_ENGINE, "error"), word(text, "error")))
        return lines, self._foot(), None

    def _widths(self, rows: list[RegRow], entered: bool) -> tuple[int, int]:
        """Cells of the values before and after; 0 after: what they say follows at once."""
        before = max((len(row.before or _UNKNOWN) for row in rows if row.selected), default=1)
        if not entered or self.columns < _ROOMY:
            return before, 0
        shown = (len(row.after or _UNKNOWN) for row in rows if row.selected and _moves(row))
        return before, max(shown, default=0) + 1

    def _head(self, widths: tuple[int, int], entered: bool, tdcall: bool) -> Line:
        before = own("guest gave") if tdcall else own("at the exit")
        spans: list[Span] = [(own("      "), "dim"), (pad(before, widths[0]), "dim")]
        if entered:
            return line(*spans, (own("   guest gets"), "dim"))
        return line(*spans, (own("   TD not entered"), "dim"))

    def _foot(self) -> tuple[Span, ...]:
        fitting = (text for text in _LEGENDS if len(text) + 6 <= self.outer_size.width)
        return ((next(fitting, _LEGENDS[-1]), "dim"),)

    def _row(
        self, row: RegRow, widths: tuple[int, int], entered: bool, computed: bool, tdcall: bool
    ) -> Line:
        if not row.selected:
            return line(
                (pad(row.name, 4), "dim"), (_HIDDEN, "dim"), (_SPACE, "dim"), (row.meaning, "dim")
            )
        mark = (_UNKNOWN, "unknown") if not row.known else (_SELECTED, "focus")
        if row.known and not tdcall:
            mark = (_SPACE, "dim")
        spans: list[Span] = [(pad(row.name, 4), "name"), mark, (_SPACE, "dim")]
        before = row.before if row.before is not None else _UNKNOWN
        # In a narrow pane what a new value says is worth more than a straight column.
        close = entered and row.changed and not widths[1] and self.columns < _NARROW
        spans.append((pad(before, 0 if close else widths[0]), _role(row.before)))
        if entered:
            after = self._after(row, computed)
            column = widths[1] + len(_CHANGED) if widths[1] else 0
            spans += [*after, (blanks(column - width_of(after)), "dim")]
        room = self.columns - width_of(spans) - 1
        if row.meaning and room >= 4:
            spans += [(_SPACE, "dim"), (cut(row.meaning, room), "text")]
        return line(*spans, about=_about(row))

    def _after(self, row: RegRow, computed: bool) -> list[Span]:
        if row.after is None:
            return [(_SAME, "dim"), (_SPACE, "dim"), (_UNKNOWN, "unknown")]
        tail: list[Span] = [(_COMPUTED, "unknown")] if computed else []
        if row.changed:
            return [(_CHANGED, "changed"), (row.after, "changed"), *tail]
        if not row.known:
            return [(_CHANGED, "dim"), (row.after, "value"), *tail]
        return [(_SAME, "dim"), *tail]


def _moves(row: RegRow) -> bool:
    """Whether a value stands behind the arrow."""
    return row.changed or not row.known or row.after is None


def _about(row: RegRow) -> About | None:
    """The value that the guest gets where it is another one, else the one that it gave."""
    shown = row.after if row.after is not None and _moves(row) else row.before
    if shown is None:
        return None
    name = word(row.name.lower())[0]
    where = None
    if row.before is not None and name not in UNFILTERED:
        where = f"{name} == 0x{row.before}"
    return About(name, concat(_HEX, shown), int(shown, 16), where)


#: R10 to R15 carry a call; then the rest by number.
_FIRST: Final = ("rcx", "r10", "r11", "r12", "r13", "r14", "r15")


def _rank(row: RegRow, at: int, tdcall: bool) -> tuple[bool, bool, int]:
    name = REG_NAMES[at]
    place = _FIRST.index(name) if name in _FIRST else len(_FIRST) + at
    # After an asynchronous exit four registers say what happened.
    return not row.selected, not tdcall and not row.meaning, place


def _role(value: Safe | None) -> str:
    if value is None:
        return "unknown"
    return "dim" if value == "0" else "value"
