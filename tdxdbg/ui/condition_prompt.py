"""A prompt for conditions: points at what is wrong, and remembers what was entered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from textual import events
from textual.binding import Binding, BindingType

from tdxdbg.decode.text import Safe
from tdxdbg.ui.history import History
from tdxdbg.ui.lines import BLANK, Line, Span, blanks, line, own, word
from tdxdbg.ui.live.edit import LineEdit
from tdxdbg.ui.palette import Palette
from tdxdbg.ui.prompt import Prompt, Verdict, scrolled

_CARET: Final = own("^")
_MARGIN: Final = 2


class ConditionPrompt(Prompt):
    """`history` is that of all prompts for conditions; nothing entered gives ""."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *Prompt.BINDINGS,
        Binding("up", "recall(-1)"),
        Binding("down", "recall(1)"),
    ]
    _HEAD: ClassVar[int] = 6
    _FOOT: ClassVar[tuple[Span, ...]] = (
        (own("Enter takes it  Tab completes  Up earlier ones  Esc closes"), "dim"),
    )

    def __init__(
        self,
        title: Safe,
        about: Sequence[Safe],
        judge: Callable[[str, int], Verdict],
        palette: Palette,
        ascii_only: bool,
        text: str,
        history: History,
    ) -> None:
        super().__init__(title, about, judge, palette, ascii_only, text)
        self._history = history
        self._earlier = [*history.lines]
        #: Which of the earlier lines stands there; what was typed comes behind the newest.
        self._at = len(self._earlier)
        self._typed = text

    def update(self) -> None:
        """What the text means has changed, without a key."""
        self._draw()

    def _below(self, verdict: Verdict) -> list[Line]:
        if verdict.at is None:
            return [BLANK]
        edit, room = self._pane.edit, self._room - _MARGIN
        at = len(word(edit.text[: verdict.at])[0]) - scrolled(edit, room)
        if not 0 <= at < room:
            return [BLANK]
        return [line((blanks(at + _MARGIN), "dim"), (_CARET, "error"))]

    def action_recall(self, lines: int) -> None:
        """An earlier line, or back to what was typed."""
        if self._at == len(self._earlier):
            self._typed = self._pane.edit.text
        at = min(max(self._at + lines, 0), len(self._earlier))
        if at != self._at:
            self._at = at
            text = self._earlier[at] if at < len(self._earlier) else self._typed
            self._pane.edit = LineEdit.holding(text)
            self._draw()

    def action_enter(self) -> None:
        text = self._pane.edit.text.strip()
        if not text:
            _ = self.dismiss("")
            return
        super().action_enter()
        if self._judge(text, len(text)).good:
            self._history.add(text)

    def _key(self, event: events.Key) -> bool:
        return event.key not in ("up", "down") and super()._key(event)
