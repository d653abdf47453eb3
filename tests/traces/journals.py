"""Small journals written down by hand."""

from __future__ import annotations

from tdxdbg.abi.kvm import Exit
from tdxdbg.abi.regs import Regs
from tdxdbg.engine.kvm_run import KvmRun, recorded_run
from tdxdbg.engine.state import (
    HypercallAnswer,
    Outcome,
    Reentry,
    SetMemoryAttributes,
    Step,
    TdExit,
)
from tdxdbg.traces.meta import TraceMeta
from tdxdbg.traces.records import (
    Record,
    answer,
    checkpoint,
    memory_attributes,
    step_record,
    td_exit,
)

META = TraceMeta(source="a test", kernel="6.16.1", generation="6.16", title="MapGPA, row by row")


def map_gpa_run(gpa: int, pages: int = 1) -> KvmRun:
    """KVM_EXIT_HYPERCALL, KVM_HC_MAP_GPA_RANGE; args[3..5] are left stale."""
    words = (12, gpa, pages, 0, 0, 0, 0, 0, 1)
    union = b"".join(word.to_bytes(8, "little") for word in words)
    return recorded_run(Exit.HYPERCALL, union, (1 << 32) - 1 | 0xFFFF << 56)


def row(number: int, vcpu: int = 0) -> list[Record]:
    """One MapGPA of one page: five records in one slot each."""
    gpa = number << 12
    regs = Regs(rcx=0xFC00, r11=0x10001, r12=gpa | 1 << 47, r13=4096)
    time = 1000 * number
    return [
        td_exit(number, TdExit(vcpu, 77, regs), time),
        step_record(
            number, vcpu, Step(Outcome.EXIT_TO_USERSPACE, regs, map_gpa_run(gpa)), time + 1
        ),
        memory_attributes(number, vcpu, SetMemoryAttributes(gpa, 4096, False), time + 2),
        answer(number, Reentry(vcpu, HypercallAnswer(0)), time + 3),
        step_record(number, vcpu, Step(Outcome.REENTER_TD, regs), time + 4),
    ]


def journal(rows: int, *, every: int = 0) -> list[Record]:
    """Rows one after the other, with a checkpoint of three slots before every n-th row."""
    result = []
    for number in range(rows):
        if every and number and number % every == 0:
            result.append(checkpoint({"row": number, "filler": "x" * 500}))
        result.extend(row(number))
    return result
