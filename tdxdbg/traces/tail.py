"""Where a `.tdxt` file really ends, after a crash, a power cut or a cut copy.

A writer that is killed leaves at most one record cut off. A power cut can
leave blocks of zeros at the end, or a last record whose bytes never arrived.
All of these are dropped, and a line says so.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tdxdbg.traces import layout
from tdxdbg.traces.layout import RECORD_SIZE
from tdxdbg.traces.records import Kind
from tdxdbg.traces.unpack import Slots

_ZEROS: Final = bytes(RECORD_SIZE)
#: How many slots at the end are looked at one by one for an undamaged one.
_NEAR: Final = 4096


class End(NamedTuple):
    """`records` are whole slots; `rows` those started in them."""

    records: int
    rows: int
    problems: tuple[str, ...]


def find_end(slots: Slots, size: int) -> End:
    """Looks at the end of the records, which are `size` bytes; `slots.count` is set to it."""
    slots.count = size // RECORD_SIZE
    problems = []
    if size % RECORD_SIZE:
        at = slots.offset(slots.count)
        problems.append(
            f"the last record is cut off: {size % RECORD_SIZE} bytes dropped at offset {at:#x}"
        )
    zeros = _zero_slots(slots)
    if zeros:
        slots.count -= zeros
        problems.append(
            f"{zeros * RECORD_SIZE} zero bytes at the end dropped, "
            f"from offset {slots.offset(slots.count):#x} on"
        )
    last = _last_good(slots)
    if last is None:
        if slots.count:
            problems.append(f"none of the last {min(slots.count, _NEAR)} records can be read")
        return End(slots.count, _rows_far_back(slots), tuple(problems))
    whole = _whole(slots, last)
    dropped = slots.count - whole
    if dropped:
        problems.append(
            f"the last record is incomplete: {dropped * RECORD_SIZE} bytes dropped "
            f"at offset {slots.offset(whole):#x}"
        )
        slots.count = whole
        last = _last_good(slots)
    return End(slots.count, 0 if last is None else _rows(slots, last), tuple(problems))


def _zero_slots(slots: Slots) -> int:
    """How many slots at the end are all zeros, by bisection: there may be gigabytes."""

    def is_zero(index: int) -> bool:
        return slots.part(index, index + 1) == _ZEROS

    if not slots.count or not is_zero(slots.count - 1):
        return 0
    low, high = 0, slots.count - 1
    while low < high:
        middle = (low + high) // 2
        if is_zero(middle):
            high = middle
        else:
            low = middle + 1
    return slots.count - low


def _last_good(slots: Slots) -> int | None:
    for index in range(slots.count - 1, max(slots.count - _NEAR, 0) - 1, -1):
        if slots.is_good(index):
            return index
    return None


def _whole(slots: Slots, last: int) -> int:
    """How many slots are left when the last record is dropped unless all of it is there."""
    if slots.kind(last) == Kind.CONTINUATION:
        owner = last - slots.parts(last)
        if owner < 0 or slots.kind(owner) == Kind.CONTINUATION or not slots.is_good(owner):
            return last + 1
        return last + 1 if slots.parts(owner) <= last - owner else owner
    return last + 1 if slots.parts(last) == 0 else last


def _rows(slots: Slots, index: int) -> int:
    """Rows started up to this slot; each took a record, so a larger number is damage."""
    return min(slots.number(index, layout.ROWS_STARTED_AT), slots.count)


def _rows_far_back(slots: Slots) -> int:
    """Rows known from an undamaged record farther and farther from the end."""
    step = _NEAR
    while step < slots.count:
        index = slots.count - 1 - step
        if slots.is_good(index):
            return _rows(slots, index)
        step *= 2
    return 0
