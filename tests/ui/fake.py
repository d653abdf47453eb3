"""A session without a worker: a scripted guest, the real engine, a real recording.

It answers at once, through the same non-blocking half as the real one. A run
is repeated from its start to go anywhere, with the edits that were made.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from tdxdbg.abi.ghci import Status, SubFunction
from tdxdbg.abi.regs import Regs
from tdxdbg.breakpoints import Breakpoint, Breakpoints, step_summary
from tdxdbg.engine import (
    BY_NAME,
    Engine,
    HypercallAnswer,
    IoAnswer,
    Outcome,
    Reentry,
    SetMemoryAttributes,
    Step,
    TdExit,
)
from tdxdbg.errors import TdxdbgError
from tdxdbg.session.edit import edited, fields_of
from tdxdbg.session.state import State
from tdxdbg.traces import TraceMeta, Writer
from tdxdbg.traces.records import Record, answer, memory_attributes, step_record, td_exit
from tdxdbg.ui.live.sight import CodeLine
from tdxdbg.vmm import Reply
from tests.ui.demo import SHARED, TD, tdvmcall

#: Guest instructions before each TD exit.
LENGTH = 100
BASE = 0x101000
GPA = 0x4000_0000
SIZE = 8 << 20

Guest = Generator[TdExit, Regs, None]


def io_out(letter: int) -> TdExit:
    return tdvmcall(SubFunction.IO, r12=1, r13=1, r14=0x3F8, r15=letter)


def mapgpa_guest(letters: bytes = b"hi\n\x1b[31nevil\n") -> Guest:
    """Writes to the serial port, converts 8 MiB by Linux's rules, reads a port, halts."""
    for letter in letters:
        yield io_out(letter)
    gpa, end = GPA | SHARED, (GPA | SHARED) + SIZE
    while gpa < end:
        regs = yield tdvmcall(SubFunction.MAP_GPA, r12=gpa, r13=end - gpa)
        if regs.r10 == Status.SUCCESS:
            break
        if regs.r10 != Status.RETRY:
            yield io_out(ord("!"))
            break
        gpa = regs.r11
    yield tdvmcall(SubFunction.IO, r12=1, r13=0, r14=0x60)


def start_of(world: str) -> State:
    return State(world, "in the TD", "", rip=BASE)


class FakeEvent(NamedTuple):
    request: int
    kind: str
    value: Any


class FakeSession:
    """`slow`: a guest that runs on stays running until `finish` or an interrupt."""

    def __init__(
        self, path: Path | None, *, edits: dict[int, dict[str, Any]] | None = None,
        world: str = "live", slow: bool = False, letters: bytes = b"hi\n\x1b[31nevil\n",
    ) -> None:  # fmt: skip
        self.path, self.slow, self.letters = path, slow, letters
        self.edits = edits if edits is not None else {}
        self.breakpoints = Breakpoints()
        self.events: list[FakeEvent] = []
        self.closed = False
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.memory = bytearray(range(256)) * 32
        self.console = b""
        self._read, self._write = os.pipe()
        self._next = 0
        self._running = 0
        self._stopping = False
        self.state = start_of(world)
        self.writer: Writer | None = None
        if path is not None:
            self.record_to(path)
        self._reset()

    def record_to(self, path: Path) -> None:
        self.path = path
        meta = TraceMeta(generation="7.2", td=TD, source="the tests", origin="emulated")
        self.writer = Writer(path, meta)

    # --- the run ------------------------------------------------------------------------

    def _reset(self) -> None:
        self.engine = Engine(TD, BY_NAME["7.2"])
        self.guest = mapgpa_guest(self.letters)
        self.regs: Regs | None = None
        self.held: tuple[Step, Reply, Reply] | None = None
        self.clock = 0
        self.engine.feed(Reentry(0))
        self.console = b""
        self.state = start_of(self.state.world)

    def _record(self, record: Record) -> None:
        if self.writer is not None:
            self.writer.write(record)

    def _advance(self) -> None:
        """One engine step."""
        state = self.state
        self.clock += 47_000
        if self.held is not None:
            self._answer()
            return
        try:
            event = self.guest.send(self.regs) if self.regs is not None else next(self.guest)
        except StopIteration:
            self.state = replace(state, where="ended", why="ended", detail="halted for \x1b[1mgood")
            return
        self.event = event
        row = state.row + 1
        self._record(td_exit(row, event, self.clock))
        at = LENGTH * (state.steps + 1)
        self.state = replace(state, row=row, step=-1, instructions=at)
        if event.regs.r11 == SubFunction.IO and event.regs.r13:
            self.console += bytes([event.regs.r15 & 0xFF])
            self.state = replace(self.state, console=len(self.console))
        self._done(self.engine.feed(event))

    def _answer(self) -> None:
        assert self.held is not None
        _, _, reply = self.held
        row = self.state.row
        for item in reply.convert:
            self.engine.feed(item)
            self._record(memory_attributes(row, 0, item, self.clock))
        reentry = Reentry(0, reply.answer)
        self._record(answer(row, reentry, self.clock))
        self._done(self.engine.feed(reentry))

    def _done(self, step: Step) -> None:
        state = self.state
        self._record(step_record(state.row, 0, step, self.clock))
        self.held = None
        new = replace(state,
            step=state.step + 1, steps=state.steps + 1, since_step=0, why="a step", detail="",
            where="in the TD", answer={}, proposed={}, convert=(),
        )  # fmt: skip
        self.state = replace(new, rip=BASE + 4 * (new.instructions % 64))
        if step.outcome is Outcome.REENTER_TD:
            self.regs = step.regs
            return
        proposed = self._propose(step)
        self.held = step, proposed, proposed
        self._hold()
        if self.state.steps in self.edits:
            self._edit(self.edits[self.state.steps])

    def _propose(self, step: Step) -> Reply:
        run = step.run
        assert run is not None
        if run.layout.member == "hypercall":
            gpa, pages = run.get("args", 0) or 0, run.get("args", 1) or 0
            return Reply(HypercallAnswer(0), (SetMemoryAttributes(gpa, pages << 12, False),))
        if run.layout.member == "io" and not run.get("direction"):
            return Reply(IoAnswer(b"\xff"))
        return Reply()

    def _hold(self) -> None:
        assert self.held is not None
        step, proposed, reply = self.held
        assert step.run is not None
        self.state = replace(
            self.state,
            where="held",
            answer=fields_of(step.run, reply.answer),
            proposed=fields_of(step.run, proposed.answer),
            convert=tuple(reply.convert),
        )

    def _edit(self, fields: dict[str, Any]) -> None:
        if self.held is None:
            raise TdxdbgError("no exit waits for an answer")
        step, proposed, reply = self.held
        assert step.run is not None
        self.held = step, proposed, edited(step.run, reply, proposed, fields)
        self._hold()

    def _hits(self, wanted: Breakpoints | None = None) -> list[int]:
        state = self.state
        wanted = self.breakpoints if wanted is None else wanted
        if self.held is None or not wanted.looks_at_steps:
            return []
        summary = step_summary(state.row, 0, self.event, self.held[0], TD, self.clock)
        return wanted.at_step(summary, userspace=True)

    # --- the non-blocking half ------------------------------------------------------------

    @property
    def trace_path(self) -> str:
        return str(self.path)

    def fileno(self) -> int:
        return self._read

    def send(self, command: str, **arguments: Any) -> int:
        self._next += 1
        self.requests.append((command, arguments))
        if command == "interrupt":
            self.finish()
            return self._next
        if command == "cont" and self.slow:
            self._running = self._next
            for _ in range(4):
                self._advance()
            self._tell(FakeEvent(self._next, "progress", self.state))
            return self._next
        try:
            value = getattr(self, f"_do_{command}")(**arguments)
        except (TdxdbgError, ValueError, KeyError) as error:
            self._tell(FakeEvent(self._next, "failed", str(error)))
        else:
            self._tell(FakeEvent(self._next, "done", value))
        return self._next

    def finish(self) -> None:
        """The guest that runs on is stopped."""
        if self._running:
            self.state = replace(self.state, why="interrupted")
            self._tell(FakeEvent(self._running, "done", self.state))
            self._running = 0

    def die(self) -> None:
        self._tell(FakeEvent(0, "died", "killed by signal 9 \x1b[31m"))

    def _tell(self, event: FakeEvent) -> None:
        self.events.append(event)
        os.write(self._write, b"x")

    def poll(self) -> list[FakeEvent]:
        os.set_blocking(self._read, False)
        with suppress(BlockingIOError):
            os.read(self._read, 4096)
        events, self.events = self.events, []
        return events

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self._read)
            os.close(self._write)
            if self.writer is not None:
                self.writer.close()

    # --- commands -------------------------------------------------------------------------

    def _do_step(self) -> State:
        self._advance()
        return self.state

    def _do_step_instruction(self, count: int = 1) -> State:
        state = self.state
        if state.where == "held" or state.since_step + count >= LENGTH:
            return self._do_step()
        self.state = replace(state,
            instructions=state.instructions + count, since_step=state.since_step + count,
            rip=state.rip + 4 * count, why="instruction count reached",
        )  # fmt: skip
        self.memory[0x10] ^= 0xFF
        return self.state

    def _do_cont(self, until: str = "", serial: bytes = b"", paced: bool = False) -> State:
        wanted = Breakpoints()
        if until:
            wanted.add_exit(until)
        for _ in range(500):
            self._advance()
            if self.state.where == "ended":
                break
            if serial and self.console.endswith(serial):
                self.state = replace(self.state, why="step", detail="the serial port")
                break
            if self._hits(wanted):
                self.state = replace(self.state, why="step", detail=until)
                break
            hits = self._hits()
            if hits:
                for number in hits:
                    self.breakpoints.count_hit(number)
                text = next(item.text for item in self.breakpoints if item.number == hits[0])
                self.state = replace(self.state, why="breakpoint", detail=text)
                break
        return self.state

    def _do_serial(self, data: bytes) -> State:
        """The guest echoes what it gets, if it runs."""
        if self.state.world == "past":
            raise TdxdbgError("this is the past")
        if self._running:
            self.console += data.replace(b"\r", b"\r\n")
            self.state = replace(self.state, console=len(self.console))
        return self.state

    def _do_edit(self, fields: dict[str, Any]) -> State:
        self._edit(fields)
        self.edits[self.state.steps] = fields
        return self.state

    def _do_inject(self, vector: int, vcpu: int) -> State:
        if vcpu:
            raise TdxdbgError(f"no vCPU {vcpu}: there are 1")
        return self.state

    def _do_registers(self, vcpu: int) -> dict[str, int]:
        state = self.state
        names = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11")
        values = {name: at * state.steps for at, name in enumerate(names)}
        return {"rip": state.rip, "rflags": 2, **values, "rsp": 0x24000, "r12": GPA}

    def _do_read_memory(self, address: int, size: int, vcpu: int | None = None) -> bytes | None:
        if address < 0x1000 or address + size > 0x4000_0000:
            return None
        start = address % 4096
        return bytes(self.memory[start : start + size])

    def _do_console(self, since: int = 0) -> tuple[int, bytes]:
        return len(self.console), self.console[since:]

    def _do_breakpoints(self) -> list[dict[str, Any]]:
        return [listed(item) for item in self.breakpoints]

    def _do_add_breakpoint(
        self, condition: str = "", address: int = 0, text: str = ""
    ) -> dict[str, Any]:
        if condition:
            return listed(self.breakpoints.add_exit(condition))
        return listed(self.breakpoints.add_code(address, text))

    def _do_add_watchpoint(
        self, address: int, size: int, vcpu: int | None = None, text: str = ""
    ) -> dict[str, Any]:
        return listed(self.breakpoints.add_write(address, size, text))

    def _do_watch_conversions(self, gpa: int, size: int, text: str = "") -> dict[str, Any]:
        return listed(self.breakpoints.add_mapping(gpa, size, text))

    def _do_change_breakpoint(self, id: int, enabled: bool) -> None:
        self.breakpoints.enable(id, enabled=enabled)

    def _do_remove_breakpoint(self, id: int) -> None:
        self.breakpoints.remove(id)

    # --- the past -------------------------------------------------------------------------

    def _past(self) -> FakeSession:
        edits = {at: fields for at, fields in self.edits.items() if at <= self.state.steps}
        return FakeSession(None, edits=edits, world="past", letters=self.letters)

    def _run_to(self, steps: int) -> None:
        self._reset()
        while self.state.steps < steps and self.state.where != "ended":
            self._advance()

    def _do_go_to(
        self, row: int = -1, step: int = -1, steps: int = -1, instructions: int = 0
    ) -> FakeSession:
        past = self._past()
        past._reset()
        while past.state.where != "ended":
            at = past.state
            if (at.row, at.step) == (row, step) if steps < 0 else at.steps == steps:
                break
            past._advance()
        return past

    def _do_reverse_step_instruction(self) -> FakeSession:
        state = self.state
        target = self if state.world == "past" else self._past()
        if state.since_step:
            target._run_to(state.steps)
            target._do_step_instruction(state.since_step - 1) if state.since_step > 1 else None
        else:
            target._run_to(max(state.steps - 1, 0))
            target._do_step_instruction(LENGTH - 1)
        return target

    def _do_reverse_cont(self) -> FakeSession:
        here = self.state.steps
        target = self if self.state.world == "past" else self._past()
        target.breakpoints = self.breakpoints
        target._reset()
        found = 0
        while target.state.steps < here - 1 and target.state.where != "ended":
            target._advance()
            if target._hits():
                found = target.state.steps
        target._run_to(found)
        return target

    def _do_last_write(self, address: int, size: int, vcpu: int = 0) -> FakeSession:
        return self._do_reverse_cont()

    def _do_make_live(self) -> State:
        steps = self.state.steps
        number = 1
        folder = Path(os.environ["TDXDBG_FAKE"])
        while (folder / f"fork{number}.tdxt").exists():
            number += 1
        self.record_to(folder / f"fork{number}.tdxt")
        self.state = replace(self.state, world="fork")
        self._run_to(steps)
        return self.state


def listed(item: Breakpoint) -> dict[str, Any]:
    """As a session lists a breakpoint."""
    kinds = {"exit": "condition", "code": "address", "write": "watch", "mapping": "mapping"}
    kind = kinds[item.kind.value]
    return {
        "id": item.number, "kind": kind, "text": item.text, "enabled": item.enabled,
        "hits": item.hits, "address": item.address, "size": item.size,
    }  # fmt: skip


class FakeProgram:
    """Four bytes an instruction; a symbol every 64 of them."""

    class _Symbols:
        _all: ClassVar[dict[str, int]] = {
            "start": BASE,
            "map_gpa": BASE + 0x40,
            "evil\x1b[31m": BASE + 0x80,
        }

        def find(self, name: str) -> int | None:
            return self._all.get(name)

        def names(self) -> list[str]:
            return list(self._all)

    symbols = _Symbols()

    def place(self, registers: Mapping[str, int]) -> None:
        """It does not move."""

    def arrived(self) -> str | None:
        return None

    def name(self, address: int) -> str:
        found = [(at, name) for name, at in self.symbols._all.items() if at <= address]
        if not found:
            return ""
        at, name = max(found)
        return f"{name}+{address - at:#x}" if address > at else name

    def lines(
        self, start: int, data: bytes, registers: Mapping[str, int], *, exited: bool = False
    ) -> tuple[CodeLine, ...]:
        labels = {at: name for name, at in self.symbols._all.items()}
        made = []
        for at in range(start, start + min(len(data), 1024), 4):
            tdcall = at % 64 == 48
            text = "tdcall" if tdcall else "mov    rax, qword ptr [rdi + 8]"
            made.append(
                CodeLine(
                    at, bytes.fromhex("660f01cc" if tdcall else "488b4708"), text,
                    "TDG.VP.VMCALL <MapGPA>" if tdcall else "", labels.get(at, ""),
                    f"guest.S:{at % 4096 // 4}" if at % 32 == 0 else "",
                )
            )  # fmt: skip
        return tuple(made)
