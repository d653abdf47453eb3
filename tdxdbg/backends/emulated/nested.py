"""The nested page table: which GPAs the CPU reaches without asking.

It is a cache of the TDX module's answers, empty at the start. A page that the
module let through is entered read-only; the first write to it faults once
more and makes it dirty, which is how checkpoints know what to copy. A page
with translated code stays read-only: Unicorn looks for code only before the
first store to a page by one of its addresses, and later ones would leave stale
code.

Shared GPAs cannot be in it: Unicorn knows 40 bits of physical address, so a
guest entry with the shared bit is a #PF with RSVD. For the time of one
instruction its entry is pointed at a *window* above the RAM, the TLB takes the
translation, and both are put back (facts: emulated_vcpu 2).
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterable
from typing import Final

from tdxdbg.backends.emulated.memory import GPA_LIMIT, PAGE, PAGE_SHIFT, PRIVATE, Memory

#: Physical address of the tables, above the largest RAM.
TABLES_AT: Final = 0xE0_1000_0000

#: Bytes around an address for which the module is asked at once.
AROUND: Final = 16 * PAGE

WINDOWS: Final = 4
_WINDOW_SIZE: Final = 1 << 30

_PRESENT: Final = 1
_WRITE: Final = 2
#: Accessed and dirty, so that no walk has to write here.
_ENTRY: Final = 0x65
_TABLE: Final = 0x67

_SHIFTS: Final = (39, 30, 21)
_ENTRIES: Final = 512
_NO_ENTRIES: Final = memoryview(bytes(PAGE)).cast("Q")


class NestedTable:
    """GPA -> offset in the RAM buffer, as the CPU walks it."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._tables: dict[tuple[int, int], int] = {}
        self._marks = mmap.mmap(-1, 2 * (memory.size >> PAGE_SHIFT), flags=PRIVATE)
        self._marks_export = (ctypes.c_uint8 * len(self._marks)).from_buffer(self._marks)
        marks = memoryview(self._marks)
        count = len(marks) // 2
        #: A byte for each page of the buffer: whether the CPU may write to it without asking,
        #: and whether code of it has been translated (`blocks`).
        self.writable, self.code = marks[:count], marks[count:]
        self.marks_at = ctypes.addressof(self._marks_export)
        pages = 1 + sum(_tables_for(slot.gpa, slot.size) for slot in memory.slots)
        self.size = (pages + 1 + 2 * WINDOWS) * PAGE
        self._buffer = mmap.mmap(-1, self.size, flags=PRIVATE)
        self._export = (ctypes.c_uint8 * self.size).from_buffer(self._buffer)
        self.address = ctypes.addressof(self._export)
        self._words = memoryview(self._buffer).cast("Q")
        self._used = 1
        self._windows = self._make_windows()

    # --- private GPAs -----------------------------------------------------------------

    def enter(self, gpas: Iterable[int]) -> None:
        """Let the CPU read and execute the pages at `gpas`, of those that are RAM."""
        for gpa in gpas:
            offset = self._memory.offset(gpa)
            if offset >= 0:
                word = self._word(gpa)
                if not self._words[word] & _PRESENT:
                    self._words[word] = offset | _ENTRY

    def is_present(self, gpa: int) -> bool:
        word = self._find(gpa)
        return word >= 0 and bool(self._words[word] & _PRESENT)

    def allow_write(self, gpa: int) -> None:
        """The page of `gpa`, which is present, becomes dirty and writable."""
        self._open(self._find(gpa))

    def allow_write_around(self, gpa: int) -> None:
        """So do the pages around that are present and without code, as they may be next."""
        first = self._find(gpa & -AROUND)
        for word in range(first, first + (AROUND >> PAGE_SHIFT)):
            entry = self._words[word]
            if entry & (_PRESENT | _WRITE) == _PRESENT and not self.code[_page(entry)]:
                self._open(word)

    def _open(self, word: int) -> None:
        self._words[word] |= _WRITE
        page = _page(self._words[word])
        self.writable[page] = True
        self._memory.dirty.add(page)

    def protect(self, pages: Iterable[int]) -> None:
        """Pages of the buffer are clean: their next write faults. Flush the TLB after it."""
        for page in pages:
            word = self._find(self._memory.gpa_of_page(page))
            if word >= 0:
                self._words[word] &= ~_WRITE
                self.writable[page] = False

    def forget(self, gpa: int, size: int) -> None:
        """The module has to be asked again for [gpa, gpa + size). Flush the TLB after it."""
        end = gpa + size
        for slot in self._memory.slots:
            low, high = max(gpa & -PAGE, slot.gpa), min(end, slot.gpa + slot.size)
            for page_gpa in range(low, high, PAGE):
                word = self._find(page_gpa)
                if word >= 0:
                    self._words[word] = 0
                    self.writable[self._memory.offset(page_gpa) >> PAGE_SHIFT] = False

    def forget_all(self) -> None:
        """The module has to be asked again for every page. Flush the TLB after it."""
        for (shift, _), table in self._tables.items():
            if shift == _SHIFTS[-1]:
                self._words[table : table + _ENTRIES] = _NO_ENTRIES
        self.writable[:] = bytes(len(self.writable))

    # --- windows ----------------------------------------------------------------------

    def window(self, number: int) -> int:
        """The GPA at which window `number` starts; 1 GiB each."""
        return GPA_LIMIT + number * _WINDOW_SIZE

    def open_window(self, number: int, address: int, page: int, *, write: bool) -> None:
        """Let the page at `address` (bytes below 1 GiB) of a window be a page of the buffer."""
        directory, table = self._windows[number]
        self._words[directory + (address >> 21 & 511)] = self._physical(table) | _TABLE
        self._words[table + (address >> 12 & 511)] = (
            page << PAGE_SHIFT | _ENTRY | (_WRITE if write else 0)
        )
        if write:
            self._memory.dirty.add(page)

    def close_window(self, number: int, address: int) -> None:
        directory, table = self._windows[number]
        self._words[directory + (address >> 21 & 511)] = 0
        self._words[table + (address >> 12 & 511)] = 0

    # --- tables -----------------------------------------------------------------------

    def _physical(self, word: int) -> int:
        return TABLES_AT + 8 * word

    def _new_table(self) -> int:
        """The first word of an empty table."""
        self._used += 1
        return (self._used - 1) * PAGE // 8

    def _make_windows(self) -> list[tuple[int, int]]:
        pointers = self._new_table()
        self._words[GPA_LIMIT >> 39] = self._physical(pointers) | _TABLE
        windows = []
        for number in range(WINDOWS):
            directory, table = self._new_table(), self._new_table()
            self._words[pointers + number] = self._physical(directory) | _TABLE
            windows.append((directory, table))
        return windows

    def _word(self, gpa: int) -> int:
        """The word of the entry of `gpa`, with the tables above it made."""
        table = 0
        for shift in _SHIFTS:
            key = (shift, gpa >> shift)
            below = self._tables.get(key)
            if below is None:
                below = self._tables[key] = self._new_table()
                self._words[table + (gpa >> shift & 511)] = self._physical(below) | _TABLE
            table = below
        return table + (gpa >> 12 & 511)

    def _find(self, gpa: int) -> int:
        """As _word; -1 where there is no table."""
        table = self._tables.get((21, gpa >> 21))
        return -1 if table is None else table + (gpa >> 12 & 511)


def _page(entry: int) -> int:
    """The page of the buffer that an entry maps."""
    return (entry & (GPA_LIMIT - 1)) >> PAGE_SHIFT


def _tables_for(gpa: int, size: int) -> int:
    """An upper bound of the tables that a slot needs."""
    return sum((gpa + size - 1 >> shift) - (gpa >> shift) + 1 for shift in _SHIFTS)
