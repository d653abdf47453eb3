"""Small recordings for the tests of the screen, made by running the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tdxdbg.abi import vmx
from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.regs import LINUX_EXPOSE_MASK, Regs, exposed
from tdxdbg.engine import (
    BY_NAME,
    Engine,
    HypercallAnswer,
    Outcome,
    Reentry,
    SetMemoryAttributes,
    Step,
    Td,
    TdExit,
)
from tdxdbg.traces import Trace, TraceMeta
from tdxdbg.traces.records import Record, answer, memory_attributes, step_record, td_exit

TD = Td(gpaw=52, maxphyaddr=52)
SHARED = TD.shared_mask
CHUNK = 2 << 20
MICRO = 1000

Userspace = Callable[[Step, int], Reentry | None]


def tdvmcall(leaf: int, vcpu: int = 0, mask: int = LINUX_EXPOSE_MASK, **regs: int) -> TdExit:
    """A TD exit by TDG.VP.VMCALL with these operands."""
    return TdExit(vcpu, vmx.TDCALL, exposed(Regs(rcx=mask, r11=leaf, **regs)))


class Recorder:
    """Runs guest exits through an engine and keeps the journal."""

    def __init__(self, generation: str = "7.2") -> None:
        self.engine = Engine(TD, BY_NAME[generation])
        self.generation = generation
        self.records: list[Record] = []
        self.row = 0
        self.clock = 1_024_113 * MICRO

    def tick(self) -> int:
        self.clock += 47 * MICRO
        return self.clock

    def exit(self, event: TdExit, userspace: Userspace | None = None) -> Step:
        """One row: the exit, and userspace's answers until the TD is entered."""
        vcpu, row = event.vcpu, self.row
        self.engine.force_into_td(vcpu)
        self.records.append(td_exit(row, event, self.tick()))
        step = self.engine.feed(event)
        chunk = 0
        while True:
            self.records.append(step_record(row, vcpu, step, self.tick()))
            if step.outcome is Outcome.REENTER_TD:
                break
            reentry = (userspace or agree)(step, chunk)
            if reentry is None:
                break
            self._convert(step, row, reentry)
            chunk += 1
            self.records.append(answer(row, reentry._replace(vcpu=vcpu), self.tick()))
            step = self.engine.feed(reentry._replace(vcpu=vcpu))
        self.row += 1
        return step

    def _convert(self, step: Step, row: int, reentry: Reentry) -> None:
        """What a VMM does before it answers 0 to KVM_HC_MAP_GPA_RANGE."""
        run = step.run
        if run is None or run.layout.member != "hypercall" or getattr(reentry.answer, "ret", None):
            return
        gpa, pages, attributes = (run.get("args", at) or 0 for at in range(3))
        body = SetMemoryAttributes(gpa, pages << 12, bool(attributes & 0x10))
        self.engine.feed(body)
        self.records.append(memory_attributes(row, 0, body, self.tick()))

    def trace(self, **meta: str) -> Trace:
        texts = {"source": "the tests", "kernel": "7.2.0", "title": "", **meta}
        described = TraceMeta(
            generation=self.generation,
            td=TD,
            source=texts["source"],
            kernel=texts["kernel"],
            title=texts["title"],
        )
        return Trace.from_records(described, self.records, name="demo.tdxt")


def agree(step: Step, chunk: int) -> Reentry | None:
    """Userspace says yes to everything."""
    run = step.run
    if run is not None and run.layout.member == "hypercall":
        return Reentry(0, HypercallAnswer(0))
    if run is not None and run.layout.member == "system_event":
        return None
    return Reentry(0)


def interrupted_after(chunks: int) -> Userspace:
    """Userspace agrees, and an event is pending after so many chunks."""

    def answers(step: Step, chunk: int) -> Reentry | None:
        return Reentry(0, HypercallAnswer(0), has_events=chunk + 1 == chunks)

    return answers


def mapgpa() -> Trace:
    """MapGPA of 8 MiB, interrupted twice and resumed, between other exits."""
    made = Recorder()
    made.exit(tdvmcall(SubFunction.IO, r12=1, r13=1, r14=0x3F8, r15=ord("h")))
    gpa, size = 0x4000_0000, 8 << 20
    for event in (2, 1, 9):
        made.exit(
            tdvmcall(SubFunction.MAP_GPA, r12=gpa | SHARED, r13=size), interrupted_after(event)
        )
        moved = min(event * CHUNK, size)
        gpa, size = gpa + moved, size - moved
        made.exit(tdvmcall(SubFunction.HLT, vcpu=1, r12=0))
    made.exit(tdvmcall(SubFunction.MAP_GPA, r12=0x4000_0001 | SHARED, r13=4096))
    made.exit(tdvmcall(SubFunction.MAP_GPA, r12=0x4000_0000, r13=4096))
    made.exit(tdvmcall(SubFunction.CPUID, r12=0x4C78_0002))
    made.exit(tdvmcall(0x99, r12=1))
    return made.trace(title="MapGPA of 8 MiB, interrupted twice")


HOSTILE = b"\x1b]0;owned\x07\x1b[31m[/x]\xc2\x9b[@click=a]\xe2\x80\xae"


def hostile() -> Trace:
    """A fatal error whose text attacks the terminal, and metadata that does too."""
    made = Recorder()
    words = [int.from_bytes(HOSTILE[at : at + 8], "little") for at in range(0, 64, 8)]
    names = ("r14", "r15", "rbx", "rdi", "rsi", "r8", "r9", "rdx")
    regs = dict(zip(names, words, strict=True))
    made.exit(tdvmcall(SubFunction.REPORT_FATAL_ERROR, r12=0, **regs))
    evil = HOSTILE.decode("latin-1")
    return made.trace(title=evil, source=evil, kernel=evil)


def long_run(rows: int) -> Trace:
    """Many port writes."""
    return Trace.from_records(
        TraceMeta(generation="7.2", td=TD, source="the tests"), _writes(rows), name="long.tdxt"
    )


def _writes(rows: int) -> Iterator[Record]:
    engine = Engine(TD, BY_NAME["7.2"])
    for row in range(rows):
        event = tdvmcall(SubFunction.IO, r12=1, r13=1, r14=0x3F8 + row % 2, r15=row & 0xFF)
        engine.force_into_td(0)
        yield td_exit(row, event)
        yield step_record(row, 0, engine.feed(event))
        yield answer(row, Reentry(0))
        yield step_record(row, 0, engine.feed(Reentry(0)))
