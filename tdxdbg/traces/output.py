"""What is written to files: whole or not at all.

The content goes to a hidden file in the same folder, is given to the disk, and
gets its name then. A crash leaves the hidden file behind, never half a file
under the name that was asked for.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import EPIPE
from pathlib import Path
from typing import IO, BinaryIO, Final, cast

from tdxdbg.errors import BackendError

_MOST: Final = 10_000


class Output:
    """What an exporter writes to: `write` of bytes. Errors of the system name the file.

    A reader of standard output that went away is a BrokenPipeError, as ever.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name
        self.size = 0

    def write(self, data: bytes | memoryview) -> int:
        """Write all of it; raises BackendError."""
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as problem:
            raise _failed(self._name, problem) from None
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Give everything to the system; raises BackendError."""
        try:
            self._file.flush()
        except OSError as problem:
            raise _failed(self._name, problem) from None


def _failed(name: str, problem: OSError) -> Exception:
    if problem.errno == EPIPE:
        return BrokenPipeError(*problem.args)
    why = problem.strerror or problem
    return BackendError(f"{name}: cannot be written: {why}; make room, or give another place")


@contextmanager
def to_stream(file: BinaryIO, name: str) -> Iterator[Output]:
    """An output to a file that is open already, such as standard output."""
    out = Output(file, name)
    yield out
    out.flush()


@contextmanager
def to_file(path: str, *, force: bool = False) -> Iterator[Output]:
    """An output that becomes the file of this name when everything was written.

    Raises FileExistsError when there is one and `force` is not given. What is
    there and no plain file (a pipe, a device) is written to as it is.
    """
    # A link is followed, so that it stays one.
    target = Path(os.path.realpath(path))
    if _is_special(target):
        with _opened(target, path) as file, to_stream(cast(BinaryIO, file), path) as out:
            yield out
        return
    if not force and target.exists():
        raise FileExistsError(path)
    try:
        part = new_part(target.parent)
    except OSError as problem:
        why = problem.strerror or problem
        raise BackendError(f"{path}: cannot be created: {why}; give another place") from None
    try:
        # Without a buffer: what does not fit is known where it is written.
        with part.open("wb", buffering=0) as file:
            out = Output(file, path)
            yield out
            out.flush()
            with _named(path):
                os.fsync(file.fileno())
        with _named(path):
            _rename(part, target, force=force)
            _sync_folder(target.parent)
    finally:
        with suppress(OSError):
            part.unlink()


def _is_special(path: Path) -> bool:
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _opened(target: Path, name: str) -> IO[bytes]:
    try:
        return target.open("wb", buffering=0)
    except OSError as problem:
        why = problem.strerror or problem
        raise BackendError(f"{name}: cannot be written: {why}; give another name") from None


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise
    except OSError as problem:
        raise _failed(name, problem) from None


def _rename(part: Path, target: Path, *, force: bool) -> None:
    if force:
        os.replace(part, target)
        return
    try:
        # Unlike a rename it fails when somebody made such a file meanwhile.
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:
        # A file system without links.
        target.touch(exist_ok=False)
        os.replace(part, target)


def _sync_folder(folder: Path) -> None:
    # Not every file system can; the content is on the disk already.
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def new_part(folder: Path) -> Path:
    """An empty file in the folder, hidden, for what is not whole yet; raises OSError."""
    return first_free(lambda number: folder / f".tdxdbg-{os.getpid()}-{number}.part")


def first_free(name: Callable[[int], Path]) -> Path:
    """The first of these files that was not there: it is now, and empty. Raises OSError."""
    for number in range(1, _MOST):
        path = name(number)
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            continue
        return path
    raise FileExistsError(f"there are {_MOST - 1} such files in this folder")
