"""Records as plain tuples, to cross to another process of the same program quickly.

`marshal` takes exact tuples, numbers and bytes only, and is several times
faster than pickling what records are made of. What a file does not hold (the
notes of a Step, the layout of its kvm_run) does not cross.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Sequence
from typing import Any, Final

from tdxdbg.abi.regs import NO_REGS, Regs
from tdxdbg.engine.kvm_run import EMPTY, KvmRun
from tdxdbg.engine.state import InKernel, Outcome, Reentry, SetMemoryAttributes, Step, TdExit
from tdxdbg.traces.pack import ANSWER_TYPES
from tdxdbg.traces.records import Body, Kind, Record

_TD_EXIT: Final = Kind.TD_EXIT
_ANSWER: Final = Kind.ANSWER
_MEMORY_ATTRIBUTES: Final = Kind.MEMORY_ATTRIBUTES
_CHECKPOINT: Final = Kind.CHECKPOINT
_KINDS: Final = {int(kind): kind for kind in Kind}
_NUMBERS: Final = {kind: number for number, kind in enumerate(ANSWER_TYPES)}
_OUTCOMES: Final = {int(outcome): outcome for outcome in Outcome}


def flatten(records: Iterable[Record]) -> bytes:
    """Records, bodies of the right types, for `rebuild` of the same version of Python."""
    rows: list[tuple[Any, ...]] = []
    add = rows.append
    before: Regs | None = None
    for kind, row, vcpu, time, body, known, source in records:
        if type(body) is Step:
            outcome, regs, run, run_flags, completer, errno, effects, _ = body
            if run is not None:
                reason, _, union, written, valid, pio = run
                run = (reason + 0, union, written, valid, pio)  # type: ignore[assignment]
            # Most steps leave the registers as they are.
            given = () if regs is before else regs
            before = regs
            add(
                (kind + 0, row, vcpu, time, known, source, outcome + 0, run, run_flags,
                 completer + 0, errno, effects + 0, *given)
            )  # fmt: skip
        elif type(body) is TdExit:
            _, ret, regs, registers, in_kernel, signal = body
            inside = None if in_kernel is None else tuple(in_kernel)
            before = regs
            add((1, row, vcpu, time, known, source, ret, registers, inside, signal, *regs))
        else:
            add((kind + 0, row, vcpu, time, known, source, _plain(body)))
    return marshal.dumps(rows)


def _plain(body: Body) -> object:
    if isinstance(body, Reentry):
        vcpu, answer, *flags = body
        if answer is None:
            return vcpu, 0, (), *flags
        return vcpu, _NUMBERS[type(answer)], tuple(answer), *flags
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
