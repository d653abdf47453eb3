"""What an exit asks of userspace, in one line."""

from __future__ import annotations

from typing import NamedTuple

from tdxdbg.decode.queue import Role, queue_line
from tdxdbg.decode.summary import summarise
from tdxdbg.decode.text import Safe
from tdxdbg.decode.tree import STEP_KNOWN, call_of, decode_step
from tdxdbg.engine import Outcome, Step, Td
from tdxdbg.engine.recorded import Kind
from tdxdbg.ui.lines import concat, own, unpadded


class _Seen(NamedTuple):
    """A step as the record that `summarise` takes."""

    kind: int
    vcpu: int
    time: int | None
    body: Step
    known: int


def asks(step: Step, td: Td) -> Safe:
    """What an exit asks of userspace, in the words of the queue; empty when it asks nothing."""
    if step.run is None or step.outcome is not Outcome.EXIT_TO_USERSPACE:
        return own("")
    summary = summarise(0, [_Seen(Kind.USERSPACE_EXIT, 0, None, step, STEP_KNOWN)], td)
    text = next(cell.text for cell in queue_line(summary) if cell.role is Role.ARGUMENTS)
    return unpadded(text)


def asks_of(step: Step, td: Td) -> Safe:
    """An exit to userspace and what it asks, in one line."""
    root = decode_step(step, call_of(None, td=td))
    text = asks(step, td)
    return concat(root.raw, own(" "), text) if text else root.raw
