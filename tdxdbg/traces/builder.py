"""Makes a trace out of records, in memory or, when it grows large, in an unlinked file."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable
from threading import Lock
from typing import ClassVar, Final, Self

from tdxdbg.errors import TraceError
from tdxdbg.traces.header import pack_header
from tdxdbg.traces.meta import TraceMeta
from tdxdbg.traces.native import Trace
from tdxdbg.traces.pack import Packer
from tdxdbg.traces.records import Record

#: What is made in memory moves to a file beyond this size, in bytes.
_IN_MEMORY: Final = 32 << 20
_SPILL: Final = 1 << 20


class Builder:
    """Makes a trace out of records, one at a time: what importers use, in a `with`.

    In a process that imports for another one, `into` is the descriptor of the
    file that all of it goes to, and `newest` is what is being built.
    """

    into: ClassVar[int] = -1
    newest: ClassVar[Builder | None] = None

    def __init__(self, meta: TraceMeta, name: str = "trace") -> None:
        self._name = name
        self._packer = Packer()
        self._data = bytearray(pack_header(meta))
        self._fd = -1
        #: Packed records come in another thread than the one that flushes.
        self._lock = Lock()
        if Builder.into >= 0:
            Builder.newest = self
            # Who starts again writes the same.
            self._fd = os.dup(Builder.into)
            os.lseek(self._fd, 0, os.SEEK_SET)

    @property
    def rows(self) -> int:
        """Rows started so far."""
        return self._packer.rows

    def add(self, record: Record) -> None:
        """Appends a record; raises ValueError, and is unchanged, when it does not fit."""
        self._data += self._packer.pack(record)
        if len(self._data) > (_IN_MEMORY if self._fd < 0 else _SPILL):
            self._spill()

    def flush(self) -> None:
        """What was added is in the file, where there is one."""
        with self._lock:
            if self._fd >= 0:
                self._spill()

    def add_packed(self, data: memoryview, records: int, rows: int) -> None:
        """Appends records that are packed; there are `rows` rows then. None is a checkpoint."""
        with self._lock:
            self._packer.advance(records, rows)
            if self._fd < 0 and len(self._data) + data.nbytes <= _IN_MEMORY:
                self._data += data
            else:
                self._spill(data)

    def _spill(self, more: memoryview | None = None) -> None:
        """Puts everything so far, and this, into the file."""
        import tempfile

        try:
            if self._fd < 0:
                self._fd, path = tempfile.mkstemp(prefix="tdxdbg-")
                os.unlink(path)
            self._write(memoryview(bytes(self._data)))
            self._data.clear()
            if more is not None:
                self._write(more.cast("B"))
        except OSError as problem:
            raise TraceError(
                f"{self._name}: no room for its copy in {tempfile.gettempdir()}: "
                f"{problem.strerror}; set TMPDIR to a place with more"
            ) from None

    def _write(self, data: memoryview) -> None:
        while data:
            data = data[os.write(self._fd, data) :]

    def finish(self, problems: Iterable[str] = ()) -> Trace:
        """The trace, in memory or, when it is large, in an unlinked file."""
        if self._fd < 0:
            trace = Trace(bytes(self._data), self._name)
        else:
            self._spill()
            trace = Trace(mmap.mmap(self._fd, 0, access=mmap.ACCESS_READ), self._name)
        for line in problems:
            trace.note_problem(line)
        return trace

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if Builder.into >= 0:
            # Whoever reads it wants what there is, however this ended.
            self.flush()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
