"""One block of events being joined: which records they make, and what is in these.

Columns are in the order of `column_threads.Threads`; `ColumnJoiner` keeps what
goes on from block to block. This module imports numpy.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np

from tdxdbg.abi import vmx
from tdxdbg.abi.ghci import SubFunction
from tdxdbg.traces import column_records, columns
from tdxdbg.traces.column_threads import NOTHING, Threads, is_access
from tdxdbg.traces.columns import I64, Block, Mask
from tdxdbg.traces.join import MAX_OPEN
from tdxdbg.traces.record_columns import Matrix, empty
from tdxdbg.traces.seen import FOLDED, TDVMCALL_MASK

#: Sub-functions whose arguments other events tell, as a kvm_hypercall does.
_TOLD: Final = (SubFunction.IO, SubFunction.MMIO, SubFunction.RDMSR, SubFunction.WRMSR)
_NO_ROW: Final = -1


class OddEventError(Exception):
    """Something that only `join.Joiner` joins."""


@dataclass
class Left:
    """Events of earlier blocks on which later ones depend, in order; `record` is theirs."""

    block: Block
    read: Mask
    record: I64


@dataclass
class State:
    """Of each thread: its vCPU (-1: none yet), and the row that is open."""

    vcpu: I64
    delimited: Mask
    row: I64
    first: I64


@dataclass
class Journal:
    """The records that may still change, and whether their exits went to userspace.

    `base` is the number of the first of them; `rows` is how many were started.
    """

    records: Matrix
    to_userspace: Mask
    base: int = 0
    rows: int = 0


class Work:
    """One block being joined; all columns are in the order of `threads`."""

    def __init__(
        self, threads: Threads, total: int, left: Left, state: State, journal: Journal
    ) -> None:
        self.threads = threads
        self._old = old = len(left.record)
        self._total = total
        self._left = left
        self._state = state
        self.rows = journal.rows
        self.records = journal.records
        self.to_userspace = journal.to_userspace
        self._base = journal.base
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

    def left(self, state: State) -> Left:
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
        return Left(threads.block.take(at), threads.may_read[at], self.number[at])
