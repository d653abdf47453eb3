"""Writes QEMU's simple trace format, as it is described."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence

from tests.traces.trace_dat_files import DATA

MAGIC = struct.pack("<QQQ", (1 << 64) - 1, 0xF2B1_77CB_0AA4_29B4, 4)
_LINE = re.compile(rb"(\d+)@(\d+)\.(\d{6}):(\w+) ?(.*)")
#: A number in hex or decimal, or a text in quotes or of words.
_VALUE = re.compile(rb"0x[0-9a-f]+|\(nil\)|'[^']*'|(?<![\w])-?\d+|\w+_to_\w+")

Value = int | bytes


def mapping(event: int, name: bytes) -> bytes:
    return struct.pack("<QQI", 0, event, len(name)) + name


def event(number: int, time: int, values: Iterable[Value], process: int = 77) -> bytes:
    data = b"".join(
        struct.pack("<I", len(value)) + value if isinstance(value, bytes)
        else struct.pack("<Q", value % (1 << 64))
        for value in values
    )  # fmt: skip
    return struct.pack("<QQQII", 1, number, time, 24 + len(data), process) + data


def dropped(count: int) -> bytes:
    return event((1 << 64) - 2, 0, (count,), 0)


def value(text: bytes) -> Value:
    if text == b"(nil)":
        return 0
    if text[:1].isdigit() or text[:1] == b"-":
        return int(text, 0)
    return text.strip(b"'")


def of_log(name: str) -> tuple[bytes, Sequence[bytes]]:
    """A log of QEMU in this format, and its lines."""
    names: dict[bytes, int] = {}
    parts, kept = [MAGIC], []
    for line in (DATA / name).read_bytes().splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        _, seconds, micros, event_name, text = found.groups()
        if event_name not in names:
            names[event_name] = len(names)
            parts.append(mapping(names[event_name], event_name))
        values = [value(item) for item in _VALUE.findall(text)]
        parts.append(event(names[event_name], int(seconds + micros) * 1000, values))
        kept.append(line)
    return b"".join(parts), kept
