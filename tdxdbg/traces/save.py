"""Writes a whole trace to a new `.tdxt` file: it is there when it is complete, or not at all.

Everything goes to a hidden file beside it first, which gets its name when it
is on the disk. Only a killed process leaves that behind.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Final

from tdxdbg.errors import TraceError
from tdxdbg.traces.header import pack_header
from tdxdbg.traces.meta import TraceMeta
from tdxdbg.traces.native import Trace
from tdxdbg.traces.unread import import_to_json

_CHUNK: Final = 4 << 20
_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
#: bytes written, and how many there are.
Progress = Callable[[int, int], None]


def refuse_existing(path: str) -> None:
    """Raises TraceError when something has that name."""
    if os.path.lexists(path):
        raise TraceError(f"{path}: already exists; give another name, or remove it first")


def save(trace: Trace, path: str, progress: Progress | None = None) -> None:
    """Raises TraceError when the file exists or cannot be written; nothing is left then."""
    refuse_existing(path)
    place = Path(path)
    part = place.with_name(f".{place.name[:100]}.{os.getpid()}.part")
    try:
        with open(os.open(part, _FLAGS, 0o666), "wb") as file:
            write(trace, file, progress)
            file.flush()
            os.fsync(file.fileno())
        _name(part, path)
        _sync_folder(place.parent)
    except OSError as problem:
        why = problem.strerror or problem
        raise TraceError(f"{path}: cannot be written: {why}; nothing is left of it") from None
    finally:
        with suppress(OSError):
            part.unlink()


def write(trace: Trace, file: BinaryIO, progress: Progress | None = None) -> None:
    """The bytes of a `.tdxt` file, with what is known of an import in its metadata."""
    file.write(_header(trace))
    records = trace.buffer
    total = len(records)
    for start in range(0, total, _CHUNK):
        file.write(records[start : start + _CHUNK])
        if progress is not None:
            progress(min(start + _CHUNK, total), total)


def _header(trace: Trace) -> bytes:
    if trace.imported is None:
        return bytes(trace.head)
    meta = trace.meta
    extra = {**meta.extra, "imported": import_to_json(trace.imported, trace)}
    with_lines: TraceMeta = replace(meta, extra=MappingProxyType(extra))
    return pack_header(with_lines)


def _name(part: Path, path: str) -> None:
    """Gives the finished file its name, unless something has got that name meanwhile."""
    try:
        os.link(part, path)
    except FileExistsError:
        refuse_existing(path)
    except OSError:
        # A file system without links.
        refuse_existing(path)
        part.rename(path)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
