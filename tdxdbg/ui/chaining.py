"""From link to link of a MapGPA chain, and from exit to exit of one vCPU."""

from __future__ import annotations

from collections.abc import Iterator
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
class _RowSearch:
    """A search for a row, None for each block without one; `vcpu`: whose, None for anybody's."""

    rows: Iterator[int | None]
    vcpu: int | None
    found: Safe
    nothing: Safe


class Chaining(Core, inherit_bindings=False):
    """`[` `]` `{` `}`, and the search for what the chain pane shows."""

    _row_search: _RowSearch | None = None

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
            self.jump(min(beyond) if direction > 0 else max(beyond))
            return
        nothing = own("no MapGPA after this exit") if direction > 0 else own("no MapGPA before it")
        rows = self.chain.chains.heads.requests_from(row, direction)
        self._seek_row(_RowSearch(rows, None, own("another chain"), nothing))

    def action_same_vcpu(self, direction: int) -> None:
        """The next exit of this vCPU, or the one before."""
        self._quiet()
        moment = self.chain.moment
        if moment is None or self.chain.chains is None:
            return
        nothing = (
            own("no later exit of this vCPU") if direction > 0 else own("no earlier exit of it")
        )
        rows = self.chain.chains.heads.exits_of(moment.vcpu, moment.row, direction)
        self._seek_row(_RowSearch(rows, moment.vcpu, own(""), nothing))

    # --- searching ----------------------------------------------------------------------

    def _seek_row(self, search: _RowSearch) -> None:
        self._row_search = search
        self._seek_row_on()

    def _seek_row_on(self) -> None:
        """Search for a slice of time."""
        search, stop = self._row_search, monotonic() + SLICE
        while search is not None:
            row = next(search.rows, -1)
            if row is not None and row < 0:
                self._row_search = None
                self.hints.say(Message(search.nothing, "dim"))
                return
            if row is not None and self._is_there(row, search.vcpu):
                self.jump(row)
                if search.found:
                    self.hints.say(Message(search.found, "dim"))
                return
            if monotonic() > stop:
                self.tell(f"searching; {self.key('stop')} stops", "dim")
                return

    def _is_there(self, row: int, vcpu: int | None) -> bool:
        """Whether a row that was found in bytes is what these say."""
        try:
            steps = self.timeline.recorded_steps(row)
        except TraceError:
            return False
        first = (steps[0].input or steps[0].output) if steps else None
        return first is not None and (vcpu is None or first.vcpu == vcpu)

    def _quiet(self) -> None:
        super()._quiet()
        self._row_search = None

    def _background(self) -> None:
        super()._background()
        if self._row_search is not None:
            self._seek_row_on()
            return
        stop = monotonic() + SLICE
        while self.chain.searching and monotonic() < stop:
            self.chain.search_on(_BLOCKS)
