"""The columns of a recording in the cache folder, until the recording changes.

A recording has a folder, named by what it is and the state that it is in. In it
lie pieces, each a header and rows, named by the number of the first one: who
reads on keeps what was read so far, and the next one goes on behind it. A piece
is written under another name and renamed, so two who read the same recording
are in nobody's way. One that is cut, of another version or of another recording
ends the row of pieces; whether one is damaged is asked before it is used.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from struct import Struct
from time import time
from typing import IO, Final
from zlib import crc32

import numpy as np
from platformdirs import user_cache_path

from tdxdbg.index.columns import ROW, Rows
from tdxdbg.index.window import Place
from tdxdbg.traces.native import Trace

#: To be raised with every change of what a column says.
_VERSION: Final = 2
_MAGIC: Final = b"tdxdbgix"
#: magic, version, which recording, first row, then where to go on: next slot, rows before it.
_HEADER: Final = Struct("<8sI32sQQQ")
#: Of the header and the rows.
_CHECKSUM: Final = Struct("<I")
_ROWS_AT: Final = _HEADER.size + _CHECKSUM.size
_SUFFIX: Final = ".tdxi"
#: So many recordings are kept; the oldest go.
_KEPT: Final = 8
#: What would take more than this part of the free space is not written.
_PART: Final = 4
#: What is being written; older than this, in seconds, nobody writes it any more.
_PART_OF: Final = ".part-"
_STALE: Final = 3600


@dataclass(frozen=True, eq=False)
class Piece:
    """Rows, where they begin, and where to go on behind them."""

    rows: Rows
    start: Place
    after: Place
    head: bytes
    checksum: int

    @property
    def sound(self) -> bool:
        """Whether it is what was written; reads all of it."""
        return crc32(self.rows.view(np.uint8).data, crc32(self.head)) == self.checksum


def folder() -> Path:
    """Where the folders of all recordings are."""
    return user_cache_path("tdxdbg") / "columns"


def identity(trace: Trace, fd: int) -> bytes:
    """Which recording this is, and in what state: size, time of its last change, header."""
    found = os.fstat(fd)
    header = bytes(trace.head)
    text = f"{found.st_size} {found.st_mtime_ns} {len(header)} ".encode()
    return sha256(text + header).digest()


def load(which: bytes, trace: Trace, where: Path) -> list[Piece]:
    """The pieces that were kept of a recording, in order, each behind the one before it."""
    pieces: list[Piece] = []
    at = Place()
    while piece := _read(_path(which, at.rows, where), which, at, trace):
        pieces.append(piece)
        at = piece.after
    return pieces


def _path(which: bytes, first: int, where: Path) -> Path:
    return where / which.hex() / f"{first}{_SUFFIX}"


def _read(path: Path, which: bytes, start: Place, trace: Trace) -> Piece | None:
    try:
        with path.open("rb") as file:
            head = file.read(_ROWS_AT)
            size = os.fstat(file.fileno()).st_size - _ROWS_AT
            if len(head) < _ROWS_AT:
                return None
            slot, stop = _HEADER.unpack_from(head)[4:]
            after, count = Place(slot, stop), stop - start.rows
            if head[: _HEADER.size] != _head(which, start.rows, after):
                return None
            if count <= 0 or size != count * ROW.itemsize:
                return None
            if stop > len(trace) or slot > trace.n_records:
                return None
            # Mapped: what many rows take is not this process's own memory.
            rows = np.memmap(file, ROW, "r", _ROWS_AT, (count,))
    except (OSError, ValueError):
        return None
    (checksum,) = _CHECKSUM.unpack_from(head, _HEADER.size)
    return Piece(rows, start, after, head[: _HEADER.size], checksum)


def _head(which: bytes, first: int, after: Place) -> bytes:
    return _HEADER.pack(_MAGIC, _VERSION, which, first, after.slot, after.rows)


def save(which: bytes, rows: Sequence[Rows], after: Place, where: Path) -> bool:
    """Keep the rows before `after` as a piece; False where that cannot be, which is no error."""
    first = after.rows - sum(map(len, rows))
    path = _path(which, first, where)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        space = os.statvfs(where)
        # What is there already counts too: nobody needs half of a recording.
        if after.rows * ROW.itemsize > space.f_bavail * space.f_frsize // _PART:
            return False
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=_PART_OF, delete=False) as file:
            try:
                _write(file, _head(which, first, after), rows)
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError:
        return False
    _tidy(where, path.parent)
    return True


def _write(file: IO[bytes], head: bytes, rows: Sequence[Rows]) -> None:
    file.write(bytes(_ROWS_AT))
    checksum = crc32(head)
    for some in rows:
        data = some.tobytes()
        checksum = crc32(data, checksum)
        file.write(data)
    file.seek(0)
    file.write(head + _CHECKSUM.pack(checksum))
    file.flush()


def _tidy(where: Path, own: Path) -> None:
    """Only the newest are kept, and nothing that was never finished."""
    with suppress(OSError):
        found = sorted(where.iterdir(), key=lambda path: path.stat().st_mtime)
        for path in found[:-_KEPT]:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        for path in own.glob(_PART_OF + "*"):
            if path.stat().st_mtime < time() - _STALE:
                path.unlink()
