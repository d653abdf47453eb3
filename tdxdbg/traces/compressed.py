"""Recordings that are compressed as a whole: gzip, zstd and xz, unpacked into a copy.

A file that was cut off, or is damaged at some place, gives what comes before
that, with a line that says so. What would be larger than MAX_SIZE is refused.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import Any, BinaryIO, Final, NamedTuple

from tdxdbg.errors import TraceError

#: Unpacked bytes at most.
MAX_SIZE: Final = 16 << 30
_CHUNK: Final = 1 << 20
#: What a decompressor may use for its dictionary, in bytes.
_MEMORY: Final = 128 << 20
_SIP: Final = 1 << 10


class Packing(NamedTuple):
    """`magic` is what such a file starts with."""

    name: str
    magic: bytes


PACKINGS: Final = (
    Packing("gzip", b"\x1f\x8b\x08"),
    Packing("xz", b"\xfd7zXZ\0"),
    Packing("zstd", b"\x28\xb5\x2f\xfd"),
)


def packing_of(head: bytes) -> Packing | None:
    """How a file that starts with `head` is compressed; None when it is not."""
    return next((item for item in PACKINGS if head.startswith(item.magic)), None)


class _EndedError(Exception):
    """The compressed data ends here, or cannot be understood from here on."""


class Inflated:
    """Iterates over what is in it; `problem` says what was wrong with it, or is empty."""

    def __init__(self, packing: Packing, head: bytes, file: BinaryIO, name: str) -> None:
        self.problem = ""
        self._packing = packing
        self._source = _source(head, file)
        self._name = name

    def __iter__(self) -> Iterator[bytes]:
        """Raises TraceError when it is too large."""
        size = 0
        pieces = _STREAMS[self._packing.name](self._source)
        while True:
            try:
                piece = next(pieces, None)
            except _EndedError as problem:
                self.problem = (
                    f"the {self._packing.name} file {problem}: what comes before is shown"
                )
                return
            if piece is None:
                return
            size += len(piece)
            if size > MAX_SIZE:
                raise TraceError(
                    f"{self._name}: unpacks to more than {MAX_SIZE >> 30} GiB, if it ends at all; "
                    "unpack a part of it to a file and open that"
                )
            if piece:
                yield piece


def _source(head: bytes, file: BinaryIO) -> Iterator[bytes]:
    chunk = head
    while chunk:
        yield chunk
        chunk = file.read(_CHUNK)


_DAMAGED: Final = "is damaged in the middle"
_CUT: Final = "is cut off"


def _unpack(
    source: Iterator[bytes], make: Callable[[], Any], feed: Feed, error: type[Exception]
) -> Iterator[bytes]:
    """Members one after the other, as all three tools take them; zeros behind one are padding."""
    left = next(source, b"")
    while left:
        member = make()
        while True:
            try:
                left = yield from feed(member, left)
            except error:
                raise _EndedError(_DAMAGED) from None
            if member.eof:
                break
            left = next(source, b"")
            if not left:
                raise _EndedError(_CUT)
        left = left.lstrip(b"\0")
        while not left:
            chunk = next(source, None)
            if chunk is None:
                return
            left = chunk.lstrip(b"\0")


# Each gives what comes out in pieces of bounded size and returns what is left of the input.
Feed = Callable[[Any, bytes], Generator[bytes, None, bytes]]


def _feed_gzip(member: Any, data: bytes) -> Generator[bytes, None, bytes]:
    while data and not member.eof:
        yield member.decompress(data, _CHUNK)
        data = member.unconsumed_tail
    left: bytes = member.unused_data
    return left


def _feed_xz(member: Any, data: bytes) -> Generator[bytes, None, bytes]:
    yield member.decompress(data, _CHUNK)
    while not member.eof and not member.needs_input:
        yield member.decompress(b"", _CHUNK)
    left: bytes = member.unused_data if member.eof else b""
    return left


def _feed_zstd(member: Any, data: bytes) -> Generator[bytes, None, bytes]:
    """Four bytes can become 128 KiB, and it gives all at once: so it gets little at a time."""
    for at in range(0, len(data), _SIP):
        yield member.decompress(data[at : at + _SIP])
        if member.eof:
            left: bytes = member.unused_data + data[at + _SIP :]
            return left
    return b""


def _gzip(source: Iterator[bytes]) -> Iterator[bytes]:
    return _unpack(source, lambda: zlib.decompressobj(16 + zlib.MAX_WBITS), _feed_gzip, zlib.error)


def _xz(source: Iterator[bytes]) -> Iterator[bytes]:
    def make() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, _MEMORY)

    return _unpack(source, make, _feed_xz, lzma.LZMAError)


def _zstd(source: Iterator[bytes]) -> Iterator[bytes]:
    # Not at the top: it takes a while, and most files are not compressed.
    import zstandard

    unpacker = zstandard.ZstdDecompressor(max_window_size=_MEMORY)
    return _unpack(source, unpacker.decompressobj, _feed_zstd, zstandard.ZstdError)


_STREAMS: Final = {"gzip": _gzip, "xz": _xz, "zstd": _zstd}
