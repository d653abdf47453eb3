"""Compressed pieces of a recording, each of a size that is known before."""

from __future__ import annotations

import zlib
from typing import Final

from tdxdbg.errors import TraceError

#: No piece of a recording is larger, in bytes.
MAX_PIECE: Final = 64 << 20


def inflate(method: str, data: bytes, length: int, name: str) -> bytes:
    """`length` bytes out of `data`; raises TraceError when they are not in it."""
    if length > MAX_PIECE:
        raise TraceError(f"{name}: a compressed piece of {length} bytes; the file is damaged")
    try:
        if method == "zstd":
            plain = _zstd(data, length)
        elif method == "zlib":
            plain = zlib.decompressobj().decompress(data, length + 1)
        else:
            raise TraceError(
                f"{name}: compressed with {method!r}, which is not read; "
                "convert it with trace-cmd convert --compression none"
            )
    except (zlib.error, ValueError) as problem:
        raise TraceError(f"{name}: a compressed piece is damaged: {problem}") from None
    if len(plain) != length:
        raise TraceError(
            f"{name}: a compressed piece has not the {length} bytes that it should have; "
            "the file is damaged"
        )
    return plain


def _zstd(data: bytes, length: int) -> bytes:
    # Not at the top: it takes a while, and most files are not compressed.
    import zstandard

    try:
        with zstandard.ZstdDecompressor().stream_reader(data) as reader:
            return reader.read(length + 1)
    except zstandard.ZstdError as problem:
        raise ValueError(str(problem)) from None
