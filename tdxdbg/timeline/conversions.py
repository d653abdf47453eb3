"""What a row converts, by its own records alone.

The engine itself says it: a row is fed to an engine of its own, whose map
takes conversions down instead of making them. So a conversion counts also
where the pages already had that state, and no history is needed to know it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tdxdbg.engine import Generation, GpaMap, Reentry, Td, TdExit
from tdxdbg.timeline.shadow import Shadow
from tdxdbg.traces.records import Kind, Record

_PAGE = 4096


class Conversion(NamedTuple):
    """A range of pages that got a state: GPA and size in bytes, and the step that shows it."""

    step: int
    gpa: int
    size: int
    private: bool

    def touches(self, first: int, last: int) -> bool:
        """Whether a page of [first, last] (GPAs in bytes) is among them."""
        end = (self.gpa + self.size - 1) // _PAGE
        return self.gpa // _PAGE <= last // _PAGE and first // _PAGE <= end


class _Ledger(GpaMap):
    """A map that never changes, and knows what it was asked for."""

    __slots__ = ("asked",)

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, int, bool]] = []

    def convert(self, gpa: int, size: int, *, private: bool) -> GpaMap:
        if size > 0:
            self.asked.append((gpa, size, private))
        return self


def row_conversions(
    records: Sequence[Record], td: Td, generation: Generation
) -> tuple[Conversion, ...]:
    """What the records of one row convert, in their order.

    What userspace sets before it answers belongs to the step of the answer, as
    in a Moment.
    """
    shadow = Shadow(td, generation)
    ledger = shadow.engine.gpa_map = _Ledger()
    # Without its TD exit a row is what was recorded of it; a TD exit brings the vCPU back.
    shadow.lost.update(record.vcpu for record in records)
    found: list[Conversion] = []
    inputs = 0
    for at, record in enumerate(records):
        following = next((item for item in records[at + 1 :] if item.kind in _OUTPUTS), None)
        shadow.feed(record, following if record.kind is Kind.ANSWER else None)
        is_input = isinstance(record.body, TdExit | Reentry)
        step = inputs
        inputs += is_input
        found += [Conversion(step, *each) for each in ledger.asked]
        ledger.asked.clear()
    last = max(inputs - 1, 0)
    return tuple(each._replace(step=min(each.step, last)) for each in found)


_OUTPUTS = (Kind.USERSPACE_EXIT, Kind.TD_ENTRY)
