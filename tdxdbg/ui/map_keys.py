"""The keys of the GPA map: where it has the focus, keys that move over exits move over it."""

from __future__ import annotations

from functools import partial

from tdxdbg.ui.core import Core
from tdxdbg.ui.gpa_map.place import judge_gpa, parse_gpa, registers_of
from tdxdbg.ui.gpa_map.words import describe
from tdxdbg.ui.layout import GPA_MAP
from tdxdbg.ui.lines import own
from tdxdbg.ui.panes.gpa_map import GpaMapPane
from tdxdbg.ui.prompt import Prompt
from tdxdbg.ui.status import Message

_ABOUT = (
    own("An address in hex (40000000), a size (4G), a register of this exit (r12),"),
    own("or a sum of these: r12-4K. The shared bit is left out."),
)


class MapKeys(Core, inherit_bindings=False):
    """Zoom, pan, go to an address, the list of ranges, back to the exit."""

    @property
    def gpa_map(self) -> GpaMapPane:
        """The pane."""
        pane = self.panes[GPA_MAP]
        assert isinstance(pane, GpaMapPane)
        return pane

    @property
    def _on_map(self) -> bool:
        return self.desk.view.focus == GPA_MAP

    # --- keys that other panes have too ---------------------------------------------------

    def action_arrow(self, cells: int, lines: int) -> None:
        sideways = (cells > 0) - (cells < 0)
        if not (self._on_map and self.gpa_map.pan(sideways, lines)):
            super().action_arrow(cells, lines)

    def action_page(self, pages: float) -> None:
        if not (self._on_map and self.gpa_map.page(pages)):
            super().action_page(pages)

    def action_home(self) -> None:
        """The whole map, or the first exit."""
        if not (self._on_map and self.gpa_map.see_all()):
            self.action_end(-1)

    def action_digit(self, digit: int) -> None:
        if digit or self._count or not (self._on_map and self.gpa_map.see_all()):
            super().action_digit(digit)

    def action_stop(self) -> None:
        searching = self._search is not None or self._count
        super().action_stop()
        if self._on_map and not searching:
            self.gpa_map.follow()

    def action_enter(self) -> None:
        """From the map to the list of ranges, and from a range to where it lies."""
        if self._on_map:
            self.gpa_map.enter()

    # --- keys of its own ------------------------------------------------------------------

    def action_map_zoom(self, steps: int) -> None:
        if self._map_in_front():
            self.gpa_map.zoom(steps)

    def action_map_follow(self) -> None:
        self._map_in_front()
        self.gpa_map.follow()

    def _map_in_front(self) -> bool:
        """Have the map on the screen, the focus where it was if it can be; whether it was there."""
        seen = GPA_MAP in self.desk.arrangement.places
        if not seen:
            self.desk.change(self.desk.view.raised(GPA_MAP))
        if GPA_MAP not in self.desk.arrangement.places:
            self.focus_pane(GPA_MAP)
        return seen

    def action_map_address(self) -> None:
        self._quiet()
        moment, ranges = self.moment(), self.gpa_map.known()
        if moment is None or ranges is None:
            self.hints.say(Message(own("no map here: it is not known yet what is shared"), "dim"))
            return
        registers, shared_mask = registers_of(moment), moment.td.shared_mask
        judge = partial(
            judge_gpa,
            registers=registers,
            shared_mask=shared_mask,
            describe=partial(describe, ranges),
        )

        def go(text: str | None) -> None:
            if text is not None:
                self.show_gpa(parse_gpa(text, registers, shared_mask))

        dialog = Prompt(own("GPA map at"), _ABOUT, judge, self.palette, self.ascii_only)
        _ = self.push_screen(dialog, go)

    def show_gpa(self, gpa: int) -> None:
        """The map, with its cursor at this address (without the shared bit)."""
        self.focus_pane(GPA_MAP)
        self.gpa_map.go_to(gpa)
