"""Rows as text, as mail and as JSON: the same facts that the panes show.

Every function takes a row's summary and its moments. All text that the guest
or the trace wrote has been through `safe`, and every line is ASCII.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Final, NamedTuple

from tdxdbg.abi.kvm import exit_name
from tdxdbg.abi.regs import KNOWN_ALL, REG_NAMES, Regs
from tdxdbg.decode.known import Seen
from tdxdbg.decode.node import Node
from tdxdbg.decode.queue import queue_line, row_name
from tdxdbg.decode.step import STEP_KNOWN, decode_step
from tdxdbg.decode.summary import RowSummary, call_of_row
from tdxdbg.decode.td_exit import decode_exit
from tdxdbg.decode.text import Safe, safe
from tdxdbg.decode.uapi import decode_answer
from tdxdbg.decode.values import (
    exit_reason_name,
    hexa,
    leaf_name,
    reply_name,
    size_text,
    tdx_status,
)
from tdxdbg.engine.notes import Note
from tdxdbg.engine.recorded import KNOWN_COMPLETER, KNOWN_ERRNO
from tdxdbg.engine.state import Outcome, Step, TdExit

if TYPE_CHECKING:
    from tdxdbg.timeline import Moment, Timeline

#: Columns of a mail: what survives being quoted.
MAIL_WIDTH: Final = 72
#: Steps of one row that a report shows; a 64 GiB MapGPA has 32768.
MAX_STEPS: Final = 64


class Line(NamedTuple):
    """A line before it is laid out: depth, what it is about, a value, what that says."""

    depth: int
    name: str
    raw: str = ""
    meaning: str = ""


def row_moments(timeline: Timeline, row: int) -> list[Moment]:
    """The moments of a row, at most MAX_STEPS."""
    return [timeline.moment(row, step) for step in range(min(timeline.steps(row), MAX_STEPS))]


def text_lines(summary: RowSummary, moments: Sequence[Moment]) -> list[Safe]:
    """The line of the queue, then the decode, indented; lines are as long as they are."""
    head = "  ".join(cell.text for cell in queue_line(summary, ascii_only=True) if cell.text)
    return [Safe(head), *(_plain(line) for line in row_lines(summary, moments))]


def _plain(line: Line) -> Safe:
    # Its parts are safe already; once more would double backslashes.
    return Safe(f"{'  ' * (line.depth + 1)}{_joined(line)}")


def _joined(line: Line) -> str:
    head = f"{line.name} {line.raw}".rstrip()
    return f"{head}: {line.meaning}" if line.meaning else head


def mail_lines(summary: RowSummary, moments: Sequence[Moment]) -> list[str]:
    """The same for a mailing list: at most 72 columns, a blank line at the end."""
    cells = [cell.text for cell in queue_line(summary, ascii_only=True)]
    index, time, vcpu, name, arguments, result = cells
    head = f"exit {index}, {vcpu}, {time} s: {name} {arguments}".rstrip()
    lines = [Line(-1, head, "", ""), Line(-1, "=>", result, ""), *row_lines(summary, moments)]
    return [*(piece for line in lines for piece in _wrapped(line)), ""]


def _wrapped(line: Line) -> list[str]:
    indent = "  " * (line.depth + 1)
    return wrap(
        _joined(line),
        MAIL_WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "    ",
        break_on_hyphens=False,
    )


# --- what both say ----------------------------------------------------------------------


def row_lines(summary: RowSummary, moments: Sequence[Moment]) -> Iterator[Line]:
    """TD exit, each userspace exit with its answer, TD entry with the reasons."""
    if not moments:
        yield Line(0, "nothing of this row can be read")
        return
    first = moments[0]
    if isinstance(first.input, TdExit):
        yield from _td_exit(summary, first, first.input)
    else:
        yield Line(0, "TD exit", "", "not recorded")
    for moment in moments:
        yield from _moment_lines(summary, moment)
    left = first.steps - len(moments)
    if left > 0 or first.more:
        at_least = "at least " if first.more else ""
        yield Line(0, f"{at_least}{left} more steps", "", "not shown")


def _seen(summary: RowSummary) -> Seen:
    if summary.rax is not None:
        return Seen.ALL
    return Seen.NOTHING if summary.reason is None else Seen.REASON


def _td_exit(summary: RowSummary, moment: Moment, td_exit: TdExit) -> Iterator[Line]:
    tree = decode_exit(td_exit, moment.before_known & KNOWN_ALL, moment.td, _seen(summary))
    yield Line(0, f"TD exit {tree.name.removeprefix('TD exit')}".rstrip(), tree.raw, tree.meaning)
    for child in tree.children:
        yield Line(1, child.name, child.raw, child.meaning)


def _moment_lines(summary: RowSummary, moment: Moment) -> Iterator[Line]:
    call = call_of_row(summary, moment.before, moment.before_known, moment.td)
    step = moment.shown
    if step is None:
        if moment.input is not None:
            yield Line(0, "what KVM did", "", "not recorded, and not enough is known to compute it")
        return
    known = _step_known(moment)
    before = moment.before if moment.before_known & KNOWN_ALL else None
    step = step._replace(regs=moment.after, notes=_notes(moment))
    tree = decode_step(step, call, known, before)
    yield from _step_lines(tree, moment)
    if moment.changed is not None:
        gpa, size, private = moment.changed
        state = "private" if private else "shared"
        yield Line(1, "conversion", hexa(gpa), f"{size_text(size)} are {state} now")
    for difference in moment.differences:
        yield Line(
            1,
            f"differs: {safe(difference.field)}",
            "",
            f"recorded {_side(difference.recorded)}, the engine says {_side(difference.computed)}",
        )
    yield from _answer_lines(moment, step)


def _side(value: int | str | None) -> str:
    if value is None:
        return "nothing"
    return hexa(value) if isinstance(value, int) else safe(value)


def _step_known(moment: Moment) -> int:
    known = moment.recorded_known if moment.recorded is not None else STEP_KNOWN
    return known & ~KNOWN_ALL | moment.after_known


def _step_lines(tree: Node, moment: Moment) -> Iterator[Line]:
    words: list[str] = [tree.meaning] if tree.meaning else []
    if moment.recorded is None:
        words.append("computed, not recorded")
    if moment.assumed:
        words.append("assumed")
    if moment.diverged:
        words.append("diverged")
    yield Line(0, tree.name, tree.raw, ", ".join(words))
    # The line of an exit to userspace names its reason already.
    for child in tree.children:
        if child.name != "exit_reason" or tree.name != "userspace exit":
            yield Line(1, child.name, child.raw, child.meaning)


def _answer_lines(moment: Moment, step: Step) -> Iterator[Line]:
    if step.outcome is Outcome.REENTER_TD or step.run is None or moment.step + 1 >= moment.steps:
        return
    if not moment.answer_known:
        yield Line(0, "userspace", "", "what it answered was not recorded")
        return
    reentry = moment.answer
    if reentry is None:
        return
    flags = [
        name
        for name, is_set in (
            ("immediate_exit", reentry.immediate_exit),
            ("a signal is pending", reentry.signal_pending),
        )
        if is_set
    ]
    yield Line(0, "userspace", "KVM_RUN", ", ".join(flags))
    for row in decode_answer(reentry.answer, step.run, td=moment.td):
        yield Line(1, row.field, row.raw, row.meaning)


# --- JSON -------------------------------------------------------------------------------


def json_object(summary: RowSummary, moments: Sequence[Moment]) -> dict[str, object]:
    """One row as a JSON object; every key is always there, null where nothing is known.

    Registers, addresses, sizes, statuses and fields of kvm_run are hex text,
    because JSON readers lose the low bits of 64-bit numbers; the numbers of
    rows, steps, vCPUs, ports, exits and nanoseconds are numbers.
    """
    vendor = bool(summary.vendor)
    status = summary.status
    return {
        "row": summary.index,
        "time_ns": summary.time,
        "vcpu": summary.vcpu,
        "name": safe(row_name(summary)),
        "vp_enter_ret": _hex(summary.rax),
        "vp_enter_status": None if summary.rax is None else tdx_status(summary.rax).text,
        "reason": summary.reason,
        "reason_name": None if summary.reason is None else exit_reason_name(summary.reason),
        "leaf": _hex(summary.leaf),
        "leaf_name": None if summary.leaf is None else leaf_name(summary.leaf),
        "vendor": summary.vendor,
        "registers": {
            name: _hex(getattr(summary, name))
            for name in REG_NAMES
            if name not in ("rax", "rsp", "rbp")
        },
        "gpa": _hex(summary.gpa),
        "size": _hex(summary.size),
        "direction": summary.direction,
        "port": summary.port,
        "value": _hex(summary.value),
        "private": summary.private,
        "shared": summary.shared,
        "status": _hex(status),
        "status_name": None if status is None else reply_name(status, vendor=vendor),
        "outcome": summary.outcome,
        "exits": None if summary.exit is None else [exit_name(reason) for reason in summary.exit],
        "kernel": summary.kernel,
        "retry": summary.retry,
        "error": summary.error,
        "message": None if summary.message is None else safe(summary.message),
        "steps_total": moments[0].steps if moments else 0,
        "steps_more": bool(moments and moments[0].more),
        "steps": [_json_step(moment) for moment in moments],
    }


def _hex(value: int | None) -> str | None:
    return None if value is None else hexa(value)


def _json_step(moment: Moment) -> dict[str, object]:
    step = moment.shown
    known = _step_known(moment)
    conversion = moment.changed
    return {
        "step": moment.step,
        "input": None if moment.input is None else type(moment.input).__name__,
        "recorded": moment.recorded is not None,
        "assumed": moment.assumed,
        "diverged": moment.diverged,
        "outcome": None if step is None else step.outcome.name,
        "errno": _json_errno(step, known),
        "completer": None if step is None or not known & KNOWN_COMPLETER else step.completer.name,
        "exit": None if step is None or step.run is None else exit_name(step.run.exit_reason),
        "run": _json_run(step),
        "registers": _json_registers(moment.after, moment.after_known),
        "answer": _json_answer(moment, step),
        "answer_known": moment.answer_known,
        "conversion": None
        if conversion is None
        else {
            "gpa": hexa(conversion[0]),
            "size": hexa(conversion[1]),
            "private": conversion[2],
        },
        "notes": [
            {"text": safe(note.text), "function": safe(note.function)} for note in _notes(moment)
        ],
        "differences": [
            {
                "field": safe(item.field),
                "recorded": _side(item.recorded),
                "computed": _side(item.computed),
            }
            for item in moment.differences
        ],
    }


def _notes(moment: Moment) -> tuple[Note, ...]:
    """The reasons; only the engine gives any."""
    for step in (moment.computed, moment.recorded):
        if step is not None and step.notes:
            return step.notes
    return ()


def _json_errno(step: Step | None, known: int) -> int | None:
    if step is None or step.outcome is not Outcome.KVM_ERROR or not known & KNOWN_ERRNO:
        return None
    return step.errno


def _json_registers(regs: Regs, known: int) -> dict[str, str]:
    """What the guest gets; a register that nobody knows is left out."""
    return {
        name: hexa(regs[number]) for number, name in enumerate(REG_NAMES) if known >> number & 1
    }


def _json_run(step: Step | None) -> dict[str, object] | None:
    if step is None or step.run is None:
        return None
    result: dict[str, object] = {}
    for name, value in step.run.values().items():
        if isinstance(value, list):
            result[name] = [_hex(item) for item in value]
        else:
            result[name] = hexa(value) if isinstance(value, int) else value
    return result


def _json_answer(moment: Moment, step: Step | None) -> dict[str, str | None] | None:
    """What userspace wrote, by field; null when it wrote nothing or nobody saw."""
    reentry = moment.answer
    if reentry is None or not moment.answer_known or step is None or reentry.answer is None:
        return None
    return {
        name: value.hex() if isinstance(value, bytes) else _hex(value)
        for name, value in reentry.answer._asdict().items()
    }
