"""An unlinked temporary file for a trace that is being made, written beside the making.

The kernel copies what is written while the next records are joined, so a
thread costs nothing and saves a third of the time.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable
from queue import Queue
from threading import Thread
from typing import Final

from tdxdbg.errors import TraceError

#: How many pieces may wait to be written.
_WAITING: Final = 4

#: Makes bytes, which nothing changes any more.
Piece = Callable[[], bytes | bytearray | memoryview]


class Spill:
    """`name` is for messages; `into`: a descriptor of the file, in place of one that is made.

    Raises TraceError where there is no room.
    """

    def __init__(self, name: str, into: int = -1) -> None:
        self._name = name
        self._problem: OSError | None = None
        try:
            if into >= 0:
                self._fd = os.dup(into)
                # Who starts again writes the same.
                os.lseek(self._fd, 0, os.SEEK_SET)
            else:
                self._fd, path = tempfile.mkstemp(prefix="tdxdbg-")
                os.unlink(path)
        except OSError as problem:
            raise self._no_room(problem) from None
        self._pieces: Queue[Piece | None] = Queue(_WAITING)
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def write(self, piece: Piece) -> None:
        """Appends what a piece makes, in the thread; an earlier failure is raised here."""
        self._pieces.put(piece)
        self._complain()

    def flush(self) -> None:
        """Waits until everything so far is in the file."""
        if self._thread.is_alive():
            self._pieces.join()
        self._complain()

    def finish(self) -> mmap.mmap:
        """Waits for everything and maps the file."""
        self._end()
        self._complain()
        return mmap.mmap(self._fd, 0, access=mmap.ACCESS_READ)

    def close(self) -> None:
        """Gives the file up; a map of it stays."""
        self._end()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _end(self) -> None:
        if self._thread.is_alive():
            self._pieces.put(None)
            self._thread.join()

    def _complain(self) -> None:
        if self._problem is not None:
            raise self._no_room(self._problem)

    def _no_room(self, problem: OSError) -> TraceError:
        return TraceError(
            f"{self._name}: no room for its copy in {tempfile.gettempdir()}: "
            f"{problem.strerror}; set TMPDIR to a place with more"
        )

    def _run(self) -> None:
        while (piece := self._pieces.get()) is not None:
            try:
                if self._problem is None:
                    data = memoryview(piece()).cast("B")
                    while data:
                        data = data[os.write(self._fd, data) :]
            except OSError as problem:
                self._problem = problem
            finally:
                self._pieces.task_done()
