"""The keys of the GPA map: where it has the focus, keys that move over exits move over it."""

from __future__ import annotations

from functools import partial

from tdxdbg.ui.gpa_map.place import judge_gpa, parse_gpa, registers_of
from tdxdbg.ui.gpa_map.words import describe
from tdxdbg.ui.layout import GPA_MAP
from tdxdbg.ui.lines import own, word
from tdxdbg.ui.live.targets import TargetError
from tdxdbg.ui.panes.gpa_map import GpaMapPane
from tdxdbg.ui.pointing import Pointing
from tdxdbg.ui.prompt import Prompt, Verdict
from tdxdbg.ui.status import Message

_ABOUT = (
    own("An address in hex (40000000), a size (4G), a register of this exit (r12),"),
    own("or a sum of these: r12-4K. The shared bit is left out."),
)


class MapKeys(Pointing, inherit_bindings=False):
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
        """Back to the exit; where the map follows it, what Esc does elsewhere."""
        away = self.gpa_map.view.moved or self.gpa_map.view.listing
        if self._count or not (self._on_map and away and self.gpa_map.follow()):
            super().action_stop()

    def action_act(self) -> None:
        """From the map to the list of ranges, and from a range to where it lies."""
        if self._on_map:
            self.gpa_map.enter()
        else:
            super().action_act()

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
        """Ask for an address."""
        self._quiet()
        if self.gpa_map.known() is None:
            self.hints.say(Message(own("no map here: it is not known yet what is shared"), "dim"))
            return

        def go(text: str | None) -> None:
            if text is not None:
                self.command_gpa(text)

        title = own("GPA map at")
        dialog = Prompt(title, _ABOUT, self.judge_gpa, self.palette, self.ascii_only)
        _ = self.push_screen(dialog, go)

    def judge_gpa(self, text: str, cursor: int) -> Verdict:
        """What an address that is being typed means."""
        moment, ranges = self.moment(), self.gpa_map.known()
        if moment is None or ranges is None:
            return Verdict(False, "it is not known yet what is shared")
        registers, shared_mask = registers_of(moment), moment.td.shared_mask
        return judge_gpa(text, cursor, registers, shared_mask, partial(describe, ranges))

    def command_gpa(self, text: str) -> None:
        """The map, with its cursor at the address that a text names."""
        moment = self.moment()
        if moment is None:
            return
        try:
            gpa = parse_gpa(text, registers_of(moment), moment.td.shared_mask)
        except TargetError as error:
            self.hints.say(Message(word(str(error))[0], "error"))
            return
        self.show_gpa(gpa)

    def show_gpa(self, gpa: int) -> None:
        """The map, with its cursor at this address (bytes, without the shared bit)."""
        self.focus_pane(GPA_MAP)
        self.gpa_map.go_to(gpa)
