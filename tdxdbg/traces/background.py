"""An import in a process of its own: its first exits can be looked at while it goes on."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, Final, Self

from tdxdbg import child
from tdxdbg.errors import BackendError, TraceError
from tdxdbg.traces.copies import unnamed_file
from tdxdbg.traces.native import Trace
from tdxdbg.traces.unread import Imported

_MODULE: Final = "tdxdbg.traces.importing"
#: Seconds that it gets to end after it was asked to.
_PATIENCE: Final = 5.0
_LONGEST_NEWS: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Job:
    """What to import. `stream`: it still grows, or comes through a pipe."""

    path: str
    name: str
    pids: tuple[int, ...] = ()
    form: str = ""
    stream: bool = False


class Background:
    """`done` of `total` bytes are read (0: nobody knows how many there are).

    `ended` when nothing more comes; `failure` is one line when it could not
    go on. Raises TraceError when there can be no such process.
    """

    def __init__(self, job: Job, source: BinaryIO | None = None) -> None:
        """`source`: what the path "-" stands for, in place of standard input."""
        self.job = job
        self.done = self.total = 0
        self.ended = False
        self.failure = ""
        self._error: type[TraceError | BackendError] = TraceError
        self._news = b""
        self._told: dict[str, Any] = {}
        self._trace: Trace | None = None
        self._file = unnamed_file(job.name)
        try:
            self._process = subprocess.Popen(
                child.command(_MODULE, self._file.fileno(), json.dumps(asdict(job))),
                env=child.environment(),
                pass_fds=[self._file.fileno()],
                stdin=source if job.path == "-" else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as problem:
            self._file.close()
            raise TraceError(f"{job.name}: cannot be imported: {problem.strerror}") from None
        assert self._process.stdout is not None
        self._pipe = self._process.stdout.fileno()
        os.set_blocking(self._pipe, False)

    @property
    def size(self) -> int:
        """Bytes of the trace so far."""
        return os.fstat(self._file.fileno()).st_size

    def open(self, seconds: float) -> Trace:
        """The trace, as soon as it has an exit, and at the latest when there is a head of it
        after so many seconds.

        Raises TraceError or BackendError, one line, when it came to nothing.
        """
        last = time.monotonic() + seconds
        while True:
            self.read()
            if self.failure:
                self.close()
                raise self._error(self.failure)
            if self.size:
                trace = Trace.open(self._file, self.job.name)
                if len(trace) or self.ended or time.monotonic() > last:
                    self._trace = trace
                    self._tell_trace()
                    return trace
                trace.close()
            if not self.ended:
                select.select([self._pipe], [], [], 0.05)

    def read(self) -> None:
        """Take what it says; never waits."""
        while not self.ended:
            try:
                data = os.read(self._pipe, 1 << 16)
            except BlockingIOError:
                break
            if not data:
                self._end()
                break
            self._news += data
            if len(self._news) > _LONGEST_NEWS:
                self._news = b""
            *lines, self._news = self._news.split(b"\n")
            for line in lines:
                self._take(json.loads(line))

    def _take(self, news: dict[str, Any]) -> None:
        self.done, self.total = news.get("done", self.done), news.get("total", self.total)
        if "failed" in news:
            self.failure = news["failed"]
            self._error = BackendError if news["error"] == "BackendError" else TraceError
        if "ended" in news:
            self._told = news

    def _end(self) -> None:
        self.ended = True
        self._process.wait()
        if not self._told and not self.failure:
            self.failure = f"{self.job.name}: the process that imported it died; open it again"
        self._tell_trace()

    def _tell_trace(self) -> None:
        """What is known at the end goes to the trace."""
        trace = self._trace
        if trace is None or not self.ended:
            return
        trace.refresh()
        known = set(trace.problems)
        for line in (self._told.get("ended"), self.failure, *self._told.get("problems", ())):
            if line and line not in known:
                trace.note_problem(line)
        trace.remarks.extend(self._told.get("remarks", ()))
        imported = self._told.get("imported")
        trace.imported = None if imported is None else Imported(*imported)
        trace.unread.extend((number, text) for number, text in self._told.get("unread", ()))

    def stop(self) -> None:
        """End the import; what it has read stays. Its last word comes by `read`."""
        if not self.ended:
            self._process.terminate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, whatever it does; may be called twice."""
        self._process.terminate()
        child.wait_or_kill(self._process, _PATIENCE)
        self.ended = True
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._file.close()
