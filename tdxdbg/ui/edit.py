"""A line of text that is being typed, with its history: pure, the same keys in every prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

#: Characters of a line; what is typed beyond is dropped.
MOST: Final = 400


@dataclass
class LineEdit:
    """Text and a cursor in it, 0 being before the first character.

    `past` are lines typed before, the newest last. Up takes the newest of them
    that begins with what was typed, Down comes back.
    """

    text: str = ""
    cursor: int = 0
    past: Sequence[str] = ()
    #: While recalling: what was typed, and the lines that begin so, the newest first.
    _recalled: tuple[str, ...] = field(default=(), repr=False, compare=False)
    _at: int = field(default=0, repr=False, compare=False)

    @classmethod
    def holding(cls, text: str) -> LineEdit:
        """With a text to begin with, the cursor behind it."""
        return cls(text, len(text))

    def key(self, name: str, character: str | None) -> bool:
        """A key of textual's naming; False when it is none of a line's."""
        if name in _RECALL and self.past:
            self._recall(_RECALL[name])
            return True
        action = _ACTIONS.get(name)
        if action is not None:
            self._recalled = ()
            getattr(self, action)()
            return True
        if character is not None and len(character) == 1 and " " <= character <= "~":
            self.insert(character)
            return True
        return False

    def insert(self, text: str) -> None:
        """Type, or paste; only printable ASCII."""
        self._recalled = ()
        text = "".join(item for item in text if " " <= item <= "~")[: MOST - len(self.text)]
        self.text = self.text[: self.cursor] + text + self.text[self.cursor :]
        self.cursor += len(text)

    def replace(self, start: int, text: str) -> None:
        """Put a text in place of what stands from `start` to the cursor."""
        self.text = self.text[:start] + self.text[self.cursor :]
        self.cursor = start
        self.insert(text)

    def _recall(self, by: int) -> None:
        """An older line, or a newer one; the newest of all is what was typed."""
        if not self._recalled:
            typed = self.text
            older = [line for line in reversed(self.past) if line.startswith(typed)]
            self._recalled = (typed, *(line for line in older if line != typed))
            self._at = 0
        self._at = min(max(self._at + by, 0), len(self._recalled) - 1)
        self.text = self._recalled[self._at]
        self.cursor = len(self.text)

    def left(self) -> None:
        self.cursor = max(self.cursor - 1, 0)

    def right(self) -> None:
        self.cursor = min(self.cursor + 1, len(self.text))

    def home(self) -> None:
        self.cursor = 0

    def end(self) -> None:
        self.cursor = len(self.text)

    def backspace(self) -> None:
        if self.cursor:
            self.text = self.text[: self.cursor - 1] + self.text[self.cursor :]
            self.cursor -= 1

    def delete(self) -> None:
        self.text = self.text[: self.cursor] + self.text[self.cursor + 1 :]

    def delete_word(self) -> None:
        start = len(self.text[: self.cursor].rstrip().rpartition(" ")[0])
        self.replace(start, "")

    def delete_start(self) -> None:
        self.replace(0, "")

    def delete_end(self) -> None:
        self.text = self.text[: self.cursor]


#: Only where there is a history.
_RECALL: Final[dict[str, int]] = {"up": 1, "ctrl+p": 1, "down": -1, "ctrl+n": -1}
_ACTIONS: Final[dict[str, str]] = {
    "left": "left",
    "ctrl+b": "left",
    "right": "right",
    "ctrl+f": "right",
    "home": "home",
    "ctrl+a": "home",
    "end": "end",
    "ctrl+e": "end",
    "backspace": "backspace",
    "ctrl+h": "backspace",
    "delete": "delete",
    "ctrl+d": "delete",
    "ctrl+w": "delete_word",
    "ctrl+u": "delete_start",
    "ctrl+k": "delete_end",
}
