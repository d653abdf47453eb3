"""CPUID, HLT, RDMSR, WRMSR (facts: kernel_exits 4.6 and 1.2)."""

from __future__ import annotations

import pytest

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.kvm import Exit
from tdxdbg.engine import Completer, InKernel, Msr, MsrAnswer, Reentry, Td, TdExit
from tdxdbg.engine.state import HALTED
from tests.engine.support import (
    ALL,
    GUEST,
    INVALID,
    MERGED,
    TDCALL,
    answer_of,
    call,
    changed,
    engine_in_td,
    run_of,
    tdcall,
)

HAVING = tuple(name for name in ALL if name != "exits-v1")
PAT = 0x277
MSRS = {
    PAT: Msr(0x0007_0406_0007_0406),
    0x8B: Msr(0x1_0000_0000, writable=False),
    0x79: Msr(readable=False),
    0x10A: Msr(1, filtered=True),
}
INVAL, UNKNOWN, FILTER = 1, 2, 4


@pytest.mark.parametrize(
    "leaf", [SubFunction.CPUID, SubFunction.HLT, SubFunction.RDMSR, SubFunction.WRMSR]
)
def test_v1_has_none_of_them(leaf: int) -> None:
    # facts: kernel_exits 1.2: came in later series
    regs = call(leaf, PAT)
    assert changed(regs, answer_of("exits-v1", regs)) == {"r10": INVALID}


@pytest.mark.parametrize("generation", HAVING)
@pytest.mark.parametrize(
    ("r12", "r13", "values"),
    [
        (0x15, 0, (1, 2, 3, 0xFFFF_FFFF)),
        (0xABCD_0000_0015, 0x1_0000_0000, (1, 2, 3, 0xFFFF_FFFF)),
        (0x15, 1, (0, 0, 0, 0)),
        (0x16, 0, (0, 0, 0, 0)),
    ],
)
def test_cpuid(generation: str, r12: int, r13: int, values: tuple[int, int, int, int]) -> None:
    regs = call(SubFunction.CPUID, r12, r13, 77, 88)
    step = answer_of(generation, regs, Td(cpuid={(0x15, 0): (1, 2, 3, 0xFFFF_FFFF)}))
    assert step.outcome is GUEST
    assert step.regs[12:] == values
    assert step.regs[:12] == regs[:12]


TOPOLOGY = {(0xB, 0): (0, 1, 0x100, 0), (0xB, 1): (1, 2, 0x201, 0), (0x1F, 0): (7, 7, 7, 7)}


@pytest.mark.parametrize(
    ("leaf", "sub_leaf", "values"),
    [
        pytest.param(0xB, 0, (0, 1, 0x100), id="threads"),
        pytest.param(0xB, 1, (1, 2, 0x201), id="cores"),
        pytest.param(0xB, 0x102, (0, 0, 2), id="a level that is not there"),
    ],
)
def test_the_topology_names_the_x2apic_id_of_the_vcpu(
    leaf: int, sub_leaf: int, values: tuple[int, int, int]
) -> None:
    engine = engine_in_td("7.3", Td(cpuid=TOPOLOGY), vcpus=2)
    for vcpu in (0, 1):
        step = engine.feed(TdExit(vcpu, TDCALL, call(SubFunction.CPUID, leaf, sub_leaf)))
        assert step.regs[12:] == (*values, vcpu)


@pytest.mark.parametrize(("sub_leaf", "values"), [(0, (7, 7, 7, 7)), (1, (0, 0, 0, 0))])
def test_a_topology_without_cores_is_as_userspace_set_it(
    sub_leaf: int, values: tuple[int, int, int, int]
) -> None:
    engine = engine_in_td("7.3", Td(cpuid=TOPOLOGY), vcpus=2)
    step = engine.feed(TdExit(1, TDCALL, call(SubFunction.CPUID, 0x1F, sub_leaf)))
    assert step.regs[12:] == values


@pytest.mark.parametrize("generation", HAVING)
@pytest.mark.parametrize("blocked", [0, 1])
def test_hlt(generation: str, blocked: int) -> None:
    regs = call(SubFunction.HLT, blocked)
    step = answer_of(generation, regs)
    assert (step.outcome, step.effects, step.regs) == (GUEST, HALTED, regs)


@pytest.mark.parametrize("generation", HAVING)
@pytest.mark.parametrize(
    ("index", "readable", "writable", "value"),
    [
        (PAT, True, True, 0x0007_0406_0007_0406),
        (0xFFFF_0000_0000 | PAT, True, True, 0x0007_0406_0007_0406),  # R12 low 32
        (0x8B, True, False, 0x1_0000_0000),
        (0x79, False, True, 0),
        (0x10A, False, False, 0),
        (0x9999, False, False, 0),
    ],
)
def test_msr_in_the_kernel(
    generation: str, index: int, readable: bool, writable: bool, value: int
) -> None:
    td = Td(msrs=MSRS)
    regs = call(SubFunction.RDMSR, index)
    step = answer_of(generation, regs, td)
    assert changed(regs, step) == ({"r11": value} if readable else {"r10": INVALID})
    regs = call(SubFunction.WRMSR, index, 5)
    step = answer_of(generation, regs, td)
    assert changed(regs, step) == ({} if writable else {"r10": INVALID})


@pytest.mark.parametrize("generation", HAVING)
def test_a_written_msr_reads_back_on_its_vcpu(generation: str) -> None:
    engine = engine_in_td(generation, Td(msrs=MSRS), vcpus=2)
    tdcall(engine, call(SubFunction.WRMSR, PAT, 0x123))
    assert tdcall(engine, call(SubFunction.RDMSR, PAT)).regs.r11 == 0x123
    assert tdcall(engine, call(SubFunction.RDMSR, PAT), vcpu=1).regs.r11 == 0x0007_0406_0007_0406


@pytest.mark.parametrize("generation", HAVING)
def test_a_recorded_value_counts(generation: str) -> None:
    step = answer_of(
        generation, call(SubFunction.RDMSR, PAT), Td(msrs=MSRS), in_kernel=InKernel(value=99)
    )
    assert step.regs.r11 == 99


EXITS = [
    # index, mask, reason of an RDMSR exit, of a WRMSR exit (None: no exit)
    (0x9999, INVAL, INVAL, INVAL),
    (0x9999, INVAL | UNKNOWN | FILTER, INVAL, INVAL),
    (0x9999, UNKNOWN | FILTER, None, None),
    (0x9999, 0, None, None),
    (0x10A, FILTER, FILTER, FILTER),
    (0x10A, INVAL, None, None),
    (0x8B, INVAL, None, INVAL),
    (0x79, INVAL, INVAL, None),
]


@pytest.mark.parametrize("generation", MERGED)
@pytest.mark.parametrize(("index", "mask", "read", "write"), EXITS)
def test_msr_exits(
    generation: str, index: int, mask: int, read: int | None, write: int | None
) -> None:
    td = Td(msrs=MSRS, user_space_msr_mask=mask)
    for leaf, reason, number, completer, data in (
        (SubFunction.RDMSR, read, Exit.X86_RDMSR, Completer.RDMSR, 0),
        (SubFunction.WRMSR, write, Exit.X86_WRMSR, Completer.WRMSR, 1 << 63 | 5),
    ):
        step = answer_of(generation, call(leaf, index, 1 << 63 | 5), td)
        if reason is None:
            assert step.outcome is GUEST
            continue
        assert step.run is not None
        assert (step.run.exit_reason, step.completer) == (number, completer)
        assert run_of(step) == {"error": 0, "reason": reason, "index": index, "data": data}
        # pad[7] is never written
        assert step.run.written == (1 << 24) - 1


def test_v19_never_exits() -> None:
    td = Td(msrs=MSRS, user_space_msr_mask=INVAL | UNKNOWN | FILTER)
    for leaf in (SubFunction.RDMSR, SubFunction.WRMSR):
        for index in (0x9999, 0x10A):
            regs = call(leaf, index)
            assert changed(regs, answer_of("v19", regs, td)) == {"r10": INVALID}


@pytest.mark.parametrize("generation", MERGED)
@pytest.mark.parametrize(
    ("leaf", "answer", "expected"),
    [
        (SubFunction.RDMSR, MsrAnswer(0, 0xFFFF_FFFF_0000_0001), {"r11": 0xFFFF_FFFF_0000_0001}),
        (SubFunction.RDMSR, MsrAnswer(None, 7), {"r11": 7}),
        (SubFunction.RDMSR, MsrAnswer(0), {"r11": 0}),
        (SubFunction.RDMSR, None, {"r11": 0}),
        (SubFunction.RDMSR, MsrAnswer(1, 7), {"r10": INVALID}),
        (SubFunction.RDMSR, MsrAnswer(255), {"r10": INVALID}),
        (SubFunction.WRMSR, MsrAnswer(0, 7), {}),
        (SubFunction.WRMSR, MsrAnswer(), {}),
        (SubFunction.WRMSR, None, {}),
        (SubFunction.WRMSR, MsrAnswer(1), {"r10": INVALID}),
    ],
)
def test_completion(
    generation: str, leaf: int, answer: MsrAnswer | None, expected: dict[str, int]
) -> None:
    # error != 0 -> INVALID_OPERAND; for RDMSR data -> R11
    engine = engine_in_td(generation, Td(user_space_msr_mask=INVAL))
    regs = call(leaf, 0x9999, 5)
    tdcall(engine, regs)
    step = engine.feed(Reentry(0, answer))
    assert (step.outcome, changed(regs, step)) == (GUEST, expected)
