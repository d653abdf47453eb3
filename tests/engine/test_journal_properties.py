"""What holds for every journal: determinism, time travel, and refusals that change nothing."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from tdxdbg.abi.kvm import RUN_UNION_SIZE
from tdxdbg.engine import (
    Completer,
    Engine,
    Outcome,
    Phase,
    Reentry,
    SetMemoryAttributes,
    Step,
    Vcpu,
)
from tdxdbg.engine.gpa import MAX_PAGE
from tests.engine.strategies import VCPUS, Journal, any_answer, feed, inputs, journals, td_exits
from tests.engine.support import GUEST, U64, state_of

examples = settings(max_examples=60)


@examples
@given(journals())
def test_the_same_inputs_give_the_same_steps(journal: Journal) -> None:
    first, second = journal.engine(), journal.engine()
    assert journal.feed(first, journal.events) == journal.feed(second, journal.events)
    assert state_of(first) == state_of(second)


@examples
@given(journals(), st.data())
def test_restore_then_feed_is_straight_feed(journal: Journal, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(journal.events)))
    engine = journal.engine()
    journal.feed(engine, journal.events[:cut])
    checkpoint = engine.checkpoint()
    straight = journal.feed(engine, journal.events[cut:])
    state = state_of(engine)
    engine.restore(checkpoint)
    assert journal.feed(engine, journal.events[cut:]) == straight
    assert state_of(engine) == state
    other = journal.engine()
    other.restore(checkpoint)
    assert journal.feed(other, journal.events[cut:]) == straight


@examples
@given(journals(), st.data())
def test_a_fork_is_independent(journal: Journal, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(journal.events)))
    engine = journal.engine()
    journal.feed(engine, journal.events[:cut])
    checkpoint = state_of(engine)
    fork = engine.fork()
    assert state_of(fork) == checkpoint
    for _ in range(4):
        feed(fork, data.draw(inputs(fork)))
    assert state_of(engine) == checkpoint
    twin = engine.fork()
    straight = journal.feed(engine, journal.events[cut:])
    state = state_of(engine)
    assert journal.feed(twin, journal.events[cut:]) == straight
    assert state_of(engine) == state


@examples
@given(journals(), st.data())
def test_a_refused_input_changes_nothing(journal: Journal, data: st.DataObject) -> None:
    engine = journal.engine()
    journal.feed(engine, journal.events)
    for vcpu in range(VCPUS + 1):
        reentry = data.draw(st.builds(Reentry, st.just(vcpu), any_answer))
        for event in (data.draw(td_exits(vcpu)), reentry):
            before = state_of(engine)
            trial = engine.fork()
            result = feed(engine, event)
            if isinstance(result, str):
                note("refused")
                assert state_of(engine) == before
            else:
                note("taken")
            engine = trial


@examples
@given(journals())
def test_every_step_is_sound(journal: Journal) -> None:
    engine = journal.engine()
    for event in journal.events:
        dead = engine.dead
        step = feed(engine, event)
        if isinstance(step, str):
            continue
        check_step(step, dead)
        if not isinstance(event, SetMemoryAttributes):
            check_vcpu(engine, engine.vcpus[event.vcpu], step)
        edges = engine.gpa_map.edges
        assert all(low < high for low, high in pairwise(edges))
        assert not edges or 0 <= edges[0] <= edges[-1] < MAX_PAGE


def check_step(step: Step, dead: bool) -> None:
    assert all(0 <= value <= U64 for value in step.regs)
    assert step.notes, "every step says why"
    assert (step.outcome is Outcome.KVM_ERROR) is bool(step.errno)
    if step.outcome is GUEST:
        assert not dead
        assert (step.run, step.completer) == (None, Completer.NONE)
    if step.run is not None:
        assert len(step.run.union) == RUN_UNION_SIZE
        assert step.run.written & ~step.run.valid == 0, "what KVM wrote is known"
        assert set(step.run.values()) >= {field.name for field in step.run.layout.fields}


def check_vcpu(engine: Engine, vcpu: Vcpu, step: Step) -> None:
    assert vcpu.regs == step.regs
    assert vcpu.completer is step.completer
    if step.outcome is GUEST:
        assert vcpu.phase is Phase.IN_TD
    else:
        assert vcpu.phase is (Phase.DEAD if engine.dead else Phase.IN_USERSPACE)
