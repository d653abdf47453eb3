"""How far before the present a place is, in words."""

from __future__ import annotations

from typing import Final

from tdxdbg.timeline import Timeline
from tdxdbg.ui.live.wire import State

#: Rows between that are looked into; beyond, exits are counted and not steps.
_COUNTED: Final = 64


def behind(
    timeline: Timeline, row: int, step: int, present: State, past: State | None = None
) -> str:
    """`3 steps`, `200 exits`, `12 instructions`; row and step are those of the cursor."""
    if past is not None and past.steps == present.steps:
        return _many(max(present.instructions - past.instructions, 0), "instruction")
    if past is not None:
        return _many(max(present.steps - past.steps, 0), "step")
    last = len(timeline) - 1
    if last - row > _COUNTED:
        return _many(last - row, "exit")
    steps = sum(timeline.steps(at) for at in range(row, last + 1)) - step - 1
    if not steps:
        return _many(present.since_step, "instruction")
    return _many(steps, "step")


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"
