"""Recordings: the native format, and importers that convert into it.

A file is recognised by its content, never by its name. There is one reader,
`Trace`: importers make native records.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from itertools import chain
from typing import BinaryIO, Final, NamedTuple, Protocol

from tdxdbg.errors import BackendError, TraceError
from tdxdbg.traces import (
    bpftrace,
    compressed,
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
from tdxdbg.traces.copies import Progress, Watched, copy_of, to_end
from tdxdbg.traces.native import Trace
from tdxdbg.traces.reader import EVERYBODY, Pids
from tdxdbg.traces.records import Kind, Record, TraceMeta
from tdxdbg.traces.writer import Writer

__all__ = ["FORMATS", "Format", "Kind", "Record", "Trace", "TraceMeta", "Writer", "open_trace"]

#: How much of a file `sniff` sees, in bytes.
HEAD_SIZE: Final = 16 << 10


class Format(NamedTuple):
    """`sniff` says whether the first bytes look like this format.

    `read` opens a seekable file, and raises TraceError; the second argument is
    the name for messages. `key` is the name for a command line. `read_some`
    reads what some processes or threads did; None where none are told apart.
    `streams`: what is there so far can be read, while more comes.
    """

    name: str
    sniff: Callable[[bytes], bool]
    read: Callable[[BinaryIO, str], Trace]
    key: str
    read_some: Callable[[BinaryIO, str, Pids], Trace] | None = None
    streams: bool = False


class _Wanted(NamedTuple):
    form: str
    pids: Pids
    progress: Progress | None


class _Importer(Protocol):
    """The module of a text format."""

    def sniff(self, head: bytes) -> bool: ...

    def read(self, file: BinaryIO, name: str, pids: Pids = EVERYBODY) -> Trace: ...


def _text(name: str, key: str, module: _Importer) -> Format:
    """Lines of processes, understood one after the other."""
    return Format(name, module.sniff, module.read, key, module.read, True)


#: In the order in which they are asked.
FORMATS: Final = (
    Format("tdxdbg trace (.tdxt)", native.sniff, native.read, "tdxt"),
    Format("JSON Lines", jsonl.sniff, jsonl.read, "jsonl"),
    _text("tracefs text (trace, trace_pipe)", "tracefs", ftrace),
    _text("trace-cmd report", "trace-cmd", trace_cmd),
    _text("perf script", "perf", perf_script),
    _text("strace", "strace", strace),
    _text("QEMU trace log", "qemu", qemu_log),
    _text("bpftrace text or JSON", "bpftrace", bpftrace),
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
        with Watched(open(path, "rb", buffering=0), progress) as file:
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
    packing = compressed.packing_of(head)
    if regular and packing is None:
        read = _reading(_format_of(head, name, wanted.form), name, wanted.pids)
        file.seek(0)
        return read(file, name)
    if regular and packing is not None and packing.name == "zstd":
        from tdxdbg.traces.archive import open_archive

        archive = open_archive(file, name)
        if archive is not None:
            return archive
    return _open_copy(packing, head, file, name, wanted)


def _open_copy(
    packing: compressed.Packing | None, head: bytes, file: BinaryIO, name: str, wanted: _Wanted
) -> Trace:
    """`file` stands behind `head`, and is compressed or cannot be read a second time."""
    inside = None if packing is None else compressed.Inflated(packing, head, file, name)
    pieces = to_end(head, file, name) if inside is None else iter(inside)
    first = b""
    while len(first) < HEAD_SIZE and (piece := next(pieces, b"")):
        first += piece
    if inside is not None and not first:
        raise TraceError(f"{name}: {inside.problem or 'there is nothing in it'}")
    read = _reading(_format_of(first[:HEAD_SIZE], name, wanted.form), name, wanted.pids)
    with copy_of(chain((first,), pieces), name, wanted.progress) as copy:
        trace = read(copy, name)
    if inside is not None and inside.problem:
        trace.note_problem(inside.problem)
    return trace


def read_stream(
    file: BinaryIO, head: bytes, name: str, pids: Pids, form: str, *, last: bool
) -> Trace | None:
    """Reads what comes bit by bit; `file` stands behind `head`, and can be read again from there.

    None when more of it is needed to know what it is; `last`: there is no more.
    Raises TraceError.
    """
    packing = compressed.packing_of(head)
    if not head:
        raise TraceError(f"{name}: the file is empty")
    if packing is None:
        try:
            found = _format_of(head, name, form)
        except TraceError:
            if last or len(head) >= HEAD_SIZE:
                raise
            return None
        if found.streams:
            file.seek(0)
            return _reading(found, name, pids)(file, name)
    return _open_copy(packing, head, file, name, _Wanted(form, pids, None))


def _format_of(head: bytes, name: str, form: str) -> Format:
    """What a recording is that starts like this; `form` is a key that somebody gave."""
    for item in FORMATS:
        if item.key == form or (not form and item.sniff(head)):
            return item
    known = ", ".join(item.name for item in FORMATS)
    packings = ", ".join(item.name for item in compressed.PACKINGS)
    raise TraceError(
        f"{name}: not a recording that tdxdbg knows; it reads: {known}; "
        f"also compressed with {packings}"
    )


def _reading(found: Format, name: str, pids: Pids) -> Callable[[BinaryIO, str], Trace]:
    if not pids:
        return found.read
    read_some = found.read_some
    if read_some is None:
        raise TraceError(f"{name}: a {found.name} names no processes; leave the pid out")
    return lambda file, name: read_some(file, name, pids)
