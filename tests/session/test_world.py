"""A world: breakpoints and watchpoints, forward and backward."""

from __future__ import annotations

import pytest

from tdxdbg.backends.elf import read_guest
from tdxdbg.backends.symbols import symbols_of
from tdxdbg.errors import SessionError
from tdxdbg.filters import FilterError
from tdxdbg.guests import find
from tdxdbg.session.run import Position, Where, Why
from tdxdbg.session.world import World
from tests.session.worlds import world


def symbol(name: str) -> int:
    """Where a function of mapgpa_retry is."""
    address = symbols_of(read_guest(find("mapgpa_retry").image)).find(name)
    assert address is not None
    return address


def rip(subject: World, vcpu: int = 0) -> int:
    return subject.run.machine.registers(vcpu).rip


@pytest.fixture
def subject() -> World:
    return world("mapgpa_retry")


def test_a_step_is_one_step_of_the_engine(subject: World) -> None:
    for number in range(1, 20):
        assert subject.step().why is Why.STEP
        assert subject.run.steps == number


def test_an_instruction(subject: World) -> None:
    start = rip(subject)
    stop = subject.step_instructions()
    assert (stop.why, subject.run.position) == (Why.INSTRUCTIONS, Position(0, 1))
    assert rip(subject) != start


def test_instructions_end_at_an_exit(subject: World) -> None:
    stop = subject.step_instructions(1_000_000)
    assert (stop.why, subject.run.steps) == (Why.STEP, 1)
    stop = subject.step_instructions(5)
    assert (stop.why, subject.run.steps) == (Why.STEP, 2), "an answer is one step"


def test_code_breakpoint_forward_and_backward(subject: World) -> None:
    there = symbol("map_gpa")
    found = subject.breakpoints.add_code(there, "map_gpa")
    seen = []
    while (stop := subject.cont()).why is Why.BREAKPOINT:
        assert (rip(subject), stop.breakpoints, stop.address) == (there, (found.number,), there)
        seen.append(subject.run.position)
    assert len(seen) >= 2
    assert stop.why is Why.ENDED
    for place in reversed(seen):
        stop = subject.reverse_cont()
        assert (stop.why, subject.run.position) == (Why.BREAKPOINT, place)
    assert subject.reverse_cont().why is Why.START
    assert subject.run.position == Position(0, 0)
    assert subject.cont().why is Why.BREAKPOINT
    assert subject.run.position == seen[0]


def test_going_on_from_a_breakpoint_found_backwards(subject: World) -> None:
    subject.breakpoints.add_code(symbol("map_gpa"))
    subject.cont()
    first = subject.run.position
    subject.cont()
    subject.reverse_cont()
    assert subject.run.position == first
    subject.cont()
    assert subject.run.position > first


def test_condition_forward_and_backward(subject: World) -> None:
    subject.breakpoints.add_exit("exit == KVM_EXIT_HYPERCALL")
    seen = []
    while subject.cont().why is Why.BREAKPOINT:
        assert subject.run.where is Where.HELD
        seen.append(subject.run.position)
    assert len(seen) >= 4
    for place in reversed(seen):
        assert subject.reverse_cont().why is Why.BREAKPOINT
        assert subject.run.position == place


def test_until_and_the_last_match(subject: World) -> None:
    assert subject.cont(until="leaf == MapGPA").detail == "leaf == MapGPA"
    place = subject.run.position
    assert not list(subject.breakpoints), "what is asked once is no breakpoint"
    subject.cont(steps=30)
    assert subject.last_match("leaf == MapGPA and outcome == guest").why is Why.BREAKPOINT
    assert subject.run.position > place
    assert subject.last_match("exit == KVM_EXIT_SYSTEM_EVENT").why is Why.START


def test_a_condition_that_cannot_be_read(subject: World) -> None:
    with pytest.raises(FilterError):
        subject.cont(until="leef == 1")
    assert subject.run.position == Position(0, 0)


def test_watchpoint_forward_and_backward(subject: World) -> None:
    subject.cont()
    stack = subject.run.machine.registers(0).regs.rsp - 8
    subject.go_to(Position(0, 0))
    subject.breakpoints.add_write(stack, 8)
    before = subject.run.machine.read_gpa(stack, 8)
    stop = subject.cont()
    assert (stop.why, stop.breakpoints) == (Why.WATCHPOINT, (1,))
    assert subject.run.machine.read_gpa(stack, 8) == before, "before the write"
    first = subject.run.position
    subject.step_instructions()
    assert subject.run.machine.read_gpa(stack, 8) != before
    assert subject.reverse_cont().why is Why.WATCHPOINT
    assert subject.run.position == first


def test_the_last_write(subject: World) -> None:
    subject.cont()
    stack = subject.run.machine.registers(0).regs.rsp - 8
    now = subject.run.machine.read_gpa(stack, 8)
    stop = subject.last_write(stack, 8)
    assert stop.why is Why.WATCHPOINT
    subject.step_instructions()
    assert subject.run.machine.read_gpa(stack, 8) == now, "it was the last one"


def test_back_by_steps(subject: World) -> None:
    subject.cont(steps=50)
    places = [subject.run.position_after(step) for step in range(-1, 50)]
    for count in (1, 2, 10):
        subject.go_to(places[-1])
        subject.reverse_step(count)
        assert subject.run.position == places[-1 - count]
    subject.go_to(places[0])
    assert subject.reverse_step().why is Why.START


def test_back_by_instructions_is_the_way_that_was_come(subject: World) -> None:
    way = []
    for _ in range(300):
        way.append((subject.run.position, rip(subject)))
        subject.step_instructions()
    for place in reversed(way):
        assert subject.reverse_instructions().why is Why.INSTRUCTIONS
        assert (subject.run.position, rip(subject)) == place
    assert subject.reverse_instructions().why is Why.START


def test_an_interrupt(subject: World) -> None:
    looks = iter([False, False, True])
    subject.poll = lambda: next(looks)
    assert subject.cont().why is Why.INTERRUPTED
    subject.poll = lambda: False
    assert subject.cont().why is Why.ENDED


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("edit", ({"ret": 1},), "no exit waits"),
        ("inject", (1, 64), "no vCPU 1"),
        ("inject", (0, 3), "not one of an interrupt"),
        ("registers", (0, {"xyz": 1}), "no register"),
        ("registers", (0, {"rax": -1}), "unsigned 64-bit"),
        ("write", (1 << 40, b"x"), "no RAM"),
        ("explode", (), "no intervention"),
    ],
)
def test_what_cannot_be_done(
    subject: World, name: str, arguments: tuple[object, ...], message: str
) -> None:
    with pytest.raises(SessionError, match=message):
        subject.run.intervene(name, *arguments)
    assert not subject.run.interventions


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data": b"x"}, "it has ret"),
        ({"ret": -1}, "unsigned number of 64 bits"),
        ({"ret": "x"}, "unsigned number of 64 bits"),
    ],
)
def test_an_edit_that_the_exit_does_not_take(
    subject: World, fields: dict[str, object], message: str
) -> None:
    subject.cont(until="exit == KVM_EXIT_HYPERCALL")
    with pytest.raises(SessionError, match=message):
        subject.run.intervene("edit", fields)


def test_an_edit_can_be_taken_back(subject: World) -> None:
    subject.cont(until="exit == KVM_EXIT_HYPERCALL")
    held = subject.run.held
    assert held is not None
    assert held.reply.convert
    subject.run.intervene("edit", {"ret": 22})
    assert subject.run.held is not None
    assert not subject.run.held.reply.convert
    subject.run.intervene("edit", {})
    assert subject.run.held == held
