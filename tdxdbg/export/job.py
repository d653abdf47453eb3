"""What an exporter is asked for, and what it says when it is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tdxdbg.export.redaction import Level
from tdxdbg.export.selection import Selection
from tdxdbg.timeline import Timeline

#: How far it is: rows of the recording, and exits written.
Progress = Callable[[int, int], None]


class Job(NamedTuple):
    """A recording under a generation, which of its exits, without what."""

    timeline: Timeline
    selection: Selection = Selection()
    level: Level | None = None
    progress: Progress | None = None


class Done(NamedTuple):
    """How many exits were written, and what there is to say of them, a line each."""

    exits: int
    said: tuple[str, ...] = ()
