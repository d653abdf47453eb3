"""What was typed before, for Up and Down in a prompt."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: Lines of one history; the oldest are dropped.
KEPT: Final = 100
#: Characters of a line; a longer one is not kept.
LONGEST: Final = 400
_MOST_NAMES: Final = 32
_LONGEST_NAME: Final = 32


class History:
    """Lines of one kind (commands, filters), the newest last, each of them once."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._lines: dict[str, None] = {}
        for line in lines:
            self.add(line)

    def add(self, line: str) -> None:
        """As the newest; what is empty, too long or not printable ASCII is not kept."""
        line = line.strip()
        if not line or len(line) > LONGEST or not (line.isascii() and line.isprintable()):
            return
        self._lines.pop(line, None)
        self._lines[line] = None
        if len(self._lines) > KEPT:
            del self._lines[next(iter(self._lines))]

    def clear(self) -> None:
        """As if nothing had been typed."""
        self._lines.clear()

    @property
    def lines(self) -> tuple[str, ...]:
        """The oldest first."""
        return tuple(self._lines)


class Histories:
    """The histories by name; one that is asked for begins to exist."""

    def __init__(self) -> None:
        self._named: dict[str, History] = {}

    def of(self, name: str) -> History:
        """The history of this name, the same object each time."""
        return self._named.setdefault(name, History())

    def to_json(self) -> dict[str, list[str]]:
        """Those that have lines."""
        return {name: list(item.lines) for name, item in self._named.items() if item.lines}

    def read_json(self, data: object) -> None:
        """Replace them by what `to_json` wrote; what does not look like it is left out."""
        for history in self._named.values():
            history.clear()
        for name, lines in data.items() if isinstance(data, dict) else ():
            if isinstance(lines, list) and len(name) <= _LONGEST_NAME:
                self._read(name, lines)

    def _read(self, name: str, lines: list[object]) -> None:
        if name in self._named or len(self._named) < _MOST_NAMES:
            history = self.of(name)
            for line in lines[-KEPT:]:
                if isinstance(line, str):
                    history.add(line)
