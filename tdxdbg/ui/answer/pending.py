"""The answer that will be given, as lines of the uAPI pane; also while it is typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tdxdbg.decode.text import Safe
from tdxdbg.decode.tree import decode_answer
from tdxdbg.decode.uapi import UapiRow
from tdxdbg.engine import Answer
from tdxdbg.session.edit import answer_type
from tdxdbg.timeline import Moment
from tdxdbg.ui.answer.form import AnswerForm, Value, WrongValueError, value_text
from tdxdbg.ui.lines import Line, Span, blanks, cut, line, own, pad, width_of, word, wrap
from tdxdbg.ui.prompt import edit_spans

_ARROW: Final = own("     ← ")
_HERE: Final = own("   ▶ ← ")
_SPACE: Final = own(" ")
_LEFT: Final = own("as KVM wrote it")
_NOTHING: Final = own("nothing to answer")
_WRONG: Final = own("       ‼ ")
_ROOM: Final = 20


def pending_lines(
    form: AnswerForm, moment: Moment, width: int, key: Callable[[str], str]
) -> tuple[list[Line], int]:
    """The lines, and which of them is being typed in. `key`: what a user presses, by id."""
    if not form.fields:
        return _nothing(width, key), 0
    lines = [_head(form, key)]
    names = max(len(name) for name in form.fields) + 1
    meanings = _meanings(form, moment)
    at = 0
    for number, name in enumerate(form.fields):
        active = form.typing and number == form.active
        if active:
            at = len(lines)
        head: list[Span] = [
            (_HERE if active else _ARROW, "focus"),
            (pad(word(name)[0], names), "name"),
        ]
        lines.append(_field(form, name, head, meanings.get(name), width))
        problem = form.problem(name)
        if problem:
            lines += _wrong(problem, width)
    return lines, at


def _nothing(width: int, key: Callable[[str], str]) -> list[Line]:
    run = word(f": {key('step')} calls KVM_RUN again", "focus")
    if len(_NOTHING) + len(run[0]) <= width:
        return [line((_NOTHING, "dim"), run)]
    return [line((_NOTHING, "dim")), line(word(f"{key('step')} calls KVM_RUN again", "focus"))]


def _wrong(problem: str, width: int) -> list[Line]:
    pieces = wrap(word(problem)[0], width - len(_WRONG))
    marks = (_WRONG, *([blanks(len(_WRONG))] * (len(pieces) - 1)))
    return [
        line((mark, "error"), (piece, "error")) for mark, piece in zip(marks, pieces, strict=True)
    ]


def _head(form: AnswerForm, key: Callable[[str], str]) -> Line:
    gives = f": {key('step')} gives it"
    if form.recorded:
        return line((own("another answer"), "title"), (own(": Enter tries it"), "focus"))
    yours = (own("your answer"), "title")
    if form.typing:
        return line(yours, (own(": Enter gives it, Esc drops it"), "focus"))
    if form.edited:
        return line(yours, word(f"{gives}, {key('undo')}: the VMM's", "focus"))
    return line(
        (own("the VMM's answer"), "title"), word(f"{gives}, {key('edit')} edits it", "focus")
    )


def _field(form: AnswerForm, name: str, head: list[Span], row: UapiRow | None, width: int) -> Line:
    if form.typing:
        room = max(min(_ROOM, width - width_of(head)), 4)
        if name == form.name:
            role = "error" if form.problem(name) else "changed"
            typed = edit_spans(form.line(name), room, role)
        else:
            typed = (word(form.line(name).text, "value"),)
        fill = blanks(room - width_of(typed))
        return _with(line(*head, *typed, (fill, "text")), row, width)
    value = form.given[name]
    changed = value != form.proposed.get(name)
    role = "changed" if changed else "value"
    text = word(value_text(value), role) if value is not None else (_LEFT, "dim")
    return _with(line(*head, text), row, width)


def _with(start: Line, row: UapiRow | None, width: int) -> Line:
    room = width - width_of(start.spans) - 1
    if row is None or not row.meaning or room < 4 or row.meaning.startswith("left "):
        return start
    return line(*start.spans, (_SPACE, "dim"), (cut(row.meaning, room), "text"))


def _meanings(form: AnswerForm, moment: Moment) -> dict[str, UapiRow]:
    """What the values say, also those that are being typed as far as they are right."""
    kind = answer_type(form.run)
    if kind is None:
        return {}
    values: dict[str, Value] = dict(form.given)
    try:
        values |= form.values()
    except WrongValueError:
        return {}
    fields: dict[str, Any] = {name: values.get(name) for name in kind._fields}
    answer: Answer = kind(**fields)
    rows = decode_answer(answer, form.run, td=moment.td)
    return {_name(row.field): row for row in rows}


def _name(field: Safe) -> str:
    return field.replace(" ", ".").rpartition(".")[2].removeprefix("out_")
