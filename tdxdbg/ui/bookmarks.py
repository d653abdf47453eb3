"""Bookmarks: letters for exits, with notes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

#: Characters of a note that are kept.
LONGEST: Final = 200


class Bookmark(NamedTuple):
    """An exit, and what a person noted of it."""

    row: int
    note: str = ""


class Bookmarks:
    """One for each letter, small and capital."""

    def __init__(self) -> None:
        self._all: dict[str, Bookmark] = {}

    def set(self, letter: str, row: int, note: str = "") -> None:
        """Put it there; raises ValueError where it is no letter."""
        if not is_letter(letter):
            raise ValueError(f"a bookmark is a letter, a to z or A to Z, not {letter[:9]!r}")
        self._all[letter] = Bookmark(row, note[:LONGEST])

    def get(self, letter: str) -> Bookmark | None:
        return self._all.get(letter)

    def remove(self, letter: str) -> None:
        """Forget it; KeyError where there is none."""
        del self._all[letter]

    def items(self) -> list[tuple[str, Bookmark]]:
        """In the order of their rows."""
        return sorted(self._all.items(), key=lambda item: (item[1].row, item[0]))

    @property
    def rows(self) -> dict[str, int]:
        """Their rows by letter."""
        return {letter: mark.row for letter, mark in self._all.items()}

    def state(self) -> dict[str, list[object]]:
        """All of them, as plain data: row and note by letter."""
        return {letter: [mark.row, mark.note] for letter, mark in self._all.items()}

    def restore(self, state: object) -> list[str]:
        """Set those of a `state`; a line for each that cannot be."""
        problems = []
        for letter, value in state.items() if isinstance(state, Mapping) else ():
            match value:
                case [int(row), str(note)] if row >= 0 and is_letter(letter):
                    self.set(letter, row, note)
                case _:
                    problems.append(f"bookmark {str(letter)[:9]!r}: it is no letter with a row"
                                    " and a note")  # fmt: skip
        return problems


def is_letter(text: object) -> bool:
    """Whether it is one of the 52 letters."""
    return isinstance(text, str) and len(text) == 1 and text.isascii() and text.isalpha()
