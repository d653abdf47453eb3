"""What a guest wrote to its serial console, as lines; bounded, whatever it writes."""

from __future__ import annotations

import re
from collections import deque
from typing import Final, NamedTuple

#: Lines and bytes that are kept.
MOST_LINES: Final = 5000
MOST_BYTES: Final = 4 << 20
#: Bytes after which a line is broken, and one that is edited: it is shorter than what it took.
LONGEST: Final = 512
LONGEST_EDITED: Final = 4096
_EDITS: Final = re.compile(rb"[\x07\x08\r\x1b]")


class SerialLine(NamedTuple):
    """A line as it was written, without its end (`edited` shows it).

    `start` is the place of its first byte in all output.
    """

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
        self._kept = 0

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
        """Some of a line, or its end."""
        self.total += len(piece)
        self._last += piece.removesuffix(b"\n")
        while len(self._last) > LONGEST and len(self._last) > (longest := self._longest()):
            self._keep(bytes(self._last[:longest]), longest)
            del self._last[:longest]
        if piece.endswith(b"\n"):
            text = bytes(self._last)
            self._keep(text.removesuffix(b"\r"), len(text) + 1)
            self._last.clear()

    def _longest(self) -> int:
        """The same however a line came in pieces."""
        edits = _EDITS.search(self._last, 0, LONGEST + 1)
        return LONGEST_EDITED if edits else LONGEST

    def _keep(self, text: bytes, size: int) -> None:
        self._lines.append(SerialLine(self._last_start, text))
        self._last_start += size
        self._kept += len(text)
        while len(self._lines) > MOST_LINES or self._kept > MOST_BYTES:
            self._kept -= len(self._lines.popleft().data)
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
