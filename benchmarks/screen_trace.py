"""A trace in which every pane has something else to show at every exit."""

from __future__ import annotations

from typing import Final

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.regs import LINUX_EXPOSE_MASK, Regs
from tdxdbg.engine import (
    Engine,
    HypercallAnswer,
    IoAnswer,
    MmioAnswer,
    Outcome,
    Reentry,
    SetMemoryAttributes,
    Step,
    Td,
    TdExit,
    snapshot,
)
from tdxdbg.traces.pack import Packer
from tdxdbg.traces.records import (
    Record,
    answer,
    checkpoint,
    memory_attributes,
    step_record,
    td_exit,
)

#: More than an exit of these takes, in bytes.
BYTES_PER_EXIT: Final = 1100
#: What `benchmarks.open.Generator` repeats.
_ROWS: Final = 4096
_VCPUS: Final = 4
_RAM: Final = 0x4000_0000
_CHUNK: Final = 2 << 20
#: So many chunks are made shared, every other one, and then private again: a
#: block ends as it began, so it can follow itself.
_TOGETHER: Final = 32

#: R11 and R12 to R15 of what stands between two conversions.
_BETWEEN: Final = (
    (SubFunction.IO, 1, 1, 0x3F8, 0x41),
    (SubFunction.CPUID, 0x4C78_0002, 0, 0, 0),
    (SubFunction.MMIO, 4, 1, 0xFEC0_0000, 0x10),
    (SubFunction.WRMSR, 0x830, 0xFD, 0, 0),
    (SubFunction.IO, 1, 0, 0x3FD, 0),
    (SubFunction.HLT, 0, 0, 0, 0),
    (SubFunction.MMIO, 4, 0, 0xFEC0_0010, 0),
)


def block() -> bytes:
    """A checkpoint, and 4096 rows of four vCPUs, every other one a MapGPA."""
    td = Td()
    engine = Engine(td)
    for vcpu in range(_VCPUS):
        engine.force_into_td(vcpu)
    for number in range(_VCPUS):
        _row(engine, number * 2, td)
        _row(engine, number * 2 + 2 * _TOGETHER, td)
    assert not engine.gpa_map.edges
    packer = Packer()
    parts = [packer.pack(checkpoint(snapshot.dump(engine.checkpoint())))]
    for number in range(_ROWS):
        parts.extend(packer.pack(record) for record in _row(engine, number, td))
    assert not engine.gpa_map.edges
    return b"".join(parts)


def _row(engine: Engine, number: int, td: Td) -> list[Record]:
    """One TD exit, and what follows until the TD is entered."""
    vcpu, clock = number // 2 % _VCPUS, 1000 * number
    leaf, *operands = _operands(number, td)
    regs = Regs(LINUX_EXPOSE_MASK)._replace(
        rcx=LINUX_EXPOSE_MASK, r11=leaf,
        r12=operands[0], r13=operands[1], r14=operands[2], r15=operands[3],
    )  # fmt: skip
    exit_ = TdExit(vcpu, 77, regs)
    step = engine.feed(exit_)
    records = [td_exit(number, exit_, clock), step_record(number, vcpu, step)]
    while step.outcome is Outcome.EXIT_TO_USERSPACE:
        conversion, reply = _userspace(step, vcpu)
        if conversion is not None:
            engine.feed(conversion)
            records.append(memory_attributes(number, vcpu, conversion, clock + 300))
        step = engine.feed(reply)
        records += [answer(number, reply, clock + 500), step_record(number, vcpu, step)]
    return records


def _operands(number: int, td: Td) -> tuple[int, ...]:
    if number % 2:
        leaf, *rest = _BETWEEN[number // 2 % len(_BETWEEN)]
        return (leaf, *rest)
    turn = number // 2 % (2 * _TOGETHER)
    gpa = _RAM + turn % _TOGETHER * 2 * _CHUNK
    return SubFunction.MAP_GPA, gpa | (td.shared_mask if turn < _TOGETHER else 0), _CHUNK, 0, 0


def _userspace(step: Step, vcpu: int) -> tuple[SetMemoryAttributes | None, Reentry]:
    """What a VMM that agrees to everything does."""
    run = step.run
    assert run is not None
    if run.layout.member == "hypercall":
        gpa, pages, attributes = (run.get("args", at) or 0 for at in range(3))
        return (
            SetMemoryAttributes(gpa, pages << 12, bool(attributes & 0x10)),
            Reentry(vcpu, HypercallAnswer(0)),
        )
    if run.layout.member == "io":
        return None, Reentry(vcpu, IoAnswer(b"\x60"))
    if run.layout.member == "mmio":
        return None, Reentry(vcpu, MmioAnswer(b"\x11\0\0\0"))
    return None, Reentry(vcpu)
