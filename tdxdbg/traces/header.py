"""The header of a `.tdxt` file: version, lengths, JSON metadata."""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

from tdxdbg.errors import TraceError
from tdxdbg.traces import layout
from tdxdbg.traces.layout import HEADER, HEADER_UNIT, MAGIC, MAX_HEADER, RECORD_SIZE
from tdxdbg.traces.meta import TraceMeta, dump_json, load_json

_CRC_AT = 28
_REMEDY = "the file is damaged or not a tdxdbg trace"


class Header(NamedTuple):
    """`length` in bytes is where the records start; `problems` are for the user."""

    meta: TraceMeta
    version: tuple[int, int]
    length: int
    problems: tuple[str, ...] = ()


def pack_header(meta: TraceMeta) -> bytes:
    """A multiple of 4 KiB; raises ValueError when the metadata is too large."""
    text = dump_json(meta.to_json()).encode()
    length = -(-(HEADER.size + len(text)) // HEADER_UNIT) * HEADER_UNIT
    if length > MAX_HEADER:
        raise ValueError(f"metadata of {len(text)} bytes is too large")
    fixed = HEADER.pack(
        MAGIC, layout.MAJOR, layout.MINOR, length, RECORD_SIZE, layout.ENDIANNESS, len(text), 0
    )
    data = bytearray((fixed + text).ljust(length, b"\0"))
    data[_CRC_AT : _CRC_AT + 4] = crc32(data).to_bytes(4, "little")
    return bytes(data)


def read_header(view: memoryview, name: str) -> Header:
    """The header at the start of a file; raises TraceError."""
    if len(view) < HEADER.size:
        raise TraceError(f"{name}: the header is cut off at {len(view)} bytes; {_REMEDY}")
    magic, major, minor, length, record_length, endianness, text_length, crc = HEADER.unpack_from(
        view
    )
    if magic != MAGIC:
        raise TraceError(f"{name}: not a .tdxt file")
    if endianness != layout.ENDIANNESS:
        raise TraceError(f"{name}: wrong byte order mark {endianness:#x}; {_REMEDY}")
    if major > layout.MAJOR:
        raise TraceError(
            f"{name}: format version {major}.{minor} is newer than {layout.MAJOR}.{layout.MINOR}, "
            "which this tdxdbg reads; update tdxdbg"
        )
    if major == 0:
        raise TraceError(f"{name}: format version 0 does not exist; {_REMEDY}")
    if record_length != RECORD_SIZE:
        raise TraceError(
            f"{name}: records of {record_length} bytes instead of {RECORD_SIZE}; {_REMEDY}"
        )
    if length % HEADER_UNIT or not HEADER_UNIT <= length <= MAX_HEADER:
        raise TraceError(f"{name}: impossible header length {length}; {_REMEDY}")
    if length > len(view):
        raise TraceError(f"{name}: the header is cut off: {len(view)} of {length} bytes; {_REMEDY}")
    if text_length > length - HEADER.size:
        raise TraceError(f"{name}: impossible metadata length {text_length}; {_REMEDY}")
    problems = []
    intact = crc == crc32(view[_CRC_AT + 4 : length], crc32(b"\0\0\0\0", crc32(view[:_CRC_AT])))
    if not intact:
        problems.append("the header has a wrong checksum: what it says of the TD may be wrong")
    if minor > layout.MINOR and major == layout.MAJOR:
        problems.append(
            f"written in format {major}.{minor}, newer than {layout.MAJOR}.{layout.MINOR}: "
            "what is new in it is left out"
        )
    meta = _metadata(bytes(view[HEADER.size : HEADER.size + text_length]), name, intact, problems)
    return Header(meta, (major, minor), length, tuple(problems))


def _metadata(text: bytes, name: str, intact: bool, problems: list[str]) -> TraceMeta:
    """The metadata; of a damaged header whatever can be had, so that its records open."""
    try:
        try:
            return TraceMeta.from_json(load_json(text))
        except ValueError as problem:
            raise TraceError(f"the metadata is not JSON ({problem})") from None
    except TraceError as problem:
        if intact:
            raise TraceError(f"{name}: {problem}; {_REMEDY}") from None
        problems.append(f"the metadata cannot be read ({problem}): defaults are shown")
        return TraceMeta(origin="imported")
