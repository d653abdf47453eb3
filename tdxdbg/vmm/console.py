"""What the guest wrote to its serial port, as much as is kept of it."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

#: Bytes that are kept: the newest.
LIMIT: Final = 1 << 20
#: Full pieces are shared by checkpoints.
_PIECE: Final = 4096


class ConsoleImage(NamedTuple):
    """A console as a value."""

    total: int
    pieces: tuple[bytes, ...]
    last: bytes


class Console:
    """Bytes in, the newest of them out; offsets count from the start of the run."""

    def __init__(self) -> None:
        #: Bytes that were ever written.
        self.total = 0
        self._pieces: deque[bytes] = deque(maxlen=LIMIT // _PIECE)
        self._last = bytearray()

    def write(self, value: int) -> None:
        """One byte."""
        self.total += 1
        self._last.append(value)
        if len(self._last) == _PIECE:
            self._pieces.append(bytes(self._last))
            self._last.clear()

    def __len__(self) -> int:
        """Bytes that are kept."""
        return len(self._pieces) * _PIECE + len(self._last)

    def __bytes__(self) -> bytes:
        """All that is kept."""
        return b"".join((*self._pieces, self._last))

    @property
    def dropped(self) -> int:
        """How many of the oldest bytes are gone."""
        return self.total - len(self)

    def since(self, offset: int, most: int = LIMIT) -> bytes:
        """What was written from `offset` on; of more than `most` bytes the newest."""
        size = min(self.total - offset, most, len(self))
        if size <= 0:
            return b""
        if size <= len(self._last):
            return bytes(self._last[-size:])
        return bytes(self)[-size:]

    def ends_with(self, text: bytes) -> bool:
        """Whether `text` (at most a piece) was written last."""
        size = len(text) - len(self._last)
        before = self._pieces[-1] if size > 0 and self._pieces else b""
        return (before + self._last).endswith(text)

    def checkpoint(self) -> ConsoleImage:
        return ConsoleImage(self.total, tuple(self._pieces), bytes(self._last))

    def restore(self, image: ConsoleImage) -> None:
        self.total = image.total
        self._pieces = deque(image.pieces, maxlen=LIMIT // _PIECE)
        self._last = bytearray(image.last)
