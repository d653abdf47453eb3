"""How a `trace.dat` file is built: versions 6 and 7 of trace-cmd's format.

Facts: trace-cmd.dat.v6(5), trace-cmd.dat.v7(5). Version 6 is one sequence of
descriptions; version 7 is a chain of options, which say where the sections
are, each of which may be compressed. No number in the file is believed before
it was compared with what is there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO, Final, NamedTuple

from tdxdbg.errors import TraceError
from tdxdbg.traces import inflate
from tdxdbg.traces.event_format import (
    MAX_TAKE,
    Cursor,
    EventFormat,
    PageLayout,
    read_formats,
    read_header_page,
    skip_ftrace_formats,
    skip_symbols,
)

MAGIC: Final = b"\x17\x08\x44tracing"
_MAX_CPUS: Final = 1 << 16
_MAX_OPTIONS: Final = 1 << 16
_PAGE_SIZES: Final = tuple(1 << bits for bits in range(12, 23))
_CLOCK: Final = re.compile(rb"\[([\w-]{1,32})\]|^([\w-]{1,32})$")
_TASK: Final = re.compile(rb"^(\d{1,10}) (.{1,64})$", re.MULTILINE)
_RELEASE: Final = re.compile(rb"\S{1,64} \S{1,256} (\S{1,128})")

# Sections and options of version 7; the first ones are options of version 6 too.
_DONE: Final = 0
_DATE: Final = 1
_BUFFER: Final = 3
_TRACE_CLOCK: Final = 4
_UNAME: Final = 5
_OFFSET: Final = 7
_HEADERS: Final = 16
_FORMATS: Final = 18
_CMDLINES: Final = 21
_COMPRESSED: Final = 1


class Stream(NamedTuple):
    """Pages of one CPU: where they are in the file."""

    cpu: int
    offset: int
    size: int


@dataclass
class Buffer:
    """The ring buffer of one trace instance; the main one has no name."""

    name: str
    clock: str
    page_size: int
    streams: list[Stream]

    @property
    def size(self) -> int:
        """How many bytes its pages have."""
        return sum(stream.size for stream in self.streams)


@dataclass
class Layout:
    """What a file says of itself. `time_offset` in ns is to be added to each time."""

    page: PageLayout
    formats: list[EventFormat]
    buffers: list[Buffer] = field(default_factory=list)
    #: What threads are called.
    tasks: dict[int, bytes] = field(default_factory=dict)
    kernel: str = ""
    time_offset: int = 0
    #: The name of the compression, "" for none.
    compression: str = ""


def read_layout(file: BinaryIO, name: str) -> Layout:
    """Everything but the events; raises TraceError."""
    cursor = Cursor(file, name)
    if cursor.take(len(MAGIC), "the first bytes") != MAGIC:
        raise TraceError(f"{name}: not a trace.dat file")
    version = cursor.text("the version")
    big_endian, long_size = cursor.take(2, "byte order and size of a long")
    if big_endian:
        raise TraceError(f"{name}: written by a big-endian machine, which has no TDX")
    if long_size not in (4, 8):
        raise TraceError(f"{name}: impossible size of a long {long_size}; the file is damaged")
    page_size = _page_size(cursor)
    if version == b"6":
        return _version_6(cursor, page_size)
    if version == b"7":
        return _version_7(cursor)
    shown = version[:20].decode("ascii", "replace")
    raise TraceError(
        f"{name}: trace.dat version {shown!r} is not read, only 6 and 7; "
        "convert it with trace-cmd convert --file-version 7"
    )


def _page_size(cursor: Cursor) -> int:
    size = cursor.number(4, "the page size")
    if size not in _PAGE_SIZES:
        raise TraceError(f"{cursor.name}: impossible page size {size}; the file is damaged")
    return size


def _clock(text: bytes) -> str:
    found = _CLOCK.search(text.strip(b"\0\n "))
    return (found[1] or found[2]).decode() if found is not None else ""


def _kernel(text: bytes) -> str:
    found = _RELEASE.match(text)
    return found[1].decode("ascii", "replace") if found is not None else ""


def _nanoseconds(text: bytes, unit: int) -> int:
    try:
        return int(text.strip(b"\0\n ")[:30], 0) * unit
    except ValueError:
        return 0


def _tasks(cursor: Cursor) -> dict[int, bytes]:
    """The saved command lines: a number and a name in each."""
    text = cursor.take(cursor.number(8, "saved command lines"), "saved command lines")
    return {int(number): name for number, name in _TASK.findall(text)}


def _streams(cursor: Cursor, entries: list[tuple[int, int, int]]) -> list[Stream]:
    """The pages of CPUs; they cannot be more than the file."""
    if sum(size for _, _, size in entries) > cursor.end:
        raise TraceError(
            f"{cursor.name}: its CPUs have more bytes than the file; it is cut off or damaged"
        )
    return [Stream(*entry) for entry in entries if entry[2]]


# --- version 6 ------------------------------------------------------------------------


def _version_6(cursor: Cursor, page_size: int) -> Layout:
    page = read_header_page(cursor)
    skip_ftrace_formats(cursor)
    layout = Layout(page, list(read_formats(cursor)))
    skip_symbols(cursor)
    layout.tasks = _tasks(cursor)
    cpus = cursor.number(4, "the number of CPUs")
    if cpus > _MAX_CPUS:
        raise TraceError(f"{cursor.name}: {cpus} CPUs; the file is damaged")
    clock = ""
    kind = cursor.take(10, "the kind of data")
    if kind == b"options  \0":
        clock = _options_6(cursor, layout)
        kind = cursor.take(10, "the kind of data")
    if kind == b"latency  \0":
        raise TraceError(
            f"{cursor.name}: holds the text of a latency tracer, and no events; "
            "record with trace-cmd record -e kvm"
        )
    if kind != b"flyrecord\0":
        raise TraceError(f"{cursor.name}: unknown kind of data {kind!r}; the file is damaged")
    entries = []
    for cpu in range(cpus):
        offset = cursor.number(8, "the offset of a CPU")
        entries.append((cpu, offset, cursor.number(8, "the size of a CPU")))
    streams = _streams(cursor, entries)
    if not clock and entries:
        clock = _clock_behind(cursor)
    layout.buffers.insert(0, Buffer("", clock, page_size, streams))
    return layout


def _clock_behind(cursor: Cursor) -> str:
    """The clock that stands behind the table of CPUs, without an option."""
    try:
        return _clock(cursor.take(cursor.number(8, "the clock"), "the clock"))
    except TraceError:
        return ""


def _options_6(cursor: Cursor, layout: Layout) -> str:
    clock = ""
    for _ in range(_MAX_OPTIONS):
        option = cursor.number(2, "an option")
        if option == _DONE:
            break
        data = cursor.take(cursor.number(4, "an option"), "an option")
        if option == _TRACE_CLOCK:
            clock = _clock(data)
        elif option == _BUFFER:
            name = data[8:].split(b"\0")[0].decode("utf-8", "replace")
            layout.buffers.append(Buffer(name, "", 0, []))
        else:
            _common_option(layout, option, data)
    return clock


def _common_option(layout: Layout, option: int, data: bytes) -> None:
    if option == _UNAME:
        layout.kernel = _kernel(data)
    elif option == _DATE:
        layout.time_offset += _nanoseconds(data, 1000)
    elif option == _OFFSET:
        layout.time_offset += _nanoseconds(data, 1)


# --- version 7 ------------------------------------------------------------------------


class _Sections:
    """Options of version 7, and where the sections are that they name."""

    def __init__(self, cursor: Cursor, compression: str) -> None:
        self._cursor = cursor
        self._compression = compression

    def section(self, offset: int, kind: int) -> Cursor:
        """A section's bytes, decompressed."""
        cursor = Cursor(self._cursor.file, self._cursor.name, offset)
        found = cursor.number(2, f"section {kind}")
        flags = cursor.number(2, f"section {kind}")
        cursor.skip(4, f"section {kind}")
        size = cursor.number(8, f"section {kind}")
        if found != kind:
            raise TraceError(
                f"{cursor.name}: section {found} instead of {kind} at offset {offset:#x}; "
                "the file is damaged"
            )
        start = cursor.at
        cursor.skip(size, f"section {kind}")
        inner = Cursor(cursor.file, cursor.name, start, cursor.at)
        if not flags & _COMPRESSED:
            return inner
        packed = inner.number(4, f"section {kind}")
        length = inner.number(4, f"section {kind}")
        data = inner.take(packed, f"section {kind}")
        return Cursor(
            BytesIO(inflate.inflate(self._compression, data, length, cursor.name)), cursor.name
        )


def _version_7(cursor: Cursor) -> Layout:
    compression = cursor.text("the compression").decode("ascii", "replace")
    cursor.text("the version of the compression")
    if compression == "none":
        compression = ""
    offset = cursor.number(8, "the offset of the options")
    sections = _Sections(cursor, compression)
    options = _options_7(sections, offset, cursor.name)
    where = {}
    for option, data in options:
        if option in (_HEADERS, _FORMATS, _CMDLINES):
            where[option] = Cursor.of(data, cursor.name).number(8, "the offset of a section")
    missing = [name for option, name in _NEEDED.items() if option not in where]
    if missing:
        raise TraceError(f"{cursor.name}: has no section of {missing[0]}; it was not finished")
    page = read_header_page(sections.section(where[_HEADERS], _HEADERS))
    formats = list(read_formats(sections.section(where[_FORMATS], _FORMATS)))
    layout = Layout(page, formats, compression=compression)
    if _CMDLINES in where:
        layout.tasks = _tasks(sections.section(where[_CMDLINES], _CMDLINES))
    for option, data in options:
        if option == _BUFFER:
            layout.buffers.append(_buffer_7(cursor, Cursor.of(data, cursor.name)))
        else:
            _common_option(layout, option, data)
    return layout


_NEEDED: Final = {_HEADERS: "headers", _FORMATS: "event formats"}


def _options_7(sections: _Sections, offset: int, name: str) -> list[tuple[int, bytes]]:
    options: list[tuple[int, bytes]] = []
    seen: set[int] = set()
    while offset:
        if offset in seen:
            raise TraceError(f"{name}: its options go round in a circle; the file is damaged")
        seen.add(offset)
        cursor = sections.section(offset, 0)
        offset = 0
        while cursor.at < cursor.end:
            option = cursor.number(2, "an option")
            data = cursor.take(cursor.number(4, "an option"), "an option")
            if option == _DONE:
                offset = int.from_bytes(data[:8], "little")
                break
            options.append((option, data))
            if len(options) > _MAX_OPTIONS:
                raise TraceError(f"{name}: too many options; the file is damaged")
    return options


def _buffer_7(file: Cursor, cursor: Cursor) -> Buffer:
    cursor.skip(8, "a buffer")
    name = cursor.text("the name of a buffer").decode("utf-8", "replace")
    clock = _clock(cursor.text("the clock of a buffer"))
    page_size = _page_size(cursor)
    cpus = cursor.number(4, "the number of CPUs")
    entries = []
    for _ in range(cpus):
        cpu = cursor.number(4, "a CPU")
        offset = cursor.number(8, "the offset of a CPU")
        entries.append((cpu, offset, cursor.number(8, "the size of a CPU")))
    return Buffer(name, clock, page_size, _streams(file, entries))


# --- the pages of a CPU ---------------------------------------------------------------


class Pages:
    """Whole pages of one CPU, in order. `problem` says why they ended early, once they did."""

    def __init__(self, file: BinaryIO, name: str, stream: Stream, page_size: int) -> None:
        self._cursor = Cursor(file, name, stream.offset, stream.offset + stream.size)
        self._page_size = page_size
        missing = stream.offset + stream.size - self._cursor.end
        self.problem = f"{missing} bytes are missing" if missing > 0 else ""

    def read(self, pages: int) -> list[tuple[int, int, bytes]]:
        """About `pages` more: (offset, step, bytes); empty at the end.

        The offset in the file of a byte is `offset` and `step` times its place.
        """
        cursor = self._cursor
        whole = max(cursor.end - cursor.at, 0) // self._page_size
        size = min(pages, whole, MAX_TAKE // self._page_size) * self._page_size
        return [(cursor.at, 1, cursor.take(size, "pages"))] if size else []


class CompressedPages:
    """The same where they are in compressed chunks."""

    def __init__(
        self, file: BinaryIO, name: str, stream: Stream, page_size: int, compression: str
    ) -> None:
        # The size that the file names leaves the number of chunks out.
        self._cursor = Cursor(file, name, stream.offset)
        self._page_size = page_size
        self._compression = compression
        self._chunks: int | None = None
        self.problem = ""

    def read(self, pages: int) -> list[tuple[int, int, bytes]]:
        """See Pages.read; events have the offset of their chunk."""
        found: list[tuple[int, int, bytes]] = []
        wanted = pages * self._page_size
        try:
            if self._chunks is None:
                self._chunks = self._cursor.number(4, "the number of chunks")
            while self._chunks and wanted > 0:
                self._chunks -= 1
                start = self._cursor.at
                plain = self._chunk()
                whole = plain[: len(plain) // self._page_size * self._page_size]
                if whole:
                    found.append((start, 0, whole))
                wanted -= len(plain)
        except TraceError as problem:
            self._chunks = 0
            self.problem = str(problem).removeprefix(f"{self._cursor.name}: ")
        return found

    def _chunk(self) -> bytes:
        cursor = self._cursor
        packed = cursor.number(4, "a chunk")
        length = cursor.number(4, "a chunk")
        data = cursor.take(packed, "a chunk")
        return inflate.inflate(self._compression, data, length, cursor.name)


PageReader = Pages | CompressedPages


def open_pages(file: BinaryIO, name: str, layout: Layout, buffer: Buffer) -> list[PageReader]:
    """The pages of each CPU of a buffer."""
    if layout.compression:
        return [
            CompressedPages(file, name, stream, buffer.page_size, layout.compression)
            for stream in buffer.streams
        ]
    return [Pages(file, name, stream, buffer.page_size) for stream in buffer.streams]
