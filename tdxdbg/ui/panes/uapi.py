"""Pane 3: struct kvm_run as userspace sees it, and what userspace answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from textual import events

from tdxdbg.decode.text import Safe
from tdxdbg.decode.tree import UapiRow, decode_answer, decode_run
from tdxdbg.decode.values import errno_text
from tdxdbg.engine import Completer, Outcome, Step
from tdxdbg.engine.recorded import KNOWN_COMPLETER, KNOWN_ERRNO, KNOWN_RUN_FLAGS
from tdxdbg.timeline import Difference, Moment
from tdxdbg.ui.answer.form import AnswerForm
from tdxdbg.ui.answer.outcomes import Page, outcome_lines
from tdxdbg.ui.answer.pending import pending_lines
from tdxdbg.ui.lines import (
    BLANK,
    About,
    Line,
    Span,
    blanks,
    concat,
    line,
    own,
    pad,
    part,
    right,
    width_of,
    word,
    wrap,
)
from tdxdbg.ui.panes.base import Drawn, MomentPane
from tdxdbg.ui.panes.fields import about_field, overlaps

_COMPLETER: Final = own("complete_userspace_io")
_WRITTEN: Final = own(" ")
_STALE: Final = own("·")
_HERE: Final = own("▶")
_UNKNOWN: Final = own("?")
_ANSWER: Final = own("←")
_DIFFERENT: Final = own("≠")
_SPACE: Final = own(" ")
_INDENT: Final = own("       ")
_FAILED: Final = own("KVM_RUN failed: ")
_RETURNED: Final = own("KVM_RUN returned 0")
_ENGINE: Final = own("engine: ")
_IN_KERNEL: Final = own("Handled in the kernel: userspace sees nothing of this exit.")
_NOT_RECORDED: Final = own(
    "What KVM did with this was not recorded, and does not follow from what was."
)
_ON: Final = "{step} goes on to the next step."
_ENTERED: Final = own("The TD was entered: userspace sees nothing of this step. Its last exit:")


class UapiPane(MomentPane):
    """Offset, field, value, meaning; which fields KVM wrote, and the pending completion."""

    TITLE: ClassVar[Safe] = own("3 uAPI kvm_run")
    SHORT: ClassVar[Safe] = own("3 uAPI")
    POINTS: ClassVar[bool] = True
    PURPOSE: ClassVar[Safe] = own("Here stands what userspace finds in struct kvm_run.")

    def __init__(self, id: str) -> None:
        super().__init__(id)
        #: The answer that a live run waits for, and the row and step that it is to.
        self.form: AnswerForm | None = None
        self.form_at = (-1, -1)
        #: Called when the typed answer is to be given, or was dropped.
        self.give: Callable[[], None] = _nobody
        self.dropped: Callable[[], None] = _nobody
        self._lit: tuple[int, int] | None = None
        #: Another answer to an exit of a recording, and what comes of it.
        self.page: Page | None = None

    def light(self, where: tuple[int, int] | None) -> None:
        if where != self._lit:
            self._lit = where
            self.show(self.moment)

    def draw_moment(self, moment: Moment) -> Drawn:
        step = moment.shown
        if step is None:
            return self.explain(_NOT_RECORDED, self.spoken(_ON)), (), None
        if step.outcome is Outcome.REENTER_TD:
            return [*self._tried(moment), *self._entered(moment)], (), None
        lines = self._fields(moment, step) + self._completer(moment, step)
        if self.form is not None and self.form_at == (moment.row, moment.step):
            # What a person can do comes first.
            first, at = pending_lines(self.form, moment, self.columns, self.key)
            return [*first, BLANK, *lines], self._foot(), at
        lines = [*self._tried(moment), *lines, *self._answer(moment, step)]
        return lines, self._foot(), None

    def _tried(self, moment: Moment) -> list[Line]:
        """What another answer to this exit does, where one is tried."""
        page = self.page
        if page is None or (page.found.row, page.found.step) != (moment.row, moment.step):
            return []
        return [*outcome_lines(page, self.columns, self.key), BLANK]

    def _foot(self) -> tuple[Span, ...]:
        if self.columns < 44:
            return ()
        return ((own("← answer  · stale  ? not recorded"), "dim"),)

    def _entered(self, moment: Moment) -> list[Line]:
        """Nothing for userspace in this step: what its last exit showed, and its answer."""
        if not moment.step or self.timeline is None:
            return self.explain(_IN_KERNEL, self.spoken(_ON))
        before = self.timeline.moment(moment.row, moment.step - 1)
        step = before.shown
        lines = self.explain(_ENTERED)
        if step is None:
            return lines
        return [*lines, BLANK, *self._fields(before, step), *self._answer(before, step)]

    def _fields(self, moment: Moment, step: Step) -> list[Line]:
        lines = [self._returned(moment, step)]
        if step.run is not None:
            known = moment.recorded is None or moment.recorded_known & KNOWN_RUN_FLAGS
            rows = decode_run(step.run, step.run_flags if known else None, moment.td)
            lines += [*self._rows(rows, moment.differences), BLANK]
        return lines

    def _returned(self, moment: Moment, step: Step) -> Line:
        if step.outcome is not Outcome.KVM_ERROR:
            return line((_RETURNED, "dim"))
        known = moment.recorded is None or moment.recorded_known & KNOWN_ERRNO
        return line(
            (_FAILED, "error"), word(f"-{errno_text(step.errno)}" if known else "?", "error")
        )

    # --- fields -------------------------------------------------------------------------

    def _rows(self, rows: list[UapiRow], differences: tuple[Difference, ...]) -> list[Line]:
        differ = {item.field: item for item in differences}
        rows = _folded(rows)
        names = max((len(_short(row.field, at)) for at, row in enumerate(rows)), default=0)
        values = max((len(row.raw) for row in rows if len(row.raw) <= 18), default=0)
        lines: list[Line] = []
        for at, row in enumerate(rows):
            key = "run.flags" if row.field == "flags" else row.field.replace("io data", "io.data")
            lines += self._row(row, _short(row.field, at), names, values, differ.get(key))
        return lines

    def _row(
        self, row: UapiRow, name: Safe, names: int, values: int, difference: Difference | None
    ) -> list[Line]:
        role = "value" if row.written else "unknown"
        lit = overlaps((row.offset, row.size), self._lit)
        head: list[Span] = [
            (right(_number(row.offset), 4), "dim"),
            (_HERE if lit else _SPACE, "focus" if lit else "dim"),
            (_mark(row), "focus" if row.answer else "unknown"),
            (_SPACE, "dim"),
            (pad(name, names + 1), "focus" if lit else "name"),
            (pad(row.raw, values), role if row.known else "unknown"),
        ]
        meaning = role if row.written else "unknown"
        lines = self._with_meaning(head, row.meaning, meaning, about_field(row))
        if difference is not None:
            text = word(_value(difference.computed), "error")
            lines.append(
                line(
                    (_INDENT, "dim"),
                    (_DIFFERENT, "error"),
                    (_SPACE, "dim"),
                    (_ENGINE, "error"),
                    text,
                )
            )
        return lines

    def _with_meaning(
        self, head: list[Span], meaning: Safe, role: str, about: About | None = None
    ) -> list[Line]:
        """The meaning beside the value where it fits, else below it."""
        if not meaning:
            return [line(*head, about=about)]
        used = width_of(head) + 1
        if used + len(meaning) <= self.columns:
            return [line(*head, (_SPACE, "dim"), (meaning, role), about=about)]
        room = self.columns - used
        if room >= 16:
            first, *rest = wrap(meaning, room)
            below = blanks(used)
        else:
            first, rest, below = own(""), wrap(meaning, self.columns - 9), blanks(9)
        lines = [line(*head, (_SPACE, "dim"), (first, role), about=about)]
        return lines + [line((below, "dim"), (piece, role), about=about) for piece in rest]

    # --- completion and answer ----------------------------------------------------------

    def _completer(self, moment: Moment, step: Step) -> list[Line]:
        head: list[Span] = [(_COMPLETER, "name")]
        if moment.recorded is not None and not moment.recorded_known & KNOWN_COMPLETER:
            if moment.computed is None:
                return self._with_meaning(head, own("? not recorded"), "unknown")
            step = moment.computed
        if step.completer is Completer.NONE:
            return self._with_meaning(head, own("none: KVM_RUN only enters the TD"), "dim")
        head += [(_SPACE, "dim"), word(step.completer.name, "value")]
        return self._with_meaning(head, own("pending"), "text")

    def _answer(self, moment: Moment, step: Step) -> list[Line]:
        if moment.answer is None and moment.step + 1 >= moment.steps:
            return [line((own("the row ends here: no answer"), "dim"))]
        lines = [line((own("userspace answers"), "title"))]
        if not moment.answer_known:
            return [*lines, line((own("  ? not recorded what it wrote"), "unknown"))]
        reentry = moment.answer
        rows = decode_answer(reentry.answer if reentry else None, step.run, td=moment.td)
        names = max((len(row.field) for row in rows), default=0)
        for row in rows:
            lines += self._row(row, row.field, names, 0, None)
        if not rows:
            lines.append(line((own("  nothing to answer: KVM_RUN"), "dim")))
        if reentry is not None and reentry.immediate_exit:
            lines.append(line((own("  with immediate_exit set"), "text")))
        if reentry is not None and reentry.signal_pending:
            lines.append(line((own("  a signal is pending"), "text")))
        if moment.assumed:
            lines.append(line((own("  assumed: this kernel asks what was not asked"), "unknown")))
        return lines

    # --- typing an answer ---------------------------------------------------------------

    def on_key(self, event: events.Key) -> None:
        form = self.form
        if form is None or not form.typing or event.key in _NOT_FOR_TYPING:
            return
        event.stop()
        event.prevent_default()
        if event.key == "escape":
            self._drop()
        elif event.key == "enter":
            self.give()
        elif event.key in _FIELDS:
            form.move(_FIELDS[event.key])
        else:
            form.key(event.key, event.character)
        self.show(self.moment)

    def _drop(self) -> None:
        if self.form is not None and self.form.typing:
            self.form.cancel()
            self.show(self.moment)
            self.dropped()

    def on_blur(self) -> None:
        self._drop()
        super().on_blur()


#: Keys that do the same wherever they are pressed.
_NOT_FOR_TYPING: Final = frozenset({"ctrl+c", "ctrl+q", "ctrl+z"})
_FIELDS: Final = {"tab": 1, "down": 1, "shift+tab": -1, "up": -1}


def _nobody() -> None:
    """No one listens."""


#: exit_reason, flags and the first field of the member are written in full.
_IN_FULL: Final = 3


def _short(field: Safe, at: int) -> Safe:
    """`.args[0]` for `hypercall.args[0]`, once the name of the member has been seen."""
    if at < _IN_FULL or "." not in field:
        return field
    return concat(own("  "), part(field, field.index(".")))


def _folded(rows: list[UapiRow]) -> list[UapiRow]:
    """Elements of an array that follow each other and are all unknown, as one row."""
    result: list[UapiRow] = []
    for row in rows:
        name = row.field.partition("[")[0]
        last = result[-1] if result else None
        if last is not None and not row.known and not last.known and "[" in row.field:
            start, _, rest = last.field.partition("[")
            if start == name:
                first = rest.rstrip("]").partition("..")[0]
                number = row.field.partition("[")[2].rstrip("]")
                result[-1] = last._replace(
                    field=word(f"{name}[{first}..{number}]")[0],
                    size=row.offset + row.size - last.offset,
                )
                continue
        result.append(row)
    return result


def _mark(row: UapiRow) -> Safe:
    if not row.known:
        return _UNKNOWN
    if row.answer:
        return _ANSWER
    return _WRITTEN if row.written else _STALE


def _number(value: int) -> Safe:
    return word(str(value))[0]


def _value(value: int | str | None) -> str:
    if value is None:
        return "not there"
    return f"{value:#x}" if isinstance(value, int) else value
