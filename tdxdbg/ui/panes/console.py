"""Pane 0: the guest's serial console, escaped; it follows unless it was scrolled back."""

from __future__ import annotations

from typing import ClassVar, Final

from tdxdbg.decode.text import Safe, safe
from tdxdbg.timeline import Moment
from tdxdbg.ui.lines import Line, line, own, word
from tdxdbg.ui.live.serial import SerialLine, SerialText, expanded
from tdxdbg.ui.panes.base import Drawn, MomentPane

_NOTHING: Final = (
    "Nothing was written to the serial port (0x3f8) yet. "
    "{continue} runs the guest on; what it writes comes here."
)


class ConsolePane(MomentPane):
    """Serial output up to the place that is shown."""

    TITLE: ClassVar[Safe] = own("0 console")
    SHORT: ClassVar[Safe] = own("0 console")

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.text = SerialText()
        self._limit: int | None = None
        self._shown: list[SerialLine] = []

    def count(self) -> int:
        return max(len(self._shown), len(self.lines))

    def line_at(self, index: int) -> Line:
        if not self._shown:
            return super().line_at(index)
        return line((safe(expanded(self._shown[index].data)), "text"))

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

    def update_text(self) -> None:
        """The guest wrote more."""
        follows = self.top + self.rows >= self.count()
        self._shown = self.text.lines(self._limit) if self.text.total else []
        if self._shown and not self._shown[-1].data:
            self._shown.pop()
        self.lines, foot, _ = self.draw(None)
        self.top = self._clamped(self.count() if follows else self.top)
        self.set_foot(foot)
        self.refresh()

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
        if self._limit is not None and self._limit < self.text.total:
            more = self.text.total - self._limit
            bytes_ = f"{more:,} byte{'s' * (more > 1)}"
            return [], (word(f"{bytes_} more in the present", "dim"),), None
        dropped = self.text.dropped
        return [], (word(f"first {dropped:,} lines dropped", "dim"),) if dropped else (), None
