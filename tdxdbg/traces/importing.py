"""The process that imports for another one: python -m tdxdbg.traces.importing FD JOB.

FD is a file that becomes a native trace, of which the other process reads what
is there so far; JOB is JSON (`background.Job`). News go to standard output, a
JSON object a line. SIGTERM ends it with what it has.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from io import RawIOBase
from typing import Any, BinaryIO, Final, NoReturn, cast

from tdxdbg.errors import TdxdbgError
from tdxdbg.traces import HEAD_SIZE, open_trace, read_stream
from tdxdbg.traces.builder import Builder
from tdxdbg.traces.native import Trace
from tdxdbg.traces.reader import Pids

#: Seconds between two news, and between two looks at a file that may have grown.
_EVERY: Final = 0.1
#: So much of a stream can be read a second time.
_KEPT: Final = 64 << 10


class StoppedError(BaseException):
    """Somebody wants it to end; a BaseException, so that nothing keeps it."""


class Tail(RawIOBase):
    """A recording that comes bit by bit: of a pipe to its end, of a file for ever.

    `idle` is called when there is nothing to read. Its beginning can be read twice.
    """

    def __init__(self, fd: int, idle: Callable[[], object], *, forever: bool) -> None:
        self._fd = fd
        self._idle = idle
        self._forever = forever
        self._stopped = False
        self._head = bytearray()
        self._at = 0
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """To the start, as long as not much was read."""
        if offset or whence or self._at > len(self._head):
            raise OSError("what comes bit by bit can only be read on")
        self._at = 0
        return 0

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        """What there is, at most `size` bytes; empty at the end."""
        wanted = 1 << 20 if size is None or size < 0 else size
        if self._at < len(self._head):
            data = bytes(self._head[self._at : self._at + wanted])
        else:
            data = self._next(wanted)
            if len(self._head) == self._at and len(self._head) + len(data) <= _KEPT:
                self._head += data
        self._at += len(data)
        return data

    def stop(self) -> None:
        """This is the end; may be called in a signal handler."""
        self._stopped = True

    def _next(self, size: int) -> bytes:
        while not self._stopped:
            if not self._poll.poll(_EVERY * 1000):
                self._idle()
                continue
            data = os.read(self._fd, size)
            if data or not self._forever:
                return data
            self._idle()
            time.sleep(_EVERY)
        return b""


class News:
    """Tells how far it is, not too often."""

    def __init__(self) -> None:
        self._told = 0.0

    def progress(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told >= _EVERY:
            self._told = now
            flush()
            self.tell(done=done, total=total)

    @staticmethod
    def tell(**what: Any) -> None:
        os.write(sys.stdout.fileno(), json.dumps(what).encode() + b"\n")


def flush() -> None:
    """Give what is built to the reader."""
    if Builder.newest is not None:
        Builder.newest.flush()


def _import(job: dict[str, Any], news: News) -> Trace:
    path, pids, form = job["path"], frozenset(job["pids"]), job["form"]
    if not job["stream"]:
        return open_trace(path, pid=pids, progress=news.progress, form=form)
    fd = 0 if path == "-" else os.open(path, os.O_RDONLY)

    def idle() -> None:
        flush()
        news.progress(tail.tell(), 0)

    tail = Tail(fd, idle, forever=path != "-")
    # What it has read so far is then read to its end, open exits too.
    signal.signal(signal.SIGTERM, lambda *_: tail.stop())
    return _read_stream(tail, job["name"], pids, form)


def _read_stream(tail: Tail, name: str, pids: Pids, form: str) -> Trace:
    """Wait for enough to know what it is, then read on."""
    head = b""
    while len(head) < HEAD_SIZE:
        more = tail.read(HEAD_SIZE - len(head))
        head += more
        trace = read_stream(cast(BinaryIO, tail), head, name, pids, form, last=not more)
        if trace is not None:
            return trace
    raise AssertionError("a stream that is read whole is known or refused")


def _copy(trace: Trace) -> None:
    with os.fdopen(os.dup(Builder.into), "wb") as file:
        file.write(trace.head)
        file.writelines(trace.pieces())


def _stop(number: int, frame: object) -> NoReturn:
    raise StoppedError


def main(arguments: list[str]) -> None:
    """Import, and say how it ended."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Builder.into = int(arguments[0])
    news = News()
    try:
        trace = _import(json.loads(arguments[1]), news)
        if Builder.newest is None:
            # It was native already, and only came through a pipe.
            _copy(trace)
        news.tell(
            ended="",
            problems=trace.problems,
            remarks=trace.remarks,
            unread=trace.unread,
            imported=trace.imported,
        )
    except StoppedError:
        flush()
        news.tell(ended="the import was stopped: what it had read is here")
    except (TdxdbgError, OSError) as problem:
        flush()
        news.tell(failed=str(problem), error=type(problem).__name__)


if __name__ == "__main__":
    main(sys.argv[1:])
