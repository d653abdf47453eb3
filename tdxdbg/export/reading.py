"""The records of many rows, in one pass over the journal where the rows lie near.

What a row's records are, `Trace.row_records` says; it looks for each row anew,
and reads twice what lies between rows. A pass reads each record once and gives
the same lists. It goes by the same rules: a row ends with a later row of its
vCPU, some way behind its TD entry, or after too many slots or records. Where a
journal is not in order, the row is asked for instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from tdxdbg.traces.native import ROW_LIMIT, SCAN, SCAN_ENDED, Trace
from tdxdbg.traces.records import Kind, Record

#: Rows between two that are wanted for which a pass is not left: reading on is cheaper.
_NEAR: Final = 32


class _Row:
    """A row on its way; `stop` is the slot at which it ends at the latest."""

    __slots__ = ("is_open", "records", "stop")

    def __init__(self, first: int) -> None:
        self.records: list[Record] = []
        self.stop = first + SCAN
        self.is_open = True


class _Pass:
    """Reads on from the first record of a row; `at` is the next slot to look at."""

    def __init__(self, trace: Trace, row: int) -> None:
        self.at = trace.first_record(row)
        self._trace = trace
        self._records = trace.records(self.at)
        self._rows: dict[int, _Row] = {}
        #: The rows of each vCPU that have not ended: one, in a journal that is in order.
        self._open: dict[int, list[int]] = {}
        self._highest = row - 1
        self._is_over = False

    def row(self, row: int) -> list[Record]:
        """The records of this row; rows before it are forgotten."""
        rows = self._rows
        for number in [number for number in rows if number < row]:
            del rows[number]
        while True:
            found = rows.get(row)
            if found is None:
                if self._highest > row or self._is_over:
                    # Its first record is damaged, or the rows are not in order.
                    return [record for _, record in self._trace.row_records(row)]
            elif not found.is_open or self.at >= found.stop or self._is_over:
                return found.records
            self._read(row)

    def _read(self, wanted: int) -> None:
        """Take in one more record."""
        following = next(self._records, None)
        if following is None:
            self._is_over = True
            return
        index, record = following
        self.at = index + 1
        kind, number, vcpu = record.kind, record.row, record.vcpu
        if kind is Kind.CHECKPOINT:
            return
        if kind is not Kind.MEMORY_ATTRIBUTES:
            self._end(vcpu, number)
        row = self._rows.get(number)
        if row is None:
            if number < wanted or number <= self._highest:
                return
            self._highest = number
            row = self._rows[number] = _Row(index)
            self._open.setdefault(vcpu, []).append(number)
        if not row.is_open:
            return
        if index >= row.stop or len(row.records) >= ROW_LIMIT:
            row.is_open = False
            return
        row.records.append(record)
        if kind is Kind.TD_ENTRY:
            row.stop = min(row.stop, index + SCAN_ENDED)

    def _end(self, vcpu: int, number: int) -> None:
        """A record of this row ends the vCPU's rows before it."""
        numbers = self._open.get(vcpu)
        while numbers and numbers[0] < number:
            ended = self._rows.get(numbers.pop(0))
            if ended is not None:
                ended.is_open = False


def rows_of(trace: Trace, wanted: Iterable[int]) -> Iterator[tuple[int, list[Record]]]:
    """Each of these rows (ascending numbers) with the records that `row_records` gives."""
    reader: _Pass | None = None
    last = 0
    for row in wanted:
        if reader is None or (row - last > _NEAR and trace.first_record(row) > reader.at):
            reader = _Pass(trace, row)
        last = row
        yield row, reader.row(row)
