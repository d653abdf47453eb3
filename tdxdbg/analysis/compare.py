"""Generations side by side: what each gives to userspace and to the guest.

The guest's inputs are those of the recording. The trace's own generation is
shown as recorded; another one consumes the TD exits, with recorded answers
where the same exit asks for the same thing, else with a policy's (*assumed*);
where the guest would have got another reply than it did, its later rows are
*diverged* (see `tdxdbg.timeline.whatif`).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from tdxdbg.abi.kvm import Exit
from tdxdbg.abi.regs import EXPOSABLE, RCX, REG_NAMES
from tdxdbg.abi.vmx import BASIC_MASK, TDCALL
from tdxdbg.decode.queue import queue_line
from tdxdbg.decode.summary import summarise
from tdxdbg.decode.text import Safe
from tdxdbg.engine import Engine, Generation, KvmRun, Outcome, Step, TdExit
from tdxdbg.engine.kvm_run import Field
from tdxdbg.timeline.gaps import gaps_before
from tdxdbg.timeline.rows import RowStep, row_steps
from tdxdbg.timeline.timeline import Timeline
from tdxdbg.timeline.whatif import RowEnd, WhatIf, WhatIfRow
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import KNOWN_REGS, KNOWN_RUN_FLAGS


class Written(Enum):
    """Whether KVM wrote a field of struct kvm_run at this exit."""

    WRITTEN = "written"
    STALE = "stale"
    UNKNOWN = "unknown"


class ExitField(NamedTuple):
    """One field (or array element) that userspace finds; None: the value is not known."""

    name: str
    value: int | bytes | None
    written: Written


class ToUserspace(NamedTuple):
    """One return of KVM_RUN.

    `errno` is 0 when it returned 0; `exit_reason` None when no exit is valid;
    `run_flags` None when not known.
    """

    exit_reason: int | None
    errno: int
    run_flags: int | None
    fields: tuple[ExitField, ...]


class ToGuest(NamedTuple):
    """What the guest has when it goes on.

    `registers` are those that the RCX mask returns, by name, as far as they
    are known; empty after an exit that was no TDVMCALL. `changed` are the
    names whose value is another one than before.
    """

    registers: tuple[tuple[str, int], ...]
    changed: frozenset[str]
    vendor: bool


class Side(NamedTuple):
    """One generation's row.

    `guest` is None when the TD was not entered again; `end` says why. `recorded`: as the
    recording has it. `known` is false when too little was recorded to compute
    it. `differs` names what is not as in the reference.
    """

    generation: str
    recorded: bool
    known: bool
    exits: tuple[ToUserspace, ...]
    guest: ToGuest | None
    dead: bool
    assumed: bool
    diverged: bool
    end: RowEnd
    differs: tuple[str, ...] = ()


class ComparedRow(NamedTuple):
    """A row under every generation.

    `time` is in ns; `reference` the place of the side that the others are
    compared with.
    """

    row: int
    time: int | None
    vcpu: int
    name: Safe
    arguments: Safe
    reference: int
    sides: tuple[Side, ...]

    @property
    def differs(self) -> bool:
        return any(side.differs for side in self.sides)


def compare(
    trace: Trace, generations: Sequence[Generation], count: int | None = None
) -> Iterator[ComparedRow]:
    """The first `count` rows, or all; reads on as far as it is asked for.

    The reference is the trace's own generation where it is among them, else
    the first one.
    """
    if not generations:
        return
    plain = Timeline(trace)
    own, td = plain.own_generation, plain.td
    others = {item.name: WhatIf(Engine(td, item)) for item in generations if item is not own}
    reference = generations.index(own) if own in generations else 0
    for row in range(len(trace) if count is None else min(len(trace), count)):
        records, cut = trace.row(row)
        steps = row_steps(records)
        if trace.meta.is_excerpt:
            gaps = gaps_before(trace, row)
            for whatif in others.values():
                whatif.resume(gaps)
        summary = summarise(row, [record for _, record in records], td)
        sides = [
            _computed_side(item.name, others[item.name].feed_row(steps, cut=cut), steps)
            if item is not own
            else _recorded_side(plain, row, steps, cut=cut)
            for item in generations
        ]
        base = sides[reference]
        cells = queue_line(summary, ascii_only=True)
        yield ComparedRow(
            row,
            summary.time,
            summary.vcpu or 0,
            cells[3].text,
            cells[4].text,
            reference,
            tuple(side._replace(differs=differences(base, side)) for side in sides),
        )


class _Done(NamedTuple):
    """What an input did; `known` is the mask of a record, None when it was computed."""

    step: Step
    known: int | None


def _recorded_side(timeline: Timeline, row: int, steps: Sequence[RowStep], *, cut: bool) -> Side:
    """The row as recorded, and as computed where the recording ends or has a gap."""
    done: list[_Done] = []
    for at, item in enumerate(steps):
        if item.output is not None and isinstance(item.output.body, Step):
            done.append(_Done(item.output.body, item.output.known))
        elif (computed := timeline.moment(row, at).computed) is not None:
            done.append(_Done(computed, None))
    side = _side(timeline.generation.name, steps, done)
    recorded = bool(done) and all(item.known is not None for item in done)
    end = RowEnd.CUT if cut else RowEnd.ENTERED if side.guest is not None else RowEnd.UNRECORDED
    return side._replace(recorded=recorded, end=end)


def _computed_side(name: str, result: WhatIfRow, steps: Sequence[RowStep]) -> Side:
    side = _side(name, steps, [_Done(item.step, None) for item in result.steps])
    return side._replace(assumed=result.assumed, diverged=result.diverged, end=result.end)


def _side(name: str, steps: Sequence[RowStep], done: Sequence[_Done]) -> Side:
    end = done[-1] if done else None
    outcome = end.step.outcome if end is not None else None
    return Side(
        generation=name,
        recorded=False,
        known=end is not None,
        exits=tuple(
            _to_userspace(item) for item in done if item.step.outcome is not Outcome.REENTER_TD
        ),
        guest=_to_guest(steps, end) if end and outcome is Outcome.REENTER_TD else None,
        dead=bool(end and outcome is Outcome.KVM_ERROR and end.step.errno == errno.EIO),
        assumed=False,
        diverged=False,
        end=RowEnd.UNRECORDED,
    )


# --- one return of KVM_RUN, one entry -------------------------------------------------


def _to_userspace(done: _Done) -> ToUserspace:
    step, known = done
    flags_known = known is None or bool(known & KNOWN_RUN_FLAGS)
    run = step.run
    return ToUserspace(
        run.exit_reason if run is not None else None,
        step.errno if step.outcome is Outcome.KVM_ERROR else 0,
        step.run_flags if flags_known else None,
        tuple(_fields(run, computed=known is None)) if run is not None else (),
    )


def _fields(run: KvmRun, *, computed: bool) -> Iterator[ExitField]:
    for field in run.layout.fields:
        if field.count and field.size == 1:
            yield _bytes_field(run, field, computed=computed)
        elif field.count:
            for index in range(_length(run, field)):
                name = f"{field.name}[{index}]"
                yield _field(run, field, index, name, computed=computed)
        else:
            yield _field(run, field, 0, field.name, computed=computed)
    if run.exit_reason == Exit.IO:
        # For IN, the bytes are userspace's to write.
        yield ExitField("data", run.pio, Written.WRITTEN)


def _length(run: KvmRun, field: Field) -> int:
    """How much of an array an exit uses."""
    if not any(other.name == "ndata" for other in run.layout.fields):
        return field.count
    used = run.get("ndata")
    return field.count if used is None else min(used, field.count)


def _field(run: KvmRun, field: Field, index: int, name: str, *, computed: bool) -> ExitField:
    value = run.value(field, index)
    written = run.was_written(field, index)
    return ExitField(name, value, _written(written, computed or value is not None))


def _written(written: bool, sure: bool) -> Written:
    if written:
        return Written.WRITTEN
    return Written.STALE if sure else Written.UNKNOWN


def _bytes_field(run: KvmRun, field: Field, *, computed: bool) -> ExitField:
    """mmio.data: as many bytes as the access has."""
    size = min(run.get("len") or 0, field.count)
    found = [run.value(field, at) for at in range(size)]
    value = bytes(byte for byte in found if byte is not None)
    whole = len(value) == size
    written = all(run.was_written(field, at) for at in range(size))
    return ExitField(field.name, value if whole else None, _written(written, computed or whole))


def _to_guest(steps: Sequence[RowStep], done: _Done) -> ToGuest:
    first = steps[0].input
    event = first.body if first is not None else None
    if first is None or not isinstance(event, TdExit) or not first.known >> RCX & 1:
        return ToGuest((), frozenset(), False)
    if event.vp_enter_ret & BASIC_MASK != TDCALL:
        return ToGuest((), frozenset(), False)
    before, after = event.regs, done.step.regs
    mask = before[RCX] & EXPOSABLE & (KNOWN_REGS if done.known is None else done.known)
    selected = [number for number in range(len(REG_NAMES)) if mask >> number & 1]
    return ToGuest(
        tuple((REG_NAMES[number], after[number]) for number in selected),
        frozenset(
            REG_NAMES[number]
            for number in selected
            if first.known >> number & 1 and before[number] != after[number]
        ),
        before.r10 != 0,
    )


# --- what differs ---------------------------------------------------------------------


def differences(one: Side, other: Side) -> tuple[str, ...]:
    """What is not the same, each name once; what is not known differs from nothing."""
    if one is other or not (one.known and other.known):
        return ()
    found: dict[str, None] = {}
    for first, second in zip(one.exits, other.exits, strict=False):
        found.update(dict.fromkeys(_exit_differences(first, second)))
    found.update(dict.fromkeys(_end_differences(one, other)))
    if one.guest is not None and other.guest is not None:
        given = dict(other.guest.registers)
        found.update(
            (name, None)
            for name, value in one.guest.registers
            if name in given and given[name] != value
        )
    return tuple(found)


def _end_differences(one: Side, other: Side) -> Iterator[str]:
    """Whether one goes to userspace more often, or enters the TD and the other does not.

    A row that ends in userspace is one whose end nobody saw, or a VMM that
    stopped: then what the other does after as many exits is no difference. Of
    a row that is cut nobody looked at the end.
    """
    if RowEnd.CUT in (one.end, other.end) and one.exits and other.exits:
        return
    if _is_open(one) and len(one.exits) <= len(other.exits):
        return
    if _is_open(other) and len(other.exits) <= len(one.exits):
        return
    if len(one.exits) != len(other.exits):
        yield "number of exits"
    if (one.guest is None, one.dead) != (other.guest is None, other.dead):
        yield "entry"


def _is_open(side: Side) -> bool:
    return side.guest is None and not side.dead and bool(side.exits) and not side.exits[-1].errno


def _exit_differences(one: ToUserspace, other: ToUserspace) -> Iterator[str]:
    if one.exit_reason != other.exit_reason:
        yield "exit_reason"
        return
    if one.errno != other.errno:
        yield "errno"
    if None not in (one.run_flags, other.run_flags) and one.run_flags != other.run_flags:
        yield "run.flags"
    first = {field.name: field for field in one.fields}
    second = {field.name: field for field in other.fields}
    uneven = {_member(name) for name in first.keys() ^ second.keys()}
    if not uneven <= {_member(name) for name in first.keys() & second.keys()}:
        yield "layout"
        return
    yield from sorted(uneven)
    for name, field in first.items():
        if _member(name) not in uneven and _field_differs(field, second[name]):
            yield name


def _member(name: str) -> str:
    return name.partition("[")[0]


def _field_differs(one: ExitField, other: ExitField) -> bool:
    if Written.UNKNOWN in (one.written, other.written):
        return False
    if one.written is not other.written:
        return True
    return None not in (one.value, other.value) and one.value != other.value
