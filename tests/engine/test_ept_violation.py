"""EPT violations, memory faults and implicit conversions (facts: kernel_exits 4.9)."""

from __future__ import annotations

import pytest

from tdxdbg.abi.kvm import EHWPOISON, Exit
from tdxdbg.abi.regs import Regs
from tdxdbg.engine import (
    Engine,
    GpaMap,
    InKernel,
    Reentry,
    SetMemoryAttributes,
    Step,
    Td,
    TdExit,
)
from tdxdbg.engine.state import VM_BUGGED
from tests.engine.support import (
    ALL,
    ERROR,
    EXIT,
    GUEST,
    MERGED,
    SHARED,
    engine_in_td,
    run_of,
    state_of,
)

HANDLING = tuple(name for name in ALL if name != "exits-v1")
FAULT = InKernel(errno=14)
POISON = InKernel(errno=EHWPOISON)
READ, WRITE, FETCH = 1, 2, 4


def violation(
    engine: Engine, gpa: int, qualification: int = READ, extended: int = 0, fault: bool = False
) -> Step:
    regs = Regs(rcx=qualification, rdx=extended, r8=gpa)
    return engine.feed(TdExit(0, 48, regs, in_kernel=FAULT if fault else None))


@pytest.mark.parametrize("generation", HANDLING)
@pytest.mark.parametrize("gpa", [0x1FFF, SHARED | 0x2345])
@pytest.mark.parametrize("qualification", [READ, WRITE, 0x182])
def test_resolved(generation: str, gpa: int, qualification: int) -> None:
    step = violation(engine_in_td(generation), gpa, qualification)
    assert (step.outcome, step.run, step.effects) == (GUEST, None, 0)


def test_v1_knows_no_ept_violation() -> None:
    # facts: kernel_exits 3, row EPT_VIOLATION
    step = violation(engine_in_td("exits-v1"), 0x1000, fault=True)
    assert step.run is not None
    assert (step.outcome, step.run.exit_reason) == (EXIT, Exit.INTERNAL_ERROR)


@pytest.mark.parametrize("generation", MERGED)
@pytest.mark.parametrize(
    ("extended", "qualification", "dead"),
    [
        (6, READ, True),
        (0xFFFF_FFFF_FFFF_FFF6, FETCH, True),
        (6, READ | 1 << 3, False),
        (6, READ | 1 << 4, False),
        (6, READ | 1 << 5, False),
        (6, READ | 1 << 6, False),
        (6, READ | 1 << 7, True),
        (1, READ, False),
        (0, READ, False),
        (0x16, READ, True),
    ],
)
def test_pending_page(generation: str, extended: int, qualification: int, dead: bool) -> None:
    # type 6 with no permission bits: VM dead, KVM_RUN = -EIO
    engine = engine_in_td(generation)
    step = violation(engine, 0x1000, qualification, extended)
    assert engine.dead is dead
    if not dead:
        assert step.outcome is GUEST
        return
    assert (step.outcome, step.errno, step.run) == (ERROR, 5, None)
    assert not step.effects & VM_BUGGED
    assert engine.feed(Reentry(0)).errno == 5


@pytest.mark.parametrize("generation", HANDLING)
def test_type_6_of_a_shared_gpa_is_nothing_special(generation: str) -> None:
    assert violation(engine_in_td(generation), SHARED, READ, 6).outcome is GUEST


def test_v19_does_not_look_at_the_type() -> None:
    # the check is 6.16's
    assert violation(engine_in_td("v19"), 0x1000, READ, 6).outcome is GUEST


@pytest.mark.parametrize("generation", MERGED)
def test_fetch_from_shared_memory(generation: str) -> None:
    engine = engine_in_td(generation)
    step = violation(engine, SHARED | 0x1000, FETCH, fault=True)
    assert (step.outcome, step.errno, step.effects, step.run) == (ERROR, 5, VM_BUGGED, None)
    assert engine.dead


@pytest.mark.parametrize("generation", HANDLING)
def test_fetch_from_private_memory(generation: str) -> None:
    # a private GPA is always treated as a write fault
    assert violation(engine_in_td(generation), 0x1000, FETCH).outcome is GUEST


def test_v19_fetch_from_shared_memory_is_an_exception() -> None:
    # EXCEPTION exit with vector 14 and the qualification as error code
    step = violation(engine_in_td("v19"), SHARED, 0x7_0000_0184)
    assert step.run is not None
    assert (step.outcome, step.run.exit_reason) == (EXIT, Exit.EXCEPTION)
    assert run_of(step) == {"exception": 14, "error_code": 0x184}


@pytest.mark.parametrize("generation", HANDLING)
@pytest.mark.parametrize("in_kernel", [FAULT, POISON])
@pytest.mark.parametrize("gpaw", [48, 52])
@pytest.mark.parametrize("private", [True, False])
def test_memory_fault(generation: str, in_kernel: InKernel, gpaw: int, private: bool) -> None:
    # KVM_RUN = -1 with EFAULT or EHWPOISON, exit_reason 39: page aligned, no shared bit
    gpa = 0x7_FFFF_2345 | (0 if private else 1 << gpaw - 1)
    engine = engine_in_td(generation, Td(gpaw=gpaw))
    step = engine.feed(TdExit(0, 48, Regs(rcx=WRITE, r8=gpa), in_kernel=in_kernel))
    assert (step.outcome, step.errno) == (ERROR, in_kernel.errno)
    assert step.run is not None
    assert step.run.exit_reason == Exit.MEMORY_FAULT
    assert run_of(step) == {"flags": 8 if private else 0, "gpa": 0x7_FFFF_2000, "size": 4096}
    assert step.completer == 0, "no callback"
    assert not engine.dead


@pytest.mark.parametrize("generation", HANDLING)
def test_kvm_run_again_after_a_memory_fault_is_an_implicit_conversion(generation: str) -> None:
    engine = engine_in_td(generation)
    violation(engine, SHARED | 0x5123, fault=True)
    assert not engine.gpa_map.is_shared(0x5000)
    step = engine.feed(Reentry(0))
    assert step.outcome is GUEST
    assert engine.gpa_map == GpaMap((5, 6))
    violation(engine, 0x5123, fault=True)
    engine.feed(Reentry(0))
    assert engine.gpa_map == GpaMap()


def test_an_interrupted_reentry_does_not_convert_again() -> None:
    engine = engine_in_td("6.16")
    violation(engine, SHARED | 0x5000, fault=True)
    step = engine.feed(Reentry(0, immediate_exit=True))
    assert (step.errno, engine.gpa_map) == (4, GpaMap((5, 6)))
    engine.feed(SetMemoryAttributes(0x5000, 0x1000, True))
    assert engine.feed(Reentry(0)).outcome is GUEST
    assert engine.gpa_map == GpaMap(), "what userspace said last counts"


def test_the_conversion_is_the_one_that_kvm_asked_for() -> None:
    # an explicit KVM_SET_MEMORY_ATTRIBUTES before KVM_RUN says the same
    engine = engine_in_td("7.3")
    violation(engine, SHARED | 0x5000, fault=True)
    other = engine.fork()
    other.feed(SetMemoryAttributes(0x5000, 0x1000, False))
    engine.feed(Reentry(0))
    other.feed(Reentry(0))
    assert state_of(engine)[1] == state_of(other)[1]


def test_nobody_converts_a_poisoned_page() -> None:
    engine = engine_in_td("7.3")
    event = TdExit(0, 48, Regs(rcx=2, r8=SHARED | 0x5000), in_kernel=POISON)
    assert engine.feed(event).errno == EHWPOISON
    assert engine.feed(Reentry(0)).outcome is GUEST
    assert engine.gpa_map == GpaMap()
