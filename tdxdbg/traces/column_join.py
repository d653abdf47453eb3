"""Joins KVM's events into rows, many at a time: the same records as `join.Joiner` makes.

That one says what the result is, event by event; this one finds it for a block
of events over columns. Between blocks it keeps of each thread the few events
on which later ones depend, and the records that are not yet as good as they
get. What only few recordings have is not handled here: `OddEventError` says to
read them with the other one. This module imports numpy.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np
import numpy.typing as npt

from tdxdbg.traces import column_records, columns, records
from tdxdbg.traces.builder import Builder
from tdxdbg.traces.column_threads import arrange
from tdxdbg.traces.column_work import Journal, Left, OddEventError, State, Work
from tdxdbg.traces.columns import NONE, Block
from tdxdbg.traces.join import MAX_OPEN
from tdxdbg.traces.record_columns import ROWS_STARTED, empty, seal

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
        self._state = State(none, np.empty(0, np.bool_), none, none)
        self._left = Left(columns.empty(), np.empty(0, np.bool_), none)
        self._journal = Journal(empty(0), np.empty(0, np.bool_))

    def vcpus(self) -> dict[int, int]:
        """The number of the vCPU that each thread is."""
        numbers = self._state.vcpu
        return {
            thread: int(numbers[code]) for thread, code in self._codes.items() if numbers[code] >= 0
        }

    def join(self, block: Block) -> None:
        """Many events; raises OddEventError."""
        left = self._left
        old = len(left.record)
        both = columns.concatenate([left.block, block]) if old else block
        code = self._code(both)
        self._name_vcpus(both, code)
        threads = arrange(both, code, self._state.delimited, old, left.read)
        work = Work(threads, len(both.kind), left, self._state, self._journal)
        work.number_rows()
        work.fill()
        for kind, count in work.unused().items():
            self.unused[_NAMES[kind]] += count
        self._keep(work)

    def finish(self) -> None:
        """No more events come."""
        zero = np.zeros(1, np.uint64)
        self.join(columns.losses(zero, zero, zero))
        self._emit(len(self._journal.records))

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
        self._state = State(
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
        journal = self._journal
        done = journal.records[:count]
        column_records.went_to_userspace(done, np.flatnonzero(journal.to_userspace[:count]))
        seal(done)
        self._builder.add_packed(done.data, count, int(done[-1, ROWS_STARTED]))
        journal.records = journal.records[count:]
        journal.to_userspace = journal.to_userspace[count:]
        journal.base += count

    def _keep(self, work: Work) -> None:
        """What later events depend on; everything else is given out."""
        journal = self._journal
        journal.records, journal.to_userspace = work.records, work.to_userspace
        journal.rows = work.rows
        self._left = work.left(self._state)
        going = self._state.first[self._state.row >= 0]
        total = journal.base + len(journal.records)
        oldest = int(going.min(initial=total))
        self._emit(max(oldest, total - MAX_OPEN) - journal.base)
