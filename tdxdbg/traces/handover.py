"""Records as plain tuples, to cross to another process of the same program quickly.

`marshal` takes exact tuples, numbers and bytes only, and is several times
faster than pickling what records are made of. What a file does not hold (the
notes of a Step, the layout of its kvm_run) does not cross.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from tdxdbg.abi.regs import NO_REGS, Regs
from tdxdbg.engine import BY_NAME, Engine
from tdxdbg.engine.kvm_run import EMPTY, KvmRun
from tdxdbg.engine.snapshot import dump, load
from tdxdbg.engine.state import (
    Answer,
    InKernel,
    Outcome,
    Reentry,
    SetMemoryAttributes,
    Step,
    TdExit,
)
from tdxdbg.traces.meta import dump_json, load_json, td_from_json, td_to_json
from tdxdbg.traces.pack import ANSWER_TYPES
from tdxdbg.traces.records import Body, Kind, Record, answer, step_record, td_exit

_TD_EXIT: Final = Kind.TD_EXIT
_ANSWER: Final = Kind.ANSWER
_MEMORY_ATTRIBUTES: Final = Kind.MEMORY_ATTRIBUTES
_CHECKPOINT: Final = Kind.CHECKPOINT
_KINDS: Final = {int(kind): kind for kind in Kind}
_NUMBERS: Final = {kind: number for number, kind in enumerate(ANSWER_TYPES)}
#: What `Inputs` gathers is told apart by its length; that of a TD exit is another.
_STEP_LENGTH: Final = 4
_ANSWER_LENGTH: Final = 8
_OTHER_LENGTH: Final = 7
_OUTCOMES: Final = {int(outcome): outcome for outcome in Outcome}


def flatten(records: Iterable[Record]) -> bytes:
    """Records, bodies of the right types, for `rebuild` of the same version of Python."""
    rows: list[tuple[Any, ...]] = []
    add = rows.append
    before: Regs | None = None
    for kind, row, vcpu, time, body, known, source in records:
        if type(body) is Step:
            outcome, regs, run, run_flags, completer, errno, effects, _ = body
            plain_run: tuple[Any, ...] | None = None
            if run is not None:
                reason, _, union, written, valid, pio = run
                plain_run = (reason + 0, union, written, valid, pio)
            # Most steps leave the registers as they are.
            given = () if regs is before else regs
            before = regs
            add(
                (kind + 0, row, vcpu, time, known, source, outcome + 0, plain_run, run_flags,
                 completer + 0, errno, effects + 0, *map(int, given))
            )  # fmt: skip
        elif type(body) is TdExit:
            _, ret, regs, registers, in_kernel, signal = body
            inside = None if in_kernel is None else tuple(in_kernel)
            before = regs
            add((1, row, vcpu, time, known, source, ret, registers, inside, signal, *regs))
        else:
            add((kind + 0, row, vcpu, time, known, source, _plain(body)))
    return marshal.dumps(rows)


class Inputs:
    """Gathers what an engine has to be fed with to make the same records: see `Again`.

    Records as a live run makes them, all of it known. Of a Step only the
    outcome crosses, so this is a fraction of the work of `flatten`.
    """

    def __init__(self, due: Callable[[int], object]) -> None:
        """`due` is called with the time before a TD exit that finds `room` records or more."""
        self._due = due
        self.room = 0
        #: One for each record.
        self.rows: list[tuple[Any, ...]] = []
        self._add = self.rows.append

    def take(self) -> bytes:
        """All of it, for `Again.records`; it is empty then."""
        data = marshal.dumps(self.rows)
        self.rows.clear()
        return data

    def td_exit(self, row: int, exit_: TdExit, time: int) -> None:
        if len(self.rows) >= self.room:
            self._due(time)
        vcpu, ret, regs, registers, in_kernel, signal = exit_
        inside = None if in_kernel is None else tuple(in_kernel)
        self._add((row, vcpu, time, ret, registers, inside, signal, *regs))

    def step(self, row: int, vcpu: int, step: Step, time: int) -> None:
        self._add((row, vcpu, time, step[0] + 0))

    def answer(self, row: int, reentry: Reentry, time: int) -> None:
        vcpu, answer, events, immediate, signal = reentry
        if answer is None:
            self._add((row, vcpu, time, 0, (), events, immediate, signal))
        else:
            number = _NUMBERS[type(answer)]
            self._add((row, vcpu, time, number, _values(answer), events, immediate, signal))

    def other(self, record: Record) -> None:
        """A checkpoint, or KVM_SET_MEMORY_ATTRIBUTES."""
        kind, row, vcpu, time, body, known, source = record
        self._add((kind + 0, row, vcpu, time, known, source, _plain(body)))


class Again:
    """Makes the records again: KVM does the same with the same inputs."""

    def __init__(self, engine: Engine) -> None:
        """`engine` is as it was before the first of them."""
        self._engine = engine
        self._step: Step | None = None

    def records(self, data: bytes) -> Iterator[Record]:
        """Those that were gathered; raises ValueError when the engine does something else."""
        feed = self._engine.feed
        for plain in marshal.loads(data):
            length = len(plain)
            if length == _STEP_LENGTH:
                yield self._record_of_step(*plain)
            elif length == _ANSWER_LENGTH:
                row, vcpu, time, number, values, *flags = plain
                made = ANSWER_TYPES[number]
                reentry = Reentry(vcpu, None if made is None else made._make(values), *flags)
                self._step = feed(reentry)
                yield answer(row, reentry, time)
            elif length == _OTHER_LENGTH:
                record = _record(plain)
                if isinstance(record.body, SetMemoryAttributes):
                    feed(record.body)
                yield record
            else:
                row, vcpu, time, ret, registers, inside, signal, *regs = plain
                in_kernel = None if inside is None else InKernel._make(inside)
                exit_ = TdExit(vcpu, ret, Regs._make(regs), registers, in_kernel, signal)
                yield td_exit(row, exit_, time)
                self._step = feed(exit_)

    def _record_of_step(self, row: int, vcpu: int, time: int, outcome: int) -> Record:
        step, self._step = self._step, None
        if step is None or step.outcome != outcome:
            made = "nothing" if step is None else step.outcome.name
            raise ValueError(
                f"row {row}: the engine came to {_OUTCOMES[outcome].name}, and to {made} when it "
                "was fed with the same again; please report this"
            )
        return step_record(row, vcpu, step, time)


def engine_to_json(engine: Engine) -> str:
    """The engine as it is now, as text."""
    state = dump(engine.checkpoint())
    return dump_json(
        {"td": td_to_json(engine.td), "generation": engine.generation.name, "state": state}
    )


def engine_from_json(text: str) -> Engine:
    """What `engine_to_json` was given."""
    data: Any = load_json(text)
    engine = Engine(td_from_json(data["td"]), BY_NAME[data["generation"]])
    engine.restore(load(data["state"]))
    return engine


def _values(answer: Answer) -> tuple[Any, ...]:
    """Its fields; a status is a member of an enum."""
    return tuple(item + 0 if isinstance(item, int) else item for item in answer)


def _plain(body: Body) -> object:
    if isinstance(body, Reentry):
        vcpu, answer, *flags = body
        if answer is None:
            return vcpu, 0, (), *flags
        return vcpu, _NUMBERS[type(answer)], _values(answer), *flags
    if isinstance(body, SetMemoryAttributes):
        return tuple(body)
    return body


def rebuild(data: bytes) -> list[Record]:
    """What `flatten` was given. Only for bytes that this program made itself."""
    records: list[Record] = []
    before = NO_REGS
    for number, row, vcpu, time, known, source, *rest in marshal.loads(data):
        kind = _KINDS[number]
        body = _body(kind, vcpu, rest, before)
        if isinstance(body, (TdExit, Step)):
            before = body.regs
        records.append(Record(kind, row, vcpu, time, body, known, source))
    return records


def _record(plain: Sequence[Any]) -> Record:
    number, row, vcpu, time, known, source, *rest = plain
    kind = _KINDS[number]
    return Record(kind, row, vcpu, time, _body(kind, vcpu, rest, NO_REGS), known, source)


def _body(kind: Kind, vcpu: int, rest: Sequence[Any], before: Regs) -> Body:
    """`before`: the registers of the newest record that has some."""
    if kind is _TD_EXIT:
        ret, registers, inside, signal, *regs = rest
        in_kernel = None if inside is None else InKernel._make(inside)
        return TdExit(vcpu, ret, Regs._make(regs), registers, in_kernel, signal)
    if kind is _ANSWER:
        who, number, values, *flags = rest[0]
        made = ANSWER_TYPES[number]
        return Reentry(who, None if made is None else made._make(values), *flags)
    if kind is _MEMORY_ATTRIBUTES:
        return SetMemoryAttributes._make(rest[0])
    if kind is _CHECKPOINT:
        body: Body = rest[0]
        return body
    outcome, plain, run_flags, completer, errno, effects, *regs = rest
    run = None
    if plain is not None:
        reason, union, written, valid, pio = plain
        run = KvmRun(reason, EMPTY, union, written, valid, pio)
    after = Regs._make(regs) if regs else before
    return Step(_OUTCOMES[outcome], after, run, run_flags, completer, errno, effects)
