"""Pane 0: the guest's serial console, escaped; it follows unless it was scrolled back."""

from __future__ import annotations

from typing import ClassVar, Final

from tdxdbg.decode.text import Safe, safe
from tdxdbg.timeline import Moment
from tdxdbg.ui.lines import Line, Span, line, own, width_of, word
from tdxdbg.ui.live.edited import Edited, edited
from tdxdbg.ui.live.serial import SerialLine, SerialText
from tdxdbg.ui.panes.base import Drawn, MomentPane

_NOTHING: Final = (
    "Nothing was written to the serial port (0x3f8) yet. "
    "{continue} runs the guest on; what it writes comes here."
)
_TYPING: Final = (own("0 console: typing"), own("0 typing"))
_BLANK: Final = own(" ")


class ConsolePane(MomentPane):
    """Serial output up to the place that is shown.

    `typing`: where keys go to the guest, how that ends; "" where they do not. Then
    the last line has the guest's cursor.
    """

    TITLE: ClassVar[Safe] = own("0 console")
    SHORT: ClassVar[Safe] = own("0 console")

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.text = SerialText()
        self.typing: Safe = own("")
        self._limit: int | None = None
        self._shown: list[SerialLine] = []
        #: Whether the newest lines are in view, however many there is room for.
        self._follows = True

    @property
    def titles(self) -> tuple[Safe, Safe]:
        return _TYPING if self.typing else super().titles

    def count(self) -> int:
        return max(len(self._shown), len(self.lines))

    def line_at(self, index: int) -> Line:
        if not self._shown or not 0 <= index < len(self._shown):
            return super().line_at(index)
        found = edited(self._shown[index].data)
        if self.typing and index == len(self._shown) - 1:
            return line(*_with_cursor(found))
        return line((safe(found.text), "text"))

    def use(self, text: SerialText) -> None:
        """Another world's console."""
        self.text = text
        self._limit = None
        self.update_text()

    def limit(self, total: int | None) -> None:
        """Show only the first so many bytes: what had been written in the past."""
        if total != self._limit:
            self._limit = total
            self.update_text()

    def type(self, how_it_ends: Safe) -> None:
        """Keys go to the guest from now on, or with "" not any more."""
        self.typing = how_it_ends
        self.left = 0
        self.follow()

    def follow(self) -> None:
        """Show the newest lines."""
        self._follows = True
        self.update_text()

    def scroll_lines(self, lines: int, cells: int = 0) -> None:
        super().scroll_lines(lines, cells)
        self._follows = self.top + self.rows >= self.count()

    def update_text(self) -> None:
        """The guest wrote more."""
        self._shown = self.text.lines(self._limit) if self.text.total or self.typing else []
        if self._shown and not self._shown[-1].data and not self.typing:
            self._shown.pop()
        self.lines, foot, _ = self.draw(None)
        self.top = self._clamped(self.count() if self._follows else self.top)
        if self.typing:
            self._reveal()
        self.set_foot(foot)
        self.refresh()

    def _reveal(self) -> None:
        """Scroll sideways only as far as the guest's cursor needs it."""
        before, under, _ = _with_cursor(edited(self._shown[-1].data))
        start, end = width_of([before]), width_of([before, under])
        fits = end <= self.columns
        self.left = 0 if fits else max(min(self.left, start), end - self.columns)

    def show(self, moment: Moment | None) -> None:
        """The console is no view of a moment: it has its own text."""
        self.moment = moment

    def fit(self) -> None:
        self.update_text()

    def on_resize(self) -> None:
        self.update_text()

    def draw(self, moment: Moment | None) -> Drawn:
        if not self._shown:
            return self.explain(self.spoken(_NOTHING)), (), None
        if self.typing:
            return [], ((self.typing, "badge"),), None
        if self._limit is not None and self._limit < self.text.total:
            more = self.text.total - self._limit
            bytes_ = f"{more:,} byte{'s' * (more > 1)}"
            return [], (word(f"{bytes_} more in the present", "dim"),), None
        dropped = self.text.dropped
        return [], (word(f"first {dropped:,} lines dropped", "dim"),) if dropped else (), None


def _with_cursor(found: Edited) -> tuple[Span, Span, Span]:
    """A line with the guest's cursor in it."""
    under = safe(found.under) or _BLANK
    return (safe(found.before), "text"), (under, "badge"), (safe(found.after), "text")
