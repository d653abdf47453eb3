"""A place in a live run, and what stands there: the values that `run` gives out."""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

from tdxdbg.backends.emulated.machine import MachineCheckpoint
from tdxdbg.engine import Step, TdExit
from tdxdbg.engine.engine import Checkpoint
from tdxdbg.errors import SessionError
from tdxdbg.vmm import Reply


class Position(NamedTuple):
    """A place in a run: engine steps and guest instructions done; ordered as the run is."""

    steps: int
    instructions: int


class Where(Enum):
    """Where the run stands."""

    #: Between two instructions of the guest.
    IN_TD = "in the TD"
    #: A KVM_EXIT_* waits for userspace's answer.
    HELD = "held"
    #: The VMM stopped the VM, or the emulator gave up.
    ENDED = "ended"


class Why(Enum):
    """Why a run came back."""

    STEP = "a step"
    INSTRUCTIONS = "instruction count reached"
    BREAKPOINT = "breakpoint"
    WATCHPOINT = "watchpoint"
    INTERRUPTED = "interrupted"
    EXITS = "exit budget used up"
    IDLE = "every vCPU is halted and nothing will wake them"
    #: Until the TSC is `address`; only in a run that is asked to say so.
    ASLEEP = "every vCPU is halted until a timer fires"
    ENDED = "ended"
    START = "the start of the run"


class Stop(NamedTuple):
    """`vcpu` is the one that matters; `detail` may hold the guest's own text, unescaped.

    `address` and `size` in bytes: the instruction, or the GPA and bytes that are
    about to be written. `breakpoints`: their numbers.
    """

    why: Why
    vcpu: int = 0
    detail: str = ""
    address: int = 0
    size: int = 0
    breakpoints: tuple[int, ...] = ()


class OvershotError(SessionError):
    """There is no such place in the run: one step leads past it."""


class Held(NamedTuple):
    """An exit that userspace has: what the VMM proposed, and what will be given."""

    vcpu: int
    step: Step
    proposed: Reply
    reply: Reply


class Intervention(NamedTuple):
    """What a person did at a position: the name of a method of `Run`, and its arguments."""

    at: Position
    name: str
    arguments: tuple[Any, ...]


class RunCheckpoint(NamedTuple):
    """A run at one position, for the run that made it (or a forked copy of its process)."""

    position: Position
    machine: MachineCheckpoint
    engine: Checkpoint
    vmm: Any
    rows: int
    row_of: tuple[tuple[int, int], ...]
    exit_of: tuple[tuple[int, TdExit], ...]
    where: Where
    held: Held | None
    ended: str
    waiting: tuple[TdExit, ...]
    last: tuple[int, Step | None]
    applied: int
