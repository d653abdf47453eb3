"""The TD's RAM: one buffer, addressed by GPA, and its checkpoints.

Unicorn sees the buffer as physical memory from address 0; nested paging maps
GPAs to it (`nested.py`). The buffer holds what is at a GPA, whether the page
is private or shared now: whoever converts a page clears it, since real private
and shared memory are different pages.

A checkpoint is a persistent map of immutable pages: only pages that were
written since the last one are copied, and two checkpoints share what they have
in common, so any of them can be dropped at any time.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from tdxdbg.backends.emulated.watched import Watched
from tdxdbg.errors import BackendError

PAGE: Final = 4096
PAGE_SHIFT: Final = 12
_CHUNK_SHIFT: Final = 9

#: More than a small machine can hold twice.
LARGEST_RAM: Final = 4 << 30
#: Where nested paging ends (`nested.py`): GPAs from here on hold no RAM.
GPA_LIMIT: Final = 1 << 39

_ZEROES: Final = bytes(PAGE)

#: Python's default is memory that a forked process writes for both.
PRIVATE: Final = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


class Slot(NamedTuple):
    """A range of GPAs with RAM, in bytes, of whole pages."""

    gpa: int
    size: int


class RamImage:
    """What the RAM held at one moment; pages that are not in it are zero.

    `chunks` maps the upper bits of a page number to the pages of that chunk;
    they are shared between images and never change.
    """

    __slots__ = ("chunks", "new_bytes")

    def __init__(self, chunks: Mapping[int, Mapping[int, bytes]], new_bytes: int) -> None:
        """`new_bytes`: bytes of pages that this image does not share with its predecessor."""
        self.chunks = chunks
        self.new_bytes = new_bytes

    def page(self, number: int) -> bytes:
        chunk = self.chunks.get(number >> _CHUNK_SHIFT)
        return chunk.get(number, _ZEROES) if chunk is not None else _ZEROES


_EMPTY: Final = RamImage({}, 0)


class Memory:
    """RAM of a TD.

    Numbers of pages are those of the buffer, which need not be those of GPAs:
    `slots` follow each other in it. Bytes written from Python go through
    `write`, which notes the page as dirty and reports bytes that changed to
    `on_change` (the translated code of them is stale).
    """

    def __init__(self, slots: Iterable[Slot]) -> None:
        """Raise BackendError for slots that overlap, are too large or are no whole pages."""
        self.slots = tuple(sorted(slots))
        self.size = sum(slot.size for slot in self.slots)
        _check(self.slots, self.size)
        try:
            self.buffer = mmap.mmap(-1, self.size, flags=PRIVATE)
        except OSError as error:
            raise BackendError(f"no memory for {self.size} bytes of guest RAM: {error}") from error
        self._export = (ctypes.c_uint8 * self.size).from_buffer(self.buffer)
        self.address = ctypes.addressof(self._export)
        self.words = memoryview(self.buffer).cast("Q")
        self.dirty: set[int] = set()
        self.changed: list[tuple[int, int]] = []
        self.watched = Watched()
        self._starts = [slot.gpa for slot in self.slots]
        self._offsets = [0]
        for slot in self.slots:
            self._offsets.append(self._offsets[-1] + slot.size)
        self._base = _EMPTY

    # --- addresses --------------------------------------------------------------------

    def offset(self, gpa: int) -> int:
        """Where the byte at `gpa` (without the shared bit) is in the buffer; -1: nowhere."""
        index = bisect_right(self._starts, gpa) - 1
        if index < 0:
            return -1
        inside = gpa - self._starts[index]
        return self._offsets[index] + inside if inside < self.slots[index].size else -1

    def gpa_of_page(self, page: int) -> int:
        """The GPA of a page of the buffer."""
        offset = page << PAGE_SHIFT
        index = bisect_right(self._offsets, offset) - 1
        return self._starts[index] + offset - self._offsets[index]

    def _pieces(self, gpa: int, size: int) -> Iterator[tuple[int, int, int]] | None:
        """(offset in the buffer, offset in the data, size) for each page; None: not all RAM."""
        pieces = []
        done = 0
        while done < size:
            offset = self.offset(gpa + done)
            if offset < 0:
                return None
            step = min(size - done, PAGE - (offset & (PAGE - 1)))
            pieces.append((offset, done, step))
            done += step
        return iter(pieces)

    # --- bytes ------------------------------------------------------------------------

    def read(self, gpa: int, size: int) -> bytes | None:
        """`size` bytes at `gpa` (without the shared bit), or None where there is no RAM."""
        pieces = self._pieces(gpa, size)
        if pieces is None:
            return None
        buffer = self.buffer
        return b"".join(buffer[offset : offset + step] for offset, _, step in pieces)

    def write(self, gpa: int, data: bytes) -> bool:
        """Write all of `data`, or nothing and return False where there is no RAM."""
        pieces = self._pieces(gpa, len(data))
        if pieces is None:
            return False
        for offset, done, step in pieces:
            self.put(offset, data[done : done + step])
        return True

    def put(self, offset: int, data: bytes) -> None:
        """Write bytes that do not cross a page, by their offset in the buffer."""
        end = offset + len(data)
        if self.buffer[offset:end] == data:
            return
        self.buffer[offset:end] = data
        self.dirty.add(offset >> PAGE_SHIFT)
        self.changed.append((offset, end))

    def zero(self, gpa: int, size: int) -> None:
        """Clear what is RAM of whole pages at `gpa`; `size` in bytes may be anything."""
        end = gpa + size
        for slot in self.slots:
            low, high = max(gpa, slot.gpa), min(end, slot.gpa + slot.size)
            for page in range(low, high, PAGE):
                self.put(self.offset(page), _ZEROES)

    def digest(self) -> str:
        """SHA-256 of the whole RAM, in hex."""
        return hashlib.sha256(self.buffer).hexdigest()

    # --- watched bytes ----------------------------------------------------------------

    def ranges(self, gpa: int, size: int) -> list[tuple[int, int]]:
        """(start, end) in the buffer of what is RAM of [gpa, gpa + size)."""
        found = []
        for slot in self.slots:
            low, high = max(gpa, slot.gpa), min(gpa + size, slot.gpa + slot.size)
            if low < high:
                start = self.offset(low)
                found.append((start, start + high - low))
        return found

    def before_write(self, gpa: int, size: int, who: str) -> None:
        """Somebody other than the CPU is about to write; raises WatchedError."""
        if self.watched.ranges:
            for start, end in self.ranges(gpa, size):
                self.watched.check(start, end - start, who)

    # --- checkpoints ------------------------------------------------------------------

    def checkpoint(self) -> tuple[RamImage, tuple[int, ...]]:
        """What the RAM holds now, and the pages that were dirty (they count as clean again)."""
        buffer, base = self.buffer, self._base
        chunks = dict(base.chunks)
        fresh: dict[int, dict[int, bytes]] = {}
        new_bytes = 0
        pages = tuple(sorted(self.dirty))
        for page in pages:
            start = page << PAGE_SHIFT
            data = buffer[start : start + PAGE]
            if data == base.page(page):
                continue
            number = page >> _CHUNK_SHIFT
            if number not in fresh:
                fresh[number] = dict(chunks.get(number, {}))
            if data == _ZEROES:
                data = _ZEROES
            else:
                new_bytes += PAGE
            fresh[number][page] = data
        self.dirty.clear()
        if fresh:
            chunks.update(fresh)
            self._base = RamImage(chunks, new_bytes)
        elif base.new_bytes:
            self._base = RamImage(base.chunks, 0)
        return self._base, pages

    def restore(self, image: RamImage) -> tuple[int, ...]:
        """Make the RAM what it was; returns the pages that may have been writable."""
        buffer, base = self.buffer, self._base
        suspects = set(self.dirty)
        for number in base.chunks.keys() | image.chunks.keys():
            old, new = base.chunks.get(number, {}), image.chunks.get(number, {})
            if old is not new:
                suspects.update(
                    page
                    for page in old.keys() | new.keys()
                    if old.get(page, _ZEROES) is not new.get(page, _ZEROES)
                )
        for page in suspects:
            start = page << PAGE_SHIFT
            buffer[start : start + PAGE] = image.page(page)
        dirty = tuple(self.dirty)
        self.dirty.clear()
        self.changed.clear()
        self._base = image
        return dirty


def _check(slots: tuple[Slot, ...], size: int) -> None:
    if not slots or size > LARGEST_RAM:
        raise BackendError(
            f"guest RAM of {size} bytes: the emulated backend takes 4096 to {LARGEST_RAM}"
        )
    end = 0
    for slot in slots:
        if slot.gpa < end or slot.size <= 0 or (slot.gpa | slot.size) & (PAGE - 1):
            raise BackendError(
                f"guest RAM at {slot.gpa:#x}, {slot.size:#x} bytes: "
                "it must be whole pages and overlap nothing"
            )
        end = slot.gpa + slot.size
    if end > GPA_LIMIT:
        raise BackendError(f"guest RAM ends at {end:#x}: it must end below {GPA_LIMIT:#x}")
