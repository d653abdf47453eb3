"""KVM_RUN's protocol, phases, and inputs that are refused.

Facts: kernel_exits 3 (last paragraph) and 4.2; the phase table of the engine.
"""

from __future__ import annotations

import pytest

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.kvm import Exit
from tdxdbg.abi.regs import Regs
from tdxdbg.engine import (
    BY_NAME,
    Completer,
    Engine,
    GpaMap,
    HypercallAnswer,
    Input,
    IoAnswer,
    MmioAnswer,
    Phase,
    ProtocolError,
    Reentry,
    SetMemoryAttributes,
    Td,
    TdExit,
)
from tests.engine.support import (
    ALL,
    ERROR,
    EXIT,
    GUEST,
    MIB2,
    SHARED,
    SINCE_V1,
    call,
    engine_in_td,
    map_gpa,
    run_of,
    state_of,
    tdcall,
)

DONE = HypercallAnswer(0)
EINTR, EIO, EINVAL = 4, 5, 22


def dead_engine(vcpus: int = 1) -> Engine:
    engine = engine_in_td("6.16", vcpus=vcpus)
    engine.feed(TdExit(0, 49, Regs()))
    return engine


@pytest.mark.parametrize("generation", ALL)
def test_a_vcpu_starts_in_userspace(generation: str) -> None:
    engine = Engine(Td(), BY_NAME[generation])
    assert engine.phase(3) is Phase.IN_USERSPACE
    step = engine.feed(Reentry(3))
    assert (step.outcome, step.regs, step.run) == (GUEST, Regs(), None)
    assert engine.phase(3) is Phase.IN_TD
    assert sorted(engine.vcpus) == [3]


@pytest.mark.parametrize("generation", SINCE_V1)
def test_immediate_exit_returns_the_next_chunk(generation: str) -> None:
    # the completion runs before immediate_exit is looked at: 0 with chunk n+1, not -EINTR
    engine = engine_in_td(generation)
    tdcall(engine, map_gpa(0, 2 * MIB2))
    step = engine.feed(Reentry(0, DONE, immediate_exit=True))
    assert (step.outcome, step.errno) == (EXIT, 0)
    assert run_of(step)["args"][0] == MIB2
    # the last chunk is completed, and then KVM_RUN fails with -EINTR
    step = engine.feed(Reentry(0, DONE, immediate_exit=True))
    assert (step.outcome, step.errno, step.run) == (ERROR, EINTR, None)
    assert step.completer is Completer.NONE
    assert engine.feed(Reentry(0)).outcome is GUEST


def test_immediate_exit_of_a_new_vcpu() -> None:
    engine = Engine(Td())
    step = engine.feed(Reentry(0, immediate_exit=True))
    assert (step.outcome, step.errno) == (ERROR, EINTR)
    assert engine.phase(0) is Phase.IN_USERSPACE


def test_an_error_comes_before_immediate_exit() -> None:
    # "Result <= 0 returns to userspace at once"
    engine = engine_in_td("7.2")
    tdcall(engine, map_gpa(0, 0x1000))
    assert engine.feed(Reentry(0, HypercallAnswer(16), immediate_exit=True)).errno == EINVAL


@pytest.mark.parametrize("generation", ALL)
def test_a_signal_after_the_completion(generation: str) -> None:
    engine = engine_in_td(generation)
    regs = call(SubFunction.IO, 1, 0, 0x3FD)
    tdcall(engine, regs)
    step = engine.feed(Reentry(0, IoAnswer(b"\x60"), signal_pending=True))
    assert (step.outcome, step.errno, step.regs.r11) == (ERROR, EINTR, 0x60)
    assert step.run is not None
    assert (step.run.exit_reason, step.run.values()) == (Exit.INTR, {})
    assert engine.phase(0) is Phase.IN_USERSPACE
    # nothing is lost
    step = engine.feed(Reentry(0))
    assert (step.outcome, step.regs.r11) == (GUEST, 0x60)


@pytest.mark.parametrize("generation", ALL)
def test_a_signal_at_a_td_exit(generation: str) -> None:
    engine = engine_in_td(generation)
    step = engine.feed(TdExit(0, 77, call(0, r10=1), signal_pending=True))
    assert (step.outcome, step.errno, step.regs.r10) == (ERROR, EINTR, 0)
    assert engine.feed(Reentry(0)).outcome is GUEST


@pytest.mark.parametrize("generation", ALL)
def test_an_exit_to_userspace_comes_before_a_signal(generation: str) -> None:
    engine = engine_in_td(generation)
    regs = call(SubFunction.IO, 1, 1, 0x3F8, 65)
    step = engine.feed(TdExit(0, 77, regs, signal_pending=True))
    assert (step.outcome, step.errno) == (EXIT, 0)
    assert step.run is not None
    assert step.run.exit_reason == Exit.IO


@pytest.mark.parametrize("generation", ALL)
def test_flags_are_cleared_at_kvm_run(generation: str) -> None:
    engine = engine_in_td(generation)
    tdcall(engine, call(SubFunction.IO, 1, 1, 0x3F8, 65))
    engine.vcpu(0).run_flags = 2
    assert engine.feed(Reentry(0)).run_flags == 0


# --- the phase table ------------------------------------------------------------------


@pytest.mark.parametrize("event", [TdExit(0, 77, call(12)), TdExit(1, 1, Regs())])
def test_no_td_exit_from_userspace(event: TdExit) -> None:
    engine = engine_in_td("6.16")
    tdcall(engine, map_gpa(0, 0x1000))
    before = state_of(engine)
    with pytest.raises(ProtocolError, match="IN_USERSPACE"):
        engine.feed(event)
    assert state_of(engine) == before


@pytest.mark.parametrize("event", [Reentry(0), Reentry(0, DONE), Reentry(0, immediate_exit=True)])
def test_no_kvm_run_of_a_vcpu_in_the_td(event: Reentry) -> None:
    engine = engine_in_td("6.16")
    before = state_of(engine)
    with pytest.raises(ProtocolError, match="is in the TD"):
        engine.feed(event)
    assert state_of(engine) == before


def test_a_dead_vm() -> None:
    engine = dead_engine()
    assert engine.phase(0) is Phase.DEAD
    before = state_of(engine)
    with pytest.raises(ProtocolError, match="DEAD"):
        engine.feed(TdExit(0, 77, call(12)))
    assert state_of(engine) == before
    step = engine.feed(Reentry(0, DONE))
    assert (step.outcome, step.errno) == (ERROR, EIO)
    step = engine.feed(SetMemoryAttributes(0, 4096, False))
    assert (step.outcome, step.errno, step.regs) == (ERROR, EIO, Regs())
    assert engine.gpa_map.edges == ()


def test_a_new_vcpu_of_a_dead_vm() -> None:
    engine = dead_engine()
    assert engine.feed(Reentry(7)).errno == EIO
    assert engine.phase(7) is Phase.DEAD


def test_set_memory_attributes_while_the_vcpus_run() -> None:
    engine = engine_in_td("6.16")
    step = engine.feed(SetMemoryAttributes(0x1000, 0x2000, False))
    assert (step.outcome.name, step.regs, step.run) == ("IOCTL_DONE", Regs(), None)
    assert engine.gpa_map == GpaMap((1, 3))
    assert engine.phase(0) is Phase.IN_TD


@pytest.mark.parametrize(
    ("gpa", "size", "valid"),
    [
        (0, 0x1000, True),
        (0, 0, False),
        (0x1001, 0x1000, False),
        (0x1000, 0x1001, False),
        (0x1000, 1 << 51, True),
        ((1 << 64) - 0x2000, 0x1000, True),
        # the end of the range is 2^64, which is 0
        ((1 << 64) - 0x1000, 0x1000, False),
        ((1 << 64) - 0x1000, 0x2000, False),
        (0x1000, -0x1000, False),
        (-0x1000, 0x1000, False),
    ],
)
def test_set_memory_attributes(gpa: int, size: int, valid: bool) -> None:
    engine = Engine(Td())
    step = engine.feed(SetMemoryAttributes(gpa, size, False))
    if valid:
        assert step.outcome.name == "IOCTL_DONE"
        assert bool(engine.gpa_map.edges) is (gpa < 1 << 52)
    else:
        assert (step.outcome, step.errno, engine.gpa_map.edges) == (ERROR, EINVAL, ())


# --- several vCPUs --------------------------------------------------------------------


def test_vcpus_do_not_disturb_each_other() -> None:
    engine = engine_in_td("7.3", vcpus=3)
    tdcall(engine, map_gpa(SHARED, 3 * MIB2), vcpu=0)
    tdcall(engine, map_gpa(SHARED | 64 * MIB2, 2 * MIB2), vcpu=2)
    tdcall(engine, call(SubFunction.MMIO, 4, 0, SHARED), vcpu=1)
    step = engine.feed(Reentry(2, DONE))
    assert run_of(step)["args"][0] == 65 * MIB2
    step = engine.feed(Reentry(0, DONE))
    assert run_of(step)["args"][0] == MIB2
    assert engine.feed(Reentry(1, MmioAnswer(b"\x07"))).regs.r11 == 7
    # one GpaMap: the order of the inputs is the order of events
    assert engine.gpa_map == GpaMap((0, 512, 64 * 512, 65 * 512))


@pytest.mark.parametrize(
    ("regs", "outcome"),
    [
        (call(SubFunction.IO, 1, 1, 0x3F8), EXIT),
        (call(SubFunction.HLT), ERROR),
        (call(0x20000), ERROR),
    ],
)
def test_another_vcpu_is_in_the_td_when_the_vm_dies(regs: Regs, outcome: object) -> None:
    # facts: kernel_exits 3: it may come out once more, and never goes in again
    engine = engine_in_td("6.16", vcpus=2)
    engine.feed(TdExit(0, 49, Regs()))
    assert engine.phase(1) is Phase.IN_TD
    step = tdcall(engine, regs, vcpu=1)
    assert step.outcome is outcome
    assert step.errno == (EIO if outcome is ERROR else 0)
    assert engine.phase(1) is Phase.DEAD
    step = engine.feed(Reentry(1, IoAnswer(b"x")))
    assert (step.outcome, step.errno, step.completer) == (ERROR, EIO, Completer.NONE)


# --- a shadow beside a recording ------------------------------------------------------


def test_force_into_td() -> None:
    engine = engine_in_td("6.16")
    tdcall(engine, map_gpa(0, 0x1000))
    engine.force_into_td(0)
    assert engine.phase(0) is Phase.IN_TD
    assert engine.vcpu(0).completer is Completer.NONE
    before = state_of(engine)
    engine.force_into_td(0)
    assert state_of(engine) == before
    engine.force_into_td(5)
    assert engine.phase(5) is Phase.IN_TD


def test_force_into_td_of_a_vm_taken_for_dead() -> None:
    engine = dead_engine()
    engine.force_into_td(0)
    assert tdcall(engine, call(SubFunction.HLT)).outcome is GUEST


# --- checkpoints ----------------------------------------------------------------------


def test_a_checkpoint_is_not_changed_by_what_follows() -> None:
    engine = engine_in_td("6.16", vcpus=2)
    tdcall(engine, map_gpa(SHARED, 2 * MIB2))
    checkpoint = engine.checkpoint()
    before = state_of(engine)
    events: list[Input] = [Reentry(0, DONE), Reentry(0, DONE), TdExit(1, 49, Regs())]
    for event in events:
        engine.feed(event)
    after = state_of(engine)
    for _ in range(2):
        engine.restore(checkpoint)
        assert state_of(engine) == before
        for event in events:
            engine.feed(event)
        assert state_of(engine) == after


def test_a_fork_goes_its_own_way() -> None:
    engine = engine_in_td("6.16")
    fork = engine.fork()
    other = engine.fork(BY_NAME["7.3"])
    assert (fork.generation.name, other.generation.name) == ("6.16", "7.3")
    before = state_of(engine)
    tdcall(fork, map_gpa(SHARED, 0x1000))
    fork.feed(Reentry(0, DONE))
    assert state_of(engine) == state_of(other) == before
    assert fork.gpa_map.edges == (0, 1)


def test_state_that_another_generation_cannot_complete() -> None:
    engine = engine_in_td("exits-v1")
    tdcall(engine, call(SubFunction.MMIO, 4, 1, SHARED))
    fork = engine.fork(BY_NAME["7.3"])
    before = state_of(fork)
    with pytest.raises(ProtocolError, match=r"MMIO_WRITE.*7\.3"):
        fork.feed(Reentry(0))
    assert state_of(fork) == before
