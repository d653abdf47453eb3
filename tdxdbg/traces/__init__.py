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
from tdxdbg.traces import (
    bpftrace,
    ftrace,
    jsonl,
    native,
    perf_data,
    perf_script,
    qemu_log,
    simple_trace,
    strace,
    trace_cmd,
    trace_dat,
)
from tdxdbg.traces.native import Trace
from tdxdbg.traces.reader import EVERYBODY, Pids
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
    the name for messages. `key` is the name for a command line. `read_some`
    reads what some processes or threads did; None where none are told apart.
    """

    name: str
    sniff: Callable[[bytes], bool]
    read: Callable[[BinaryIO, str], Trace]
    key: str
    read_some: Callable[[BinaryIO, str, Pids], Trace] | None = None


#: Takes how many bytes are read, and how many there are.
Progress = Callable[[int, int], None]


class _Wanted(NamedTuple):
    form: str
    pids: Pids
    progress: Progress | None


#: In the order in which they are asked.
FORMATS: Final = (
    Format("tdxdbg trace (.tdxt)", native.sniff, native.read, "tdxt"),
    Format("JSON Lines", jsonl.sniff, jsonl.read, "jsonl"),
    Format("tracefs text (trace, trace_pipe)", ftrace.sniff, ftrace.read, "tracefs", ftrace.read),
    Format("trace-cmd report", trace_cmd.sniff, trace_cmd.read, "trace-cmd", trace_cmd.read),
    Format("perf script", perf_script.sniff, perf_script.read, "perf", perf_script.read),
    Format("strace", strace.sniff, strace.read, "strace", strace.read),
    Format("QEMU trace log", qemu_log.sniff, qemu_log.read, "qemu", qemu_log.read),
    Format("bpftrace text or JSON", bpftrace.sniff, bpftrace.read, "bpftrace", bpftrace.read),
    Format("trace.dat", trace_dat.sniff, trace_dat.read, "trace-dat", trace_dat.read),
    Format("QEMU simple trace", simple_trace.sniff, simple_trace.read, "simple", simple_trace.read),
    Format("perf.data", perf_data.sniff, perf_data.read, "perf-data", perf_data.read),
)


def open_trace(
    path: str | os.PathLike[str],
    *,
    pid: int | Pids = EVERYBODY,
    progress: Progress | None = None,
    form: str = "",
) -> Trace:
    """Opens a recording of any known format; "-" is standard input.

    `pid`: one or several processes or threads; events of others are left out.
    `progress` is told how many bytes of how many are read, where that is known.
    `form` is the key of a format; without it the content tells.
    Raises TraceError, one line with the remedy, when there is none, and
    BackendError when the file may not be read.
    """
    path = os.fspath(path)
    name = "standard input" if path == "-" else path
    pids = frozenset({pid} if isinstance(pid, int) else pid)
    wanted = _Wanted(form, pids, progress)
    try:
        if path == "-":
            return _open(_standard_input(), name, wanted, regular=False)
        with _Watched(open(path, "rb", buffering=0), progress) as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            return _open(file, name, wanted, regular=regular)
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


def _open(file: BinaryIO, name: str, wanted: _Wanted, *, regular: bool) -> Trace:
    # Looked at before anything is copied: what never ends may be no recording at all.
    head = file.read(HEAD_SIZE)
    if not head:
        raise TraceError(f"{name}: the file is empty")
    read = _reader(head, name, wanted)
    if regular:
        file.seek(0)
        return read(file, name)
    with _copy(head, file, name, wanted.progress) as copy:
        return read(copy, name)


def _reader(head: bytes, name: str, wanted: _Wanted) -> Callable[[BinaryIO, str], Trace]:
    """What reads a recording that starts like this."""
    found = next(
        (
            item
            for item in FORMATS
            if item.key == wanted.form or (not wanted.form and item.sniff(head))
        ),
        None,
    )
    if found is None:
        known = ", ".join(item.name for item in FORMATS)
        raise TraceError(f"{name}: not a recording that tdxdbg knows; it reads: {known}")
    if not wanted.pids:
        return found.read
    read_some = found.read_some
    if read_some is None:
        raise TraceError(f"{name}: a {found.name} names no processes; leave the pid out")
    return lambda file, name: read_some(file, name, wanted.pids)


def _copy(head: bytes, file: BinaryIO, name: str, progress: Progress | None) -> BinaryIO:
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
    return _Watched(copy, progress)


class _Watched(BufferedReader):
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
