"""The line that a pane's cursor is on: copied, decoded in place, filtered on, lit elsewhere."""

from __future__ import annotations

from typing import Final

from textual import events
from textual.app import ComposeResult

from tdxdbg import report
from tdxdbg.decode.text import Safe
from tdxdbg.errors import TraceError
from tdxdbg.ui.clipboard import MOST, osc52
from tdxdbg.ui.filtering import Filtering
from tdxdbg.ui.layout import DECODE, QUEUE
from tdxdbg.ui.lines import About, Line, concat, cut, own, stacked, trimmed, word
from tdxdbg.ui.panes.base import MomentPane
from tdxdbg.ui.panes.queue import QueuePane
from tdxdbg.ui.status import Message
from tdxdbg.ui.value import ValueDialog

_COPIED: Final = own("copied ")
_IS: Final = own(" = ")
_SENT: Final = "  (sent by OSC 52; if it does not paste: {export} writes files)"
_CUT: Final = own(" (cut)")
_NOTHING: Final = "nothing to copy in this pane: {next_pane} goes to another one"
_NO_VALUE: Final = "no value in this line: {up} and {down} go to another one"
#: Cells of a value in the line that says what was copied.
_SAID: Final = 40


def filter_text_of(line: Line) -> str | None:
    """A display filter that selects exits like the one that this line is about, if there is one."""
    return line.about.filter if line.about is not None else None


class Pointing(Filtering, inherit_bindings=False):
    """Arrows, y, Y and Enter in panes that have a cursor of their own."""

    def compose(self) -> ComposeResult:
        for pane in self.panes.values():
            pane.moved = self._pointed
            pane.act = self.action_act
        yield from super().compose()

    def show(self) -> None:
        super().show()
        self._pointed()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self._pointed()

    @property
    def focused_pane(self) -> MomentPane:
        return self.panes[self.desk.view.focus]

    def _pointed(self) -> None:
        """Light the bytes that the focused pane points at in all others."""
        here = self.focused_pane
        about = here.about
        where = about.where if about is not None else None
        for pane in self.panes.values():
            if pane is not here:
                pane.light(where)

    def action_arrow(self, cells: int, lines: int) -> None:
        if not self.focused_pane.arrow(cells, lines):
            super().action_arrow(cells, lines)

    def action_page(self, pages: float) -> None:
        pane = self.focused_pane
        if not pane.arrow(0, int(max(pane.rows, 1) * pages)):
            super().action_page(pages)

    # --- the line -----------------------------------------------------------------------

    def line_here(self) -> Line | None:
        """The line of the focused pane's cursor; of the queue, the exit's."""
        pane = self.focused_pane
        index = pane.pointer
        if isinstance(pane, QueuePane) and self.cursor.rows:
            index = pane.listed.line(self.cursor.row)
        return None if index is None else pane.line_at(index)

    def about_here(self) -> About | None:
        """What it is about: a field, a register, an exit."""
        pane = self.focused_pane
        if pane.id == QUEUE:
            found = self.line_here()
            return found.about if found is not None else None
        return pane.about

    def action_act(self) -> None:
        self._quiet()
        about = self.about_here()
        if about is None:
            self.hints.say(Message(self.hints.spoken(_NO_VALUE), "dim"))
            return
        filters = self.focused_pane.id in (QUEUE, DECODE)
        dialog = ValueDialog(
            about, self.timeline.td, self.size.width, self.palette, self.ascii_only, filters=filters
        )

        def done(what: str | None) -> None:
            if what == "copy":
                self.copy_about(about)
            elif what == "filter" and about.filter is not None:
                self.action_filter(about.filter)

        _ = self.push_screen(dialog, done)

    # --- the clipboard ------------------------------------------------------------------

    def action_copy(self) -> None:
        self._quiet()
        about, line = self.about_here(), self.line_here()
        if about is not None:
            self.copy_about(about)
        elif line is not None and line.text.strip():
            text = concat(*(piece for piece, _ in line.spans))
            self.copy(trimmed(text), own("the line"))
        else:
            self.hints.say(Message(self.hints.spoken(_NOTHING), "dim"))

    def copy_about(self, about: About) -> None:
        """A value, and say its name too."""
        self.copy(about.text, concat(about.name, _IS, cut(about.text, _SAID)))

    def action_copy_exit(self) -> None:
        self._quiet()
        lines = self.exit_text()
        if lines:
            self.copy(stacked(lines), word(f"exit {self.cursor.row} as text")[0])
        else:
            self.hints.say(Message(self.hints.spoken(_NOTHING), "dim"))

    def exit_text(self) -> list[Safe]:
        """The exit of the cursor in words; empty where there is none."""
        if not self.cursor.rows:
            return []
        row = self.cursor.row
        try:
            moments = report.row_moments(self.timeline, row)
            return report.text_lines(self.timeline.summary(row), moments)
        except TraceError:
            return []

    def copy(self, text: Safe, what: Safe) -> None:
        """Send a text to the terminal's clipboard, and say what was sent."""
        if self._driver is not None:
            self._driver.write(osc52(text))
        said = concat(_COPIED, what, _CUT) if len(text) > MOST else concat(_COPIED, what)
        self.hints.say(Message(concat(said, self.hints.spoken(_SENT)), "ok"))
