"""LZ4 in the frame that the kernel uses, unpacked: the "legacy" one.

No library that we have reads it. Format: the LZ4 project's doc/lz4_Frame_format.md,
"Legacy frame", and lz4_Block_format.md.
"""

from __future__ import annotations

from typing import Final

MAGIC: Final = b"\x02\x21\x4c\x18"
#: Packed bytes at most: some 15 s of work.
LARGEST: Final = 64 << 20
_LEAST_MATCH: Final = 4
#: A length with this value goes on in the bytes that follow.
_GOES_ON: Final = 15


def unpack(data: bytes, most: int) -> bytes:
    """At most `most` bytes of what is in it, some seconds for a kernel; raises ValueError."""
    if len(data) > LARGEST:
        raise ValueError(f"it has {len(data)} bytes, the most is {LARGEST}")
    out = bytearray()
    at = len(MAGIC)
    try:
        while at + 4 <= len(data) and len(out) < most:
            size = int.from_bytes(data[at : at + 4], "little")
            at += 4
            out += _block(data[at : at + size], most - len(out))
            at += size
    except IndexError:
        raise ValueError("it ends too early") from None
    return bytes(out[:most])


def _block(data: bytes, most: int) -> bytearray:
    """Literals and matches in turn; the last has literals alone."""
    out = bytearray()
    at, end = 0, len(data)
    while at < end and len(out) < most:
        token = data[at]
        at += 1
        length = token >> 4
        if length == _GOES_ON:
            more = 255
            while more == 255:
                more = data[at]
                at += 1
                length += more
        out += data[at : at + length]
        at += length
        if at >= end:
            break
        distance = data[at] | data[at + 1] << 8
        at += 2
        length = token & 15
        if length == _GOES_ON:
            more = 255
            while more == 255:
                more = data[at]
                at += 1
                length += more
        length = min(length + _LEAST_MATCH, most - len(out))
        start = len(out) - distance
        if start < 0 or not distance:
            raise ValueError(f"a match {distance} bytes back, before the beginning")
        if distance >= length:
            out += out[start : start + length]
        else:
            out += (out[start:] * (length // distance + 1))[:length]
    return out
