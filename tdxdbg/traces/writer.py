"""Writes a `.tdxt` file: append-only, one write() per record, so that a crash loses one.

A record and its continuations go out in one write(); whatever a crash cuts
off there is dropped by the reader. `buffered` gathers records for speed, and
then a crash loses what was not flushed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from struct import unpack_from
from types import TracebackType
from typing import Final, NamedTuple, Self

from tdxdbg.errors import TraceError
from tdxdbg.traces.header import pack_header
from tdxdbg.traces.layout import HEADER, RECORD_SIZE
from tdxdbg.traces.meta import Json, TraceMeta
from tdxdbg.traces.pack import Packer
from tdxdbg.traces.records import Record, checkpoint

_BUFFER: Final = 1 << 16


class Place(NamedTuple):
    """How far a file has come: records and rows, the newest checkpoint (1 + its index), bytes."""

    records: int
    rows: int
    checkpoint: int
    size: int


class Writer:
    """A trace that is being recorded.

    Raises TraceError when the file exists or cannot be written; the file then
    holds everything up to the last record that fitted.
    """

    def __init__(self, path: str | Path, meta: TraceMeta, *, buffered: bool = False) -> None:
        self.path = str(path)
        self._packer = Packer()
        self._limit = _BUFFER if buffered else 0
        self._pending = bytearray()
        self._failure = ""
        self._safe = 0
        header = pack_header(meta)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        try:
            self._fd = os.open(self.path, flags, 0o644)
        except FileExistsError:
            raise TraceError(
                f"{self.path}: already exists; give another name, or remove it first"
            ) from None
        except OSError as problem:
            raise TraceError(f"{self.path}: cannot be created: {problem.strerror}") from None
        self._pending += header
        try:
            self.flush()
        except TraceError:
            os.close(self._fd)
            self._fd = -1
            os.unlink(self.path)
            raise

    @classmethod
    def take_over(cls, path: str, fd: int, place: Place) -> Self:
        """Goes on with an open file (O_APPEND) where another writer gave it over."""
        self = cls.__new__(cls)
        self.path = path
        self._packer = Packer.at(place.records, place.rows, place.checkpoint)
        self._limit = _BUFFER
        self._pending = bytearray()
        self._failure = ""
        self._safe = place.size
        self._fd = fd
        return self

    def hand_over(self) -> tuple[int, Place]:
        """Flushes; the caller owns the file descriptor, and this writer is closed."""
        self._check()
        self.flush()
        fd, self._fd = self._fd, -1
        packer = self._packer
        return fd, Place(packer.records, packer.rows, packer.checkpoint, self._safe)

    @property
    def n_records(self) -> int:
        """256-byte records so far, continuations included."""
        return self._packer.records

    @property
    def rows(self) -> int:
        """Rows started so far."""
        return self._packer.rows

    def write(self, record: Record) -> int:
        """Appends a record and returns its index; ValueError when a value does not fit."""
        self._check()
        index = self._packer.records
        self._pending += self._packer.pack(record)
        if len(self._pending) > self._limit:
            self.flush()
        return index

    def write_all(self, records: Iterable[Record]) -> None:
        """Appends many; those before one that does not fit (ValueError) are appended."""
        self._check()
        pieces: list[bytes] = []
        try:
            self._packer.pack_all(records, pieces)
        finally:
            self._pending += b"".join(pieces)
        if len(self._pending) > self._limit:
            self.flush()

    def _check(self) -> None:
        if self._fd < 0 or self._failure:
            raise TraceError(self._failure or f"{self.path}: the trace is closed")

    def checkpoint(self, state: Json, time: int | None = None) -> int:
        """Appends the state after all records so far, as JSON; `time` in ns."""
        return self.write(checkpoint(state, time))

    def flush(self) -> None:
        """Gives everything to the kernel: it then survives the end of this process."""
        data = memoryview(bytes(self._pending))
        self._pending.clear()
        done = 0
        try:
            while done < len(data):
                done += os.write(self._fd, data[done:])
        except OSError as problem:
            self._safe += _whole(data, done, header=not self._safe)
            self._fail(problem)
        self._safe += len(data)

    def close(self) -> None:
        """Flushes, waits for the disk (fsync) and closes; does nothing the second time."""
        if self._fd < 0:
            return
        try:
            if not self._failure:
                self.flush()
                os.fsync(self._fd)
        except OSError as problem:
            self._fail(problem)
        finally:
            os.close(self._fd)
            self._fd = -1

    def _fail(self, problem: OSError) -> None:
        """Cuts the file back to the last whole record and raises TraceError.

        Never further: somebody may be reading the file at the same time, and
        whole records are what a reader looks at.
        """
        # Where even that fails: the reader drops a record that was cut off.
        with suppress(OSError):
            os.ftruncate(self._fd, self._safe)
        self._failure = (
            f"{self.path}: cannot be written: {problem.strerror}; "
            f"the first {self._safe} bytes are safe in the file; make room and record again"
        )
        raise TraceError(self._failure) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _whole(data: memoryview, done: int, *, header: bool) -> int:
    """How many of the first `done` bytes are whole records with their continuations."""
    at = 0
    while at < done:
        if header and not at:
            size = HEADER.unpack_from(data)[3]
        else:
            size = RECORD_SIZE * (1 + unpack_from("<I", data, at + 56)[0])
        if at + size > done:
            break
        at += size
    return at
