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
        self.file = file
        self.count = 0

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        for first, lines in self.blocks():
            yield from enumerate(lines, first)

    def blocks(self) -> Iterator[tuple[int, list[bytes]]]:
        """Many lines at once, with the number of the first: calls for each would cost most."""
        for first, data in self.chunks():
            yield first, split(data)

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        """The same, not split: whole lines, the last one without its end."""
        for data in self._chunks():
            first = self.count + 1
            self.count += data.count(b"\n") + 1
            yield first, data

    def _chunks(self) -> Iterator[bytes]:
        rest = b""
        chunk = self.file.read(_CHUNK).removeprefix(_BOM)
        while chunk:
            if len(rest) > MAX_LINE:
                # Of a line without end no more is kept than is looked at, and a CR at its end.
                rest = rest[: MAX_LINE + 1] + rest[-1:]
            data = rest + chunk
            if b"\r" in data:
                data = data.replace(b"\r\n", b"\n")
            whole, end, rest = data.rpartition(b"\n")
            if end:
                yield whole
            chunk = self.file.read(_CHUNK)
        if rest:
            yield rest.removesuffix(b"\r")


def split(data: bytes) -> list[bytes]:
    """The lines of a chunk, none longer than MAX_LINE."""
    lines = data.split(b"\n")
    longest = max(map(len, lines))
    return lines if longest <= MAX_LINE else [line[:MAX_LINE] for line in lines]
