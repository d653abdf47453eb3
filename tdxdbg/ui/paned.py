"""Panes on a desk: which one has the focus, and the digits that choose one or are a count."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from textual import events
from textual.timer import Timer

from tdxdbg.ui.layout import NUMBERS, View
from tdxdbg.ui.lines import word
from tdxdbg.ui.panes.base import MomentPane
from tdxdbg.ui.status import HintLine, Message
from tdxdbg.ui.typed import Typed
from tdxdbg.ui.widgets.desk import Desk

#: How long a typed count waits for its G, in seconds.
COUNT_WAITS: Final = 1.5


class Paned(Typed[int], inherit_bindings=False):
    """An app of panes by name, on `desk`, with `hints` below; who makes them sets these."""

    panes: dict[str, MomentPane]
    desk: Desk
    hints: HintLine

    def __init__(self) -> None:
        super().__init__()
        self._count = ""
        self._count_from = View()
        self._count_timer: Timer | None = None

    def focus_pane(self, name: str) -> None:
        """Give a pane the focus, and bring it to the front."""
        self._look(self.desk.view.focused(name))

    def _look(self, view: View) -> None:
        self.desk.change(view)
        self.screen.set_focus(self.panes[view.focus])

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        name = event.widget.id
        if name in self.panes and name != self.desk.view.focus:
            self.desk.change(self.desk.view.focused(name))

    def action_pane(self, direction: int) -> None:
        names = tuple(self.panes)
        at = names.index(self.desk.view.focus) + direction
        self.focus_pane(names[at % len(names)])

    def action_zoom(self) -> None:
        view = self.desk.view
        self.desk.change(replace(view, zoomed=not view.zoomed))

    def action_digit(self, digit: int) -> None:
        if not self._count:
            self._count_from = self.desk.view
            if NUMBERS[digit] in self.panes:
                self.focus_pane(NUMBERS[digit])
        self._count = (self._count + str(digit))[:15]
        if self._count_timer is not None:
            self._count_timer.stop()
        self._count_timer = self.set_timer(COUNT_WAITS, self._drop_count)
        self.hints.say(Message(word(f"{self._count}  G: to exit {int(self._count)}")[0], "dim"))

    def _drop_count(self) -> None:
        if self._count:
            self._count = ""
            self.hints.say(None)
        if self._count_timer is not None:
            self._count_timer.stop()
            self._count_timer = None
