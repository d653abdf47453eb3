"""From link to link of a MapGPA chain, and from exit to exit of one vCPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Final

from textual.app import ComposeResult

from tdxdbg.decode.text import Safe
from tdxdbg.errors import TraceError
from tdxdbg.ui.core import SLICE, Core
from tdxdbg.ui.layout import CHAIN, LANES
from tdxdbg.ui.lines import own
from tdxdbg.ui.panes.chain import ChainPane
from tdxdbg.ui.panes.lanes import LanesPane
from tdxdbg.ui.status import Message

#: Blocks of records between two looks at the clock.
_BLOCKS: Final = 4


@dataclass(frozen=True)
class _Looking:
    """A search for a row: None for each block without one; `fits` has the last word."""

    rows: Iterator[int | None]
    fits: Callable[[int], bool]
    found: Safe
    nothing: Safe


class Chaining(Core, inherit_bindings=False):
    """`[` `]` `{` `}`, and the search for what the chain pane shows."""

    _looking: _Looking | None = None

    def compose(self) -> ComposeResult:
        self.chain.choose_row = self.go
        lanes = self.panes[LANES]
        if isinstance(lanes, LanesPane):
            lanes.choose_row = self.go
        yield from super().compose()

    @property
    def chain(self) -> ChainPane:
        """The pane that knows the chain of this exit."""
        pane = self.panes[CHAIN]
        assert isinstance(pane, ChainPane)
        return pane

    # --- keys ---------------------------------------------------------------------------

    def action_link(self, direction: int) -> None:
        """The next request of the chain (-1: the one before); beyond it, that of another chain."""
        self._quiet()
        if not self.cursor.rows or self.chain.chains is None:
            return
        row = self.cursor.row
        found = self.chain.found()
        links = found.chain.links if found is not None and found.chain is not None else ()
        beyond = [link.row for link in links if (link.row - row) * direction > 0]
        if beyond:
            self.go(min(beyond) if direction > 0 else max(beyond))
            return
        nothing = own("no MapGPA after this exit") if direction > 0 else own("no MapGPA before it")
        rows = self.chain.chains.heads.requests_from(row, direction)
        self._find(_Looking(rows, self._is_request, own("another chain"), nothing))

    def action_same_vcpu(self, direction: int) -> None:
        """The next exit of this vCPU, or the one before."""
        self._quiet()
        if not self.cursor.rows or self.chain.chains is None:
            return
        row = self.cursor.row
        vcpu = self.timeline.summary(row).vcpu or 0
        nothing = (
            own("no later exit of this vCPU") if direction > 0 else own("no earlier exit of it")
        )
        rows = self.chain.chains.heads.exits_of(vcpu, row, direction)

        def fits(other: int) -> bool:
            return self.timeline.summary(other).vcpu == vcpu

        self._find(_Looking(rows, fits, own(""), nothing))

    def _is_request(self, row: int) -> bool:
        chains = self.chain.chains
        return chains is not None and chains.link(row) is not None

    # --- searching ----------------------------------------------------------------------

    def _find(self, looking: _Looking) -> None:
        self._looking = looking
        self._look_on()

    def _look_on(self) -> None:
        """Search for a slice of time."""
        looking, stop = self._looking, monotonic() + SLICE
        while looking is not None:
            row = next(looking.rows, -1)
            if row is None:
                if monotonic() > stop:
                    self.hints.say(Message(own("searching; Esc stops"), "dim"))
                    return
            elif row < 0:
                self._looking = None
                self.hints.say(Message(looking.nothing, "dim"))
                return
            elif self._fits(looking, row):
                self.go(row)
                if looking.found:
                    self.hints.say(Message(looking.found, "dim"))
                return

    @staticmethod
    def _fits(looking: _Looking, row: int) -> bool:
        try:
            return looking.fits(row)
        except TraceError:
            return False

    def _quiet(self) -> None:
        super()._quiet()
        self._looking = None

    def _background(self) -> None:
        super()._background()
        if self._looking is not None:
            self._look_on()
            return
        stop = monotonic() + SLICE
        while self.chain.searching and monotonic() < stop:
            self.chain.search_on(_BLOCKS)
