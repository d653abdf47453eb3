"""Another answer to an exit of a recording: how the row would have gone on.

A copy of the engine is brought to where KVM had left for userspace, by what the
row itself recorded, and gets the other answer. What KVM asks then is answered
as it was recorded where it is the same question, otherwise by a VMM policy;
such answers are marked *assumed*. The recording stays as it is.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

from tdxdbg.abi.regs import REG_NAMES
from tdxdbg.engine import Answer, Engine, GpaMap, Outcome, ProtocolError, Reentry, Step, TdExit
from tdxdbg.engine.needs import registers_read
from tdxdbg.timeline.moment import Moment
from tdxdbg.timeline.rows import RowStep
from tdxdbg.timeline.shadow import events_seen
from tdxdbg.timeline.timeline import Timeline
from tdxdbg.timeline.whatif import RowEnd, RowRun, WhatIfStep, converting, same_ask
from tdxdbg.traces.records import KNOWN_ANSWER, KNOWN_HAS_EVENTS, KNOWN_VP_ENTER_RET
from tdxdbg.vmm.assumed import AssumedReply, assumed_reply

#: Range, in bytes, that turned private (True) or shared.
Conversion = tuple[int, int, bool]

_NO_ROW: Final = "nothing of this row was recorded"


class Course(NamedTuple):
    """How a row goes on after an answer.

    `next` is the first step after it and `last` the one that the row ends with, each
    as a Moment; both are None when nobody knows. `more` counts the steps between
    them and `last` itself; `changed` is all that was converted, None for nothing.
    """

    answer: Answer | None
    answer_known: bool
    next: Moment | None
    last: Moment | None
    more: int
    changed: Conversion | None
    assumed: int = 0
    end: RowEnd = RowEnd.ENTERED


class WhatIfAnswer(NamedTuple):
    """Both courses after step `step` of row `row`.

    `problem` says why the other one cannot be computed; empty when it was.
    """

    row: int
    step: int
    answer: Answer | None
    recorded: Course
    other: Course | None
    problem: str = ""


class _UnknownError(Exception):
    """What the engine would need was not recorded."""


def what_if_answer(
    timeline: Timeline,
    row: int,
    step: int,
    answer: Answer | None,
    policy: AssumedReply = assumed_reply,
) -> WhatIfAnswer:
    """Answer the exit of this step otherwise, and run the row to its end.

    The timeline is only looked at: its own cursor state is walked to the row,
    nothing that it shows changes.
    """
    seen = _seen_course(timeline, row, step)
    try:
        other = _other_course(timeline, row, step, answer, policy)
    except _UnknownError as unknown:
        return WhatIfAnswer(row, step, answer, seen, None, str(unknown))
    except ProtocolError as error:
        return WhatIfAnswer(row, step, answer, seen, None, str(error))
    return WhatIfAnswer(row, step, answer, seen, other)


# --- as it was --------------------------------------------------------------------------


def _seen_course(timeline: Timeline, row: int, step: int) -> Course:
    here = timeline.moment(row, step)
    answer = here.answer.answer if here.answer is not None else None
    if here.step + 1 >= here.steps:
        return Course(answer, here.answer_known, None, None, 0, None, end=RowEnd.UNRECORDED)
    following, last = timeline.moment(row, step + 1), timeline.moment(row, here.steps - 1)
    changed = _changed(timeline, row, here.gpa_map, last.gpa_map)
    more = here.steps - step - 2
    entered = last.shown is not None and last.shown.outcome is Outcome.REENTER_TD
    end = RowEnd.ENTERED if entered else RowEnd.UNRECORDED
    return Course(answer, here.answer_known, following, last, more, changed, end=end)


def _changed(
    timeline: Timeline, row: int, before: GpaMap | None, after: GpaMap | None
) -> Conversion | None:
    """What was converted of the row's own range; None also where a map is not known.

    Only there: between an exit and its answer other vCPUs may convert theirs.
    """
    summary = timeline.summary(row)
    if before is None or after is None or summary.gpa is None:
        return None
    start, stop = summary.gpa, summary.gpa + max(summary.size or 0, 1)
    found = {edge for gpa_map in (before, after) for item in gpa_map.ranges(start, stop)
             for edge in (item.start, item.end)}  # fmt: skip
    cuts = [
        (low, high)
        for low, high in pairwise(sorted(found))
        if before.is_shared(low) != after.is_shared(low)
    ]
    if not cuts:
        return None
    low, high = cuts[0][0], cuts[-1][1]
    return low, high - low, not after.is_shared(low)


# --- as it would have been --------------------------------------------------------------


def _other_course(
    timeline: Timeline, row: int, step: int, answer: Answer | None, policy: AssumedReply
) -> Course:
    recorded, more = timeline.recorded_row(row)
    if not recorded:
        raise _UnknownError(_NO_ROW)
    engine, known_history = timeline.engine_before(row)
    engine = converting(engine)
    run = RowRun(engine, policy, recorded, cut=more)
    inputs = _inputs(timeline, row, step, recorded)
    at = _replay(engine, run, inputs, recorded, own=not timeline.what_if)
    here = timeline.moment(row, step)
    given = here.answer or Reentry(at)
    before = engine.gpa_map
    event = given._replace(vcpu=at, answer=answer, has_events=run.has_events(at))
    steps = run.run(event)
    moments = [
        _moment(here, step + 1 + number, item, step + 1 + len(steps), known_history)
        for number, item in ((0, steps[0]), (len(steps) - 1, steps[-1]))
    ]
    return Course(
        answer,
        True,
        moments[0],
        moments[1],
        len(steps) - 1,
        _changed(timeline, row, before if known_history else None, engine.gpa_map),
        sum(item.assumed for item in steps),
        run.end,
    )


def _moment(like: Moment, number: int, item: WhatIfStep, steps: int, known: bool) -> Moment:
    """A step of the other course as a Moment of the same row."""
    return like._replace(
        step=number,
        steps=steps,
        input=item.input,
        recorded=None,
        recorded_known=0,
        computed=item.step,
        after=item.step.regs,
        after_known=(1 << len(REG_NAMES)) - 1,
        after_computed=(1 << len(REG_NAMES)) - 1,
        answer=item.answer,
        answer_known=item.answer is not None,
        gpa_map=item.gpa_map if known else None,
        changed=None,
        differences=(),
        assumed=item.assumed,
        more=False,
    )


def _inputs(
    timeline: Timeline, row: int, step: int, recorded: list[RowStep]
) -> list[TdExit | Reentry]:
    """What entered KVM in this row, up to and with this step; raises _UnknownError."""
    first = recorded[0].input
    event = first.body if first is not None else None
    if first is None or type(event) is not TdExit:
        raise _UnknownError("the TD exit of this row was not recorded")
    _check_exit(timeline, event, first.known)
    if timeline.what_if:
        moments = (timeline.moment(row, number) for number in range(step + 1))
        return [moment.input for moment in moments if moment.input is not None]
    return [event, *(_reentry(recorded[number], number) for number in range(1, step + 1))]


def _check_exit(timeline: Timeline, event: TdExit, known: int) -> None:
    if not known & KNOWN_VP_ENTER_RET:
        raise _UnknownError("what TDH.VP.ENTER returned was not recorded")
    missing = registers_read(event, timeline.generation) & ~known
    if missing:
        names = [name.upper() for at, name in enumerate(REG_NAMES) if missing >> at & 1]
        be = "was" if len(names) == 1 else "were"
        raise _UnknownError(f"{', '.join(names)} at the TD exit {be} not recorded")


def _reentry(at: RowStep, number: int) -> Reentry:
    """The answer that this step begins with."""
    body = at.input.body if at.input is not None else None
    if at.input is None or type(body) is not Reentry or not at.input.known & KNOWN_ANSWER:
        raise _UnknownError(f"what userspace answered to step {number - 1} was not recorded")
    if at.input.known & KNOWN_HAS_EVENTS:
        return body
    return body._replace(has_events=events_seen(at.output))


def _replay(
    engine: Engine,
    run: RowRun,
    inputs: list[TdExit | Reentry],
    recorded: list[RowStep],
    *,
    own: bool,
) -> int:
    """Bring the engine to the exit; returns its vCPU, or raises where it goes elsewhere."""
    vcpu = inputs[0].vcpu
    engine.force_into_td(vcpu)
    asks = False
    for number, event in enumerate(inputs):
        step = engine.feed(event)
        if own and not _as_recorded(recorded[number], step):
            raise _UnknownError(
                f"the engine does not come to this exit: at step {number} it says {_says(step)}"
            )
        run.use(step)
        asks = step.outcome is not Outcome.REENTER_TD
    if not asks:
        raise _UnknownError("at this step the TD is entered: there is no answer to give")
    return vcpu


def _as_recorded(at: RowStep, step: Step) -> bool:
    seen = at.output.body if at.output is not None else None
    return type(seen) is not Step or (seen.outcome is step.outcome and same_ask(seen, step))


def _says(step: Step) -> str:
    return step.outcome.name
