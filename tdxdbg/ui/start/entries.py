"""What the start page offers: recordings of before, sample recordings, sample guests."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tdxdbg.errors import TdxdbgError
from tdxdbg.guests import Guest
from tdxdbg.resources import sample_name, sample_paths
from tdxdbg.traces import open_trace
from tdxdbg.ui.remembered import Recent

RECENT: Final = "opened before"
SAMPLES: Final = "sample recordings"
GUESTS: Final = "sample guests, run live"

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class Entry(NamedTuple):
    """One thing to open. All text may be anybody's.

    `target` is a path, or a guest's name where `live`; `detail` is a few
    letters that stand between name and story.
    """

    group: str
    name: str
    detail: str
    story: str
    target: str
    live: bool = False

    def fits(self, words: Sequence[str]) -> bool:
        """Whether every word, in lower case, is somewhere in it."""
        text = f"{self.name} {self.detail} {self.story}".lower()
        return all(word in text for word in words)


def recent_entries(recent: Sequence[Recent], now: float) -> list[Entry]:
    """The recordings of before; `now` in seconds of the epoch."""
    return [
        Entry(
            RECENT,
            os.path.basename(item.path) or item.path,
            ago(now - item.when),
            item.title or f"in {os.path.dirname(item.path)}",
            item.path,
        )
        for item in recent
    ]


def sample_entries() -> list[Entry]:
    """The recordings that are shipped, each with its title."""
    return [entry for path in sample_paths() for entry in _sample(path)]


def _sample(path: Path) -> list[Entry]:
    try:
        with open_trace(path) as trace:
            meta = trace.meta
            return [Entry(SAMPLES, sample_name(path), meta.generation, meta.title, str(path))]
    except (OSError, TdxdbgError):
        # One that cannot be opened is no reason to open nothing.
        return []


def guest_entries(guests: Sequence[Guest]) -> list[Entry]:
    """The guests that are shipped, each with its story."""
    return [
        Entry(GUESTS, guest.name, _vcpus(guest.vcpus), guest.story, guest.name, live=True)
        for guest in guests
    ]


def _vcpus(count: int) -> str:
    return "1 vCPU" if count == 1 else f"{count} vCPUs"


def ago(seconds: float) -> str:
    """How long ago, in a few letters."""
    if seconds < _MINUTE:
        return "just now"
    if seconds < _HOUR:
        return f"{int(seconds // _MINUTE)} min ago"
    if seconds < 2 * _DAY:
        return f"{int(seconds // _HOUR)} h ago"
    return f"{int(seconds // _DAY)} d ago"
