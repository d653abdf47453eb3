"""What was recorded and what another answer does, side by side; what differs is lit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from tdxdbg.abi.regs import R10, R11, REG_NAMES
from tdxdbg.decode.reply import Call, r10_meaning, reply_meaning
from tdxdbg.decode.text import Safe
from tdxdbg.decode.tree import decode_answer, decode_run, decode_step
from tdxdbg.decode.values import hexa, size_text
from tdxdbg.engine import KvmRun, Outcome, Step
from tdxdbg.timeline import Moment
from tdxdbg.timeline.answered import Course, WhatIfAnswer
from tdxdbg.timeline.whatif import RowEnd
from tdxdbg.ui.asks import asks_of
from tdxdbg.ui.lines import (
    BLANK,
    Line,
    Span,
    blanks,
    concat,
    cut,
    line,
    own,
    pad,
    part,
    word,
    wrap,
)

_BADGE: Final = (own(" WHAT IF "), "retry_badge")
_DIFFERENT: Final = own("≠")
_SAME: Final = own(" ")
_BAR: Final = own("│")
_SPACE: Final = own(" ")
_NOT_COMPUTED: Final = own("Not computed: ")
_UNKNOWN: Final = own("? not recorded")
_NONE: Final = own("none")
_ENDS: Final[dict[RowEnd, Safe]] = {
    RowEnd.STOPPED: own("QEMU gives up there. "),
    RowEnd.UNRECORDED: own("What userspace did then was not recorded. "),
    RowEnd.CUT: own("It goes on; it was not run any further. "),
}
_PREFIX: Final = own("KVM_EXIT_")
#: From so many cells on names are written in full.
_WIDE: Final = 56
_LABEL: Final = 6
_WIDE_LABEL: Final = 18


class Row(NamedTuple):
    """One thing to compare: what was recorded, and what would have been."""

    label: Safe
    recorded: Safe
    other: Safe


class Page(NamedTuple):
    """What is compared: both courses, the call and the exit that is answered, the first's name."""

    found: WhatIfAnswer
    here: Moment
    call: Call
    name: Safe


def outcome_lines(page: Page, width: int, key: Callable[[str], str]) -> list[Line]:
    """The page in lines of `width` cells. `key`: what a user presses, by id."""
    keys = word(f"  {key('edit')} edits it, {key('undo')} drops it", "focus")
    lines = [line(_BADGE, keys)]
    other = page.found.other
    if other is None:
        text = concat(_NOT_COMPUTED, word(page.found.problem)[0])
        return [*lines, *(line((piece, "error")) for piece in wrap(text, width))]
    rows = [*_rows(page, page.found.recorded, other, brief=width < _WIDE)]
    lines += _side_by_side(rows, page.name, width)
    return [*lines, *_words(other, width), *_why(page, other, width)]


# --- what is compared -------------------------------------------------------------------


def _rows(page: Page, recorded: Course, other: Course, *, brief: bool) -> Iterator[Row]:
    run = page.here.shown.run if page.here.shown is not None else None
    yield Row(own("VMM"), _answer(page, recorded, run), _answer(page, other, run))
    yield Row(own("KVM"), _step(page, recorded.next), _step(page, other.next))
    yield from _run_rows(page, recorded.next, other.next)
    if recorded.more or other.more:
        yield Row(own("steps"), _more(recorded), _more(other))
        yield Row(own("ends"), _step(page, recorded.last), _step(page, other.last))
    yield from _registers(page, recorded.last, other.last, brief=brief)
    yield Row(own("map"), _map(recorded), _map(other))


def _answer(page: Page, course: Course, run: KvmRun | None) -> Safe:
    if course.next is None:
        return own("none: the row ends here")
    if not course.answer_known:
        return _UNKNOWN
    found: list[Safe] = []
    for row in decode_answer(course.answer, run, td=page.here.td):
        name = word(row.field.replace(" ", ".").rpartition(".")[2])[0]
        if row.meaning.startswith("left "):
            continue
        found += [name, own(" = "), row.raw, own(" "), row.meaning, own(" ")]
    return concat(*found) if found else own("as KVM wrote it")


def _step(page: Page, moment: Moment | None) -> Safe:
    step = moment.shown if moment is not None else None
    if step is None:
        return _NONE if moment is None else _UNKNOWN
    if step.outcome is Outcome.EXIT_TO_USERSPACE:
        return asks_of(step, page.here.td)
    known = moment.recorded_known if moment is not None and moment.recorded is not None else None
    root = decode_step(step, page.call) if known is None else decode_step(step, page.call, known)
    return concat(root.name, _SPACE, root.raw)


def _more(course: Course) -> Safe:
    return word(f"{course.more + 1}")[0] if course.next is not None else _NONE


def _run_rows(page: Page, one: Moment | None, other: Moment | None) -> Iterator[Row]:
    """Fields of struct kvm_run in which the exits that follow differ."""
    runs = [_exit_of(moment) for moment in (one, other)]
    if runs[0] is None or runs[1] is None:
        return
    fields = [{row.field: row for row in decode_run(run, td=page.here.td)} for run in runs if run]
    for name, row in fields[1].items():
        before = fields[0].get(name)
        if name not in ("exit_reason", "flags") and before is not None and before.raw != row.raw:
            yield Row(part(name, name.find(".") + 1), before.raw, row.raw)


def _exit_of(moment: Moment | None) -> KvmRun | None:
    step = moment.shown if moment is not None else None
    if step is None or step.outcome is not Outcome.EXIT_TO_USERSPACE:
        return None
    return step.run


def _registers(
    page: Page, one: Moment | None, other: Moment | None, *, brief: bool
) -> Iterator[Row]:
    """What the guest gets: R10, R11 and every register in which the two differ."""
    values = [_after(moment) for moment in (one, other)]
    if page.call.tdcall is False or not any(values):
        return
    for number, name in enumerate(REG_NAMES):
        pair = [found.get(number) for found in values]
        shown = number in (R10, R11) or pair[0] != pair[1]
        if shown and (pair[0] is not None or pair[1] is not None):
            texts = [_register(page, found, number, brief=brief) for found in values]
            yield Row(word(name.upper())[0], texts[0], texts[1])


def _after(moment: Moment | None) -> dict[int, int]:
    """The registers that the guest gets, by number; empty where it is not entered."""
    step: Step | None = moment.shown if moment is not None else None
    if moment is None or step is None or step.outcome is not Outcome.REENTER_TD:
        return {}
    return {
        number: moment.after[number]
        for number in range(len(REG_NAMES))
        if moment.after_known >> number & 1
    }


def _register(page: Page, found: dict[int, int], number: int, *, brief: bool) -> Safe:
    value = found.get(number)
    if value is None:
        return _UNKNOWN if found else _NONE
    name = REG_NAMES[number]
    if name == "r10":
        return word(r10_meaning(page.call, value))[0]
    says = "" if brief else reply_meaning(page.call, name, value, found.get(R10))
    return word(f"{hexa(value)} {says}".rstrip())[0]


def _map(course: Course) -> Safe:
    if course.last is None or course.last.gpa_map is None:
        return _NONE if course.last is None else own("? not known yet")
    if course.changed is None:
        return own("unchanged")
    gpa, size, private = course.changed
    state = "private" if private else "shared"
    return word(f"{gpa:x} +{size_text(size)} {state}")[0]


# --- how it looks -----------------------------------------------------------------------


def _side_by_side(rows: list[Row], name: Safe, width: int) -> list[Line]:
    label = min(_WIDE_LABEL if width >= _WIDE else _LABEL, max(width // 4, 4))
    column = max((width - label - 2) // 2, 8)
    head = line(
        (blanks(label + 1), "dim"),
        (pad(cut(name, column), column), "title"),
        (_BAR, "frame"),
        (own("what if"), "title"),
    )
    lines = [head]
    for row in rows:
        lines += _compared(row, label, column, short=width < _WIDE)
    return lines


def _compared(row: Row, label: int, column: int, *, short: bool) -> list[Line]:
    """A row in as many lines as the longer cell needs."""
    differ = row.recorded != row.other
    cells = [_cell(text, column, short=short) for text in (row.recorded, row.other)]
    lines: list[Line] = []
    for number in range(max(map(len, cells))):
        left, right = (cell[number] if number < len(cell) else own("") for cell in cells)
        mark: Span = (_DIFFERENT if differ and not number else _SAME, "error")
        title = cut(row.label, label) if not number else own("")
        lines.append(
            line(
                mark,
                (pad(title, label), "name"),
                (pad(left, column), "text" if differ else "dim"),
                (_BAR, "frame"),
                (right, "changed" if differ else "dim"),
            )
        )
    return lines


def _cell(text: Safe, width: int, *, short: bool) -> list[Safe]:
    if short and text.startswith(_PREFIX):
        text = part(text, len(_PREFIX))
    return [piece for piece in wrap(text, width) if piece] or [own("")]


def _words(course: Course, width: int) -> list[Line]:
    """Where it ends, and what of it nobody recorded."""
    texts: list[Safe] = []
    if course.assumed:
        several = "answers after it were" if course.assumed > 1 else "answer after it was"
        texts.append(word(f"{course.assumed} {several} not recorded: assumed, as QEMU. ")[0])
    if course.end in _ENDS:
        texts.append(_ENDS[course.end])
    return [line((piece, "unknown")) for piece in wrap(concat(*texts), width) if piece]


def _why(page: Page, course: Course, width: int) -> list[Line]:
    """The engine's reasons for what follows the other answer, and how the row ends."""
    found: dict[Safe, None] = {}
    for moment in (course.next, course.last):
        step = moment.computed if moment is not None else None
        if step is None:
            continue
        for node in decode_step(step, page.call).children:
            if node.name == "why":
                found[concat(node.raw, own(": "), node.meaning)] = None
    lines = [line((piece, "why")) for text in found for piece in wrap(text, width)]
    return [BLANK, *lines] if lines else []
