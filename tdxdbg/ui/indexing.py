"""Filters over long recordings: the rows come from a process that keeps columns of them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from weakref import WeakSet

from tdxdbg.errors import TraceError
from tdxdbg.filters import Filter
from tdxdbg.index.client import FEWEST, Index
from tdxdbg.timeline import Timeline
from tdxdbg.traces import Trace
from tdxdbg.ui.core import Core
from tdxdbg.ui.matches import Matches


class Indexing(Core, inherit_bindings=False):
    """Starts the process behind the first frame, ends it with the screen, takes what it finds."""

    def set_up(self) -> None:
        super().set_up()
        self._index: Index | None = None
        self._listens = -1
        self._asked: WeakSet[Matches] = WeakSet()
        #: The process is wanted, and not started yet.
        self._awaited = _is_long(self.trace)

    def on_mount(self) -> None:
        super().on_mount()
        # It would take from the first frame the time that it needs to start.
        self.call_after_refresh(self._start_index)

    def on_unmount(self) -> None:
        """The screen is gone: nobody asks any more."""
        self._end_index()

    def use_trace(self, trace: Trace) -> None:
        self._end_index()
        self._awaited = _is_long(trace)
        super().use_trace(trace)
        self._start_index()

    def matching(self, timeline: Timeline, wanted: Filter) -> Matches:
        matches = super().matching(timeline, wanted)
        if self.indexed and not timeline.what_if and timeline.trace is self.trace:
            self._asked.add(matches)
            if self._index is not None:
                matches.ask(self._index)
        return matches

    @property
    def indexed(self) -> bool:
        """Whether the rows of filters come from the process, or will."""
        return self._awaited or (self._index is not None and self._index.alive)

    # --- the process --------------------------------------------------------------------

    def _start_index(self) -> None:
        if not self._awaited:
            return
        self._awaited = False
        # Without it the screen counts by itself.
        with suppress(TraceError):
            self._index = index = Index(self.trace)
            self._listens = index.fileno()
            asyncio.get_running_loop().add_reader(self._listens, self._read)
            for matches in list(self._asked):
                if matches.timeline.trace is self.trace:
                    matches.ask(index)

    def _deafen(self) -> None:
        if self._listens >= 0:
            asyncio.get_running_loop().remove_reader(self._listens)
            self._listens = -1

    def _read(self) -> None:
        index = self._index
        if index is not None and not index.read():
            self._deafen()
            index.close()

    def _end_index(self) -> None:
        self._awaited = False
        self._deafen()
        if self._index is not None:
            self._index.close()
            self._index = None

    # --- what it finds ------------------------------------------------------------------

    def _background(self) -> None:
        # Once a tick, however many answers came.
        changed = [matches for matches in list(self._asked) if matches.take()]
        if changed:
            self.recounted(changed)
        super()._background()


def _is_long(trace: Trace) -> bool:
    return len(trace) >= FEWEST and trace.grows
