"""Joins KVM's events into rows, many at a time: the same records as `join.Joiner` makes.

That one says what the result is, event by event; this one finds it for a block
of events over columns. Between blocks it keeps of each thread the few events
on which later ones depend, and the records that are not yet as good as they
get. What only few recordings have is not handled here: `OddEventError` says to
read them with the other one. This module imports numpy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tdxdbg.abi import vmx
from tdxdbg.abi.ghci import SubFunction
from tdxdbg.traces import column_records, columns, kvm_text, records
from tdxdbg.traces.column_threads import NOTHING, Threads, arrange, is_access
from tdxdbg.traces.columns import I64, NONE, Block, Mask
from tdxdbg.traces.join import MAX_OPEN, At
from tdxdbg.traces.layout import NO_TIME
from tdxdbg.traces.native import Builder
from tdxdbg.traces.probes import Event
from tdxdbg.traces.record_columns import ROWS_STARTED, Matrix, empty, seal
from tdxdbg.traces.seen import FOLDED, TDVMCALL_MASK

#: Threads of larger numbers are looked up one by one.
_MAX_LOOKUP: Final = 1 << 23
_NAMES: Final = {
    columns.ENTRY: "kvm_entry",
    columns.PIO: "kvm_pio",
    columns.MMIO: "kvm_mmio",
    columns.INSTRUCTION: "kvm_emulate_insn",
    columns.MSR: "kvm_msr",
    columns.HYPERCALL: "kvm_hypercall",
    columns.PAGE_FAULT: "kvm_page_fault",
}
#: Sub-functions whose arguments other events tell, as a kvm_hypercall does.
_TOLD: Final = (SubFunction.IO, SubFunction.MMIO, SubFunction.RDMSR, SubFunction.WRMSR)
#: So many events are joined at once.
_AT_ONCE: Final = 1 << 14
_NO_ROW: Final = -1


_MMIO: Final = {kind: number for number, kind in enumerate(columns.MMIO_KINDS)}


def _number(value: int | None) -> int:
    return NONE if value is None else value


#: The kind of an event, and its numbers as `columns.event` takes them.
ROWS: Final[dict[type[Event], Callable[[Any], tuple[int, ...]]]] = {
    kvm_text.Exit: lambda event: (
        columns.EXIT, _number(event.reason), event.info1, event.info2, event.intr_info,
        _number(event.vcpu),
    ),
    kvm_text.Entry: lambda event: (columns.ENTRY, 0, 0, 0, 0, _number(event.vcpu)),
    kvm_text.UserspaceExit: lambda event: (columns.USERSPACE_EXIT, *event, 0, 0, 0),
    kvm_text.Pio: lambda event: (columns.PIO, int(event.write), *event[1:]),
    kvm_text.Mmio: lambda event: (
        columns.MMIO, _MMIO[event.kind], event.gpa, event.size, 0, event.value,
    ),
    kvm_text.Msr: lambda event: (columns.MSR, int(event.write), event.number, 0, 0, event.value),
    kvm_text.Hypercall: lambda event: (columns.HYPERCALL, event.number, *event.args),
    kvm_text.PageFault: lambda event: (columns.PAGE_FAULT, 0, event.address, 0, 0, 0),
    kvm_text.Instruction: lambda event: (columns.INSTRUCTION, 0, 0, 0, 0, 0),
}  # fmt: skip


class OddEventError(Exception):
    """Something that only `join.Joiner` joins."""


@dataclass
class _Left:
    """Events of earlier blocks on which later ones depend, in order; `record` is theirs."""

    block: Block
    read: Mask
    record: I64


@dataclass
class _State:
    """Of each thread: its vCPU (-1: none yet), and the row that is open."""

    vcpu: I64
    delimited: Mask
    row: I64
    first: I64


class ColumnJoiner:
    """Takes blocks in the order of the recording and gives records to a builder.

    `unused` counts events that carry nothing for a row, by name.
    """

    def __init__(self, builder: Builder) -> None:
        self.unused: Counter[str] = Counter()
        self._builder = builder
        self._codes: dict[int, int] = {}
        self._lookup = np.full(1 << 16, -1, np.int32)
        self._vcpus: set[int] = set()
        none = np.empty(0, np.int64)
        self._state = _State(none, np.empty(0, np.bool_), none, none)
        self._left = _Left(columns.empty(), np.empty(0, np.bool_), none)
        #: Records that may still change, and whether the exit went to userspace.
        self._records: Matrix = empty(0)
        self._to_userspace = np.empty(0, np.bool_)
        #: The number of the first of them.
        self._base = 0
        self._rows = 0
        #: Events that wait for more: blocks, and behind them single ones.
        self._blocks: list[Block] = []
        self._count = 0
        self._waiting: list[tuple[int, ...]] = []

    def vcpus(self) -> dict[int, int]:
        """The number of the vCPU that each thread is."""
        numbers = self._state.vcpu
        return {
            thread: int(numbers[code]) for thread, code in self._codes.items() if numbers[code] >= 0
        }

    def feed_block(self, block: Block) -> list[int]:
        """Many events, none of which it refuses; raises OddEventError."""
        if self._waiting:
            self._gather()
        if len(block.kind):
            self._blocks.append(block)
            self._count += len(block.kind)
            if self._count >= _AT_ONCE:
                self._feed_waiting()
        return []

    def finish(self) -> None:
        """No more events come."""
        self._feed_waiting()
        zero = np.zeros(1, np.uint64)
        numbers = (zero for _ in range(7))
        self._join(Block(np.full(1, columns.LOST, np.uint8), np.full(1, -1, np.int64), *numbers))
        self._emit(len(self._records))

    def feed(self, at: At, event: Event) -> None:
        """One event, which is joined with those that follow; raises OddEventError."""
        make = ROWS.get(type(event))
        if make is None:
            raise OddEventError
        self._wait(at.thread, at.time, at.line, make(event))

    def lost(self) -> None:
        """Events were lost here."""
        self._wait(-1, None, 0, (columns.LOST, 0, 0, 0, 0, 0))

    def _wait(self, thread: int, time: int | None, source: int, numbers: tuple[int, ...]) -> None:
        self._waiting.append((thread, NO_TIME if time is None else time, source, *numbers))
        if len(self._waiting) + self._count >= _AT_ONCE:
            self._feed_waiting()

    def _gather(self) -> None:
        """Makes a block of the single events that wait."""
        waiting, self._waiting = self._waiting, []
        thread, time, source, kind, *numbers = zip(*waiting, strict=True)
        self._blocks.append(
            Block(
                np.array(kind, np.uint8),
                np.array(thread, np.int64),
                *(np.array(column, np.uint64) for column in (time, source, *numbers)),
            )
        )
        self._count += len(waiting)

    def _feed_waiting(self) -> None:
        if self._waiting:
            self._gather()
        blocks, self._blocks, self._count = self._blocks, [], 0
        if blocks:
            self._join(columns.concatenate(blocks))

    # --- a block --------------------------------------------------------------------------

    def _join(self, block: Block) -> None:
        left = self._left
        old = len(left.record)
        both = columns.concatenate([left.block, block]) if old else block
        code = self._code(both)
        self._name_vcpus(both, code)
        threads = arrange(both, code, self._state.delimited, old, left.read)
        work = _Work(self, threads, old, len(both.kind))
        work.number_rows()
        work.fill()
        self._count_unused(work)
        self._keep(work)

    def _code(self, block: Block) -> npt.NDArray[np.int32]:
        """The threads of events, numbered from 0 in the order in which they came."""
        thread = block.thread
        lost = block.kind == columns.LOST
        highest = int(thread.max(initial=0))
        if highest >= _MAX_LOOKUP or ((thread < 0) & ~lost).any():
            raise OddEventError
        if highest >= len(self._lookup):
            more = np.full(
                max(highest + 1, 2 * len(self._lookup)) - len(self._lookup), -1, np.int32
            )
            self._lookup = np.concatenate([self._lookup, more])
        if (thread[~lost] < 0).any() if lost.any() else thread.min(initial=0) < 0:
            raise OddEventError
        code = self._lookup[thread]
        code[lost] = -1
        new = np.flatnonzero((code < 0) & ~lost)
        if len(new):
            numbers, first = np.unique(thread[new], return_index=True)
            for number in numbers[np.argsort(first)].tolist():
                self._lookup[number] = self._codes[number] = len(self._codes)
            code = self._lookup[thread]
            code[lost] = -1
            self._grow()
        return code

    def _grow(self) -> None:
        state, count = self._state, len(self._codes)
        if count > records.MAX_VCPU:
            raise OddEventError
        more = count - len(state.vcpu)
        none = np.full(more, -1, np.int64)
        self._state = _State(
            np.concatenate([state.vcpu, none]),
            np.concatenate([state.delimited, np.zeros(more, np.bool_)]),
            np.concatenate([state.row, none]),
            np.concatenate([state.first, none]),
        )

    def _name_vcpus(self, block: Block, code: npt.NDArray[np.int32]) -> None:
        """A new thread gets its own number, or the next that is free."""
        vcpu = self._state.vcpu
        if (vcpu >= 0).all():
            return
        telling = (block.kind != columns.INSTRUCTION) & (code >= 0)
        at = np.flatnonzero(telling & (vcpu[code] < 0))
        _, first = np.unique(code[at], return_index=True)
        for position in np.sort(first).tolist():
            event = int(at[position])
            number = NONE
            if block.kind[event] in (columns.EXIT, columns.ENTRY):
                number = int(block.e[event])
            if number in self._vcpus or number > records.MAX_VCPU:
                number = len(self._vcpus)
                while number in self._vcpus:
                    number += 1
            if number > records.MAX_VCPU:
                raise OddEventError
            self._vcpus.add(number)
            vcpu[code[event]] = number

    # --- what comes out --------------------------------------------------------------------

    def _emit(self, count: int) -> None:
        """Gives the first records to the builder."""
        if not count:
            return
        done = self._records[:count]
        gone = np.flatnonzero(self._to_userspace[:count])

        def pack() -> memoryview:
            column_records.went_to_userspace(done, gone)
            seal(done)
            return done.data

        self._builder.add_packed(pack, count, int(done[-1, ROWS_STARTED]))
        self._records = self._records[count:]
        self._to_userspace = self._to_userspace[count:]
        self._base += count

    def _count_unused(self, work: _Work) -> None:
        for kind, count in work.unused().items():
            self.unused[_NAMES[kind]] += count

    def _keep(self, work: _Work) -> None:
        """What later events depend on; everything else is given out."""
        self._records, self._to_userspace = work.records, work.to_userspace
        self._rows = work.rows
        self._left = work.left(self._state)
        going = self._state.first[self._state.row >= 0]
        total = self._base + len(self._records)
        oldest = int(going.min(initial=total))
        self._emit(max(oldest, total - MAX_OPEN) - self._base)


class _Work:
    """One block being joined; all columns are in the order of `threads`."""

    def __init__(self, joiner: ColumnJoiner, threads: Threads, old: int, total: int) -> None:
        self.threads = threads
        self._old = old
        self._total = total
        self._state = joiner._state
        self._left = joiner._left
        self.rows = joiner._rows
        self.records = joiner._records
        self.to_userspace = joiner._to_userspace
        self._base = joiner._base
        self._is_left = threads.order < old
        count = len(threads.order)
        #: Which kvm_exit are TDVMCALLs, and their sub-functions (-1: none, or not known).
        self.folded = np.zeros(count, np.bool_)
        self._sub_function = np.full(count, -1, np.int64)
        self._name_exits()
        #: Which events tell something of an exit.
        self._told = np.zeros(count, np.bool_)

    # --- rows and records -------------------------------------------------------------------

    def number_rows(self) -> None:
        """Which events make records, and the numbers of these and of their rows."""
        threads, old = self.threads, self._old
        kind, row, order = threads.block.kind, threads.row, threads.order
        opens = (kind == columns.EXIT) | (kind == columns.USERSPACE_EXIT)
        count = int(row[-1]) + 1 if len(row) else 0
        # The rows that were open before, which can only be the first of their threads.
        carried = np.full(count, _NO_ROW, np.int64)
        if old:
            mine = self._is_left
            carried[row[mine]] = self._state.row[threads.code[mine]]
        has_row = carried >= 0
        has_row[row[opens]] = True
        self.entries = (kind == columns.ENTRY) & ~self._is_left
        makes = (opens & ~self._is_left) | (self.entries & has_row[row]) | threads.answers
        self.makes = makes
        # In the order of the recording.
        flags = np.zeros(self._total, np.bool_)
        flags[order[makes]] = True
        before: I64 = np.cumsum(flags, dtype=np.int64)
        first_number = self._base + len(self.records)
        #: How many records there are up to each event, that of the event left out.
        self.so_far: I64 = before[order]
        self.so_far += first_number - makes
        self.number: I64 = self.so_far.copy()
        self.number[~makes] = NOTHING
        if old:
            left = np.flatnonzero(self._is_left)
            self.number[left] = self._left.record[order[left]]
        self.new = int(before[-1]) if self._total else 0
        starts = np.flatnonzero(makes & opens & (carried[row] < 0))
        firsts = starts[np.diff(row[starts], prepend=-1) != 0]
        flags = np.zeros(self._total, np.bool_)
        flags[order[firsts]] = True
        started = np.cumsum(flags) + self.rows
        carried[row[firsts]] = started[order[firsts]] - 1
        self.row_number = carried
        self.first_number = np.full(count, NOTHING, np.int64)
        if old:
            self.first_number[row[mine]] = self._state.first[threads.code[mine]]
        self.first_number[row[firsts]] = self.number[firsts]
        self._started = started[order]
        self.rows += len(firsts)

    def _name_exits(self) -> None:
        block = self.threads.block
        at = np.flatnonzero(block.kind == columns.EXIT)
        mask = np.uint64(TDVMCALL_MASK)
        folded = (block.b[at] & mask) == mask
        for reason, number in FOLDED.items():
            these = at[folded & (block.a[at] == reason)]
            self.folded[these] = True
            self._sub_function[these] = -1 if number is None else number

    # --- their contents ---------------------------------------------------------------------

    def fill(self) -> None:
        """Makes the new records, and completes older ones."""
        threads = self.threads
        block = threads.block
        old = len(self.records)
        fresh = empty(self.new)
        at = np.flatnonzero(self.makes)
        rows = self.number[at] - (self._base + old)
        vcpu = self._state.vcpu[threads.code[at]].view(np.uint64)
        words = column_records.Common(
            vcpu,
            self.row_number[threads.row[at]].view(np.uint64),
            self._started[at].view(np.uint64),
        )
        column_records.common(fresh, rows, block.take(at), words)
        self.records = np.concatenate([self.records, fresh]) if old else fresh
        self.to_userspace = np.concatenate([self.to_userspace, np.zeros(self.new, np.bool_)])
        self._exits()
        self._returns()
        self._entries_and_answers()
        self._arguments()

    def _place(self, at: I64) -> I64:
        """Where the records of events are among those that may still change."""
        return self.number[at] - self._base

    def _exits(self) -> None:
        at = np.flatnonzero((self.threads.block.kind == columns.EXIT) & ~self._is_left)
        column_records.exits(
            self.records, self._place(at), self.threads.block.take(at),
            self.folded[at], self._sub_function[at],
        )  # fmt: skip

    def _returns(self) -> None:
        threads, block = self.threads, self.threads.block
        returns = block.kind == columns.USERSPACE_EXIT
        at = np.flatnonzero(returns & ~self._is_left)
        column_records.returns(self.records, self._place(at), block.take(at))
        asked = threads.access[at]
        some = np.flatnonzero((asked != NOTHING) & (block.b[at] == 0))
        column_records.accesses(
            self.records, self._place(at[some]), block.a[at[some]], block.take(asked[some])
        )
        self._hypercalls(at)
        # To userspace went the exit that is open.
        exit_ = threads.exit[at]
        self.to_userspace[self._place(exit_[self._in_time(exit_, at)])] = True

    def _hypercalls(self, at: I64) -> None:
        """KVM_EXIT_HYPERCALL: what the kvm_hypercall before it shows."""
        threads, block = self.threads, self.threads.block
        told = self._told_hypercalls()
        at = at[(block.a[at] == column_records.HYPERCALL) & (block.b[at] == 0)]
        if not len(told) or not len(at):
            return
        last = np.searchsorted(told, at) - 1
        event = told[np.maximum(last, 0)]
        good = (last >= 0) & (threads.row[event] == threads.row[at])
        good &= block.a[event] == column_records.HC_MAP_GPA_RANGE
        column_records.map_gpa(self.records, self._place(at[good]), block.take(event[good]))

    def _told_hypercalls(self) -> I64:
        """The kvm_hypercall events that show registers of a TDVMCALL."""
        at = np.flatnonzero(self.threads.block.kind == columns.HYPERCALL)
        exit_ = self.threads.exit[at]
        told: Mask = (exit_ != NOTHING) & self.folded[exit_]
        return at[told]

    def _entries_and_answers(self) -> None:
        threads, block = self.threads, self.threads.block
        entries = np.flatnonzero(self.makes & (block.kind == columns.ENTRY))
        column_records.entries(self.records, self._place(entries))
        at = np.flatnonzero(threads.answers)
        column_records.answers(self.records, self._place(at), block.take(at))
        reads = at[block.kind[at] == columns.PIO]
        returned = threads.before[reads]
        good = self._in_time(returned, reads)
        column_records.reads(self.records, self._place(returned[good]), block.take(reads[good]))

    def _in_time(self, earlier: I64, at: I64) -> Mask:
        """Whether these events come while the earlier ones' records may still change."""
        number = self.number[earlier]
        good: Mask = (earlier != NOTHING) & (number >= self._base)
        good &= self.so_far[at] - number <= MAX_OPEN
        return good

    def _arguments(self) -> None:
        """What events after a kvm_exit tell of its registers."""
        threads, block = self.threads, self.threads.block
        kind = block.kind
        told = self._told
        wanted = np.full(len(kind), -1, np.int64)
        wanted[kind == columns.PIO] = SubFunction.IO
        wanted[kind == columns.MMIO] = SubFunction.MMIO
        wanted[(kind == columns.MSR) & (block.a == 0)] = SubFunction.RDMSR
        wanted[(kind == columns.MSR) & (block.a != 0)] = SubFunction.WRMSR
        for number in (columns.PIO, columns.MMIO, columns.MSR):
            at = np.flatnonzero((kind == number) & (threads.exit != NOTHING) & ~self._is_left)
            at = at[self._sub_function[threads.exit[at]] == wanted[at]]
            told[at] = True
            at = at[self._in_time(threads.exit[at], at)]
            column_records.arguments(
                self.records, self._place(threads.exit[at]), block.take(at), number
            )
        at = self._told_hypercalls()
        told[at] = True
        if np.isin(self._sub_function[threads.exit[at]], _TOLD).any():
            raise OddEventError
        at = at[~self._is_left[at]]
        at = at[self._in_time(threads.exit[at], at)]
        column_records.registers(self.records, self._place(threads.exit[at]), block.take(at))
        at = np.flatnonzero((kind == columns.PAGE_FAULT) & (threads.exit != NOTHING))
        at = at[block.a[threads.exit[at]] == vmx.EPT_VIOLATION]
        told[at] = True
        at = at[self._in_time(threads.exit[at], at)]
        column_records.fault(self.records, self._place(threads.exit[at]), block.b[at])

    # --- what is left -----------------------------------------------------------------------

    def unused(self) -> dict[int, int]:
        """Events that say nothing of a row, by kind."""
        threads, kind = self.threads, self.threads.block.kind
        counts: Counter[int] = Counter()
        new = ~self._is_left
        for number in (columns.MSR, columns.HYPERCALL, columns.PAGE_FAULT):
            counts[number] += int(np.count_nonzero((kind == number) & new & ~self._told))
        counts[columns.INSTRUCTION] += int(np.count_nonzero((kind == columns.INSTRUCTION) & new))
        counts[columns.ENTRY] += int(np.count_nonzero(self.entries & ~self.makes))
        access = is_access(kind, threads.block.a)
        outside = threads.exit == NOTHING
        # What nothing answers to, at once; what is asked, when nothing took it up.
        lost = outside & new & ~access & ~threads.answers
        lost |= self._dropped() & outside & access
        for number in (columns.PIO, columns.MMIO):
            counts[number] += int(np.count_nonzero(lost & (kind == number)))
        return +counts

    def _dropped(self) -> Mask:
        """Events that are over and that no return to userspace has taken up."""
        threads = self.threads
        kind = threads.block.kind
        dropped = np.zeros(len(kind), np.bool_)
        after = np.flatnonzero(threads.before != NOTHING)
        after = after[kind[after] != columns.USERSPACE_EXIT]
        dropped[threads.before[after]] = True
        last = self._last()
        dropped[last[threads.over[last]]] = True
        return dropped

    def _last(self) -> I64:
        """The last event of each group that changed what its thread does."""
        threads = self.threads
        at = np.flatnonzero(threads.block.kind <= columns.INSTRUCTION)
        ends = np.append(threads.group[at[1:]] != threads.group[at[:-1]], True)
        last: I64 = at[ends[: len(at)]]
        return last

    def left(self, state: _State) -> _Left:
        """The events that later ones depend on; brings the threads up to date."""
        threads = self.threads
        kind = threads.block.kind
        ends = (kind == columns.EXIT) | (kind == columns.ENTRY)
        state.delimited[threads.code[ends]] = True
        state.row[threads.code] = _NO_ROW
        tail = np.flatnonzero(np.append(np.diff(threads.group) != 0, True)[: len(kind)])
        tail = tail[~threads.over[tail] & (kind[tail] != columns.ENTRY)]
        code, row = threads.code[tail], threads.row[tail]
        state.row[code] = self.row_number[row]
        state.first[code] = self.first_number[row]
        wanted = np.zeros(len(kind), np.bool_)
        last = self._last()
        last = last[~threads.over[last] & (kind[last] != columns.ENTRY)]
        wanted[last] = True
        exits = threads.exit[tail]
        wanted[exits[exits != NOTHING]] = True
        told = self._told_hypercalls()
        newest = np.searchsorted(told, tail, "right") - 1
        event = told[np.maximum(newest, 0)] if len(told) else tail
        wanted[event[(newest >= 0) & (threads.row[event] == row)]] = True
        at = np.flatnonzero(wanted)
        return _Left(threads.block.take(at), threads.may_read[at], self.number[at])
