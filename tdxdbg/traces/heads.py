"""What a stretch of records says without being decoded: who asked for MapGPA, whose an exit is.

Bytes are searched, not records, so that looking around in a large trace costs
little. Nothing is checked: whoever uses a row that was found here reads it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.regs import R10, R11, R12, R13
from tdxdbg.traces.layout import HEAD_SIZE, RECORD_SIZE
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import Kind

#: Slots that are looked at in one go: well below a millisecond.
BLOCK: Final = 1024
_KEPT: Final = 512
_VCPU_AT: Final = 2
#: kind, vcpu and row of a slot's head; its `known`; R10 to R13 of a TD exit (see layout.py).
_HEAD: Final = Struct("<BxH4xQ16xQ")
_REGS_AT: Final = HEAD_SIZE + 8
_OPERANDS: Final = Struct("<4Q")
_R11_AT: Final = _REGS_AT + 8 * R11
_MAP_GPA: Final = int(SubFunction.MAP_GPA).to_bytes(8, "little")
_OF_A_VCPU: Final = frozenset({Kind.TD_EXIT, Kind.USERSPACE_EXIT, Kind.ANSWER, Kind.TD_ENTRY})


class Request(NamedTuple):
    """A TD exit that asks for MapGPA. `start` is R12, `size` R13; None: not recorded."""

    row: int
    vcpu: int
    start: int | None
    size: int | None


class Heads:
    """Looks around in a trace, in blocks of `BLOCK` slots."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._requests: OrderedDict[int, tuple[Request, ...]] = OrderedDict()

    @property
    def blocks(self) -> int:
        """How many blocks there are, the last one perhaps not full."""
        return -(-self.trace.n_records // BLOCK)

    def block_of(self, row: int) -> int:
        """The block in which a row begins."""
        return self.trace.first_record(row) // BLOCK

    def requests(self, block: int) -> tuple[Request, ...]:
        """The MapGPA requests that begin in a block, in journal order."""
        found = self._requests.get(block)
        if found is not None:
            self._requests.move_to_end(block)
            return found
        found = tuple(_requests(self._data(block), len(self.trace)))
        if (block + 1) * BLOCK <= self.trace.n_records:
            # The last block of a trace that grows is not done yet.
            self._requests[block] = found
            if len(self._requests) > _KEPT:
                self._requests.popitem(last=False)
        return found

    def requests_from(self, row: int, direction: int) -> Iterator[int | None]:
        """Rows beyond `row` that ask for MapGPA: None after each block, else the nearest first."""
        block = self.block_of(row)
        while 0 <= block < self.blocks:
            for request in self.requests(block)[::direction]:
                if (request.row - row) * direction > 0:
                    yield request.row
            yield None
            block += direction

    def exits_of(self, vcpu: int, row: int, direction: int) -> Iterator[int | None]:
        """Rows of a vCPU beyond `row`: None after each block without, else the nearest first."""
        block, last = self.block_of(row), row
        while 0 <= block < self.blocks:
            for found in self._rows(block, vcpu, direction):
                if (found - last) * direction > 0:
                    last = found
                    yield found
            yield None
            block += direction

    def _rows(self, block: int, vcpu: int, direction: int) -> list[int]:
        """Rows that this vCPU's records of a block name, in the direction's order."""
        data, total = self._data(block), len(self.trace)
        numbers = data[_VCPU_AT::RECORD_SIZE]
        wanted = bytes([vcpu & 0xFF])
        rows: dict[int, None] = {}
        at = numbers.find(wanted)
        while at >= 0:
            kind, number, row, _ = _HEAD.unpack_from(data, at * RECORD_SIZE)
            if number == vcpu and kind in _OF_A_VCPU and row < total:
                rows[row] = None
            at = numbers.find(wanted, at + 1)
        return sorted(rows, reverse=direction < 0)

    def _data(self, block: int) -> bytes:
        with self.trace.slots(block * BLOCK, (block + 1) * BLOCK) as part:
            return bytes(part)


def _requests(data: bytes, rows: int) -> Iterator[Request]:
    at = data.find(_MAP_GPA)
    while at >= 0:
        slot, offset = divmod(at, RECORD_SIZE)
        if offset == _R11_AT:
            request = _request(data, slot * RECORD_SIZE)
            if request is not None and request.row < rows:
                yield request
        at = data.find(_MAP_GPA, at + 1)


def _request(data: bytes, at: int) -> Request | None:
    kind, vcpu, row, known = _HEAD.unpack_from(data, at)
    if kind != Kind.TD_EXIT or not known >> R11 & 1:
        return None
    r10, _, start, size = _OPERANDS.unpack_from(data, at + _REGS_AT + 8 * R10)
    if known >> R10 & 1 and r10:
        return None
    return Request(
        row, vcpu, start if known >> R12 & 1 else None, size if known >> R13 & 1 else None
    )
