"""The native format `.tdxt`: a trace of any size, opened in the time that one record takes.

The header and the last records are read at opening; everything else when it
is shown. Every record carries the number of rows started so far, which never
falls, so the first record of a row is found by bisection; it also carries
where the newest checkpoint is. A damaged record is skipped and counted.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import BinaryIO, Final, NamedTuple, Self

from tdxdbg.errors import TraceError
from tdxdbg.traces import layout
from tdxdbg.traces.header import Header, read_header
from tdxdbg.traces.meta import TraceMeta
from tdxdbg.traces.pages import Pages
from tdxdbg.traces.records import Kind, Record
from tdxdbg.traces.search import checkpoints_before, first_of_row, newest_checkpoint
from tdxdbg.traces.tail import find_end
from tdxdbg.traces.unpack import DamagedError, Slots
from tdxdbg.traces.unread import Imported, recall_import

#: By major version: makes a file of the next version out of one of this. One line each.
MIGRATIONS: Final[dict[int, Callable[[BinaryIO], BinaryIO]]] = {}

#: How many records of a row are given at most when not told.
ROW_LIMIT: Final = 4096
#: How far a row is looked for, in slots: records of other vCPUs lie between.
SCAN: Final = 16384
#: After as many slots without a record of the row, those that name it are looked up.
_NEAR: Final = 16
#: How far it looks on after the TD was entered, which ends a row.
SCAN_ENDED: Final = 64
#: Records that are kept, until there are more.
_RECENT: Final = 256
_MAX_DAMAGED: Final = 10_000
#: Slots: a megabyte.
_PIECE: Final = 4096
_CUT: Final = (
    "the file was overwritten or cut while it was open, and cannot be read any more; open it again"
)
_PRIVATE: Final = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


class RowRecords(NamedTuple):
    """A row's records in journal order with their indexes.

    `cut`: the TD was not entered again in what was looked at, and a limit, not
    the recording, ended it there: these may not be all records of the row.
    """

    records: list[tuple[int, Record]]
    cut: bool


class Trace:
    """A recorded journal. `len(trace)` is its number of rows.

    `remarks` say what an importer or an export left out on purpose; `unread` holds
    lines that it could not read, with their numbers, or events with their offsets, and
    `imported` counts them.
    """

    def __init__(self, buffer: mmap.mmap | bytes, name: str = "trace") -> None:
        """Raises TraceError when `buffer` is no trace that this version reads."""
        self.name = name
        self.remarks: list[str] = []
        self.unread: list[tuple[int, str]] = []
        self.imported: Imported | None = None
        self._notes: list[str] = []
        self._damaged: dict[int, str] = {}
        #: Where the last row was found: the next one asked for is mostly near.
        self._hint = 0
        #: Records that were read last: a row's are read again on the way to the next one.
        self._recent: dict[int, Record] = {}
        self._fd = -1
        #: Whether the file became shorter while it was open.
        self._lost = False
        self._close_file: weakref.finalize[..., Trace] | None = None
        self._attach(buffer)
        self.remarks += self.meta.remarks

    def _attach(self, buffer: mmap.mmap | bytes) -> None:
        view = memoryview(buffer)
        try:
            header = read_header(view, self.name)
        except TraceError:
            view.release()
            raise
        self._buffer = buffer
        self._header = header
        self._slots = self._slots_of(view, header.length)
        end = find_end(self._slots, len(view) - header.length)
        self._pages = Pages(self._slots)
        self._rows = end.rows
        #: The row that was read last: it is read to list it, and to show it.
        self._last_row: tuple[int, RowRecords] | None = None
        self._tail_problems = end.problems

    def _slots_of(self, view: memoryview, start: int) -> Slots:
        return Slots(view, start, 0)

    @classmethod
    def open(cls, file: BinaryIO, name: str) -> Trace:
        """Maps a file that is open for reading; it may be closed afterwards."""
        if not os.fstat(file.fileno()).st_size:
            raise TraceError(f"{name}: the file is empty")
        try:
            buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as problem:
            raise TraceError(f"{name}: cannot be read: {problem.strerror}") from None
        trace = cls(buffer, name)
        trace._fd = os.dup(file.fileno())
        trace._close_file = weakref.finalize(trace, os.close, trace._fd)
        return trace

    @classmethod
    def from_records(
        cls,
        meta: TraceMeta,
        records: Iterable[Record],
        *,
        name: str = "trace",
        problems: Iterable[str] = (),
    ) -> Trace:
        """A trace of its own in memory, or in an unlinked file when it grows large.

        Raises ValueError when a record does not fit the format.
        """
        from tdxdbg.traces.builder import Builder

        with Builder(meta, name) as builder:
            for record in records:
                builder.add(record)
            return builder.finish(problems)

    # --- what is there ----------------------------------------------------------------

    @property
    def meta(self) -> TraceMeta:
        return self._header.meta

    @property
    def header(self) -> Header:
        return self._header

    @property
    def n_records(self) -> int:
        """256-byte slots: records, continuations and damaged ones."""
        return self._slots.count

    def slots(self, first: int, stop: int) -> memoryview:
        """The bytes of slots [first, stop), for readers of columns (layout.py), unchecked."""
        self._look_at_file()
        return self._slots.part(first, min(stop, self._slots.count))

    def pieces(self) -> Iterator[memoryview]:
        """The bytes of all slots, bit by bit; a piece is gone when the next one is asked for."""
        for first in range(0, self._slots.count, _PIECE):
            with self.slots(first, first + _PIECE) as piece:
                yield piece

    @property
    def head(self) -> memoryview:
        """The header's bytes."""
        self._look_at_file()
        return self._slots.view[: self._header.length]

    def __len__(self) -> int:
        return self._rows

    @property
    def problems(self) -> list[str]:
        """What is damaged or missing, as far as it was met; one line each."""
        lines = [*self._notes, *self._header.problems, *self._tail_problems]
        if self._damaged:
            first = min(self._damaged)
            at = self._slots.offset(first)
            more = "at least " if len(self._damaged) >= _MAX_DAMAGED else ""
            lines.append(
                f"{more}{len(self._damaged)} damaged records skipped, "
                f"the first at offset {at:#x}: {self._damaged[first]}"
            )
        return lines

    def note_problem(self, line: str) -> None:
        """Adds a line to `problems`."""
        self._notes.append(line)

    def data(self) -> bytes:
        """The whole file as bytes, header included, without what was cut off at its end."""
        return b"".join([bytes(self.head), *map(bytes, self.pieces())])

    # --- records ----------------------------------------------------------------------

    def record(self, index: int) -> Record:
        """The record at this index; raises IndexError, and TraceError when it is damaged."""
        if not 0 <= index < self._slots.count:
            raise IndexError(f"record {index} of {self._slots.count}")
        record = self._get(index)
        if record is None:
            raise TraceError(
                f"{self.name}: record {index} at offset {self._slots.offset(index):#x} "
                f"is damaged ({self._damaged.get(index, 'wrong checksum')}); it is skipped"
            )
        return record

    def records(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Record]]:
        """Undamaged records in journal order with their indexes; no continuations."""
        slots = self._slots
        end = slots.count if stop is None else min(stop, slots.count)
        for index in range(max(start, 0), end):
            record = self._get(index)
            if record is not None and record.kind is not Kind.CONTINUATION:
                yield index, record

    def first_record(self, row: int) -> int:
        """The index of a row's first record; raises IndexError when there is no such row."""
        if not 0 <= row < self._rows:
            raise IndexError(f"row {row} of {self._rows}")
        self._look_at_file()
        if self._lost:
            return 0
        self._hint = first_of_row(self._slots, row, self._hint)
        return self._hint

    def row_records(self, row: int, limit: int = ROW_LIMIT) -> list[tuple[int, Record]]:
        """The records of a row in journal order with their indexes, at most `limit`."""
        return (self.row(row) if limit == ROW_LIMIT else self._row(row, limit)).records

    def row(self, row: int) -> RowRecords:
        """The records of a row, at most ROW_LIMIT; raises IndexError when there is no such row."""
        if self._last_row is None or self._last_row[0] != row:
            self._last_row = row, self._row(row, ROW_LIMIT)
        return self._last_row[1]

    def _row(self, row: int, limit: int) -> RowRecords:
        index = self.first_record(row)
        if self._lost:
            return RowRecords([], False)
        slots = self._slots
        found: list[tuple[int, Record]] = []
        vcpu: int | None = None
        entered = False
        stop = min(slots.count, index + SCAN)
        near = index + _NEAR
        while index < stop:
            if index >= near:
                index = self._pages.next(row, vcpu, index, stop)
                if index == stop:
                    break
            record = self._of_row(index, row, vcpu)
            if record is None:
                pass
            elif record.row == row:
                if len(found) >= limit:
                    return RowRecords(found, not entered)
                found.append((index, record))
                vcpu = found[0][1].vcpu
                near = index + _NEAR
                if record.kind is Kind.TD_ENTRY:
                    entered = True
                    stop = min(stop, index + SCAN_ENDED)
            elif record.vcpu == vcpu and record.kind is not Kind.MEMORY_ATTRIBUTES:
                return RowRecords(found, False)
            index += 1
        return RowRecords(found, bool(found) and not entered and stop < slots.count)

    def _of_row(self, index: int, row: int, vcpu: int | None) -> Record | None:
        """The record in this slot if it may be of this row or end it; `vcpu` is the row's."""
        slots = self._slots
        if slots.kind(index) >= Kind.CHECKPOINT:
            # Of no interest, unless it is a damaged record of another kind.
            if not slots.is_good(index):
                self._damage(index, "wrong checksum")
            return None
        at = slots.number(index, layout.ROW_AT)
        # Another vCPU's row is not worth decoding.
        other = vcpu is not None and at != row and slots.vcpu(index) != vcpu
        return None if at < row or other else self._get(index)

    def checkpoint_before(self, index: int) -> tuple[int, dict[str, object]] | None:
        """The newest checkpoint at or before this record, with its own index."""
        self._look_at_file()
        if self._lost:
            return None
        for at in checkpoints_before(self._slots, index):
            record = self._get(at)
            if record is not None and isinstance(record.body, dict):
                return at, record.body
        return None

    def newest_checkpoint(self, index: int) -> int:
        """Where this record says that the newest checkpoint is, unchecked; -1: none."""
        self._look_at_file()
        return newest_checkpoint(self._slots, min(max(index, 0), self._slots.count - 1))

    def _get(self, index: int) -> Record | None:
        record = self._recent.get(index)
        if record is not None:
            return record
        self._look_at_file()
        try:
            record = self._slots.record(index)
            if record.row >= self._rows and record.kind < Kind.CHECKPOINT:
                raise DamagedError("impossible row number")
        except DamagedError as problem:
            self._damage(index, str(problem))
            return None
        if record.kind < Kind.CHECKPOINT:
            if len(self._recent) >= _RECENT:
                self._recent.clear()
            self._recent[index] = record
        return record

    def _damage(self, index: int, reason: str) -> None:
        if len(self._damaged) < _MAX_DAMAGED:
            self._damaged[index] = reason

    # --- a recording that is still being written ----------------------------------------

    @property
    def grows(self) -> bool:
        """Whether it is read from a file to which something may be appended."""
        return self._fd >= 0

    def fileno(self) -> int:
        """The descriptor of the file that it is read from; -1: it is a copy in memory."""
        return self._fd

    def refresh(self) -> int:
        """Takes in what was appended to the file since; returns the number of new slots."""
        if self._fd < 0 or self._lost:
            return 0
        size = os.fstat(self._fd).st_size
        before = self._slots.count
        if size <= len(self._slots.view):
            self._look_at_file()
            return 0
        old_view, old_buffer = self._slots.view, self._buffer
        self._attach(mmap.mmap(self._fd, 0, access=mmap.ACCESS_READ))
        _release(old_view, old_buffer)
        return self._slots.count - before

    @property
    def cut(self) -> str:
        """What to say of a file that became shorter while it was open; empty as long as it did not.

        All its records are damaged then.
        """
        self._look_at_file()
        return _CUT if self._lost else ""

    def _look_at_file(self) -> None:
        """To read a map beyond the end of its file kills: what was there is then damaged.

        The file may be cut between this look and the reading, which is a
        matter of microseconds. A recording that is only appended to never is.
        """
        if self._fd < 0 or self._lost or os.fstat(self._fd).st_size >= len(self._slots.view):
            return
        self._lost = True
        self._notes.append(_CUT)
        self._recent.clear()
        self._last_row = None
        old_view, old_buffer = self._slots.view, self._buffer
        self._buffer = mmap.mmap(-1, len(old_view), flags=_PRIVATE, prot=mmap.PROT_READ)
        self._slots.view = memoryview(self._buffer)
        self._pages = Pages(self._slots)
        _release(old_view, old_buffer)

    def close(self) -> None:
        """Unmaps the file; the trace must not be used afterwards."""
        if self._close_file is not None:
            self._close_file()
            self._fd = -1
        _release(self._slots.view, self._buffer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _release(view: memoryview, buffer: mmap.mmap | bytes) -> None:
    view.release()
    if isinstance(buffer, mmap.mmap):
        # A column view may still be in use; the map then goes with it.
        with suppress(BufferError):
            buffer.close()


def sniff(head: bytes) -> bool:
    """Whether a file starts like a `.tdxt` file."""
    return head.startswith(layout.MAGIC)


def read(file: BinaryIO, name: str) -> Trace:
    """Opens a `.tdxt` file of this or an older version; `name` is for messages."""
    while migrate := MIGRATIONS.get(_major(file)):
        file = migrate(file)
    trace = Trace.open(file, name)
    recall_import(trace.meta.extra.get("imported"), trace)
    return trace


def _major(file: BinaryIO) -> int:
    head = file.read(10)
    file.seek(0)
    return int.from_bytes(head[8:10], "little")
