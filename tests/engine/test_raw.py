"""v19's raw KVM_EXIT_TDX (facts: kernel_exits 4.8)."""

from __future__ import annotations

import pytest

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.kvm import Exit
from tdxdbg.abi.regs import Regs, exposed
from tdxdbg.engine import Completer, Reentry, TdxRawAnswer
from tdxdbg.engine.kvm_run import RAW_REGISTERS, TDX_RAW
from tests.engine.support import (
    EXIT,
    GUEST,
    MIB2,
    SHARED,
    U64,
    answer_of,
    call,
    changed,
    engine_in_td,
    map_gpa,
    run_of,
    tdcall,
)

LEAVES = [
    SubFunction.MAP_GPA,
    SubFunction.GET_QUOTE,
    SubFunction.REPORT_FATAL_ERROR,
    SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT,
    SubFunction.SERVICE,
    54,
    65,
    0,
    0x1_0000_000A,
    U64,
]


def full(r11: int, mask: int) -> Regs:
    values = {name: 0x100 + at for at, name in enumerate(RAW_REGISTERS)}
    return exposed(Regs(**{**values, "rcx": mask, "r10": 0, "r11": r11}))


@pytest.mark.parametrize("leaf", LEAVES)
def test_everything_else_exits(leaf: int) -> None:
    regs = full(leaf, 0xFFCC)
    step = answer_of("v19", regs)
    assert step.run is not None
    assert (step.outcome, step.run.exit_reason) == (EXIT, Exit.TDX)
    assert (step.run.layout, step.completer) == (TDX_RAW, Completer.RAW)
    run = run_of(step)
    assert (run["type"], run["in_rcx"]) == (1, 0xFFCC)
    for name in RAW_REGISTERS:
        # out_* preset to the same values
        assert run[f"in_{name}"] == run[f"out_{name}"] == getattr(regs, name)
    # the padding after `type` is not written
    assert step.run.written == (1 << 208) - 1 & ~0xF0


def test_a_vmm_that_does_nothing_says_success() -> None:
    engine = engine_in_td("v19")
    regs = full(0x10005, 0xFFCC)
    tdcall(engine, regs)
    step = engine.feed(Reentry(0))
    assert (step.outcome, step.regs) == (GUEST, regs)


def test_every_selected_register_is_loaded_from_out() -> None:
    engine = engine_in_td("v19")
    regs = full(0x10005, 0xFFCC)
    tdcall(engine, regs)
    out = TdxRawAnswer(*range(0x200, 0x20C))
    step = engine.feed(Reentry(0, out))
    assert {name: getattr(step.regs, name) for name in RAW_REGISTERS} == out._asdict()
    assert step.regs.rcx == 0xFFCC


def test_none_leaves_what_kvm_preset() -> None:
    engine = engine_in_td("v19")
    regs = full(0x10005, 0xFFCC)
    tdcall(engine, regs)
    step = engine.feed(Reentry(0, TdxRawAnswer(r10=9, rdx=8)))
    assert changed(regs, step) == {"r10": 9, "rdx": 8}


@pytest.mark.parametrize(
    ("mask", "selected", "not_selected"),
    [(0xFC04, "rdx", "rbx"), (0xFC08, "rbx", "rdx")],
)
def test_the_masks_of_rbx_and_rdx_are_swapped(mask: int, selected: str, not_selected: str) -> None:
    # with a mask that selects only one of them the wrong register is copied, as 0
    engine = engine_in_td("v19")
    regs = full(0x10005, mask)
    step = tdcall(engine, regs)
    run = run_of(step)
    assert getattr(regs, selected) != 0
    assert (run[f"in_{selected}"], run[f"in_{not_selected}"]) == (0, 0)
    out = TdxRawAnswer(rbx=0xB, rdx=0xD)
    step = engine.feed(Reentry(0, out))
    assert changed(regs, step) == {not_selected: getattr(out, not_selected)}


def test_both_selected_hides_it() -> None:
    regs = full(0x10005, 0xFC0C)
    run = run_of(answer_of("v19", regs))
    assert (run["in_rbx"], run["in_rdx"]) == (regs.rbx, regs.rdx)


@pytest.mark.parametrize("mask", [0, 0xF000, 0x0400])
def test_registers_outside_the_mask_are_not_loaded(mask: int) -> None:
    engine = engine_in_td("v19")
    regs = full(0x10005, mask)
    tdcall(engine, regs)
    step = engine.feed(Reentry(0, TdxRawAnswer(*[1] * 12)))
    for number, name in enumerate(Regs._fields):
        expected = 1 if mask >> number & 1 else getattr(regs, name)
        assert getattr(step.regs, name) == expected


GPA = 0x10_0000
FIRST, END = GPA >> 12, (GPA + MIB2) >> 12
CONVERSIONS = [
    # gpa, size, answer, edges: MapGPA is userspace's business, its status tells
    (SHARED | GPA, MIB2, TdxRawAnswer(r10=0), (FIRST, END)),
    (SHARED | GPA, MIB2, None, (FIRST, END)),
    (GPA, MIB2, TdxRawAnswer(r10=0), ()),
    (SHARED | GPA, MIB2, TdxRawAnswer(r10=1 << 63), ()),
    (SHARED | GPA, MIB2, TdxRawAnswer(r10=2), ()),
    # RETRY: up to R11
    (SHARED | GPA, MIB2, TdxRawAnswer(r10=1, r11=SHARED | GPA + 0x3000), (FIRST, FIRST + 3)),
    (SHARED | GPA, MIB2, TdxRawAnswer(r10=1, r11=SHARED | GPA), ()),
    (SHARED | GPA | 0x10, MIB2, TdxRawAnswer(r10=1, r11=SHARED | GPA | 0x10), ()),
    (SHARED | GPA, MIB2, TdxRawAnswer(r10=1, r11=GPA), ()),
    (SHARED | GPA, MIB2, TdxRawAnswer(r10=1, r11=SHARED | GPA + MIB2), ()),
    (SHARED | GPA, 0, TdxRawAnswer(r10=0), ()),
    (SHARED, U64, TdxRawAnswer(r10=0), (0,)),
]


@pytest.mark.parametrize(("gpa", "size", "answer", "edges"), CONVERSIONS)
def test_conversion(
    gpa: int, size: int, answer: TdxRawAnswer | None, edges: tuple[int, ...]
) -> None:
    engine = engine_in_td("v19")
    tdcall(engine, map_gpa(gpa, size))
    engine.feed(Reentry(0, answer))
    assert engine.gpa_map.edges == edges


def test_other_calls_convert_nothing() -> None:
    engine = engine_in_td("v19")
    tdcall(engine, call(SubFunction.GET_QUOTE, SHARED | GPA, MIB2))
    engine.feed(Reentry(0))
    assert engine.gpa_map.edges == ()
