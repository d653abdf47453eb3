"""A live TD: run it, hold its exits, answer them, go back in time, do it differently.

The machine is in a process of its own (`worker`); this is the client. Each
method waits for its result. Who must not wait uses `send`, `fileno` and `poll`
on the same session: every command is there under the name of its method.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tdxdbg.engine import GpaMap, KvmRun
from tdxdbg.errors import SessionError
from tdxdbg.filters import compile_filter
from tdxdbg.session.client import (
    Client,
    Registers,
)
from tdxdbg.session.config import LiveConfig
from tdxdbg.session.connection import Connection
from tdxdbg.session.process import WorkerProcess
from tdxdbg.session.state import State
from tdxdbg.timeline import Moment


class Session(Connection):
    """One world of a live run: the present, a past of it, or what was made of a past.

    A context manager. Closing the first session ends all of its worlds. Not for
    several threads at once.
    """

    # --- begin and end ----------------------------------------------------------------

    @classmethod
    def open(
        cls,
        guest: str | os.PathLike[str] | bytes,
        *,
        kernel: str = "",
        gpaw: int = 48,
        vcpus: int = 0,
        memory: int = 64,
        policies: Sequence[str] = (),
        record: str | os.PathLike[str] | None = None,
        seed: int = 0,
        exits: int = 0,
        instructions: int = 0,
        linux: bool = False,
        initrd: str | os.PathLike[str] = "",
        append: str = "",
        firmware: str | os.PathLike[str] = "",
        keep_variables: bool = False,
    ) -> Session:
        """Start a guest; it stands before its first instruction.

        `guest`: the name of a sample guest, the path of an ELF or flat file, or
        a flat image itself; with `linux` the path of a kernel. See `LiveConfig`
        for the rest. `record` None: the recording is deleted with the session.
        Raises SessionError (a wrong wish), BackendError (a guest or machine that
        does not do) and TraceError (a recording that cannot be written).
        """
        image = guest if isinstance(guest, bytes) else b""
        config = LiveConfig(
            guest="image" if isinstance(guest, bytes) else os.fspath(guest),
            kernel=kernel,
            gpaw=gpaw,
            vcpus=vcpus,
            memory=memory,
            policies=tuple(policies),
            record="" if record is None else os.fspath(record),
            seed=seed,
            exits=exits,
            instructions=instructions,
            linux=linux,
            initrd=os.fspath(initrd),
            append=append,
            firmware=os.fspath(firmware),
            keep_variables=keep_variables,
        )
        return cls._start(config, image)

    @classmethod
    def start(cls, config: LiveConfig) -> Session:
        """Start what a configuration says; raises as `open` does."""
        return cls._start(config, b"")

    @classmethod
    def _start(cls, config: LiveConfig, image: bytes) -> Session:
        process = WorkerProcess()
        try:
            if image:
                path = Path(process.private_path("guest.bin"))
                path.write_bytes(image)
                config = replace(config, guest=str(path))
            temporary = process.private_path("recording.tdxt")
            config = replace(config, record=os.path.abspath(config.record or temporary))
            session = cls(process, Client(process.channel), config)
            private = os.path.dirname(temporary)
            session.state = session._wait("open", {"config": config.to_json(), "private": private})
            session._started = True
            return session
        except BaseException:
            process.stop()
            raise

    # --- running ----------------------------------------------------------------------

    def step(self, count: int = 1) -> State:
        """Engine steps: to the next exit that KVM handles, or the answer to the one held."""
        return self._state("step", count=count)

    def step_instruction(self, count: int = 1) -> State:
        """Guest instructions, or to the end of the next engine step."""
        return self._state("step_instruction", count=count)

    def cont(
        self, steps: int = 0, until: str = "", serial: bytes = b"", paced: bool = False
    ) -> State:
        """Go on to a breakpoint, to the end, until a condition holds, or for so many steps.

        `until` is a display filter over one step, `serial` what the guest is to
        write to its serial port; raises FilterError. `paced`: time in which every
        vCPU is halted takes as long here, so that somebody can type meanwhile.
        """
        if until:
            compile_filter(until)
        return self._state("cont", steps=steps, until=until, serial=serial, paced=paced)

    def run_until(self, condition: str) -> State:
        """Go on until a condition holds; SessionError if the run stops for good before it does.

        A breakpoint stops it as well: see `State.why`.
        """
        state = self.cont(until=condition)
        if state.why not in _GOES_ON:
            more = f": {state.detail}" if state.detail else ""
            raise SessionError(f"{condition!r} did not come: {state.why}{more}")
        return state

    def interrupt(self) -> State:
        """Stop what was started by `send`."""
        return self._state("interrupt")

    def refresh(self) -> State:
        """Ask where the run stands."""
        return self._state("state")

    def _state(self, command: str, **arguments: Any) -> State:
        result: State = self._ask(command, **arguments)
        return result

    # --- doing something about it -----------------------------------------------------

    def edit(self, fields: Mapping[str, int | bytes | None] | None = None) -> State:
        """Change fields of the answer that will be given; none: what the VMM proposed.

        `State.answer` has their names. It is given by the next step.
        """
        return self._state("edit", fields=dict(fields or {}))

    def answer(self, **fields: int | bytes | None) -> State:
        """Give the held exit's answer with these fields, and step."""
        if fields:
            self.edit(fields)
        elif not self.state.is_held:
            raise SessionError("no exit waits for an answer; step to a KVM_EXIT_* first")
        return self.step()

    def inject(self, vector: int, vcpu: int = 0) -> State:
        """Raise an interrupt (vector 16 to 255) in a vCPU's local APIC."""
        return self._state("inject", vector=vector, vcpu=vcpu)

    def registers(self, vcpu: int | None = None) -> Registers:
        """A vCPU's registers: `session.registers().rax`, or by name as of a dict."""
        found: Registers = self._ask("registers", vcpu=vcpu)
        return found

    @property
    def regs(self) -> Registers:
        """The registers of the vCPU that matters here."""
        return self.registers()

    def set_registers(self, vcpu: int | None = None, **registers: int) -> State:
        """Change general registers and rip."""
        return self._state("set_registers", vcpu=vcpu, registers=registers)

    def read_memory(self, address: int, size: int, *, vcpu: int | None = None) -> bytes:
        """Bytes at a GPA, or with `vcpu` at a linear address; SessionError if not all are there."""
        found: bytes | None = self._ask("read_memory", address=address, size=size, vcpu=vcpu)
        if found is None or len(found) != size:
            what = "GPA" if vcpu is None else "linear address"
            raise SessionError(f"no {size} bytes of memory at {what} {address:#x}")
        return found

    def write_memory(self, address: int, data: bytes, *, vcpu: int | None = None) -> State:
        """Change bytes at a GPA, or with `vcpu` at a linear address: all or none."""
        return self._state("write_memory", address=address, data=data, vcpu=vcpu)

    def console(self) -> bytes:
        """What the guest wrote to its serial port, as much as is kept of it."""
        output, since, total = b"", 0, 1
        while since < total:
            total, data, start = self._ask("console", since=since)
            if not data:
                break
            output, since = output + data, start + len(data)
        return output

    def console_since(self, offset: int) -> tuple[bytes, int]:
        """Serial output from `offset` (bytes since the start) on, and where it ends.

        What is no longer kept is left out; all of it may take several calls.
        """
        total, data, start = self._ask("console", since=offset)
        return data, start + len(data) if data else total

    def serial(self, data: bytes) -> State:
        """Bytes for the guest's serial port, also while the guest runs; it keeps 64 KiB."""
        return self._state("serial", data=data)

    # --- breakpoints ------------------------------------------------------------------

    def breakpoints(self) -> list[dict[str, Any]]:
        """All of them: id, kind, text, enabled, hits, address, size.

        The kinds are condition, address, watch and mapping.
        """
        found: list[dict[str, Any]] = self._ask("breakpoints")
        return found

    def add_breakpoint(self, condition: str | None = None, *, address: int | None = None) -> int:
        """Stop where a display filter holds, or at an instruction's linear address; its id."""
        if condition is not None:
            compile_filter(condition)
        found = self._ask("add_breakpoint", condition=condition, address=address)
        return int(found["id"])

    def add_watchpoint(self, address: int, size: int = 8, *, vcpu: int | None = None) -> int:
        """Stop before writes to bytes at a GPA, or with `vcpu` at a linear address; its id."""
        return int(self._ask("add_watchpoint", address=address, size=size, vcpu=vcpu)["id"])

    def watch_conversions(self, gpa: int, size: int) -> int:
        """Stop after pages of `size` bytes at a GPA became shared or private; its id."""
        return int(self._ask("watch_conversions", gpa=gpa, size=size)["id"])

    def change_breakpoint(self, id: int, *, enabled: bool) -> None:
        """Switch one on or off."""
        self._ask("change_breakpoint", id=id, enabled=enabled)

    def remove_breakpoint(self, id: int) -> None:
        """Forget one."""
        self._ask("remove_breakpoint", id=id)

    # --- other times ------------------------------------------------------------------

    def go_to(
        self,
        row: int | None = None,
        step: int = 0,
        *,
        steps: int | None = None,
        instructions: int | None = None,
    ) -> Session:
        """The end of a step of a row of the recording, or a position (`State.position`).

        Gives a session of the past, in which nothing can be changed; this one
        stays where it is. A past session moves itself, and gives itself.
        """
        return self._move("go_to", row=row, step=step, steps=steps, instructions=instructions)

    def reverse_step(self, count: int = 1) -> Session:
        """Back to the end of an earlier engine step; gives what `go_to` gives."""
        return self._move("reverse_step", count=count)

    def reverse_step_instruction(self, count: int = 1) -> Session:
        """Back by guest instructions; gives what `go_to` gives."""
        return self._move("reverse_step_instruction", count=count)

    def reverse_cont(self) -> Session:
        """Back to where a breakpoint would have stopped last; gives what `go_to` gives."""
        return self._move("reverse_cont")

    def last_write(self, address: int, size: int = 8, *, vcpu: int | None = None) -> Session:
        """Back to just before the last write to these bytes; gives what `go_to` gives."""
        return self._move("last_write", address=address, size=size, vcpu=vcpu)

    def last_match(self, condition: str) -> Session:
        """Back to the last step at which a condition stops; gives what `go_to` gives."""
        compile_filter(condition)
        return self._move("last_match", condition=condition)

    def make_live(self, record: str | os.PathLike[str] | None = None) -> State:
        """Make a past the present of another run, with a recording of its own.

        What comes after it can be different; the run it comes from goes on.
        """
        return self._state("make_live", record=record)

    def _move(self, command: str, **arguments: Any) -> Session:
        found: Session = self._ask(command, **arguments)
        return found

    # --- what was recorded ------------------------------------------------------------

    def gpa_map(self) -> GpaMap:
        """Which guest pages are shared, as KVM has it."""
        found: GpaMap = self._ask("gpa_map")
        return found

    def moment(self, row: int | None = None, step: int | None = None) -> Moment:
        """A step of the recording, by default the newest one of this world."""
        row = self.state.row if row is None else row
        step = self.state.step if step is None else step
        timeline = self.timeline
        if not 0 <= row < len(timeline):
            raise SessionError(f"there is no row {row}: {len(timeline)} are recorded")
        return timeline.moment(row, step)

    @property
    def held(self) -> KvmRun | None:
        """kvm_run of the exit that waits for an answer; None: no exit does."""
        if not self.state.is_held:
            return None
        recorded = self.moment().recorded
        return recorded.run if recorded is not None else None


#: Why a run stopped that can go on.
_GOES_ON = frozenset({"a step", "breakpoint", "watchpoint"})
