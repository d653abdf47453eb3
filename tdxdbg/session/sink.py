"""Where the journal of a live run goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tdxdbg.engine import Reentry, SetMemoryAttributes, Step, TdExit
from tdxdbg.traces.records import Record, answer, memory_attributes, step_record, td_exit


class Sink(Protocol):
    """Where a run's journal goes, in its order; times in ns of the run."""

    def td_exit(self, row: int, exit_: TdExit, time: int) -> object:
        """A TD exit, which the engine has not seen yet."""
        ...

    def step(self, row: int, vcpu: int, step: Step, time: int) -> object:
        """What KVM did with the exit, or the answer."""
        ...

    def answer(self, row: int, reentry: Reentry, time: int) -> object:
        """KVM_RUN was called again; the engine has seen it."""
        ...

    def conversion(self, row: int, vcpu: int, done: SetMemoryAttributes, time: int) -> object:
        """KVM_SET_MEMORY_ATTRIBUTES, which was done."""
        ...


class RecordSink:
    """A sink that gets everything as a Record."""

    append: Callable[[Record], object]

    def td_exit(self, row: int, exit_: TdExit, time: int) -> None:
        self.append(td_exit(row, exit_, time))

    def step(self, row: int, vcpu: int, step: Step, time: int) -> None:
        self.append(step_record(row, vcpu, step, time))

    def answer(self, row: int, reentry: Reentry, time: int) -> None:
        self.append(answer(row, reentry, time))

    def conversion(self, row: int, vcpu: int, done: SetMemoryAttributes, time: int) -> None:
        self.append(memory_attributes(row, vcpu, done, time))
