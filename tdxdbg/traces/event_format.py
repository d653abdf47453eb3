"""The kernel's description of its own trace events, as trace.dat and perf.data carry it.

Both files hold copies of `events/header_page` and `events/<system>/<event>/format`,
one behind another (facts: kvm_and_traces B1; trace-cmd.dat(5)). Where a field
lies is taken from there, never from what some kernel is known to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from io import SEEK_END, BytesIO
from typing import BinaryIO, Final, NamedTuple

from tdxdbg.errors import TraceError

#: A format file of the kernel fits into a few pages; so many of them are looked at.
_MAX_FORMATS: Final = 1 << 16
#: No description in such a file is longer, in bytes; kallsyms may be, and is passed over.
MAX_TAKE: Final = 4 << 20
_MAX_TEXT: Final = 4096
_FIELD: Final = re.compile(
    rb"\tfield:([^;\n]{1,200});\s*offset:(\d{1,5});\s*size:(\d{1,5});(?:\s*signed:([01]);)?"
)
_NAME: Final = re.compile(rb"name: (\w{1,100})\nID: (\d{1,9})\n")
_WORD: Final = re.compile(rb"(\w+)\s*(?:\[[^\]]*\])?$")


class Field(NamedTuple):
    """Where a field lies in an event's bytes."""

    offset: int
    size: int
    signed: bool


class EventFormat(NamedTuple):
    """One event of the kernel: its number in this file, and its fields."""

    system: str
    name: str
    number: int
    fields: Mapping[str, Field]


class Cursor:
    """Reads a file that may say anything: every length is checked against what is there.

    Raises TraceError, which names the file and what was being read.
    """

    def __init__(self, file: BinaryIO, name: str, start: int = 0, end: int | None = None) -> None:
        self.file = file
        self.name = name
        self.at = start
        self.end = file.seek(0, SEEK_END)
        if end is not None:
            self.end = min(end, self.end)

    @classmethod
    def of(cls, data: bytes, name: str) -> Cursor:
        """One over bytes."""
        return cls(BytesIO(data), name)

    def skip(self, size: int, what: str) -> None:
        """Passes over the next `size` bytes."""
        if not 0 <= size <= self.end - self.at:
            raise TraceError(
                f"{self.name}: {what}: {size} bytes at offset {self.at:#x}, and only "
                f"{max(self.end - self.at, 0)} are there; the file is cut off or damaged"
            )
        self.at += size

    def take(self, size: int, what: str) -> bytes:
        """The next `size` bytes; a description is never longer than MAX_TAKE."""
        start = self.at
        self.skip(size, what)
        if size > MAX_TAKE:
            raise TraceError(
                f"{self.name}: {what}: {size} bytes at offset {start:#x} are too many; "
                "the file is damaged"
            )
        self.file.seek(start)
        data = self.file.read(size)
        if len(data) < size:
            raise TraceError(f"{self.name}: became shorter while it was read; open it again")
        return data

    def number(self, size: int, what: str) -> int:
        """The next number of `size` bytes, little-endian."""
        return int.from_bytes(self.take(size, what), "little")

    def text(self, what: str) -> bytes:
        """The next bytes up to a NUL, which is passed over."""
        start = self.at
        piece = self.take(min(_MAX_TEXT, max(self.end - start, 0)), what)
        length = piece.find(b"\0")
        if length < 0:
            raise TraceError(
                f"{self.name}: {what} at offset {start:#x} does not end; "
                "the file is cut off or damaged"
            )
        self.at = start + length + 1
        return piece[:length]


def fields_of(text: bytes) -> dict[str, Field]:
    """The fields of a format file, by name."""
    fields = {}
    for declaration, offset, size, signed in _FIELD.findall(text):
        word = _WORD.search(declaration)
        if word is not None:
            name = word[1].decode()
            fields[name] = Field(int(offset), int(size), signed == b"1")
    return fields


def parse_format(system: str, text: bytes) -> EventFormat | None:
    """One format file; None when it is none."""
    head = _NAME.match(text)
    if head is None:
        return None
    return EventFormat(system, head[1].decode(), int(head[2]), fields_of(text))


class PageLayout(NamedTuple):
    """`header_page`: where a page of the ring buffer keeps its time, its length and its events."""

    timestamp: int
    commit: int
    commit_size: int
    data: int


def read_header_page(cursor: Cursor) -> PageLayout:
    """`header_page` and `header_event`, as they start trace-cmd's and perf's descriptions."""
    _expect(cursor, b"header_page\0")
    page = fields_of(cursor.take(cursor.number(8, "header_page"), "header_page"))
    _expect(cursor, b"header_event\0")
    cursor.take(cursor.number(8, "header_event"), "header_event")
    fields = [page.get(name) for name in ("timestamp", "commit", "data")]
    timestamp, commit, data = fields
    if timestamp is None or commit is None or data is None:
        raise TraceError(
            f"{cursor.name}: header_page has no timestamp, commit or data; the file is damaged"
        )
    if timestamp.size != 8 or commit.size not in (4, 8) or data.offset % 4 or data.offset > 64:
        raise TraceError(f"{cursor.name}: header_page is none of a 64-bit or 32-bit kernel")
    return PageLayout(timestamp.offset, commit.offset, commit.size, data.offset)


def skip_ftrace_formats(cursor: Cursor) -> None:
    """Passes over the formats of the tracers' own events."""
    for _ in range(_count(cursor, "the number of ftrace formats")):
        cursor.take(cursor.number(8, "a format"), "an ftrace format")


def read_formats(cursor: Cursor) -> Iterator[EventFormat]:
    """The formats of the systems' events; what cannot be read as one is passed over."""
    for _ in range(_count(cursor, "the number of systems")):
        system = cursor.text("the name of a system").decode("ascii", "replace")
        for _ in range(_count(cursor, f"the number of events of {system!r}")):
            text = cursor.take(cursor.number(8, "a format"), f"a format of {system!r}")
            found = parse_format(system, text)
            if found is not None:
                yield found


def skip_symbols(cursor: Cursor) -> None:
    """Passes over kallsyms and the formats of trace_printk."""
    cursor.skip(cursor.number(4, "kallsyms"), "kallsyms")
    cursor.skip(cursor.number(4, "printk formats"), "printk formats")


def _count(cursor: Cursor, what: str) -> int:
    count = cursor.number(4, what)
    if count > _MAX_FORMATS:
        raise TraceError(f"{cursor.name}: {what} is {count}; the file is damaged")
    return count


def _expect(cursor: Cursor, word: bytes) -> None:
    at = cursor.at
    if cursor.take(len(word), word[:-1].decode()) != word:
        raise TraceError(
            f"{cursor.name}: no {word[:-1].decode()} at offset {at:#x}; the file is damaged"
        )
