"""What a guest wrote to its serial console, as lines; bounded, whatever it writes."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

#: Lines that are kept, and bytes after which a line is broken.
MOST_LINES: Final = 5000
LONGEST: Final = 512
_TAB: Final = 8


class SerialLine(NamedTuple):
    """A line without its end; `start` is the place of its first byte in all output."""

    start: int
    data: bytes


class SerialText:
    """Lines of serial output. `total`: bytes taken in so far."""

    def __init__(self) -> None:
        self.total = 0
        self.dropped = 0
        self._lines: deque[SerialLine] = deque()
        self._last = bytearray()
        self._last_start = 0

    def feed(self, data: bytes) -> None:
        """More output."""
        head, *rest = data.split(b"\n")
        self._piece(head + b"\n" if rest else head)
        for number, piece in enumerate(rest):
            self._piece(piece if number == len(rest) - 1 else piece + b"\n")

    def skip(self, count: int) -> None:
        """So many bytes that nobody kept."""
        if count:
            self._keep(bytes(self._last), len(self._last))
            self._last.clear()
            self._keep(b"(%d bytes left out)" % count, count)
            self.total += count

    def _piece(self, piece: bytes) -> None:
        self._last += piece
        self.total += len(piece)
        ended = piece.endswith(b"\n")
        while len(self._last) > LONGEST + (2 if ended else 0):
            self._keep(bytes(self._last[:LONGEST]), LONGEST)
            del self._last[:LONGEST]
        if ended:
            text = bytes(self._last)
            self._keep(text.removesuffix(b"\n").removesuffix(b"\r"), len(text))
            self._last.clear()

    def _keep(self, text: bytes, size: int) -> None:
        self._lines.append(SerialLine(self._last_start, text))
        self._last_start += size
        if len(self._lines) > MOST_LINES:
            self._lines.popleft()
            self.dropped += 1

    def lines(self, limit: int | None = None) -> list[SerialLine]:
        """All lines, the one without an end last; only the first `limit` bytes of output."""
        every = [*self._lines, SerialLine(self._last_start, bytes(self._last))]
        if limit is None or limit >= self.total:
            return every
        kept = []
        for line in every:
            if line.start > limit:
                break
            kept.append(line._replace(data=line.data[: limit - line.start]))
        return kept


def expanded(data: bytes) -> bytes:
    """Tabs as blanks."""
    return data.expandtabs(_TAB)
