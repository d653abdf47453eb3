"""Pane 4: the registers before and after."""

from __future__ import annotations

from typing import ClassVar, Final

from tdxdbg.abi.regs import REG_NAMES
from tdxdbg.decode.text import Safe
from tdxdbg.decode.tree import RegRow, register_rows
from tdxdbg.engine import Outcome
from tdxdbg.timeline import Moment
from tdxdbg.ui.lines import Line, Span, cut, line, own, pad, width_of, word
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
_LEGEND: Final = own("◆ selected by RCX  · hidden  ? not recorded")
_SHORT_LEGEND: Final = own("◆ RCX  · hidden  ? unknown")


class RegistersPane(MomentPane):
    """RAX to R15: what KVM saw, and what the guest gets."""

    TITLE: ClassVar[Safe] = own("4 registers")
    SHORT: ClassVar[Safe] = own("4 regs")
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
        width = max((len(row.before or _UNKNOWN) for row in rows), default=1)
        differ = {item.field: item.computed for item in moment.differences}
        lines = [self._head(width, entered, tdcall)]
        for at in order:
            computed = bool(moment.after_computed >> at & 1) and moment.recorded is not None
            lines.append(self._row(rows[at], width, entered, computed, tdcall))
            if REG_NAMES[at] in differ:
                value = differ[REG_NAMES[at]]
                text = f"{value:x}" if isinstance(value, int) else "?"
                lines.append(line((_ENGINE, "error"), word(text, "error")))
        return lines, self._foot(), None

    def _head(self, width: int, entered: bool, tdcall: bool) -> Line:
        before = own("guest gave") if tdcall else own("at the exit")
        spans: list[Span] = [(own("      "), "dim"), (pad(before, width), "dim")]
        if entered:
            return line(*spans, (own("   guest gets"), "dim"))
        return line(*spans, (own("   TD not entered"), "dim"))

    def _foot(self) -> tuple[Span, ...]:
        long = len(_LEGEND) + 6 <= self.outer_size.width
        return ((_LEGEND if long else _SHORT_LEGEND, "dim"),)

    def _row(self, row: RegRow, width: int, entered: bool, computed: bool, tdcall: bool) -> Line:
        if not row.selected:
            return line(
                (pad(row.name, 4), "dim"), (_HIDDEN, "dim"), (_SPACE, "dim"), (row.meaning, "dim")
            )
        mark = (_UNKNOWN, "unknown") if not row.known else (_SELECTED, "focus")
        if row.known and not tdcall:
            mark = (_SPACE, "dim")
        spans: list[Span] = [(pad(row.name, 4), "name"), mark, (_SPACE, "dim")]
        before = row.before if row.before is not None else _UNKNOWN
        spans.append((pad(before, width), _role(row.before)))
        if entered:
            spans += self._after(row, computed)
        room = self.columns - width_of(spans) - 1
        if row.meaning and room >= 4:
            spans += [(_SPACE, "dim"), (cut(row.meaning, room), "text")]
        return line(*spans)

    def _after(self, row: RegRow, computed: bool) -> list[Span]:
        if row.after is None:
            return [(_SAME, "dim"), (_SPACE, "dim"), (_UNKNOWN, "unknown")]
        tail: list[Span] = [(_COMPUTED, "unknown")] if computed else []
        if row.changed:
            return [(_CHANGED, "changed"), (row.after, "changed"), *tail]
        if not row.known:
            return [(_CHANGED, "dim"), (row.after, "value"), *tail]
        return [(_SAME, "dim"), *tail]


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
