"""The commands that let a world run, and those that take it elsewhere in time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any, Final

from tdxdbg.errors import SessionError
from tdxdbg.session.look import watched
from tdxdbg.session.run import Position, Stop, Where, Why
from tdxdbg.session.world import World

#: Why a past came to stand where it cannot go further.
PRESENT: Final = "the present"
#: Bytes of serial output that are waited for.
_LONGEST_TEXT: Final = 4096


def _count(count: int, what: str) -> int:
    if not 1 <= count < 1 << 62:
        raise SessionError(f"{count} {what}: give 1 or more")
    return count


# --- forward --------------------------------------------------------------------------


def step(world: World, count: int = 1) -> Stop:
    """Engine steps: to the next exit, or the answer to the one that is held."""
    return world.step(_count(count, "steps"))


def step_instruction(world: World, count: int = 1) -> Stop:
    """Guest instructions, or to the end of the next engine step."""
    return world.step_instructions(_count(count, "instructions"))


def cont(
    world: World, steps: int = 0, until: str = "", serial: bytes = b"", paced: bool = False
) -> Stop:
    """To a breakpoint, until a condition holds or the guest wrote a text, or for so many steps."""
    if len(serial) > _LONGEST_TEXT:
        raise SessionError(f"a text of {len(serial)} bytes: give at most {_LONGEST_TEXT}")
    world.paced = paced
    return world.cont(steps=steps and _count(steps, "steps"), until=until, serial=serial)


RUNS: Final[dict[str, Callable[..., Stop]]] = {
    "step": step,
    "step_instruction": step_instruction,
    "cont": cont,
}


def run_past(world: World, end: Position, command: str, arguments: dict[str, Any]) -> Stop:
    """One of them, over what has happened already, and not beyond `end`."""
    run = world.run
    if run.position >= end:
        raise SessionError("this is where the past meets the present: make_live goes on from here")
    if command == "step_instruction" and run.where is Where.IN_TD:
        count = _count(arguments.get("count", 1), "instructions")
        if run.steps == end.steps:
            count = min(count, end.instructions - run.machine.instructions)
        return world.step_instructions(count)
    left = end.steps - run.steps
    wanted = arguments.get("steps", 0) if command == "cont" else arguments.get("count", 1)
    wanted = _count(wanted, "steps") if wanted or command != "cont" else left + 1
    if left:
        texts = {name: arguments[name] for name in ("until", "serial") if name in arguments}
        stop = world.cont(steps=min(wanted, left), **texts)
        if wanted <= left or stop.why is not Why.STEP or run.steps < end.steps or stop.detail:
            return stop
    if run.position < end:
        return world.step_instructions(end.instructions - run.machine.instructions)
    return Stop(Why.STEP, run.last[0])


# --- to another time ------------------------------------------------------------------


def go_to(
    world: World,
    row: int | None = None,
    step: int = 0,
    steps: int | None = None,
    instructions: int | None = None,
) -> Stop:
    """The end of a step of a row of the recording; or a position."""
    run = world.run
    if row is None and steps is None:
        raise SessionError("go to a row and step, or to steps and instructions")
    if steps is None:
        assert row is not None
        steps = _place_of(world, row, step) + 1
    if not 0 <= steps <= len(run.instructions_at):
        raise SessionError(f"the run has {len(run.instructions_at)} steps: there is no {steps}")
    position = run.position_after(steps - 1)
    if instructions is not None:
        position = Position(steps, instructions)
    world.go_to(position)
    return Stop(Why.STEP if instructions is None else Why.INSTRUCTIONS, run.last[0])


def _place_of(world: World, row: int, step: int) -> int:
    """The number of an engine step, from 0; row -1: before the first one."""
    if row == -1:
        return -1
    rows = world.run.row_of_step
    place = bisect_left(rows, row) + step if row >= 0 else len(rows)
    if step < 0 or place >= len(rows) or rows[place] != row:
        raise SessionError(f"the run has no row {row}, step {step}")
    return place


def reverse_step(world: World, count: int = 1) -> Stop:
    """Back to the end of an earlier engine step."""
    return world.reverse_step(_count(count, "steps"))


def reverse_step_instruction(world: World, count: int = 1) -> Stop:
    """Back by guest instructions."""
    return world.reverse_instructions(_count(count, "instructions"))


def reverse_cont(world: World) -> Stop:
    """Back to where a breakpoint would have stopped last."""
    return world.reverse_cont()


def last_write(world: World, address: int, size: int = 8, vcpu: int | None = None) -> Stop:
    """Back to just before the last write to bytes at a GPA, or with `vcpu` a linear address."""
    return world.last_write(watched(world, address, size, vcpu), size)


def last_match(world: World, condition: str) -> Stop:
    """Back to the last step at which a condition stops."""
    return world.last_match(condition)


MOVES: Final[dict[str, Callable[..., Stop]]] = {
    "go_to": go_to,
    "reverse_step": reverse_step,
    "reverse_step_instruction": reverse_step_instruction,
    "reverse_cont": reverse_cont,
    "last_write": last_write,
    "last_match": last_match,
}
