"""Which registers must have been seen before the engine is fed."""

from __future__ import annotations

import pytest
from hypothesis import given

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.regs import KNOWN_ALL, REG_NAMES, Regs
from tdxdbg.engine import BY_NAME, Td, TdExit
from tdxdbg.engine.needs import registers_read
from tests.engine.strategies import generation_names, td_exits, tds
from tests.engine.support import ALL, BUS_LOCK, MERGED, SHARED, SINCE_V1, call, engine_in_td

CALL = {"rcx", "r10", "r11"}
RAW = {name for name in REG_NAMES if name not in ("rax", "rsp", "rbp")}
TEXT = {"rdx", "rbx", "rsi", "rdi", "r8", "r9", "r12", "r13", "r14", "r15"}


def names(mask: int) -> set[str]:
    return {name for number, name in enumerate(REG_NAMES) if mask >> number & 1}


ROWS: list[tuple[TdExit, tuple[str, ...], set[str]]] = [
    (TdExit(0, 77, call(SubFunction.MAP_GPA)), SINCE_V1, CALL | {"r12", "r13"}),
    (TdExit(0, 77, call(SubFunction.IO)), ALL, CALL | {"r12", "r13", "r14", "r15"}),
    (TdExit(0, 77, call(SubFunction.HLT)), ALL[:1], CALL | {"r12"}),
    (TdExit(0, 77, call(SubFunction.REPORT_FATAL_ERROR)), SINCE_V1, CALL | TEXT),
    (TdExit(0, 77, call(0x20000)), SINCE_V1, CALL),
    # v19 hands every register to userspace
    (TdExit(0, 77, call(0x20000)), ("v19",), RAW),
    (TdExit(0, 77, call(SubFunction.MAP_GPA)), ("v19",), RAW),
    # facts: kernel_exits 4.1
    (TdExit(0, 77, call(0, r10=12)), ALL, CALL | {"r12", "r13", "r14"}),
    # bug B1: R11 decides
    (
        TdExit(0, 77 | BUS_LOCK, call(SubFunction.REPORT_FATAL_ERROR, r10=12)),
        MERGED,
        CALL | TEXT,
    ),
    # R10 unknown: nothing more can be said
    (TdExit(0, 77, call(SubFunction.MAP_GPA), known=KNOWN_ALL & ~(1 << 10)), ALL, CALL),
    # facts: kernel_exits 3, row info1 / info2 / intr_info, and 4.9
    (TdExit(0, 0, Regs()), ALL, {"r9"}),
    (TdExit(0, 48, Regs()), ALL, {"rcx", "rdx", "r8"}),
    (TdExit(0, 75, Regs()), ALL, {"rcx"}),
    (TdExit(0, 1, Regs()), ALL, set()),
    (TdExit(0, 0x4000_0002_0000_0002, Regs()), ALL, set()),
]


@pytest.mark.parametrize(
    ("event", "generation", "expected"),
    [(event, name, expected) for event, names_, expected in ROWS for name in names_],
)
def test_registers(event: TdExit, generation: str, expected: set[str]) -> None:
    assert names(registers_read(event, BY_NAME[generation])) == expected


@given(generation_names, tds, td_exits())
def test_what_is_not_needed_does_not_matter(generation: str, td: Td, event: TdExit) -> None:
    needed = registers_read(event, BY_NAME[generation])
    other = Regs._make(
        value if needed >> number & 1 else value ^ SHARED ^ 0x5555
        for number, value in enumerate(event.regs)
    )
    engine = engine_in_td(generation, td)
    first = engine.fork().feed(event)
    second = engine.fork().feed(event._replace(regs=other))
    assert (first.outcome, first.run_flags, first.completer, first.errno, first.effects) == (
        second.outcome,
        second.run_flags,
        second.completer,
        second.errno,
        second.effects,
    )
    assert first.run == second.run
    for number in range(16):
        if needed >> number & 1:
            assert first.regs[number] == second.regs[number]
