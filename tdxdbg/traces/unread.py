"""What of a recording could not be read: counted, and the first lines or events kept."""

from __future__ import annotations

from typing import Final, NamedTuple

_KEEP_LINES: Final = 1000
_KEEP_REASONS: Final = 20
_KEEP_LENGTH: Final = 200


class Imported(NamedTuple):
    """What was in a recording of another tool: `used` of its events tell of an exit."""

    source: str
    lines: int
    used: int
    unread: int


class Unread:
    """`lines` are the first unread ones with their numbers, each cut to 200 characters."""

    def __init__(self) -> None:
        self.count = 0
        self.lines: list[tuple[int, str]] = []
        self._reasons: list[str] = []

    def add(self, line: int, text: str | bytes, reason: str = "") -> None:
        """Counts one line; `reason` is for the user and names the line itself."""
        self.count += 1
        if len(self.lines) < _KEEP_LINES:
            if isinstance(text, bytes):
                text = text[:_KEEP_LENGTH].decode("utf-8", "replace")
            self.lines.append((line, text[:_KEEP_LENGTH].rstrip("\r\n")))
        if reason and len(self._reasons) < _KEEP_REASONS:
            self._reasons.append(reason)

    def problems(self) -> list[str]:
        """One line for each of the first reasons, and one for the rest."""
        rest = self.count - len(self._reasons)
        if not rest:
            return list(self._reasons)
        first = f", the first is line {self.lines[0][0]}" if not self._reasons else ""
        more = "more " if self._reasons else ""
        return [*self._reasons, f"{rest} {more}lines could not be read{first}"]
