"""A prompt for conditions: points at what is wrong."""

from __future__ import annotations

from typing import ClassVar, Final

from tdxdbg.ui.lines import BLANK, Line, Span, blanks, line, own, word
from tdxdbg.ui.prompt import Prompt, Verdict, scrolled

_CARET: Final = own("^")
_MARGIN: Final = 2


class ConditionPrompt(Prompt):
    """Nothing entered gives ""."""

    _HEAD: ClassVar[int] = 6
    _FOOT: ClassVar[tuple[Span, ...]] = (
        (own("Enter takes it  Tab completes  Up earlier ones  Esc closes"), "dim"),
    )

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

    def action_enter(self) -> None:
        text = self._pane.edit.text.strip()
        if not text:
            _ = self.dismiss("")
            return
        super().action_enter()
