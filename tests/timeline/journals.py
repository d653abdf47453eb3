"""Journals for the timeline's tests: an engine run written down as records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.regs import LINUX_EXPOSE_MASK, Regs
from tdxdbg.engine import (
    Engine,
    Generation,
    HypercallAnswer,
    Input,
    IoAnswer,
    Outcome,
    Reentry,
    SetMemoryAttributes,
    Td,
    TdExit,
)
from tdxdbg.engine.snapshot import dump
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import Kind, Record, TraceMeta, answer, step_record, td_exit

SHARED = 1 << 47
MIB = 1 << 20
DONE = HypercallAnswer(0)


def call(r11: int, r12: int = 0, r13: int = 0, r14: int = 0, r15: int = 0, r10: int = 0) -> Regs:
    """The registers of a Linux guest's TDVMCALL."""
    return Regs(rcx=LINUX_EXPOSE_MASK, r10=r10, r11=r11, r12=r12, r13=r13, r14=r14, r15=r15)


def map_gpa(gpa: int, size: int, vcpu: int = 0) -> TdExit:
    return TdExit(vcpu, 77, call(SubFunction.MAP_GPA, gpa, size))


def serial(letter: int, vcpu: int = 0) -> TdExit:
    return TdExit(vcpu, 77, call(SubFunction.IO, 1, 1, 0x3F8, letter))


#: Conversions in chunks, one interrupted, port I/O between, two vCPUs, an attribute change.
MIXED: tuple[Input, ...] = (
    serial(0x41),
    Reentry(0),
    map_gpa(SHARED | 0x4000_0000, 5 * MIB),
    Reentry(0, DONE),
    SetMemoryAttributes(0x4000_0000, 2 * MIB, private=False),
    serial(0x42, vcpu=1),
    Reentry(0, DONE),
    Reentry(1),
    Reentry(0, DONE),
    map_gpa(SHARED | 0x8000_0000, 8 * MIB, vcpu=1),
    Reentry(1, DONE),
    Reentry(1, DONE, has_events=True),
    TdExit(1, 77, call(SubFunction.IO, 1, 0, 0x3FD)),
    Reentry(1, IoAnswer(b"\x60")),
    map_gpa(SHARED | 0x8040_0000, 4 * MIB, vcpu=1),
    Reentry(1, DONE),
    Reentry(1, DONE),
    map_gpa(0x4010_0000, MIB),
    Reentry(0, DONE),
    TdExit(0, 77, call(0x99)),
)


def records_of(
    inputs: Iterable[Input], td: Td, generation: Generation, checkpoint_every: int = 0
) -> list[Record]:
    """What a recorder would write: each input, and what the engine did with it."""
    engine = Engine(td, generation)
    records: list[Record] = []
    row, rows_of, time = -1, dict.fromkeys(range(8), 0), 1_000
    for at, event in enumerate(inputs):
        time += 1_000
        if checkpoint_every and at and at % checkpoint_every == 0:
            state = dump(engine.checkpoint())
            records.append(Record(Kind.CHECKPOINT, max(row, 0), 0, time, state, 0))
        if isinstance(event, SetMemoryAttributes):
            engine.feed(event)
            records.append(Record(Kind.MEMORY_ATTRIBUTES, max(row, 0), 0, time, event, 0))
            continue
        if isinstance(event, TdExit):
            row += 1
            rows_of[event.vcpu] = row
            engine.force_into_td(event.vcpu)
            records.append(td_exit(row, event, time))
        else:
            records.append(answer(rows_of[event.vcpu], event, time))
        step = engine.feed(event)
        records.append(step_record(rows_of[event.vcpu], event.vcpu, step, time + 500))
    return records


def make_trace(
    records: Sequence[Record], td: Td, generation: Generation, name: str = "journal"
) -> Trace:
    meta = TraceMeta(source="test", generation=generation.name, origin="synthetic", td=td)
    return Trace.from_records(meta, records, name=name)


def entered(records: Iterable[Record]) -> int:
    """How often the TD was entered."""
    return sum(
        record.kind == Kind.TD_ENTRY and getattr(record.body, "outcome", None) is Outcome.REENTER_TD
        for record in records
    )
