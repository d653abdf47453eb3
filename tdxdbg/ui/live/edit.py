"""A line of text that is being typed: pure, so that every prompt has the same keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Characters of a line; what is typed beyond is dropped.
MOST: Final = 400


@dataclass
class LineEdit:
    """Text and a cursor in it, 0 being before the first character."""

    text: str = ""
    cursor: int = 0

    @classmethod
    def holding(cls, text: str) -> LineEdit:
        """With a text to begin with, the cursor behind it."""
        return cls(text, len(text))

    def key(self, name: str, character: str | None) -> bool:
        """A key of textual's naming; False when it is none of a line's."""
        action = _ACTIONS.get(name)
        if action is not None:
            getattr(self, action)()
            return True
        if character is not None and len(character) == 1 and " " <= character <= "~":
            self.insert(character)
            return True
        return False

    def insert(self, text: str) -> None:
        """Type, or paste; only printable ASCII."""
        text = "".join(item for item in text if " " <= item <= "~")[: MOST - len(self.text)]
        self.text = self.text[: self.cursor] + text + self.text[self.cursor :]
        self.cursor += len(text)

    def replace(self, start: int, text: str) -> None:
        """Put a text in place of what stands from `start` to the cursor."""
        self.text = self.text[:start] + self.text[self.cursor :]
        self.cursor = start
        self.insert(text)

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
