"""Going back: at random places of every sample guest's run, what was there is there again."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Hashable

import pytest

from tdxdbg.guests import guests
from tdxdbg.session.run import Position, Where, Why
from tdxdbg.session.world import World
from tests.session.worlds import world

POINTS = 200
#: Enough for every guest's end, but for the one that never ends by itself.
STEPS = 8_000


def state(subject: World) -> Hashable:
    """Registers, RAM, both maps, and what the VMM has."""
    run = subject.run
    machine = run.machine
    return (
        run.position,
        run.where,
        tuple(machine.registers(vcpu.index) for vcpu in machine.vcpus),
        hashlib.sha256(machine.platform.memory.buffer).digest(),
        machine.kvm.gpa_map.edges,
        run.engine.gpa_map.edges,
        run.vmm.console.total,
        run.rows,
        machine.tsc,
    )


def points(subject: World, count: int, seed: int) -> list[Position]:
    """Places in a run that is over: after steps, and between instructions before them."""
    chance = random.Random(seed)
    run = subject.run
    found = set()
    for _ in range(count):
        step = chance.randrange(run.steps)
        before, after = run.position_after(step - 1), run.position_after(step)
        inside = chance.randrange(before.instructions, max(after.instructions, before[1] + 1))
        found.add(Position(before.steps, inside))
        found.add(after)
    return sorted(chance.sample(sorted(found), min(count, len(found))))


@pytest.mark.parametrize("name", [guest.name for guest in guests()])
def test_what_was_there_is_there_again(name: str) -> None:
    subject = world(name)
    subject.cont(steps=STEPS)
    places = points(subject, POINTS, seed=1)
    forward = world(name)
    seen = {}
    for place in places:
        while forward.run.position < place:
            same = forward.run.steps == place.steps
            stop = forward.run.step(place.instructions) if same else forward.step()
            assert stop.why in (Why.STEP, Why.INSTRUCTIONS)
        seen[place] = state(forward)
    assert len(seen) >= min(POINTS, forward.run.steps)
    order = list(seen)
    random.Random(2).shuffle(order)
    for place in order:
        forward.go_to(place)
        assert state(forward) == seen[place], place


@pytest.mark.parametrize("name", ["mapgpa_retry", "two_vcpus"])
def test_going_back_changes_nothing_for_the_present(name: str) -> None:
    straight = world(name)
    straight.cont(steps=STEPS)
    bent = world(name)
    bent.cont(steps=40)
    here = bent.run.position
    bent.reverse_step(25)
    bent.step_instructions(3)
    bent.go_to(here)
    bent.cont(steps=STEPS)
    assert state(bent) == state(straight)


def test_interventions_are_done_again() -> None:
    subject = world("mapgpa_retry")
    subject.cont(until="exit == KVM_EXIT_HYPERCALL")
    first = subject.run.position
    subject.step()
    subject.run.intervene("edit", {"ret": 11})
    assert subject.run.answer_fields() == {"ret": 11}
    subject.step()
    assert subject.run.where is Where.IN_TD
    retried = state(subject)
    place = subject.run.position
    subject.go_to(first)
    subject.go_to(place)
    assert state(subject) == retried


def test_another_answer_makes_another_future() -> None:
    subject = world("mapgpa_retry")
    subject.cont(until="exit == KVM_EXIT_HYPERCALL")
    place = subject.run.position
    subject.cont()
    one = state(subject)
    subject.go_to(place)
    subject.forget_future()
    subject.run.intervene("edit", {"ret": 11})
    subject.cont()
    other = state(subject)
    assert one != other
    subject.go_to(place)
    subject.run.intervene("edit", {"ret": 0})
    subject.cont()
    assert state(subject) == one
