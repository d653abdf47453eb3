"""Finding a row: bisection over `rows_started`, which never falls; and checkpoints, by links.

Slots may be damaged.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tdxdbg.traces.layout import CHECKPOINT_AT, ROWS_STARTED_AT
from tdxdbg.traces.records import Kind
from tdxdbg.traces.unpack import Slots

#: How far to look for an undamaged slot.
SEARCH: Final = 4096


def good_before(slots: Slots, index: int, low: int) -> int | None:
    """The nearest undamaged slot at or before `index`, not below `low`."""
    for at in range(index, max(low, index - SEARCH) - 1, -1):
        if slots.is_good(at):
            return at
    return None


def first_of_row(slots: Slots, row: int, hint: int) -> int:
    """The first slot with more than `row` rows started; rows near slot `hint` are found faster."""
    low, high = _around(slots, row, hint)
    while low < high:
        middle = (low + high) // 2
        probe = good_before(slots, middle, low)
        if probe is None:
            low = middle + 1
        elif slots.number(probe, ROWS_STARTED_AT) > row:
            high = probe
        else:
            low = middle + 1
    return low


def _around(slots: Slots, row: int, hint: int) -> tuple[int, int]:
    """First and last slot that come into question, by steps that double away from the hint."""
    low, high = 0, slots.count - 1
    if not low <= hint <= high or not slots.is_good(hint):
        return low, high
    step = 1
    if slots.number(hint, ROWS_STARTED_AT) > row:
        high = hint
        while (probe := hint - step) >= low and slots.is_good(probe):
            if slots.number(probe, ROWS_STARTED_AT) <= row:
                return probe + 1, high
            high = probe
            step *= 2
        return low, high
    low = min(hint + 1, high)
    while (probe := hint + step) <= high and slots.is_good(probe):
        if slots.number(probe, ROWS_STARTED_AT) > row:
            return low, probe
        low = probe
        step *= 2
    return low, high


def newest_checkpoint(slots: Slots, index: int) -> int:
    """The slot itself, or where it says that the newest checkpoint is, unchecked; -1: none."""
    if slots.kind(index) == Kind.CHECKPOINT:
        return index
    return slots.number(index, CHECKPOINT_AT) - 1


def checkpoints_before(slots: Slots, index: int) -> Iterator[int]:
    """Slots at or before `index` that say they are a checkpoint, the nearest first."""
    at = min(index, slots.count - 1)
    for _ in range(SEARCH):
        good = good_before(slots, at, 0)
        if good is None:
            return
        at = newest_checkpoint(slots, good)
        if not 0 <= at <= good:
            return
        if slots.kind(at) == Kind.CHECKPOINT:
            yield at
        at -= 1
