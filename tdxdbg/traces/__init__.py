"""Recordings: the native format, and importers that convert into it.

A file is recognised by its content, never by its name. There is one reader,
`Trace`: importers make native records.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from contextlib import ExitStack
from io import BufferedReader, FileIO
from typing import BinaryIO, Final, NamedTuple

from tdxdbg.errors import BackendError, TraceError
from tdxdbg.traces import ftrace, jsonl, native, perf_data, trace_dat
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import Kind, Record, TraceMeta
from tdxdbg.traces.writer import Writer

__all__ = ["FORMATS", "Format", "Kind", "Record", "Trace", "TraceMeta", "Writer", "open_trace"]

#: How much of a file `sniff` sees, in bytes.
HEAD_SIZE: Final = 16 << 10
#: What comes through a pipe is kept in an unlinked file up to this size, in bytes.
MAX_PIPE: Final = 2 << 30
_CHUNK: Final = 1 << 20


class Format(NamedTuple):
    """`sniff` says whether the first bytes look like this format.

    `read` opens a seekable file, and raises TraceError; the second argument is
    the name for messages.
    """

    name: str
    sniff: Callable[[bytes], bool]
    read: Callable[[BinaryIO, str], Trace]


#: In the order in which they are asked.
FORMATS: Final = (
    Format("tdxdbg trace (.tdxt)", native.sniff, native.read),
    Format("trace.dat (trace-cmd record)", trace_dat.sniff, trace_dat.read),
    Format("perf.data (perf record)", perf_data.sniff, perf_data.read),
    Format("JSON Lines", jsonl.sniff, jsonl.read),
    Format("tracefs text (trace, trace_pipe)", ftrace.sniff, ftrace.read),
)


def open_trace(path: str | os.PathLike[str]) -> Trace:
    """Opens a recording of any known format; "-" is standard input.

    Raises TraceError, one line with the remedy, when there is none, and
    BackendError when the file may not be read.
    """
    path = os.fspath(path)
    name = "standard input" if path == "-" else path
    try:
        if path == "-":
            return _open(_standard_input(), name, regular=False)
        with open(path, "rb") as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            return _open(file, name, regular=regular)
    except IsADirectoryError:
        raise TraceError(f"{name}: is a directory; give a file in it") from None
    except FileNotFoundError:
        raise TraceError(f"{name}: no such file") from None
    except PermissionError:
        raise BackendError(f"{name}: no permission to read it; see its owner and mode") from None
    except OSError as problem:
        raise TraceError(f"{name}: cannot be read: {problem.strerror or problem}") from None
    except ValueError as problem:
        raise TraceError(f"{name!r}: cannot be opened: {problem}") from None


def _standard_input() -> BinaryIO:
    # Python gives None when the descriptor is closed.
    if sys.stdin is None:
        raise TraceError("standard input: is closed; give a file, or send one through a pipe")
    return sys.stdin.buffer


def _open(file: BinaryIO, name: str, *, regular: bool) -> Trace:
    # Looked at before anything is copied: what never ends may be no recording at all.
    head = file.read(HEAD_SIZE)
    if not head:
        raise TraceError(f"{name}: the file is empty")
    found = next((item for item in FORMATS if item.sniff(head)), None)
    if found is None:
        known = ", ".join(item.name for item in FORMATS)
        raise TraceError(f"{name}: not a recording that tdxdbg knows; it reads: {known}")
    if regular:
        file.seek(0)
        return found.read(file, name)
    with _copy(head, file, name) as copy:
        return found.read(copy, name)


def _copy(head: bytes, file: BinaryIO, name: str) -> BinaryIO:
    """A seekable copy of `head` and everything that comes after it, up to MAX_PIPE."""
    with ExitStack() as stack:
        copy = stack.enter_context(_temporary_file(name))
        size, chunk = 0, head
        while chunk:
            size += len(chunk)
            if size > MAX_PIPE:
                raise TraceError(f"{name}: more than {MAX_PIPE >> 30} GiB; save it to a file first")
            left = memoryview(chunk)
            while left:
                try:
                    left = left[copy.write(left) :]
                except OSError as problem:
                    raise _no_room(name, problem) from None
            chunk = file.read(_CHUNK)
        copy.seek(0)
        stack.pop_all()
    return BufferedReader(copy)


def _temporary_file(name: str) -> FileIO:
    import tempfile

    try:
        # Without a buffer: what does not fit is known where it is written.
        return tempfile.TemporaryFile(buffering=0)
    except OSError as problem:
        raise _no_room(name, problem) from None


def _no_room(name: str, problem: OSError) -> TraceError:
    why = problem.strerror or problem
    return TraceError(f"{name}: no room for a copy of it: {why}; set TMPDIR to a place with more")
