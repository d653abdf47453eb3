"""The recording of a live run, written while it runs.

It is what the screen reads, so it is flushed at every stop, and every few
milliseconds between. A disk that is full ends the run, not the program.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from tdxdbg.engine import Engine
from tdxdbg.engine.snapshot import dump
from tdxdbg.errors import TraceError
from tdxdbg.traces import Kind, Record, Trace, TraceMeta, Writer, open_trace

#: Records between two checkpoints of the engine: what a reader has to walk.
_CHECKPOINT: Final = 4096
#: A checkpoint as large as its GPA map must not be most of the file.
_SHARE: Final = 4
#: Seconds between two flushes while the guest runs.
FLUSH: Final = 0.04
#: Kinds of record that end an engine step.
_ENDS: Final = (Kind.USERSPACE_EXIT, Kind.TD_ENTRY)


class Recorder:
    """A sink for `Run`. `failure` is one line when the file can take no more, else empty."""

    def __init__(self, path: str, meta: TraceMeta, engine: Engine) -> None:
        """Raises TraceError when the file exists or cannot be written."""
        self._writer = Writer(path, meta, buffered=True)
        self._engine = engine
        self._next_checkpoint = _CHECKPOINT
        self._flushed = 0.0
        self.failure = ""

    @property
    def path(self) -> str:
        return self._writer.path

    def __call__(self, record: Record) -> None:
        """Append a record; a failure is noted, since the run is in the middle of a step."""
        if self.failure:
            return
        writer = self._writer
        try:
            # The engine has not seen this exit: its state is the one before it.
            if record.kind is Kind.TD_EXIT and writer.n_records >= self._next_checkpoint:
                self._checkpoint(record.time)
            writer.write(record)
        except (TraceError, ValueError) as problem:
            self.failure = str(problem)

    def _checkpoint(self, time: int | None) -> None:
        before = self._writer.n_records
        try:
            self._writer.checkpoint(dump(self._engine.checkpoint()), time)
        except ValueError:
            # Larger than a record can be; readers walk from an older one.
            self._next_checkpoint = before + _SHARE * _CHECKPOINT
            return
        after = self._writer.n_records
        self._next_checkpoint = after + max(_CHECKPOINT, _SHARE * (after - before))

    def tick(self, now: float) -> None:
        """Flush when the last one is a while ago; `now` in seconds of any clock."""
        if now - self._flushed >= FLUSH:
            self._flushed = now
            self.flush()

    def flush(self) -> None:
        """Give everything to the kernel, for readers."""
        if self.failure:
            return
        try:
            self._writer.flush()
        except TraceError as problem:
            self.failure = str(problem)

    def close(self) -> None:
        """Flush and close; may be called twice."""
        try:
            self._writer.close()
        except TraceError as problem:
            self.failure = self.failure or str(problem)

    def copy_prefix(self, source: str, steps: int, busy: Callable[[], object]) -> None:
        """Begin with another recording, up to the end of this many engine steps.

        `busy` is called now and then. Raises TraceError.
        """
        with open_trace(source) as trace:
            done = self._copy(trace, steps, busy)
        if done != steps:
            raise TraceError(f"{source}: holds {done} of {steps} steps; it was not fully written")
        self._next_checkpoint = self._writer.n_records + _CHECKPOINT
        self._writer.flush()

    def _copy(self, trace: Trace, steps: int, busy: Callable[[], object]) -> int:
        done = 0
        if not steps:
            return 0
        for index, record in trace.records():
            self._writer.write(record)
            if index % 1024 == 0:
                busy()
            done += record.kind in _ENDS
            if done == steps:
                break
        return done

    def discard(self) -> None:
        """Close, and remove the file: it did not become a recording."""
        self.close()
        os.unlink(self.path)
