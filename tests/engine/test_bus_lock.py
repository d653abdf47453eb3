"""Bit 26 of the exit reason, a pre-empted bus lock, and notify exits.

Rows cite facts: kernel_exits 5 (bug B1) and 3 (rows BUS_LOCK, NOTIFY).
"""

from __future__ import annotations

import pytest

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.kvm import Exit
from tdxdbg.abi.regs import Regs
from tdxdbg.engine import Completer, HypercallAnswer, InKernel, Reentry, Td, TdExit
from tdxdbg.engine.state import VM_BUGGED
from tests.engine.support import (
    ALL,
    BUS_LOCK,
    ERROR,
    EXIT,
    GUEST,
    INVALID,
    MIB2,
    SHARED,
    TDCALL,
    UNSUPPORTED,
    call,
    changed,
    engine_in_td,
    map_gpa,
    run_of,
    tdcall,
)

RC1, V616, V72, V73 = ALL[2:]
BEFORE_73 = (RC1, V616, V72)
LOCKED = TDCALL | BUS_LOCK

HIDDEN = [
    ("CPUID", call(SubFunction.CPUID, 1)),
    ("HLT", call(SubFunction.HLT)),
    ("IO", call(SubFunction.IO, 1, 1, 0x3F8, 65)),
    ("RDMSR", call(SubFunction.RDMSR, 0x277)),
    ("WRMSR", call(SubFunction.WRMSR, 0x277, 1)),
    ("MMIO", call(SubFunction.MMIO, 4, 0, SHARED)),
    ("KVM_HC_VAPIC_POLL_IRQ", call(0, r10=1)),
]


@pytest.mark.parametrize("generation", BEFORE_73)
@pytest.mark.parametrize("regs", [row[1] for row in HIDDEN], ids=[row[0] for row in HIDDEN])
def test_b1_the_call_is_not_recognised(generation: str, regs: Regs) -> None:
    # facts: kernel_exits 5, B1: the rewrite compares all 32 bits
    step = tdcall(engine_in_td(generation), regs, ret=LOCKED)
    assert step.outcome is GUEST
    assert changed(regs, step) == {"r10": INVALID if generation == RC1 else UNSUPPORTED}
    assert step.run_flags == 0
    assert not step.effects


@pytest.mark.parametrize("generation", BEFORE_73)
def test_b1_a_hypercall_is_dispatched_by_r11(generation: str) -> None:
    # facts: kernel_exits 5, B1: R11 decides as if R10 were 0; nothing resets R10 at the end
    engine = engine_in_td(generation)
    step = tdcall(engine, map_gpa(0, MIB2, r10=12), ret=LOCKED)
    assert step.completer is Completer.MAP_GPA
    step = engine.feed(Reentry(0, HypercallAnswer(0)))
    assert step.outcome is GUEST
    assert step.regs.r10 == 12


@pytest.mark.parametrize(("generation", "r10"), [(RC1, 5), (V616, 0), (V72, 0)])
def test_b1_get_td_vm_call_info(generation: str, r10: int) -> None:
    # facts: kernel_exits 4.7: 6.16 writes R10..R14, rc1 only R11, R13 and R14
    regs = call(SubFunction.GET_TD_VM_CALL_INFO, 0, 7, 8, 9, r10=5)
    step = tdcall(engine_in_td(generation), regs, ret=LOCKED)
    assert step.regs == regs._replace(r10=r10, r11=0, r12=0, r13=0, r14=0)


@pytest.mark.parametrize("generation", ["v19", "exits-v1"])
def test_only_the_low_bits_count_before_the_merge(generation: str) -> None:
    # facts: kernel_exits 3, row "exit reason used": low 16 bits
    step = tdcall(engine_in_td(generation), call(0, r10=1), ret=LOCKED)
    assert (step.outcome, step.regs.r10, step.run_flags) == (GUEST, 0, 0)


@pytest.mark.parametrize(
    "regs", [call(SubFunction.HLT), call(0x20000), call(0, r10=1), call(SubFunction.MAP_GPA)]
)
def test_73_exits_where_it_would_have_resumed(regs: Regs) -> None:
    # facts: kernel_exits 5, B1, the end: KVM_EXIT_X86_BUS_LOCK, flags 2
    engine = engine_in_td(V73)
    plain = engine.fork().feed(TdExit(0, TDCALL, regs))
    step = tdcall(engine, regs, ret=LOCKED)
    assert step.outcome is EXIT
    assert step.run is not None
    assert step.run.exit_reason == Exit.X86_BUS_LOCK
    assert step.run_flags == 2
    assert step.completer is Completer.NONE
    # The reply was computed before; KVM_RUN again delivers it, flags cleared.
    step = engine.feed(Reentry(0))
    assert (step.outcome, step.regs, step.run_flags) == (GUEST, plain.regs, 0)


def test_73_flags_an_exit_that_happens_anyway() -> None:
    # facts: kernel_exits 5, B1: run.flags, and "a completion that follows has flags 0"
    engine = engine_in_td(V73)
    step = tdcall(engine, map_gpa(0, 2 * MIB2), ret=LOCKED)
    assert step.run is not None
    assert (step.run.exit_reason, step.run_flags) == (Exit.HYPERCALL, 2)
    step = engine.feed(Reentry(0, HypercallAnswer(0)))
    assert step.run is not None
    assert (step.run.exit_reason, step.run_flags) == (Exit.HYPERCALL, 0)


def test_73_bus_lock_exit_reason() -> None:
    # facts: kernel_exits 3, row BUS_LOCK
    step = engine_in_td(V73).feed(TdExit(0, 74, Regs()))
    assert step.run is not None
    assert (step.run.exit_reason, step.run_flags) == (Exit.X86_BUS_LOCK, 2)


def test_73_busy_operand_has_no_reason() -> None:
    # facts: kernel_exits 1.4: OPERAND_BUSY carries no exit reason, so no bus-lock bit
    step = engine_in_td(V73).feed(TdExit(0, 0x8000_0200_0000_0000 | LOCKED, Regs()))
    assert (step.outcome, step.run_flags) == (GUEST, 0)


def test_73_misconfig_with_the_bit_is_no_reason() -> None:
    # facts: kernel_exits 3: only the basic 16 bits are rewritten, EPT_MISCONFIG to "undefined"
    step = engine_in_td(V73).feed(TdExit(0, BUS_LOCK | 49, Regs()))
    assert step.run is not None
    assert (step.run.exit_reason, step.run_flags) == (Exit.INTERNAL_ERROR, 0)


@pytest.mark.parametrize("generation", BEFORE_73)
def test_misconfig_with_the_bit_before_73(generation: str) -> None:
    # facts: kernel_exits 5, B1: as a full 32-bit value it is neither TDCALL nor EPT_MISCONFIG,
    # so the basic reason picks the MMIO handler
    regs = call(SubFunction.MMIO, 4, 0, SHARED | 0xFEC0_0000)
    step = engine_in_td(generation).feed(TdExit(0, BUS_LOCK | 49, regs))
    assert step.run is not None
    assert step.run.exit_reason == Exit.MMIO


def test_73_a_failure_returns_0_all_the_same() -> None:
    # facts: kernel_exits 3 (7.3): the bus-lock flag decides last, KVM_RUN returns 0
    engine = engine_in_td(V73)
    regs = Regs(rcx=4, r8=SHARED)  # an instruction fetch from shared memory: KVM_BUG_ON
    step = engine.feed(TdExit(0, BUS_LOCK | 48, regs))
    assert (step.outcome, step.errno, step.run_flags) == (EXIT, 0, 2)
    assert step.run is not None
    assert step.run.exit_reason == Exit.UNKNOWN
    assert step.effects == VM_BUGGED
    assert engine.feed(Reentry(0)).errno == 5


def test_73_a_dead_vm_stays_dead_behind_the_flag() -> None:
    # facts: kernel_exits 4.9, type 6: VM dead, whatever KVM_RUN returned
    engine = engine_in_td(V73)
    step = engine.feed(TdExit(0, BUS_LOCK | 48, Regs(rdx=6)))
    assert (step.outcome, step.errno) == (EXIT, 0)
    assert engine.dead
    assert engine.feed(Reentry(0)).errno == 5


def test_73_memory_fault_with_the_bit() -> None:
    # facts: kernel_exits 4.9: exit_reason and memory_fault are there, KVM_RUN returned 0
    engine = engine_in_td(V73)
    fault = InKernel(errno=14)
    step = engine.feed(TdExit(0, BUS_LOCK | 48, Regs(r8=0x1234), in_kernel=fault))
    assert (step.outcome, step.errno, step.run_flags) == (EXIT, 0, 2)
    assert run_of(step) == {"flags": 8, "gpa": 0x1000, "size": 4096}


@pytest.mark.parametrize(
    ("notify_user", "rcx", "flags"),
    [(False, 0, None), (False, 1, 1), (True, 0, 0), (True, 1, 1), (False, 0x1000, None)],
)
def test_73_notify(notify_user: bool, rcx: int, flags: int | None) -> None:
    # facts: kernel_exits 3, row NOTIFY: context invalid, or the user asked
    engine = engine_in_td(V73, Td(notify_user=notify_user))
    step = engine.feed(TdExit(0, 75, Regs(rcx=rcx)))
    if flags is None:
        assert (step.outcome, step.run) == (GUEST, None)
        return
    assert step.run is not None
    assert (step.outcome, step.run.exit_reason) == (EXIT, Exit.NOTIFY)
    assert run_of(step) == {"flags": flags}


@pytest.mark.parametrize("generation", ALL[:5])
def test_notify_is_unknown_before_73(generation: str) -> None:
    # facts: kernel_exits 3, row NOTIFY
    step = engine_in_td(generation, Td(notify_user=True)).feed(TdExit(0, 75, Regs(rcx=1)))
    assert step.outcome is not ERROR
    assert step.run is not None
    assert step.run.exit_reason == Exit.INTERNAL_ERROR
