"""A live run, in process: vCPU, TDX module, KVM and VMM, one engine step at a time.

Theory of operation. The TD runs until a vCPU exits, the engine is fed with the
exit, and either the TD is entered again at once or a KVM_EXIT_* is *held*: the
VMM's reply is worked out, can be edited, and is given by the next step. At
most one vCPU is out of the TD at a time.

All of it is a function of the guest, the seed and the interventions of a
person (edits, interrupts, changed registers and memory). A place in a run is a
`Position`, the number of engine steps and of guest instructions done; each
intervention is noted with its position, so that re-execution from a checkpoint
(`history`) takes the same way.
"""

from __future__ import annotations

from array import array
from dataclasses import replace
from typing import Any, Final

from tdxdbg.abi.regs import Regs
from tdxdbg.backends import Pause
from tdxdbg.backends.emulated.machine import Machine
from tdxdbg.engine import (
    Engine,
    Generation,
    Outcome,
    Reentry,
    SetMemoryAttributes,
    Step,
    Td,
    TdExit,
)
from tdxdbg.engine.state import HALTED
from tdxdbg.errors import SessionError
from tdxdbg.session.edit import edited, fields_of
from tdxdbg.session.places import (
    Held,
    Intervention,
    OvershotError,
    Position,
    RunCheckpoint,
    Stop,
    Where,
    Why,
)
from tdxdbg.session.sink import Sink
from tdxdbg.vmm import Vmm

__all__ = [
    "INTERVENTIONS",
    "Held",
    "OvershotError",
    "Position",
    "Run",
    "RunCheckpoint",
    "Sink",
    "Stop",
    "Where",
    "Why",
]

_FOREVER: Final = 1 << 62
# An Enum's members are slow to look up.
_IN_TD, _HELD = Where.IN_TD, Where.HELD
_STEP: Final = Why.STEP
_REENTER_TD: Final = Outcome.REENTER_TD
_new: Final = tuple.__new__


class Run:
    """One world. `sink` gets each record of the journal as it is made."""

    def __init__(
        self,
        machine: Machine,
        td: Td,
        generation: Generation,
        vmm: Vmm,
        sink: Sink | None = None,
    ) -> None:
        """`machine` has not run; `td` is what its vCPUs belong to, policies applied."""
        self.machine = machine
        self._clock = machine.platform.clock
        self.engine = Engine(replace(td, implicit_conversions=False), generation)
        self.vmm = vmm
        self.sink = sink
        self.where = Where.IN_TD
        self.held: Held | None = None
        self.ended = ""
        self.rows = 0
        #: Engine steps done.
        self.steps = 0
        #: Each step's row, and the guest instructions done at its end; of the whole
        #: run as far as it was ever taken, also while it stands in its past.
        self.row_of_step = array("Q")
        self.instructions_at = array("Q")
        #: The step that was done last, and its vCPU.
        self.last: tuple[int, Step | None] = (0, None)
        #: GPA and size in bytes of what was converted on the way to it.
        self.converted: list[tuple[int, int]] = []
        self.interventions: list[Intervention] = []
        self._applied = 0
        self._row_of: dict[int, int] = {}
        #: The newest TD exit of each vCPU.
        self.exit_of: dict[int, TdExit] = {}
        self._waiting: list[TdExit] = []
        self._stepped = [Stop(Why.STEP, vcpu.index) for vcpu in machine.vcpus]
        self._enter_all()

    def _enter_all(self) -> None:
        """The first KVM_RUN of each vCPU; a journal starts with the first TD exit."""
        for vcpu in self.machine.vcpus:
            step = self.engine.feed(Reentry(vcpu.index))
            self._enter(vcpu.index, step)

    # --- where we are -----------------------------------------------------------------

    @property
    def position(self) -> Position:
        return Position(self.steps, self.machine.instructions)

    @property
    def time(self) -> int:
        """Virtual time in ns."""
        return self.machine.tsc

    def position_after(self, step: int) -> Position:
        """Where the run was right after a step, counted from 0 (-1: the start)."""
        return Position(step + 1, self.instructions_at[step]) if step >= 0 else Position(0, 0)

    # --- running ----------------------------------------------------------------------

    def step(self, limit: int = _FOREVER) -> Stop:
        """Do one engine step, or come back before it.

        `limit` in guest instructions since the start: the TD does not run
        further. Interventions that are noted for places on the way are done.
        """
        while True:
            planned = self._applied < len(self.interventions)
            if planned:
                self._intervene()
            if self.where is not _IN_TD:
                return self._answer()
            stop = self._run_td(min(limit, self._next_intervention()) if planned else limit)
            if not planned or stop.why is _STEP or not self._is_due():
                return stop

    def _run_td(self, limit: int) -> Stop:
        machine = self.machine
        exit_: TdExit | Pause
        if self._waiting:
            exit_ = self._waiting.pop(0)
        elif limit < _FOREVER:
            exit_ = machine.run_to(limit)
        else:
            exit_ = machine.resume()
        if isinstance(exit_, Pause):
            return self._paused(exit_)
        self.converted.clear()
        row = self._row_of[exit_.vcpu] = self.rows
        self.exit_of[exit_.vcpu] = exit_
        self.rows += 1
        if self.sink is not None:
            self.sink.td_exit(row, exit_, self._clock.tsc)
        return self._done(exit_.vcpu, self.engine.feed(exit_))

    def _paused(self, pause: Pause) -> Stop:
        why = _PAUSES.get(pause.why.name)
        if why is None:
            self.where, self.ended = Where.ENDED, pause.detail or pause.why.value
            return Stop(Why.ENDED, pause.vcpu, self.ended)
        return Stop(why, pause.vcpu, pause.detail, pause.address, pause.size)

    def _answer(self) -> Stop:
        """Userspace's turn: give the reply, and KVM_RUN."""
        held = self.held
        if held is None or held.reply.stop:
            self.where = Where.ENDED
            if held is not None:
                self.ended = held.reply.stop
            return Stop(Why.ENDED, held.vcpu if held is not None else 0, self.ended)
        vcpu, row = held.vcpu, self._row_of[held.vcpu]
        self.converted.clear()
        for conversion in held.reply.convert:
            self._convert(row, vcpu, conversion)
        events = self.machine.has_events(vcpu)
        reentry: Reentry = _new(Reentry, (vcpu, held.reply.answer, events, False, False))
        step = self.engine.feed(reentry)
        self.held = None
        if self.sink is not None:
            self.sink.answer(row, reentry, self._clock.tsc)
        return self._done(vcpu, step)

    def _convert(self, row: int, vcpu: int, conversion: SetMemoryAttributes) -> None:
        """KVM_SET_MEMORY_ATTRIBUTES; KVM refuses what is no range of pages."""
        step = self.engine.feed(conversion)
        if step.outcome is Outcome.IOCTL_DONE:
            gpa, size, private = conversion
            self.converted.append((gpa, size))
            self.machine.set_memory_attributes(gpa, size, private=private)
            if self.sink is not None:
                self.sink.conversion(row, vcpu, conversion, self._clock.tsc)

    def _done(self, vcpu: int, step: Step) -> Stop:
        """A step is done: enter the TD again, or ask the VMM."""
        row = self._row_of[vcpu]
        if self.sink is not None:
            self.sink.step(row, vcpu, step, self._clock.tsc)
        self.last = vcpu, step
        if step.outcome is _REENTER_TD:
            self.where = _IN_TD
            self._enter(vcpu, step)
        else:
            self.where = _HELD
            reply = self.vmm.reply(vcpu, step, self.machine, self, self._clock.tsc)
            self.held = _new(Held, (vcpu, step, reply, reply))
        if self.steps == len(self.row_of_step):
            self.row_of_step.append(row)
            self.instructions_at.append(self.machine.instructions)
        self.steps += 1
        return self._stepped[vcpu]

    def _enter(self, vcpu: int, step: Step) -> None:
        """TDH.VP.ENTER; what exits at once is the next step's."""
        exit_ = self.machine.enter(vcpu, step.regs, halted=bool(step.effects & HALTED))
        if exit_ is not None:
            self._waiting.append(exit_)

    def raise_vector(self, vcpu: int, vector: int) -> None:
        """A device's or a policy's interrupt (`vmm.Events`)."""
        self.machine.inject(vcpu, vector)

    # --- interventions ----------------------------------------------------------------

    def intervene(self, name: str, *arguments: Any) -> None:
        """Do what a person wants here, and note it for re-execution.

        `name` is one of INTERVENTIONS. Raises SessionError, with nothing
        changed or noted, where it cannot be done.
        """
        if name not in INTERVENTIONS:
            raise SessionError(f"no intervention {name!r}: there are {', '.join(INTERVENTIONS)}")
        at = self.position
        getattr(self, f"_do_{name}")(*arguments)
        self.forget_future()
        self.interventions.append(Intervention(at, name, arguments))
        self._applied += 1

    def forget_future(self) -> None:
        """What follows will be another future than the one that was."""
        del self.interventions[self._applied :]
        del self.row_of_step[self.steps :]
        del self.instructions_at[self.steps :]

    def _next_intervention(self) -> int:
        """At which instruction the next one is to be done, if it is before the next step."""
        if self._applied < len(self.interventions):
            at = self.interventions[self._applied].at
            if at.steps == self.steps:
                return at.instructions
        return _FOREVER

    def _is_due(self) -> bool:
        return (
            self._applied < len(self.interventions)
            and self.interventions[self._applied].at == self.position
        )

    def _intervene(self) -> None:
        """Do what is noted for this position."""
        while self._is_due():
            _, name, arguments = self.interventions[self._applied]
            getattr(self, f"_do_{name}")(*arguments)
            self._applied += 1

    def _do_edit(self, fields: dict[str, Any]) -> None:
        """Change fields of the held exit's answer; none: back to what the VMM proposed."""
        held = self.held
        if held is None or held.step.run is None:
            raise SessionError("no exit waits for an answer; step to a KVM_EXIT_* first")
        reply = edited(held.step.run, held.reply, held.proposed, fields)
        self.held = held._replace(reply=reply)
        self.where, self.ended = Where.HELD, ""

    def _do_inject(self, vcpu: int, vector: int) -> None:
        self._check_vcpu(vcpu)
        if not 16 <= vector <= 255:
            raise SessionError(f"vector {vector} is not one of an interrupt: give 16 to 255")
        self.machine.inject(vcpu, vector)

    def _do_registers(self, vcpu: int, registers: dict[str, int]) -> None:
        self._check_vcpu(vcpu)
        old = self.machine.registers(vcpu)
        unknown = set(registers) - {*Regs._fields, "rip"}
        if unknown:
            raise SessionError(f"no register {min(unknown)!r}: give general registers or rip")
        general = {name: value for name, value in registers.items() if name != "rip"}
        rip = registers.get("rip", old.rip)
        if any(not 0 <= value < 1 << 64 for value in registers.values()):
            raise SessionError("a register takes an unsigned 64-bit number")
        self.machine.set_registers(vcpu, old.regs._replace(**general), rip)

    def _do_write(self, gpa: int, data: bytes) -> None:
        if not self.machine.write_gpa(gpa, data):
            raise SessionError(f"no RAM at GPA {gpa:#x}, {len(data)} bytes; nothing was written")

    def _do_serial(self, data: bytes) -> None:
        self.vmm.serial_input(data, self)

    def _check_vcpu(self, vcpu: int) -> None:
        if not 0 <= vcpu < len(self.machine.vcpus):
            raise SessionError(f"no vCPU {vcpu}: there are {len(self.machine.vcpus)}")

    def answer_fields(self) -> dict[str, Any]:
        """The held exit's answer by field, as `edit` takes it; empty when nothing is held."""
        held = self.held
        if held is None or held.step.run is None:
            return {}
        return fields_of(held.step.run, held.reply.answer)

    # --- time travel ------------------------------------------------------------------

    @property
    def is_quiet(self) -> bool:
        """Whether a checkpoint taken here leaves no trace in the run."""
        return self.machine.is_quiet

    def checkpoint(self) -> RunCheckpoint:
        """All of it, for `restore`."""
        return RunCheckpoint(
            self.position,
            self.machine.checkpoint(),
            self.engine.checkpoint(),
            self.vmm.checkpoint(),
            self.rows,
            tuple(self._row_of.items()),
            tuple(self.exit_of.items()),
            self.where,
            self.held,
            self.ended,
            tuple(self._waiting),
            self.last,
            self._applied,
        )

    def restore(self, checkpoint: RunCheckpoint) -> None:
        """Back to a checkpoint, which stays usable; later interventions stay noted."""
        self.machine.restore(checkpoint.machine)
        self.engine.restore(checkpoint.engine)
        self.vmm.restore(checkpoint.vmm)
        self.rows = checkpoint.rows
        self._row_of = dict(checkpoint.row_of)
        self.exit_of = dict(checkpoint.exit_of)
        self.where = checkpoint.where
        self.held = checkpoint.held
        self.ended = checkpoint.ended
        self._waiting = list(checkpoint.waiting)
        self.last = checkpoint.last
        self.steps = checkpoint.position.steps
        self._applied = checkpoint.applied

    def replay_to(self, target: Position) -> None:
        """Re-execute to a later position that the run has passed; records go nowhere."""
        sink, self.sink = self.sink, None
        try:
            while self.position < target:
                limit = target.instructions if self.steps == target.steps else _FOREVER
                stop = self.step(limit)
                if stop.why not in _PASSED:
                    break
            self._intervene()
        finally:
            self.sink = sink
        if self.position != target:
            raise OvershotError(
                f"re-execution came to {self.position}, not to {target}: "
                "the run is not what it was; please report this"
            )


#: What a person can do to a run; methods `_do_...`.
INTERVENTIONS: Final = ("edit", "inject", "registers", "write", "serial")

#: What re-execution does not stop for.
_PASSED: Final = (Why.STEP, Why.INSTRUCTIONS, Why.BREAKPOINT, Why.WATCHPOINT)

#: Why the machine paused, by name; the others end the run.
_PAUSES: Final = {
    "INTERRUPTED": Why.INTERRUPTED,
    "INSTRUCTIONS": Why.INSTRUCTIONS,
    "BREAKPOINT": Why.BREAKPOINT,
    "WATCHPOINT": Why.WATCHPOINT,
    "EXITS": Why.EXITS,
    "IDLE": Why.IDLE,
    "ASLEEP": Why.ASLEEP,
}
