"""Seekable copies of what is not seekable, and files that tell how far they are read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from io import BufferedReader, FileIO
from typing import BinaryIO, Final

from tdxdbg.errors import TraceError

#: What comes through a pipe is kept in an unlinked file up to this size, in bytes.
MAX_PIPE: Final = 2 << 30
_CHUNK: Final = 1 << 20

#: Takes how many bytes are read, and how many there are.
Progress = Callable[[int, int], None]


def to_end(head: bytes, file: BinaryIO, name: str) -> Iterator[bytes]:
    """`head` and everything that comes after it; raises TraceError beyond MAX_PIPE."""
    size, chunk = 0, head
    while chunk:
        size += len(chunk)
        if size > MAX_PIPE:
            raise TraceError(f"{name}: more than {MAX_PIPE >> 30} GiB; save it to a file first")
        yield chunk
        chunk = file.read(_CHUNK)


def copy_of(chunks: Iterable[bytes], name: str, progress: Progress | None) -> BinaryIO:
    """A copy of all of them in an unlinked file; raises TraceError when there is no room."""
    with ExitStack() as stack:
        copy = stack.enter_context(unnamed_file(name))
        for chunk in chunks:
            left = memoryview(chunk)
            while left:
                try:
                    left = left[copy.write(left) :]
                except OSError as problem:
                    raise _no_room(name, problem) from None
        copy.seek(0)
        stack.pop_all()
    return Watched(copy, progress)


class Watched(BufferedReader):
    """A file that tells how far it is read, in bytes and of how many."""

    def __init__(self, raw: FileIO, progress: Progress | None) -> None:
        super().__init__(raw)
        self._progress = progress
        self._size = os.fstat(raw.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if self._progress is not None:
            self._progress(self.tell(), self._size)
        return data


def unnamed_file(name: str) -> FileIO:
    """For a copy of what has that name, gone when it is closed; raises TraceError."""
    import tempfile

    try:
        # Without a buffer: what does not fit is known where it is written.
        return tempfile.TemporaryFile(buffering=0)
    except OSError as problem:
        raise _no_room(name, problem) from None


def _no_room(name: str, problem: OSError) -> TraceError:
    why = problem.strerror or problem
    return TraceError(f"{name}: no room for a copy of it: {why}; set TMPDIR to a place with more")
