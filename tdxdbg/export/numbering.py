"""Which rows of a journal go on into an excerpt, and under which numbers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from tdxdbg.traces.records import Kind, Record

#: Rows that may still get records; older ones get none any more.
_REMEMBERED: Final = 1 << 16
#: Rows that are wanted and did not come in order.
_LATE: Final = 64


class Numbering:
    """Rows are numbered from 0 in the order of their first record; `wanted` ascends."""

    def __init__(self, wanted: Iterator[int]) -> None:
        self._wanted = wanted
        #: The next row that is to begin; None: no more.
        self.next = next(wanted, None)
        #: Rows begun so far.
        self.started = 0
        #: Rows that go on and have not ended, by vCPU.
        self.open: dict[int, int] = {}
        self._numbers: dict[int, int] = {}
        #: Wanted, but later rows came before them: their first record is damaged.
        self._late: deque[int] = deque(maxlen=_LATE)
        self._highest = -1

    def number(self, record: Record) -> int | None:
        """The new number of the record's row; None when it is left out."""
        row = record.row
        found = self._numbers.get(row)
        if found is None and self._begins(row):
            found = self._numbers[row] = self.started
            self.started += 1
            if len(self._numbers) > _REMEMBERED:
                del self._numbers[next(iter(self._numbers))]
        self._follow(record, found is not None)
        return found

    def _begins(self, row: int) -> bool:
        if row <= self._highest:
            if row not in self._late:
                return False
            self._late.remove(row)
            return True
        self._highest = row
        while self.next is not None and self.next < row:
            self._late.append(self.next)
            self.next = next(self._wanted, None)
        if self.next != row:
            return False
        self.next = next(self._wanted, None)
        return True

    def _follow(self, record: Record, goes_on: bool) -> None:
        vcpu, row = record.vcpu, record.row
        if goes_on and record.kind is not Kind.TD_ENTRY:
            self.open[vcpu] = row
        elif self.open.get(vcpu, row) <= row and record.kind is not Kind.MEMORY_ATTRIBUTES:
            self.open.pop(vcpu, None)
