"""The archive form of a `.tdxt`: zstd, in blocks that are unpacked when they are looked at.

It is a file in zstd's seekable format (a frame for the header, one for every
4096 records, and a table of them in a skippable frame at the end), so `zstd -d`
makes the plain trace of it. The reader is `Trace`, over memory into which a
frame is unpacked before it is read, and out of which the longest unused go.
"""

from __future__ import annotations

import mmap
import os
import weakref
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from struct import Struct
from struct import error as struct_error
from typing import BinaryIO, Final, NamedTuple

import zstandard

from tdxdbg.errors import TraceError
from tdxdbg.traces import layout
from tdxdbg.traces.layout import RECORD_SIZE
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import Record
from tdxdbg.traces.unpack import Slots

#: Records in a frame.
BLOCK: Final = 4096
MAGIC: Final = b"\x28\xb5\x2f\xfd"
_LEVEL: Final = 3
#: Skippable frame: magic, size of what follows.
_SKIPPABLE: Final = Struct("<II")
_SKIPPABLE_MAGIC: Final = 0x184D_2A5E
#: Of the table: sizes of a frame in the file and unpacked; number of frames, flags, magic.
_ENTRY: Final = Struct("<II")
_FOOTER: Final = Struct("<IBI")
_FOOTER_MAGIC: Final = 0x8F92_EAB1
_CHECKSUMS: Final = 0x80
_RESERVED: Final = 0x7C
#: Frames of others may be as large; a file with larger ones is unpacked as a whole.
_LARGEST: Final = 16 << 20
_MOST_FRAMES: Final = 1 << 22
#: Unpacked bytes that are kept.
_KEPT: Final = 256 << 20
_MAP: Final = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
#: MAP_NORESERVE, which the module has no name for before Python 3.13: the map may be
#: larger than the machine's memory, of which it takes what is unpacked.
_NORESERVE: Final = 0x4000


class Table(NamedTuple):
    """Where each frame starts in the file and, unpacked, in the trace; and where the last ends."""

    packed: list[int]
    starts: list[int]


def read_table(file: BinaryIO) -> Table | None:
    """The table of a seekable file; None when it is none, or not one to be read by parts."""
    size = os.fstat(file.fileno()).st_size
    at = size - _FOOTER.size
    if at < _SKIPPABLE.size:
        return None
    count, flags, magic = _FOOTER.unpack(os.pread(file.fileno(), _FOOTER.size, at))
    if magic != _FOOTER_MAGIC or flags & _RESERVED or not 0 < count <= _MOST_FRAMES:
        return None
    entry = _ENTRY.size + (4 if flags & _CHECKSUMS else 0)
    start = at - count * entry
    if start < _SKIPPABLE.size:
        return None
    head = os.pread(file.fileno(), _SKIPPABLE.size, start - _SKIPPABLE.size)
    data = os.pread(file.fileno(), count * entry, start)
    if head != _SKIPPABLE.pack(_SKIPPABLE_MAGIC, count * entry + _FOOTER.size):
        return None
    table = Table([0], [0])
    for place in range(0, len(data), entry):
        packed, unpacked = _ENTRY.unpack_from(data, place)
        if unpacked > _LARGEST or packed > _LARGEST:
            return None
        table.packed.append(table.packed[-1] + packed)
        table.starts.append(table.starts[-1] + unpacked)
    return table if table.packed[-1] == start - _SKIPPABLE.size else None


class _Memory:
    """As many bytes as there are unpacked, of which those are there that were asked for."""

    def __init__(self, fd: int, table: Table) -> None:
        """Raises OSError when there is no room for the map."""
        self.damaged = 0
        self._fd = fd
        self._table = table
        self._unpacker = zstandard.ZstdDecompressor(max_window_size=_LARGEST)
        #: Frames that are unpacked, those that were used last at the end.
        self._there: OrderedDict[int, int] = OrderedDict()
        self._size = 0
        self.map = mmap.mmap(-1, table.starts[-1], flags=_MAP | _NORESERVE)

    def need(self, start: int, stop: int) -> None:
        """Unpack what bytes [start, stop) are in; what cannot be unpacked stays zero."""
        starts = self._table.starts
        frame = bisect_right(starts, start) - 1
        while frame < len(starts) - 1 and starts[frame] < stop:
            if frame in self._there:
                self._there.move_to_end(frame)
            else:
                self._unpack(frame)
            frame += 1
        while self._size > _KEPT:
            oldest = next(iter(self._there))
            if starts[oldest + 1] > start and starts[oldest] < stop:
                break
            self._drop(oldest)

    def _unpack(self, frame: int) -> None:
        packed, starts = self._table.packed, self._table.starts
        size = starts[frame + 1] - starts[frame]
        self._there[frame] = size
        self._size += size
        data = os.pread(self._fd, packed[frame + 1] - packed[frame], packed[frame])
        try:
            said = zstandard.get_frame_parameters(data).content_size
            # A frame may leave it out; one that says something else is not looked at.
            if said not in (size, zstandard.CONTENTSIZE_UNKNOWN):
                raise zstandard.ZstdError("another size than the table says")
            plain = self._unpacker.decompress(data, max_output_size=size) if size else b""
        except (zstandard.ZstdError, MemoryError):
            plain = b""
        if len(plain) != size:
            self.damaged += 1
            return
        self.map[starts[frame] : starts[frame + 1]] = plain

    def _drop(self, frame: int) -> None:
        self._size -= self._there.pop(frame)
        starts = self._table.starts
        # Whole pages of it: a page at its edge has another frame's bytes too.
        first = -(-starts[frame] // mmap.PAGESIZE) * mmap.PAGESIZE
        stop = starts[frame + 1] // mmap.PAGESIZE * mmap.PAGESIZE
        if first < stop:
            self.map.madvise(mmap.MADV_DONTNEED, first, stop - first)


class _ArchiveSlots(Slots):
    """Slots that are unpacked before they are looked at."""

    __slots__ = ("_need",)

    def __init__(self, view: memoryview, start: int, need: Callable[[int, int], None]) -> None:
        super().__init__(view, start, 0)
        self._need = need

    def _fetch(self, index: int) -> None:
        at = self.start + index * RECORD_SIZE
        self._need(at, at + RECORD_SIZE)

    def part(self, first: int, stop: int) -> memoryview:
        self._need(self.offset(first), self.offset(stop))
        return super().part(first, stop)

    def kind(self, index: int) -> int:
        self._fetch(index)
        return super().kind(index)

    def vcpu(self, index: int) -> int:
        self._fetch(index)
        return super().vcpu(index)

    def is_good(self, index: int) -> bool:
        self._fetch(index)
        return super().is_good(index)

    def number(self, index: int, field_at: int) -> int:
        self._fetch(index)
        return super().number(index, field_at)

    def parts(self, index: int) -> int:
        self._fetch(index)
        return super().parts(index)

    def record(self, index: int) -> Record:
        self._fetch(index)
        return super().record(index)


class Archive(Trace):
    """A trace in an archive; it does not grow."""

    def __init__(self, memory: _Memory, name: str) -> None:
        """Raises TraceError when what is unpacked is no trace."""
        self._memory = memory
        memory.need(0, layout.HEADER_UNIT)
        super().__init__(memory.map, name)

    def _slots_of(self, view: memoryview, start: int) -> Slots:
        self._memory.need(0, start)
        return _ArchiveSlots(view, start, self._memory.need)

    @property
    def head(self) -> memoryview:
        self._memory.need(0, self._header.length)
        return super().head

    @property
    def problems(self) -> list[str]:
        lines = super().problems
        if self._memory.damaged:
            lines.append(f"{self._memory.damaged} blocks of the archive are damaged")
        return lines


def open_archive(file: BinaryIO, name: str) -> Archive | None:
    """A regular file as an archive; None when it is not one. Raises TraceError."""
    table = read_table(file)
    if table is None or not layout.HEADER_UNIT <= table.starts[-1] < 1 << 47:
        return None
    fd = os.dup(file.fileno())
    try:
        memory = _Memory(fd, table)
        memory.need(0, len(layout.MAGIC))
        if memory.map[: len(layout.MAGIC)] != layout.MAGIC:
            os.close(fd)
            return None
        trace = Archive(memory, name)
    except OSError as problem:
        os.close(fd)
        raise TraceError(f"{name}: cannot be mapped: {problem.strerror}") from None
    except (TraceError, struct_error):
        os.close(fd)
        raise
    weakref.finalize(trace, os.close, fd)
    return trace


class ArchiveWriter:
    """Makes an archive of the bytes of a `.tdxt`, of which the first are its header."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        self._sizes = bytearray()
        self._left = bytearray()
        self._begun = False

    def write(self, data: bytes | memoryview) -> int:
        """Take bytes of the trace; those of the first call are the header."""
        if not self._begun:
            self._begun = True
            self._frame(bytes(data))
            return len(data)
        left = self._left
        left += data
        while len(left) >= BLOCK * RECORD_SIZE:
            self._frame(bytes(left[: BLOCK * RECORD_SIZE]))
            del left[: BLOCK * RECORD_SIZE]
        return len(data)

    def finish(self) -> None:
        """Write what is left, and the table."""
        if self._left:
            self._frame(bytes(self._left))
            self._left.clear()
        frames = len(self._sizes) // _ENTRY.size
        size = len(self._sizes) + _FOOTER.size
        self._write(_SKIPPABLE.pack(_SKIPPABLE_MAGIC, size))
        self._write(bytes(self._sizes) + _FOOTER.pack(frames, 0, _FOOTER_MAGIC))

    def _frame(self, plain: bytes) -> None:
        packed = self._packer.compress(plain)
        self._write(packed)
        self._sizes += _ENTRY.pack(len(packed), len(plain))
