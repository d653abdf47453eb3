"""The columns of a recording in the cache folder, until the recording changes.

A file is a header and the rows, nothing else. It is written under another name
and renamed; one that is cut, damaged, of another version or of another
recording is not used.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from struct import Struct
from time import time
from typing import Final
from zlib import crc32

import numpy as np
from platformdirs import user_cache_path

from tdxdbg.index.columns import ROW, Place, Rows
from tdxdbg.traces.native import Trace

#: To be raised with every change of what a column says.
_VERSION: Final = 1
_MAGIC: Final = b"tdxdbgix"
#: magic, version, checksum of the rows, next slot, rows, which recording.
_HEADER: Final = Struct("<8sIIQQ32s")
_SUFFIX: Final = ".tdxi"
#: As many files are kept; the oldest go.
_KEPT: Final = 8
#: A file that takes more than this part of the free space is not written.
_PART: Final = 4
#: What is being written; older than this, in seconds, nobody writes it any more.
_PART_OF: Final = ".part-"
_STALE: Final = 3600


def folder() -> Path:
    """Where the files are."""
    return user_cache_path("tdxdbg") / "columns"


def identity(trace: Trace, fd: int) -> bytes:
    """Which recording this is, and in what state: size, time of its last change, header."""
    found = os.fstat(fd)
    header = bytes(trace.head)
    text = f"{found.st_size} {found.st_mtime_ns} {len(header)} ".encode()
    return sha256(text + header).digest()


def load(which: bytes, trace: Trace, where: Path) -> tuple[Rows, Place] | None:
    """The rows that were kept of a recording; None: there are none that can be trusted."""
    path = where / (which.hex() + _SUFFIX)
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER.size)
            size = os.fstat(file.fileno()).st_size - _HEADER.size
            if len(head) < _HEADER.size:
                return None
            magic, version, checksum, slot, count, of = _HEADER.unpack(head)
            if (magic, version, of) != (_MAGIC, _VERSION, which) or size != count * ROW.itemsize:
                return None
            if count > len(trace) or slot > trace.n_records:
                return None
            if not count:
                return None
            # Mapped: what many rows take is not this process's own memory.
            rows = np.memmap(file, ROW, "r", _HEADER.size, (count,))
    except (OSError, ValueError):
        return None
    if crc32(rows.view(np.uint8).data) != checksum:
        return None
    return rows, Place(slot, count)


def save(which: bytes, pieces: Sequence[Rows], at: Place, where: Path) -> bool:
    """Keep rows; False where that is not possible, which is no error."""
    size = at.rows * ROW.itemsize
    try:
        where.mkdir(parents=True, exist_ok=True)
        space = os.statvfs(where)
        if size > space.f_bavail * space.f_frsize // _PART:
            return False
        with tempfile.NamedTemporaryFile(dir=where, prefix=_PART_OF, delete=False) as file:
            try:
                file.write(bytes(_HEADER.size))
                checksum = 0
                for piece in pieces:
                    data = piece.tobytes()
                    checksum = crc32(data, checksum)
                    file.write(data)
                file.seek(0)
                file.write(_HEADER.pack(_MAGIC, _VERSION, checksum, at.slot, at.rows, which))
                file.flush()
                os.replace(file.name, where / (which.hex() + _SUFFIX))
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError:
        return False
    _tidy(where)
    return True


def _tidy(where: Path) -> None:
    """Only the newest are kept, and nothing that was never finished."""
    with suppress(OSError):
        found = sorted(where.glob("*" + _SUFFIX), key=lambda path: path.stat().st_mtime)
        for path in found[:-_KEPT]:
            path.unlink()
        for path in where.glob(_PART_OF + "*"):
            if path.stat().st_mtime < time() - _STALE:
                path.unlink()
