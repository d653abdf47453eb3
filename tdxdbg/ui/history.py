"""What was entered into a prompt before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: Lines that are kept.
KEPT: Final = 100


class History:
    """Lines, the newest last, each of them once."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._lines: dict[str, None] = {}
        for line in lines:
            self.add(line)

    def add(self, line: str) -> None:
        """As the newest."""
        self._lines.pop(line, None)
        self._lines[line] = None
        if len(self._lines) > KEPT:
            del self._lines[next(iter(self._lines))]

    @property
    def lines(self) -> tuple[str, ...]:
        """The oldest first."""
        return tuple(self._lines)
