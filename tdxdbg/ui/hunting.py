"""Searches over rows that go on while the screen is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Final

from tdxdbg.decode.text import Safe
from tdxdbg.ui import core
from tdxdbg.ui.commands.feature import Commands
from tdxdbg.ui.lines import word
from tdxdbg.ui.status import Message

#: Rows looked at between two looks at the clock.
_SCAN: Final = 16


@dataclass(frozen=True)
class Hunt:
    """`rows` yields None between slices of work, and then the row it found, or ends without one.

    `found` takes the row, `nothing` is said where there is none. `at` says
    which row is looked at; a hunt that is stopped goes there with `halted`.
    """

    rows: Iterator[int | None]
    found: Callable[[int], object]
    nothing: Safe
    at: Callable[[], int] | None = None
    halted: Callable[[int], object] | None = None


class Hunting(Commands, inherit_bindings=False):
    """One search at a time: until it has found something, another key, Esc or Ctrl-C."""

    def set_up(self) -> None:
        super().set_up()
        self._hunt: Hunt | None = None

    def hunt(self, hunt: Hunt) -> None:
        """Search, now and in the background."""
        self._quiet()
        self._hunt = hunt
        self._seek()

    def _seek(self) -> None:
        """Search on for a slice of time."""
        hunt, stop = self._hunt, monotonic() + core.SLICE * 2
        looked = 0
        while hunt is not None:
            found = next(hunt.rows, -1)
            looked += 1
            if found is None:
                if looked % _SCAN == 0 and monotonic() > stop:
                    self.hints.say(Message(self._progress(hunt), "dim"))
                    return
                continue
            self._hunt = None
            if found >= 0:
                hunt.found(found)
            else:
                self.hints.say(Message(hunt.nothing, "dim"))
            return

    def _progress(self, hunt: Hunt) -> Safe:
        stop = self.key("stop")
        if hunt.at is None:
            return word(f"searching; {stop} stops")[0]
        at = f"exit {hunt.at():,} of {len(self.timeline):,}"
        return word(f"searching: {at}; {stop} stops there")[0]

    def stop_hunting(self) -> bool:
        """Stop a search where it has come; False where there is none."""
        hunt = self._hunt
        if hunt is None:
            return False
        self._quiet()
        if hunt.at is not None and hunt.halted is not None:
            hunt.halted(hunt.at())
        return True

    def _quiet(self) -> None:
        self._hunt = None
        super()._quiet()

    def _background(self) -> None:
        if self._hunt is not None:
            self._seek()
        else:
            super()._background()

    def action_stop(self) -> None:
        if not self.stop_hunting():
            super().action_stop()

    def action_interrupt(self) -> None:
        if not self.stop_hunting():
            super().action_interrupt()
