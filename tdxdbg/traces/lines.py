"""The lines of a text recording, whatever a file holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

#: What is behind it of a longer line is dropped, in bytes: no tool prints half as much.
MAX_LINE: Final = 16 << 10
_CHUNK: Final = 1 << 20
_BOM: Final = b"\xef\xbb\xbf"


class Lines:
    """Each line with its number from 1, without its end (LF or CR LF); to be read once.

    `count` is how many there are in all, when all are read.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.count = 0

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        for first, lines in self.blocks():
            yield from enumerate(lines, first)

    def blocks(self) -> Iterator[tuple[int, list[bytes]]]:
        """Many lines at once, with the number of the first: calls for each would cost most."""
        for lines in self._blocks():
            first = self.count + 1
            self.count += len(lines)
            longest = max(map(len, lines), default=0)
            yield first, lines if longest <= MAX_LINE else [line[:MAX_LINE] for line in lines]

    def _blocks(self) -> Iterator[list[bytes]]:
        rest = b""
        chunk = self._file.read(_CHUNK).removeprefix(_BOM)
        while chunk:
            lines = _split(rest, chunk)
            rest = lines.pop()
            yield lines
            chunk = self._file.read(_CHUNK)
        if rest:
            yield [rest.removesuffix(b"\r")]


def _split(rest: bytes, chunk: bytes) -> list[bytes]:
    """Whole lines, and what is left of the chunk."""
    if len(rest) > MAX_LINE:
        # Of a line without end no more is kept than is looked at, and a CR at its end.
        rest = rest[: MAX_LINE + 1] + rest[-1:]
    data = rest + chunk
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    return data.split(b"\n")
