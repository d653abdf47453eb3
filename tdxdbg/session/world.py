"""A world: a run with its past, its breakpoints and its recording.

The present is a world; looking at the past makes another one, in a forked
process (`worker`), and so does going on from there. Everything in here is
done to one run, in process. Long work looks up every few milliseconds
(`World.poll`), so that it can be interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from tdxdbg.breakpoints import Breakpoints, step_summary
from tdxdbg.engine import Outcome
from tdxdbg.errors import SessionError
from tdxdbg.filters import Filter, compile_filter
from tdxdbg.session.history import History
from tdxdbg.session.run import OvershotError, Position, Run, Sink, Stop, Where, Why

#: Guest instructions and steps between two looks up: a few milliseconds.
_SLICE: Final = 400_000
_SLICE_STEPS: Final = 128
_FOREVER: Final = 1 << 62
_NS: Final = 1_000_000_000
#: Seconds of sleep between two looks up.
_NAP: Final = 0.2


class Goal(NamedTuple):
    """Where to stop if no breakpoint comes first: counts since the start of the run."""

    steps: int = _FOREVER
    instructions: int = _FOREVER
    condition: Filter | None = None
    #: What the guest writes to its serial port, byte by byte.
    serial: bytes = b""


class World:
    """`poll` is called between slices of work; True interrupts it.

    `wait` lets up to so many seconds of the host's time pass, and comes back early
    when there is something for `poll`.
    """

    def __init__(
        self,
        run: Run,
        sink: Sink | None = None,
        poll: Callable[[], bool] | None = None,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        """`run` stands at its start."""
        self.run = run
        self.history = History(run)
        self.breakpoints = Breakpoints()
        self.poll = poll or _never
        self.wait = wait
        #: Whether time in which every vCPU is halted takes as long on the host.
        self.paced = False
        #: Guest instructions since the start that are not gone beyond.
        self.budget = _FOREVER
        #: Engine steps since the start, likewise.
        self.step_budget = _FOREVER
        self._wanted = Breakpoints()
        #: The run stands before a write that a watchpoint found.
        self._at_write = False
        #: Bytes of serial output that were looked at.
        self._serial_seen = 0
        run.sink = sink
        run.machine.on_quiet = self.history.note

    # --- forward ----------------------------------------------------------------------

    def step(self, count: int = 1) -> Stop:
        """So many engine steps, or to a breakpoint."""
        return self._go(Goal(steps=self.run.steps + count))

    def step_instructions(self, count: int = 1) -> Stop:
        """So many guest instructions, or to the end of the next engine step."""
        if self.run.where is not Where.IN_TD:
            return self.step()
        return self._go(Goal(self.run.steps + 1, self.run.machine.instructions + count))

    def cont(self, *, steps: int = 0, until: str = "", serial: bytes = b"") -> Stop:
        """Go on to a breakpoint, until a condition holds at a step, or for so many steps.

        `serial`: until the guest has written this to its serial port. Raises FilterError.
        """
        condition = compile_filter(until) if until else None
        last = self.run.steps + steps if steps else _FOREVER
        return self._go(Goal(last, condition=condition, serial=serial))

    def rearm(self) -> None:
        """Take in breakpoints that changed while the run goes on (in `poll`)."""
        self._arm(self.breakpoints)

    def _go(self, goal: Goal) -> Stop:
        goal = goal._replace(instructions=min(goal.instructions, self.budget))
        self._arm(self.breakpoints)
        self._serial_seen = self.run.vmm.console.total
        self.run.machine.tells_sleep = self.paced and self.wait is not None
        self._pass_by()
        if goal.condition is not None:
            # Another list: what one asks for once is not among the breakpoints.
            self._wanted = Breakpoints()
            self._wanted.add_exit(goal.condition.text)
        try:
            while not self.poll():
                end = self.run.machine.instructions + _SLICE
                for _ in range(_SLICE_STEPS):
                    stop = self._advance(goal)
                    if stop is not None:
                        return stop
                    if self.run.machine.instructions >= end:
                        break
            return Stop(Why.INTERRUPTED, self.run.last[0])
        finally:
            self._disarm()
            self.run.machine.tells_sleep = False

    def _pass_by(self) -> None:
        """Going on from a breakpoint does what it stopped before, however one came here."""
        run = self.run
        if run.where is Where.IN_TD:
            run.machine.pass_breakpoint(run.machine.current)
            if self._at_write:
                run.machine.pass_watchpoint(run.machine.current)
        self._at_write = False

    def _advance(self, goal: Goal) -> Stop | None:
        """One step or one slice of instructions; None: nothing to stop for."""
        run = self.run
        if run.where is Where.IN_TD and run.machine.exits > run.machine.exit_budget:
            # Refused at each entry, it never comes to where the machine looks.
            return Stop(Why.EXITS, run.machine.current)
        if run.steps >= self.step_budget:
            return Stop(Why.EXITS, run.last[0])
        now = run.machine.instructions
        stop = run.step(min(now + _SLICE, goal.instructions))
        if stop.why is Why.STEP:
            self.history.note()
            return self._at_step(stop, goal)
        if stop.why is Why.INSTRUCTIONS:
            return stop if run.machine.instructions >= goal.instructions else None
        if stop.why is Why.ASLEEP or self._may_be_woken(stop):
            return self._sleep(stop)
        return self._hit(stop, self.breakpoints)

    def _may_be_woken(self, stop: Stop) -> bool:
        """Whether the guest sleeps for good, but for what somebody types."""
        if stop.why is not Why.IDLE or not self.run.machine.tells_sleep:
            return False
        # R12: it halted with its interrupts blocked.
        return any(not exit_.regs.r12 for exit_ in self.run.exit_of.values())

    def _sleep(self, stop: Stop) -> Stop | None:
        """Let time pass on the host too, as long as nobody wakes the guest."""
        assert self.wait is not None
        run, done = self.run, len(self.run.interventions)
        end = time.monotonic() + (stop.address - run.time) / _NS
        while True:
            left = end - time.monotonic() if stop.why is Why.ASLEEP else _NAP
            self.wait(min(left, _NAP))
            if self.poll():
                return Stop(Why.INTERRUPTED, run.last[0])
            if len(run.interventions) != done:
                return None
            if left <= 0:
                run.machine.pass_time(stop.address)
                return None

    def _at_step(self, stop: Stop, goal: Goal) -> Stop | None:
        hit = self._conditions(stop, self.breakpoints)
        if hit is not None:
            return hit
        if goal.condition is not None and self._conditions(stop, self._wanted) is not None:
            return stop._replace(detail=goal.condition.text)
        if goal.serial and self._wrote(goal.serial):
            return stop._replace(detail=f"the serial port: {goal.serial.decode(errors='replace')}")
        return stop if self.run.steps >= goal.steps else None

    def _wrote(self, text: bytes) -> bool:
        """Whether the step that was just done wrote the last byte of `text`."""
        console = self.run.vmm.console
        seen, self._serial_seen = self._serial_seen, console.total
        return console.total != seen and console.ends_with(text)

    def _conditions(self, stop: Stop, wanted: Breakpoints) -> Stop | None:
        """Whether a condition, or what it converted, stops at the step that was just done."""
        run = self.run
        converting = wanted.at_conversions(run.converted) if run.converted else []
        numbers = converting + (self._matching(wanted) if wanted.looks_at_steps else [])
        return _stop_of(stop._replace(why=Why.BREAKPOINT), wanted, numbers) if numbers else None

    def _matching(self, wanted: Breakpoints) -> list[int]:
        run = self.run
        vcpu, step = run.last
        assert step is not None
        userspace = step.outcome is not Outcome.REENTER_TD
        row = run.row_of_step[run.steps - 1]
        summary = step_summary(row, vcpu, run.exit_of[vcpu], step, run.engine.td, run.time)
        return wanted.at_step(summary, userspace=userspace)

    @staticmethod
    def _hit(stop: Stop, wanted: Breakpoints) -> Stop:
        """A code breakpoint or a watchpoint, by what the machine says of it."""
        if stop.why is Why.BREAKPOINT:
            return _stop_of(stop, wanted, wanted.at_code(stop.address))
        if stop.why is Why.WATCHPOINT:
            return _stop_of(stop, wanted, wanted.at_write(stop.address, stop.size))
        return stop

    def _arm(self, wanted: Breakpoints) -> None:
        self.run.machine.set_breakpoints(wanted.code)
        self.run.machine.set_watchpoints(wanted.writes)

    def _disarm(self) -> None:
        self.run.machine.set_breakpoints(frozenset())
        self.run.machine.set_watchpoints(())

    # --- backward ---------------------------------------------------------------------

    def go_to(self, position: Position) -> None:
        """Stand at a position that the run has passed; raises SessionError."""
        if not Position(0, 0) <= position:
            raise SessionError(f"there is no position {position}")
        self.breakpoints.forget_steps()
        self._at_write = False
        self.history.go_to(position)

    def reverse_step(self, count: int = 1) -> Stop:
        """Back to the end of an earlier step."""
        run = self.run
        at = run.steps - 1
        if run.position == run.position_after(at):
            at -= 1
        if at < -1:
            return Stop(Why.START)
        target = max(at - (count - 1), -1)
        self.go_to(run.position_after(target))
        return Stop(Why.STEP, run.last[0])

    def reverse_instructions(self, count: int = 1) -> Stop:
        """Back by guest instructions; an answer to an exit counts as one."""
        run = self.run
        for _ in range(count):
            if run.position <= (0, 0):
                return Stop(Why.START)
            steps, instructions = run.position
            start = run.position_after(steps - 1)
            if instructions > start.instructions:
                self.go_to(Position(steps, instructions - 1))
                continue
            before = run.position_after(steps - 2)
            try:
                # An exit that answers, or one whose instruction was not done.
                self.go_to(Position(steps - 1, instructions))
            except OvershotError:
                self.go_to(Position(steps - 1, max(instructions - 1, before.instructions)))
        return Stop(Why.INSTRUCTIONS, run.last[0])

    def reverse_cont(self) -> Stop:
        """Back to the last place at which a breakpoint would have stopped."""
        return self._back_to(self.breakpoints)

    def last_write(self, gpa: int, size: int) -> Stop:
        """Back to just before the last write to guest memory (bytes)."""
        wanted = Breakpoints()
        wanted.add_write(gpa, size)
        return self._back_to(wanted)

    def last_match(self, condition: str) -> Stop:
        """Back to the last step at which a condition stops; raises FilterError."""
        wanted = Breakpoints()
        wanted.add_exit(condition)
        return self._back_to(wanted)

    def _back_to(self, wanted: Breakpoints) -> Stop:
        """Search backwards, from checkpoint to checkpoint; stays here when interrupted."""
        here = end = self.run.position
        index = self.history.before(here)
        while index >= 0:
            start = self.history.checkpoint(index)
            if start.position < end or index == 0:
                found, interrupted = self._last_stop(wanted, start.position, end, here)
                if found is not None:
                    self.go_to(found[0])
                    self._at_write = found[1].why is Why.WATCHPOINT
                    return found[1]
                if interrupted:
                    self.go_to(here)
                    return Stop(Why.INTERRUPTED)
                end = start.position
            index -= 1
        self.go_to(Position(0, 0))
        return Stop(Why.START)

    def _last_stop(
        self, wanted: Breakpoints, start: Position, end: Position, here: Position
    ) -> tuple[tuple[Position, Stop] | None, bool]:
        """The last stop from `start` to `end` that is before `here`; whether it was interrupted."""
        run = self.run
        found = None
        self.go_to(start)
        wanted.forget_steps()
        self._arm(wanted)
        sink, run.sink = run.sink, None
        try:
            while run.position < end:
                if self.poll():
                    return None, True
                busy = run.machine.instructions + _SLICE
                for _ in range(_SLICE_STEPS):
                    if run.position >= end or run.machine.instructions >= busy:
                        break
                    stop = self._repeat(wanted, end)
                    if stop is not None and run.position < here:
                        found = run.position, stop
        finally:
            run.sink = sink
            self._disarm()
        return found, False

    def _repeat(self, wanted: Breakpoints, end: Position) -> Stop | None:
        """Re-execute one step or slice of it; a stop for one of `wanted`."""
        run = self.run
        limit = run.machine.instructions + _SLICE
        if run.steps == end.steps:
            limit = min(limit, end.instructions)
        stop = run.step(limit)
        if stop.why is Why.STEP:
            return self._conditions(stop, wanted)
        if stop.why is Why.INSTRUCTIONS:
            return None
        if stop.why in (Why.BREAKPOINT, Why.WATCHPOINT):
            return self._hit(stop, wanted)
        raise SessionError(f"re-execution stopped at {run.position}: {stop.why.value}")

    def forget_future(self) -> None:
        """What follows will be another future than the one that was."""
        self.run.forget_future()
        self.history.forget_after(self.run.position)


def _stop_of(stop: Stop, wanted: Breakpoints, numbers: list[int]) -> Stop:
    for number in numbers:
        wanted.count_hit(number)
    texts = [each.text for each in wanted if each.number in numbers]
    return stop._replace(breakpoints=tuple(numbers), detail=stop.detail or ", ".join(texts))


def _never() -> bool:
    return False
