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
    """Starts the process with the screen, ends it with the screen, and takes what it finds."""

    def set_up(self) -> None:
        super().set_up()
        self._index: Index | None = None
        self._listens = -1
        self._asked: WeakSet[Matches] = WeakSet()
        self._start_index(self.trace)

    def on_mount(self) -> None:
        super().on_mount()
        self._listen()

    def on_unmount(self) -> None:
        """The screen is gone: nobody asks any more."""
        self._end_index()

    def use_trace(self, trace: Trace) -> None:
        self._end_index()
        self._start_index(trace)
        self._listen()
        super().use_trace(trace)

    def matching(self, timeline: Timeline, wanted: Filter) -> Matches:
        if self._index is None or timeline.what_if or timeline.trace is not self.trace:
            return super().matching(timeline, wanted)
        matches = Matches(timeline, wanted, self._index)
        self._asked.add(matches)
        return matches

    @property
    def indexed(self) -> bool:
        """Whether the rows of filters come from the process."""
        return self._index is not None and self._index.alive

    # --- the process --------------------------------------------------------------------

    def _start_index(self, trace: Trace) -> None:
        if len(trace) < FEWEST or not trace.grows:
            return
        # Without it the screen counts by itself.
        with suppress(TraceError):
            self._index = Index(trace)

    def _listen(self) -> None:
        if self._index is not None and self._index.alive:
            self._listens = self._index.fileno()
            asyncio.get_running_loop().add_reader(self._listens, self._read)

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
