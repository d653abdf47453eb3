"""What else a recorded step could say: one field changed, and what `check` calls it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tdxdbg.abi.kvm import RUN_UNION_OFFSET, Exit
from tdxdbg.abi.regs import REG_NAMES, replace
from tdxdbg.engine import Completer, KvmRun, Outcome, Step
from tdxdbg.engine.kvm_run import Field, layout_of
from tdxdbg.engine.state import WARNED

#: Depend on the host; `check` does not compare them.
NOT_MODELLED = {"internal.data[1]", "fail_entry.cpu"}


class Alteration(NamedTuple):
    field: str
    step: Step


def alterations(step: Step) -> Iterator[Alteration]:
    """Every field of a step, each changed alone."""
    for number, name in enumerate(REG_NAMES):
        regs = replace(step.regs, number, step.regs[number] ^ 1 << number * 3)
        yield Alteration(name, step._replace(regs=regs))
    completer = Completer((step.completer + 1) % len(Completer))
    yield Alteration("completer", step._replace(completer=completer))
    yield Alteration("run.flags", step._replace(run_flags=step.run_flags ^ 4))
    yield Alteration("effects", step._replace(effects=step.effects ^ WARNED))
    yield Alteration("errno", step._replace(errno=step.errno + 1))
    if step.outcome is not Outcome.REENTER_TD and step.run is not None:
        yield from _run_alterations(step, step.run)


def _run_alterations(step: Step, run: KvmRun) -> Iterator[Alteration]:
    other = run._replace(exit_reason=Exit.HLT, layout=layout_of(Exit.HLT, run.union))
    yield Alteration("exit_reason", step._replace(run=other))
    if run.pio:
        pio = bytes([run.pio[0] ^ 0x80]) + run.pio[1:]
        yield Alteration("io.data", step._replace(run=run._replace(pio=pio)))
    for field in run.layout.fields:
        for index in range(field.count or 1):
            if run.value(field, index) is None:
                continue
            name = f"{run.layout.member}.{field.name}" + (f"[{index}]" if field.count else "")
            if name not in NOT_MODELLED:
                yield _field_alteration(step, run, field, index, name)


def _field_alteration(step: Step, run: KvmRun, field: Field, index: int, name: str) -> Alteration:
    start = field.offset - RUN_UNION_OFFSET + index * field.size
    union = run.union[:start] + bytes([run.union[start] ^ 1]) + run.union[start + 1 :]
    layout = layout_of(run.exit_reason, union)
    altered = step._replace(run=run._replace(union=union, layout=layout))
    # KVM_EXIT_TDX has one layout for each call: another number is another layout.
    return Alteration(name if layout is run.layout else "layout", altered)
