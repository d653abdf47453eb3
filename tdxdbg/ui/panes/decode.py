"""Pane 2: what the current exit is, step by step, and why it went as it did."""

from __future__ import annotations

from typing import ClassVar, Final

from tdxdbg.decode.known import seen
from tdxdbg.decode.text import Safe
from tdxdbg.decode.tree import (
    STEP_KNOWN,
    Call,
    Node,
    decode_answer,
    decode_exit,
    decode_step,
)
from tdxdbg.engine import Outcome, Step, Td, TdExit
from tdxdbg.timeline import Moment
from tdxdbg.ui.asks import asks
from tdxdbg.ui.lines import Line, Span, concat, line, own, word
from tdxdbg.ui.panes.base import Drawn, MomentPane, call_at
from tdxdbg.ui.panes.fields import about_field
from tdxdbg.ui.panes.tree import WHY, node_lines, tree_lines

_HERE: Final = own("▶")
_NOT_HERE: Final = own(" ")
_ANSWER: Final = own("  ← ")
_NO_ANSWER: Final = own("? what userspace answered was not recorded")
_NOTHING: Final = own("KVM_RUN again")
_INDENT: Final = (own("  "), "frame")
_MORE: Final = "   ... more steps: {step} and {step_back} walk through them"
_UNSEEN: Final = own("what KVM did was not recorded, and does not follow from what was")
_NO_EXIT: Final = own(
    "The TD exit itself was not recorded, only what followed: "
    "the recording begins in the middle of it, or lost records."
)
#: Steps shown around the current one; a row may have thousands.
_AROUND: Final = 40
#: How deep the operands are shown: the deepest at which everything fits.
_DEPTHS: Final = (9, 1)


class DecodePane(MomentPane):
    """The TD exit, each exit to userspace with its answer, the TD entry."""

    TITLE: ClassVar[Safe] = own("2 decode")
    SHORT: ClassVar[Safe] = own("2 decode")
    POINTS: ClassVar[bool] = True
    PURPOSE: ClassVar[Safe] = own("Here stands what the guest asked for and what KVM did, and why.")

    def __init__(self, id: str) -> None:
        super().__init__(id)
        #: Lines of the row that do not change while the cursor is in it: of other
        #: steps by number, of the TD exit by -depth.
        self._kept: dict[int, list[Line]] = {}
        self._kept_of: tuple[object, int, int] = (None, -1, 0)

    def draw_moment(self, moment: Moment) -> Drawn:
        call = call_at(self.timeline, moment)
        if self._kept_of != (self.timeline, moment.row, self.columns):
            self._kept_of = self.timeline, moment.row, self.columns
            self._kept = {}
        steps, first, last = self._steps(moment, call)
        lines: list[Line] = []
        for depth in _DEPTHS:
            lines = self._exit_lines(moment, depth)
            if len(lines) + len(steps) <= self.rows:
                break
        keep = len(lines) + min(last, first + max(self.rows - 3, 0))
        return [*lines, *steps], self._foot(moment), keep

    def _foot(self, moment: Moment) -> tuple[Span, ...]:
        return (word(f"line {moment.source}", "dim"),) if moment.source else ()

    # --- the TD exit --------------------------------------------------------------------

    def _exit_lines(self, moment: Moment, depth: int) -> list[Line]:
        if -depth not in self._kept:
            self._kept[-depth] = self._decoded_exit(moment, depth)
        return self._kept[-depth]

    def _decoded_exit(self, moment: Moment, depth: int) -> list[Line]:
        steps = self.timeline.recorded_steps(moment.row) if self.timeline is not None else []
        first = steps[0].input if steps else None
        if first is None or type(first.body) is not TdExit:
            return self.explain(_NO_EXIT)
        root = decode_exit(first.body, first.known, moment.td, seen(first.known))
        lines = node_lines(root, self.columns, (), role="title")
        return lines + tree_lines(root.children, self.columns, depth=depth)

    # --- the steps ----------------------------------------------------------------------

    def _steps(self, moment: Moment, call: Call) -> tuple[list[Line], int, int]:
        """The lines of all steps, and the first and the last of the current one."""
        lines: list[Line] = []
        start, stop = max(0, moment.step - _AROUND), min(moment.steps, moment.step + _AROUND)
        first = last = 0
        if start:
            lines.append(line((self.spoken(_MORE), "dim")))
        for number in range(start, stop):
            if number == moment.step:
                first = len(lines)
                lines += self._current(moment, call)
                last = len(lines) - 1
            else:
                lines += self._other(moment.row, number, call)
        if stop < moment.steps:
            lines.append(line((self.spoken(_MORE), "dim")))
        return lines, first, last

    def _current(self, moment: Moment, call: Call) -> list[Line]:
        step = moment.shown
        head: tuple[Span, ...] = ((_HERE, "focus"), (_number(moment), "focus"))
        if step is None:
            return [line(*head, (_UNSEEN, "unknown"), current=True)]
        root = decode_step(step, call, _known(moment))
        lines = node_lines(
            _title(root, step, moment.td), self.columns, head, (_INDENT,),
            current=True, role=_role(step),
        )  # fmt: skip
        details = self._details(root, moment, step, call)
        return [
            *lines,
            *tree_lines(details, self.columns, (_INDENT,), 2),
            *self._answer(moment, step),
        ]

    def _other(self, row: int, number: int, call: Call) -> list[Line]:
        # Keys of the TD exit's lines are below zero.
        found = self._kept.get(number)
        if found is None and self.timeline is not None:
            moment = self.timeline.moment(row, number)
            found = self._kept[number] = self._brief(moment, call)
        return found or []

    def _brief(self, moment: Moment, call: Call) -> list[Line]:
        """A step that the cursor is not on."""
        step = moment.shown
        head: tuple[Span, ...] = ((_NOT_HERE, "dim"), (_number(moment), "dim"))
        if step is None:
            return [line(*head, (_UNSEEN, "unknown"))]
        root = decode_step(step, call, _known(moment))
        title = _title(root, step, moment.td)
        lines = node_lines(title, self.columns, head, (_INDENT,), role="text")
        return [*lines, *self._answer(moment, step)]

    def _details(self, root: Node, at: Moment, step: Step, call: Call) -> tuple[Node, ...]:
        """What the step decided; the fields of kvm_run stand in their own pane."""
        children = root.children
        if step.run is not None and step.outcome is not Outcome.REENTER_TD:
            member = f"{step.run.layout.member}."
            children = tuple(
                child for child in children
                if not child.name.startswith((member, "exit_reason", "io data"))
            )  # fmt: skip
        if at.recorded is not None and at.computed is not None and not at.differences:
            # A recording has no notes: the engine's explain it, as long as the two agree.
            notes = decode_step(at.computed, call).children
            children += tuple(child for child in notes if child.name == WHY)
        return children

    def _answer(self, at: Moment, step: Step) -> list[Line]:
        if step.outcome is Outcome.REENTER_TD or at.step + 1 >= at.steps:
            return []
        if not at.answer_known:
            return [line((_ANSWER, "dim"), (_NO_ANSWER, "unknown"))]
        answer = at.answer.answer if at.answer is not None else None
        spans: list[Span] = [(_ANSWER, "dim")]
        rows = decode_answer(answer, step.run, td=at.td)
        for row in rows:
            spans += [word(f"{row.field.rpartition('.')[2]} = ", "name"), (row.raw, "value")]
            spans.append((concat(own(" "), row.meaning, own(" ")), "text"))
        if len(spans) == 1:
            spans.append((_NOTHING, "dim"))
        if at.assumed:
            spans.append((own(" assumed"), "unknown"))
        return [line(*spans, about=about_field(rows[0]) if rows else None)]


def _known(moment: Moment) -> int:
    return moment.recorded_known if moment.recorded is not None else STEP_KNOWN


def _number(moment: Moment) -> Safe:
    return word(f"{moment.step:>{len(str(moment.steps - 1))}} ")[0]


def _title(root: Node, step: Step, td: Td) -> Node:
    """A step in one line: the exit and what it asks, or how the TD was entered."""
    if step.run is None or step.outcome is not Outcome.EXIT_TO_USERSPACE:
        return root._replace(children=())
    return Node(root.raw, own(""), asks(step, td), filter=root.filter)


def _role(step: Step) -> str:
    return "error" if step.outcome is Outcome.KVM_ERROR else "title"
