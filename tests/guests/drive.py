"""Runs a guest as its story says and compares every exit that userspace sees."""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from typing import Any, NamedTuple

from tdxdbg.abi.kvm import Exit as KvmExit
from tdxdbg.backends.emulated.images import GuestOptions, build
from tdxdbg.backends.emulated.td import open_machine
from tdxdbg.engine import BY_NAME, Outcome
from tdxdbg.guests import find
from tdxdbg.session.build import SERIAL_VECTOR
from tdxdbg.session.edit import fields_of
from tdxdbg.session.run import Held, Run, Where, Why
from tdxdbg.session.sink import RecordSink
from tdxdbg.traces.records import Record
from tdxdbg.vmm import Board, Vmm
from tests.guests.expected import Exit, Expected, Story, Value

#: A guard: no guest here needs as much.
INSTRUCTIONS = 20_000_000

_ZEROES = bytes(64 << 10)

#: KVM_EXIT_* by the name that a story uses.
NAMES = {member.name.lower().removeprefix("x86_"): int(member) for member in KvmExit}


class Result(NamedTuple):
    """How a run ended."""

    ended: str
    console: bytes


def open_run(story: Story, kernel: str) -> Run:
    """The guest of a story, at its start."""
    guest = find(story.guest)
    loaded = build(guest.image, GuestOptions(gpaw=story.gpaw, vcpus=guest.vcpus))
    vmm = Vmm(story.policies, Board(gpaw=story.gpaw, serial_vector=SERIAL_VECTOR))
    return Run(open_machine(loaded.config), vmm.td(loaded.td), BY_NAME[kernel], vmm)


def play(run: Run, expected: Expected, steps: int) -> Result:
    """Take the run to its end, or for so many steps; raises AssertionError where it differs."""
    waiting: dict[int, deque[Exit]] = defaultdict(deque)
    for item in expected.exits:
        waiting[item.vcpu].append(item)
    ended = "too many steps"
    while run.steps < steps:
        stop = run.step(INSTRUCTIONS)
        if stop.why is not Why.STEP:
            ended = stop.detail or stop.why.value
            break
        if run.where is Where.HELD:
            assert run.held is not None
            queue = waiting[run.held.vcpu]
            assert queue, f"an exit that no line foresees: {describe(run.held)}"
            meet(run, run.held, queue.popleft())
    left = [item for queue in waiting.values() for item in queue]
    assert not left, f"line {left[0].line}: it never came ({ended}): {left[0]}"
    return Result(ended, bytes(run.vmm.console))


def meet(run: Run, held: Held, wanted: Exit) -> None:
    """Compare an exit with its line, and do what the line says."""
    said = f"line {wanted.line}: wanted {wanted.name} {wanted.fields}, got {describe(held)}"
    step = held.step
    if step.run is None:
        assert wanted.name == "error", said
        assert wanted.fields == {"errno": step.errno}, said
        return
    assert wanted.name in NAMES, said
    assert step.run.exit_reason == NAMES[wanted.name], said
    assert (step.outcome is Outcome.KVM_ERROR) == (wanted.name == "memory_fault"), said
    values = step.run.values()
    for name, value in wanted.fields.items():
        assert same(value, values[name]), f"{said}: {name}"
    answer = fields_of(step.run, held.proposed.answer)
    for name, value in wanted.answer.items():
        assert same(value, answer[name]), f"{said}: answered {answer}"
    if wanted.edit:
        run.intervene("edit", wanted.edit)
    for name, arguments in wanted.meanwhile:
        MEANWHILE[name](run, said, *arguments)


def same(wanted: Value, got: Any) -> bool:
    """Lists are compared as far as the line goes; bytes with hex, arrays or bytes."""
    if isinstance(wanted, bytes):
        if isinstance(got, str):
            got = bytes.fromhex(got)
        elif isinstance(got, list):
            got = bytes(item for item in got if item is not None)
        return got is not None and got[: len(wanted)] == wanted
    if isinstance(wanted, list):
        return isinstance(got, list) and got[: len(wanted)] == wanted
    return bool(got == wanted)


def describe(held: Held) -> str:
    """For a test that failed."""
    run = held.step.run
    if run is None:
        return f"KVM_RUN = -{held.step.errno}"
    name = KvmExit(run.exit_reason).name
    return f"vCPU {held.vcpu} {name} {run.values()} -> {held.proposed}"


def _peek(run: Run, said: str, gpa: int, data: bytes) -> None:
    assert run.machine.read_gpa(gpa, len(data)) == data, said


def _poke(run: Run, said: str, gpa: int, data: bytes) -> None:
    run.intervene("write", gpa, data)


def _inject(run: Run, said: str, vcpu: int, vector: int) -> None:
    run.intervene("inject", vcpu, vector)


def _type(run: Run, said: str, data: bytes) -> None:
    run.intervene("serial", data)


MEANWHILE: dict[str, Any] = {"peek": _peek, "poke": _poke, "inject": _inject, "type": _type}


class Journal(RecordSink):
    """A sink: the hash of every record of a run."""

    def __init__(self, run: Run) -> None:
        self._digest = hashlib.sha256()
        run.sink = self

    def append(self, record: Record) -> None:
        self._digest.update(repr(record).encode())

    def hash(self) -> str:
        return self._digest.hexdigest()


def ram_hash(run: Run) -> str:
    """Of all of the guest's memory; zeroes are quickly passed over."""
    digest = hashlib.sha256()
    size = len(_ZEROES)
    for slot in run.machine.platform.memory.slots:
        for gpa in range(slot.gpa, slot.gpa + slot.size, size):
            data = run.machine.read_gpa(gpa, size)
            assert data is not None
            if data != _ZEROES:
                digest.update(gpa.to_bytes(8, "little") + data)
    return digest.hexdigest()
