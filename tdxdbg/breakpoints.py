"""Breakpoints: conditions over exits, instruction addresses, writes to memory, conversions.

In a run, a condition is a display filter over one *step*: the TD exit, and what
this step of its row did. It stops where it holds, at each exit to userspace, and
at other steps only where it did not hold a step before: `leaf == MapGPA` stops
at every chunk, `status == RETRY` at the TD entry that says so.

In a recording it is the display filter that it looks like: it stops at each row
that matches, at the first step that says so by itself. Two kinds need what lies
between: MAPPING stops where pages of a GPA range are converted, REGISTERS where
a condition holds for the registers of the TD exit, or for those that the guest
gets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import Any, Final, NamedTuple

from tdxdbg.abi.regs import REG_NAMES
from tdxdbg.decode.summary import FIELD_NAMES, RowSummary, summarise
from tdxdbg.engine import Outcome, Step, Td, TdExit
from tdxdbg.engine.recorded import DERIVED_SHIFT
from tdxdbg.engine.recorded import Kind as RecordKind
from tdxdbg.filters import Filter, compile_filter
from tdxdbg.timeline import Timeline
from tdxdbg.timeline.conversions import Conversion
from tdxdbg.timeline.rows import row_steps

#: Everything of it is known: the run made it.
COMPLETE: Final = (1 << DERIVED_SHIFT) - 1
#: More than a person keeps; a list from elsewhere is bounded by it.
MOST: Final = 256
#: The registers that a condition can name; `rax` is no register of the guest's in a filter.
REGISTERS: Final = frozenset(REG_NAMES) & frozenset(FIELD_NAMES) - {"rax"}
_TOP: Final = 1 << 52


class Kind(Enum):
    """What a breakpoint looks at."""

    EXIT = "exit"
    CODE = "code"
    WRITE = "write"
    MAPPING = "mapping"
    REGISTERS = "registers"


#: What a recording can stop for.
OF_ROWS: Final = frozenset({Kind.EXIT, Kind.MAPPING, Kind.REGISTERS})


@dataclass(frozen=True, slots=True)
class Breakpoint:
    """`text` is what a person typed.

    `address` is linear (CODE) or a GPA without the shared bit (WRITE, MAPPING),
    `size` in bytes; `hits` counts the stops.
    """

    number: int
    kind: Kind
    text: str
    address: int = 0
    size: int = 0
    enabled: bool = True
    hits: int = 0


class Breakpoints:
    """The list of them; numbers are not used twice."""

    def __init__(self) -> None:
        self._all: dict[int, Breakpoint] = {}
        self._conditions: dict[int, Filter] = {}
        self._registers: dict[int, Filter] = {}
        self._held: dict[int, tuple[int, bool]] = {}
        self._next = 1

    def __iter__(self) -> Iterator[Breakpoint]:
        return iter(self._all.values())

    def __len__(self) -> int:
        return len(self._all)

    def get(self, number: int) -> Breakpoint | None:
        return self._all.get(number)

    # --- changing the list ------------------------------------------------------------

    def add_exit(self, condition: str) -> Breakpoint:
        """Stop at steps where a display filter holds; raises FilterError."""
        compiled = compile_filter(condition)
        found = self._add(Breakpoint(self._next, Kind.EXIT, condition))
        self._conditions[found.number] = compiled
        return found

    def add_code(self, address: int, text: str = "") -> Breakpoint:
        """Stop before the instruction at a linear address."""
        return self._add(Breakpoint(self._next, Kind.CODE, text or f"{address:#x}", address))

    def add_write(self, gpa: int, size: int, text: str = "") -> Breakpoint:
        """Stop before a write to `size` bytes at a GPA."""
        text = text or f"{gpa:#x}..{gpa + size - 1:#x}"
        return self._add(Breakpoint(self._next, Kind.WRITE, text, gpa, size))

    def add_mapping(self, gpa: int, size: int, text: str = "") -> Breakpoint:
        """Stop where pages of `size` bytes at a GPA are converted; raises ValueError."""
        if size < 1 or not 0 <= gpa <= _TOP - size:
            raise ValueError(f"no GPA range: {gpa:#x} and {size:#x} bytes; a GPA has 52 bits")
        text = text or f"gpa in {gpa:#x}..{gpa + size - 1:#x}"
        return self._add(Breakpoint(self._next, Kind.MAPPING, text, gpa, size))

    def add_registers(self, condition: str) -> Breakpoint:
        """Stop where it holds for the registers at the TD exit, or after the row.

        Raises FilterError, and ValueError where it names no register.
        """
        compiled = compile_filter(condition)
        if not REGISTERS.intersection(compiled.fields):
            known = " ".join(name for name in REG_NAMES if name in REGISTERS)
            raise ValueError(f"no register in {condition!r}; there are {known}")
        found = self._add(Breakpoint(self._next, Kind.REGISTERS, condition))
        self._registers[found.number] = compiled
        return found

    def _add(self, breakpoint_: Breakpoint) -> Breakpoint:
        if len(self._all) >= MOST:
            raise ValueError(f"there are {MOST} breakpoints: delete one first")
        self._all[breakpoint_.number] = breakpoint_
        self._next += 1
        return breakpoint_

    def remove(self, number: int) -> None:
        """Forget one; KeyError if there is none of this number."""
        del self._all[number]
        self._conditions.pop(number, None)
        self._registers.pop(number, None)
        self._held.pop(number, None)

    def enable(self, number: int, *, enabled: bool) -> None:
        """Switch one on or off; KeyError if there is none of this number."""
        self._all[number] = replace(self._all[number], enabled=enabled)

    def count_hit(self, number: int) -> None:
        """It stopped the run once more."""
        self._all[number] = replace(self._all[number], hits=self._all[number].hits + 1)

    # --- what to stop for -------------------------------------------------------------

    def _enabled(self, kind: Kind) -> list[Breakpoint]:
        return [each for each in self._all.values() if each.enabled and each.kind is kind]

    @property
    def looks_at_steps(self) -> bool:
        """Whether any condition has to be asked at each step."""
        return any(self._all[number].enabled for number in self._conditions)

    @property
    def code(self) -> frozenset[int]:
        """Linear addresses of instructions to stop before."""
        return frozenset(each.address for each in self._enabled(Kind.CODE))

    @property
    def writes(self) -> tuple[tuple[int, int], ...]:
        """(GPA, size in bytes) to stop before writes to."""
        return tuple((each.address, each.size) for each in self._enabled(Kind.WRITE))

    def at_code(self, address: int) -> list[int]:
        """The numbers of those at this address."""
        return [each.number for each in self._enabled(Kind.CODE) if each.address == address]

    def at_write(self, gpa: int, size: int = 1) -> list[int]:
        """The numbers of those that a write to these bytes touches."""
        return [
            each.number
            for each in self._enabled(Kind.WRITE)
            if gpa < each.address + each.size and each.address < gpa + size
        ]

    def at_step(self, summary: RowSummary, *, userspace: bool) -> list[int]:
        """The numbers of the conditions that stop at this step.

        `summary` is of this step alone (`step_summary`); `userspace`: it is an
        exit to userspace. To be asked at each step, in order.
        """
        found = []
        for number, condition in self._conditions.items():
            if not self._all[number].enabled:
                continue
            holds = condition.matches(summary)
            held = self._held.get(number) == (summary.index, True)
            self._held[number] = summary.index, holds
            if holds and (userspace or not held):
                found.append(number)
        return found

    def at_conversions(self, ranges: Iterable[tuple[int, int]]) -> list[int]:
        """The numbers of those that a conversion of such GPAs and sizes (bytes) stops at."""
        done = [Conversion(0, gpa, size, False) for gpa, size in ranges]
        return [
            each.number
            for each in self._enabled(Kind.MAPPING)
            if any(item.touches(each.address, each.address + each.size - 1) for item in done)
        ]

    def forget_steps(self) -> None:
        """The next step is not the one after the last: the run was somewhere else."""
        self._held.clear()

    # --- in a recording ---------------------------------------------------------------

    def condition(self, number: int) -> Filter | None:
        """The filter of an EXIT breakpoint: the rows that it matches are those it stops at."""
        return self._conditions.get(number)

    def at_row(self, row: Row) -> list[int]:
        """The numbers of those that stop at this row of a recording."""
        return [
            each.number
            for each in self._all.values()
            if each.enabled and each.kind in OF_ROWS and self.holds(each.number, row)
        ]

    def holds(self, number: int, row: Row) -> bool:
        """Whether one of them, enabled or not, would stop at this row."""
        each = self._all[number]
        if each.kind is Kind.MAPPING:
            last = each.address + each.size - 1
            return any(item.touches(each.address, last) for item in row.conversions)
        if each.kind is Kind.REGISTERS:
            condition = self._registers[number]
            return condition.matches(row.summary) or condition.matches(row.after)
        return each.kind is Kind.EXIT and self._conditions[number].matches(row.summary)

    def step(self, number: int, row: Row) -> int:
        """The step of a row that it stops at: what it stops for is seen there."""
        each = self._all[number]
        if each.kind is Kind.MAPPING:
            last = each.address + each.size - 1
            steps = (item.step for item in row.conversions if item.touches(each.address, last))
            return next(steps, 0)
        if each.kind is Kind.REGISTERS:
            return 0 if self._registers[number].matches(row.summary) else row.last_step
        return row.first_step(self._conditions[number])


class Row:
    """A row of a recording, read as far as a breakpoint asks."""

    def __init__(self, timeline: Timeline, row: int) -> None:
        self.timeline = timeline
        self.row = row

    @property
    def summary(self) -> RowSummary:
        return self.timeline.summary(self.row)

    @cached_property
    def conversions(self) -> tuple[Any, ...]:
        """What it converts; nothing where KVM was done with it alone."""
        return () if self.summary.kernel else self.timeline.conversions(self.row)

    @cached_property
    def after(self) -> RowSummary:
        """Its summary with the registers that the guest gets, None where it was not entered."""
        records = self.timeline.row_records(self.row)
        entry = records[-1] if records and records[-1].kind == RecordKind.TD_ENTRY else None
        body, known = (entry.body, entry.known) if entry is not None else (None, 0)
        values: dict[str, Any] = {
            name: body.regs[at] if type(body) is Step and known >> at & 1 else None
            for at, name in enumerate(REG_NAMES)
            if name in REGISTERS
        }
        return replace(self.summary, **values)

    @property
    def last_step(self) -> int:
        return self.timeline.steps(self.row) - 1

    def first_step(self, condition: Filter) -> int:
        """The first step for which the condition holds alone; 0 where only the whole row says so.

        `status == RETRY` is true of a row, and seen at its TD entry.
        """
        steps = row_steps(enumerate(self.timeline.row_records(self.row)))
        first = steps[0].input if steps else None
        for number, step in enumerate(steps):
            records = [each for each in (first, step.output) if each is not None]
            if condition.matches(summarise(self.row, records, self.timeline.td)):
                return min(number, self.last_step)
        return 0


def step_summary(row: int, vcpu: int, td_exit: TdExit, step: Step, td: Td, time: int) -> RowSummary:
    """The summary of one step alone: the TD exit of its row, and what the step did."""
    entered = step.outcome is Outcome.REENTER_TD
    kind = RecordKind.TD_ENTRY if entered else RecordKind.USERSPACE_EXIT
    first = _Record(RecordKind.TD_EXIT, vcpu, time, td_exit, COMPLETE)
    return summarise(row, [first, _Record(kind, vcpu, time, step, COMPLETE)], td)


class _Record(NamedTuple):
    """A record as a summary reads it."""

    kind: int
    vcpu: int
    time: int | None
    body: Any
    known: int
