"""Fields of struct kvm_run as what lines are about."""

from __future__ import annotations

from tdxdbg.decode.readings import bytes_in, number_in
from tdxdbg.decode.tree import UapiRow, exit_filter
from tdxdbg.ui.lines import About


def about_field(row: UapiRow) -> About:
    """A field: its value, and where it is."""
    value: int | bytes | None = None
    if row.known:
        value = bytes_in(row.raw) if row.field.endswith("data") else None
        value = number_in(row.raw) if value is None else value
    number = value if row.field == "exit_reason" else None
    where = exit_filter(number) if isinstance(number, int) else None
    return About(row.field, row.raw, value, where, (row.offset, max(row.size, 1)))


def overlaps(one: tuple[int, int], other: tuple[int, int] | None) -> bool:
    """Whether two ranges (start, size) have a byte in common."""
    if other is None:
        return False
    return one[0] < other[0] + max(other[1], 1) and other[0] < one[0] + max(one[1], 1)
