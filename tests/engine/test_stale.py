"""What stays in struct kvm_run from one exit to the next.

The union's members alias: offset 88 is hypercall.ret, tdx.r14 and v19's
in_r15 (facts: kernel_exits 1.5, 4.1, and 5 bug B2).
"""

from __future__ import annotations

import pytest

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.regs import Regs
from tdxdbg.engine import (
    Engine,
    HypercallAnswer,
    MmioAnswer,
    Reentry,
    Step,
    Td,
    TdExit,
    TdxAnswer,
    TdxRawAnswer,
)
from tests.engine.support import (
    ALL,
    INVALID,
    MERGED,
    MIB2,
    SHARED,
    SINCE_616,
    U64,
    call,
    changed,
    engine_in_td,
    map_gpa,
    run_of,
    tdcall,
)

V1 = "exits-v1"
ENOSYS = -1000 & U64
EINVAL = -22 & U64

#: A KVM hypercall that KVM finishes itself, and its result.
BEFORE = [
    (call(0, r10=1), 0),
    (call(0, r10=99), ENOSYS),
    (call(0x1001, 1, r10=12), EINVAL),
]


def run_again(engine: Engine, regs: Regs, answer: HypercallAnswer | None = None) -> Step:
    tdcall(engine, regs)
    return engine.feed(Reentry(0, answer))


@pytest.mark.parametrize(("before", "result"), BEFORE)
def test_b2_a_result_in_the_kernel_stays_in_hypercall_ret(before: Regs, result: int) -> None:
    engine = engine_in_td(V1)
    tdcall(engine, before)
    regs = map_gpa(SHARED, 0x1000)
    step = tdcall(engine, regs)
    assert run_of(step)["ret"] == result
    assert step.run is not None
    assert not step.run.was_written(step.run.layout.fields[2])
    # a VMM that never writes the field completes the MapGPA with the stale value
    step = engine.feed(Reentry(0))
    expected = {"r10": INVALID, "r11": SHARED} if result else {}
    assert changed(regs, step) == expected
    assert engine.gpa_map.edges == (() if result else (0, 1))


@pytest.mark.parametrize("generation", MERGED)
@pytest.mark.parametrize(("before", "result"), BEFORE)
def test_b2_settled_by_writing_0_at_each_exit(generation: str, before: Regs, result: int) -> None:
    engine = engine_in_td(generation)
    tdcall(engine, before)
    regs = map_gpa(SHARED, 0x1000)
    assert changed(regs, run_again(engine, regs)) == {}
    assert engine.gpa_map.edges == (0, 1)


def test_v19_does_not_leave_results_there() -> None:
    engine = engine_in_td("v19")
    tdcall(engine, call(0, r10=99))
    step = tdcall(engine, call(0x1000, 1, r10=12))
    assert run_of(step)["ret"] is None


@pytest.mark.parametrize("generation", [V1, *MERGED])
def test_an_answer_is_stale_in_the_next_chunk_of_v1_only(generation: str) -> None:
    engine = engine_in_td(generation)
    run_again(engine, call(0x1000, 1, r10=12), HypercallAnswer(7))
    regs = map_gpa(0, 2 * MIB2)
    step = tdcall(engine, regs)
    assert run_of(step)["ret"] == (7 if generation == V1 else 0)


def test_v1_mmio_data_does_not_reach_ret() -> None:
    # mmio ends at offset 53; hypercall.ret is at 88
    engine = engine_in_td(V1)
    tdcall(engine, call(SubFunction.MMIO, 8, 0, SHARED))
    engine.feed(Reentry(0, MmioAnswer(b"\xff" * 8)))
    step = tdcall(engine, map_gpa(0, 0x1000))
    assert run_of(step)["ret"] is None


def test_v1_fatal_data_aliases_ret() -> None:
    # system_event.data[6], RSI there, and hypercall.ret are both at offset 88
    engine = engine_in_td(V1)
    tdcall(engine, call(SubFunction.REPORT_FATAL_ERROR, rsi=0x1234))
    engine.feed(Reentry(0))
    regs = map_gpa(SHARED, 0x1000)
    step = tdcall(engine, regs)
    assert run_of(step)["ret"] == 0x1234
    assert changed(regs, engine.feed(Reentry(0))) == {"r10": INVALID, "r11": SHARED}


@pytest.mark.parametrize("generation", SINCE_616)
def test_info_answer_is_left_in_args(generation: str) -> None:
    # tdx.r11..r13 at 64..80 are hypercall.args[3..5], which MapGPA never writes
    engine = engine_in_td(generation)
    tdcall(engine, call(SubFunction.GET_TD_VM_CALL_INFO, 1))
    engine.feed(Reentry(0, TdxAnswer(0, 0x11, 0x12, 0x13, 0x14)))
    step = tdcall(engine, map_gpa(0, 0x1000))
    run = run_of(step)
    assert run["args"] == [0, 1, 0x10, 0x11, 0x12, 0x13]
    assert run["ret"] == 0, "tdx.r14 was there, but ret is written"


def test_v19_raw_values_are_left_in_ret() -> None:
    # hypercall.ret at 88 is in_r15
    engine = engine_in_td("v19")
    tdcall(engine, call(0x10005, 0, 0, 0, 0xABC))
    engine.feed(Reentry(0))
    step = tdcall(engine, call(0x1000, 1, r10=12))
    assert run_of(step)["ret"] == 0xABC
    assert engine.feed(Reentry(0)).regs.rax == 0xABC


def test_v19_out_registers_of_an_older_exit_are_overwritten() -> None:
    engine = engine_in_td("v19")
    tdcall(engine, call(0x10005))
    engine.feed(Reentry(0, TdxRawAnswer(r10=5)))
    step = tdcall(engine, call(0x10006))
    assert run_of(step)["out_r10"] == 0


@pytest.mark.parametrize("generation", ALL)
def test_bytes_that_nobody_wrote_are_unknown(generation: str) -> None:
    engine = engine_in_td(generation)
    step = tdcall(engine, call(SubFunction.MMIO, 4, 0, SHARED))
    assert run_of(step)["data"] == [None] * 8
    engine.feed(Reentry(0, MmioAnswer(b"\x01\x02")))
    # what userspace wrote is known from now on
    step = tdcall(engine, call(SubFunction.MMIO, 4, 0, SHARED))
    assert run_of(step)["data"] == [1, 2, *[None] * 6]


@pytest.mark.parametrize("generation", ALL)
def test_each_vcpu_has_its_own_page(generation: str) -> None:
    engine = engine_in_td(generation, vcpus=2)
    tdcall(engine, call(SubFunction.MMIO, 4, 1, SHARED, 0x01020304))
    step = tdcall(engine, call(SubFunction.MMIO, 4, 0, SHARED), vcpu=1)
    assert run_of(step)["data"] == [None] * 8


def test_notify_and_exceptions_write_little() -> None:
    engine = engine_in_td("7.3", Td(notify_user=True))
    tdcall(engine, call(SubFunction.MMIO, 4, 1, SHARED | 0x1122_3344, 0x0A0B_0C0D))
    engine.feed(Reentry(0))
    step = engine.feed(TdExit(0, 75, Regs()))
    assert step.run is not None
    assert step.run.written == 0xF
    assert step.run.union[4:8] == b"\0\0\0\0"
    assert step.run.union[8:12] == b"\x0d\x0c\x0b\x0a"
