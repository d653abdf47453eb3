"""One point in time: an input, what the kernel was seen to do, what the engine does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from tdxdbg.abi.regs import KNOWN_ALL, REG_NAMES, Regs
from tdxdbg.engine import GpaMap, KvmRun, Outcome, Reentry, Step, Td, TdExit
from tdxdbg.traces.records import (
    KNOWN_COMPLETER,
    KNOWN_EFFECTS,
    KNOWN_ERRNO,
    KNOWN_RUN_FLAGS,
)

#: Fields that depend on the host and that the engine does not model.
_NOT_MODELLED: Final = frozenset({"internal.data[1]", "fail_entry.cpu"})


class Difference(NamedTuple):
    """A field in which the recorded kernel and the engine differ; None: not there."""

    field: str
    recorded: int | str | None
    computed: int | str | None


class Moment(NamedTuple):
    """One input and what it did.

    `row`, `step` and `steps` count inputs within their row, `record` is the
    input's place in the journal, `time` is in ns. Masks have a bit a register:
    `before_known` and `after_known` say which values are known at all,
    `after_computed` which of those only the engine knows. `gpa_map` is None
    where the history before this row has not been read yet. `changed` is the
    range that this step converted: GPA, size in bytes, private.
    """

    row: int
    step: int
    steps: int
    record: int
    time: int | None
    vcpu: int
    td: Td
    input: TdExit | Reentry | None
    before: Regs
    before_known: int
    recorded: Step | None
    recorded_known: int
    computed: Step | None
    after: Regs
    after_known: int
    after_computed: int
    answer: Reentry | None
    answer_known: bool
    gpa_map: GpaMap | None
    changed: tuple[int, int, bool] | None
    differences: tuple[Difference, ...] = ()
    assumed: bool = False
    diverged: bool = False
    source: int = 0
    #: The row has more steps than `steps`: only so many of a row are read.
    more: bool = False

    @property
    def shown(self) -> Step | None:
        """The recorded step where there is one, else the computed one."""
        return self.recorded or self.computed


def registers_after(
    recorded: Step | None, recorded_known: int, computed: Step | None
) -> tuple[Regs, int, int]:
    """Register values after a step, which are known, and which only by computing."""
    if recorded is None:
        if computed is None:
            return Regs(), 0, 0
        return computed.regs, KNOWN_ALL, KNOWN_ALL
    known = recorded_known & KNOWN_ALL
    if computed is None or known == KNOWN_ALL:
        return recorded.regs, known, 0
    values = (
        recorded.regs[number] if known >> number & 1 else computed.regs[number]
        for number in range(len(REG_NAMES))
    )
    return Regs._make(values), KNOWN_ALL, KNOWN_ALL & ~known


def differences(recorded: Step, known: int, computed: Step) -> tuple[Difference, ...]:
    """Where two steps differ, in what the recording knows; empty when they agree."""
    found = []
    if recorded.outcome != computed.outcome:
        found.append(Difference("outcome", recorded.outcome.name, computed.outcome.name))
    if known & KNOWN_ERRNO and recorded.errno != computed.errno:
        found.append(Difference("errno", recorded.errno, computed.errno))
    if known & KNOWN_COMPLETER and recorded.completer != computed.completer:
        found.append(Difference("completer", recorded.completer.name, computed.completer.name))
    if known & KNOWN_RUN_FLAGS and recorded.run_flags != computed.run_flags:
        found.append(Difference("run.flags", recorded.run_flags, computed.run_flags))
    if known & KNOWN_EFFECTS and recorded.effects != computed.effects:
        found.append(Difference("effects", recorded.effects, computed.effects))
    if recorded.regs != computed.regs:
        found.extend(
            Difference(name, recorded.regs[number], computed.regs[number])
            for number, name in enumerate(REG_NAMES)
            if known >> number & 1 and recorded.regs[number] != computed.regs[number]
        )
    if recorded.outcome == Outcome.REENTER_TD and computed.outcome == Outcome.REENTER_TD:
        return tuple(found)
    found.extend(_run_differences(recorded.run, computed.run))
    return tuple(found)


def _run_differences(recorded: KvmRun | None, computed: KvmRun | None) -> Iterator[Difference]:
    if recorded is None:
        return
    if computed is None or recorded.exit_reason != computed.exit_reason:
        got = computed.exit_reason if computed is not None else None
        yield Difference("exit_reason", recorded.exit_reason, got)
        return
    if recorded.layout is not computed.layout:
        yield Difference("layout", _field_names(recorded), _field_names(computed))
        return
    for name, index, value in known_fields(recorded):
        other = computed.get(name, index)
        label = field_label(recorded, name, index)
        if other is not None and other != value and label not in _NOT_MODELLED:
            yield Difference(label, value, other)
    length = min(len(recorded.pio), len(computed.pio))
    if recorded.pio[:length] != computed.pio[:length]:
        yield Difference("io.data", recorded.pio.hex(), computed.pio.hex())


def _field_names(run: KvmRun) -> str:
    return " ".join(field.name for field in run.layout.fields)


def field_label(run: KvmRun, name: str, index: int = 0) -> str:
    """`hypercall.args[1]`: a member as the kernel's source writes it."""
    array = any(field.name == name and field.count for field in run.layout.fields)
    return f"{run.layout.member}.{name}" + (f"[{index}]" if array else "")


def known_fields(run: KvmRun) -> Iterator[tuple[str, int, int]]:
    """Name, index and value of each field (or element) with a known value."""
    for field in run.layout.fields:
        for index in range(field.count or 1):
            value = run.value(field, index)
            if value is not None:
                yield field.name, index, value
