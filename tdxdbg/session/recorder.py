"""The recording of a live run, written while it runs.

It is what the screen reads, so it is flushed at every stop, and every few
milliseconds between. Records are gathered and written in bursts; when a guest
runs for long, by a process of their own. A disk that is full ends the run, not
the program.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from tdxdbg.engine import Engine
from tdxdbg.engine.snapshot import dump
from tdxdbg.engine.state import TdExit
from tdxdbg.errors import TraceError
from tdxdbg.session.sink import RecordSink
from tdxdbg.traces import Kind, Record, Trace, TraceMeta, Writer, open_trace
from tdxdbg.traces.handover import Inputs
from tdxdbg.traces.layout import MAX_PAYLOAD, parts_of
from tdxdbg.traces.meta import dump_json
from tdxdbg.traces.records import checkpoint
from tdxdbg.traces.scribe import Scribe

#: Records between two checkpoints of the engine: what a reader has to walk.
_CHECKPOINT: Final = 4096
#: A checkpoint as large as its GPA map must not be most of the file.
_SHARE: Final = 4
#: Seconds between two flushes while the guest runs.
FLUSH: Final = 0.04
#: Records that are gathered, and after how many a run is a long one.
_BURST: Final = 512
_LONG: Final = 4_096
#: Kinds of record that end an engine step.
_ENDS: Final = (Kind.USERSPACE_EXIT, Kind.TD_ENTRY)


class Recorder(RecordSink):
    """A sink for `Run`. `failure` is one line when the file can take no more, else empty."""

    def __init__(self, path: str, meta: TraceMeta, engine: Engine) -> None:
        """Raises TraceError when the file exists or cannot be written."""
        self.path = path
        self.failure = ""
        self._out: Writer | Scribe = Writer(path, meta, buffered=True)
        self._engine = engine
        self._gathered: list[Record] = []
        self.append = self._gathered.append
        #: What is gathered once another process writes: it has an engine of its own.
        self._inputs = Inputs(self._checkpoint_between)
        self._rows = self._inputs.rows
        self._records = 0
        self._next_checkpoint = _CHECKPOINT
        self._flushed = 0.0
        self._scribe: Scribe | None = None
        self._alone = len(os.sched_getaffinity(0)) < 2

    def td_exit(self, row: int, exit_: TdExit, time: int) -> None:
        """The engine has not seen the exit: its state is the one before it."""
        if self._made >= self._next_checkpoint:
            self._checkpoint(time)
        super().td_exit(row, exit_, time)

    def _checkpoint_between(self, time: int) -> None:
        self._checkpoint(time)
        self._make_room()

    def _make_room(self) -> None:
        """How many inputs there may be until a checkpoint is due."""
        self._inputs.room = self._next_checkpoint - self._records

    @property
    def _made(self) -> int:
        return self._records + len(self._gathered) + len(self._rows)

    def _checkpoint(self, time: int | None) -> None:
        made = self._made
        state = dump(self._engine.checkpoint())
        size = len(dump_json(state))
        if size > MAX_PAYLOAD:
            # Larger than a record can be; readers walk from an older one.
            self._next_checkpoint = made + _SHARE * _CHECKPOINT
            return
        self.append(checkpoint(state, time))
        parts = parts_of(Kind.CHECKPOINT, size)
        self._next_checkpoint = made + max(_CHECKPOINT, _SHARE * (1 + parts))

    # --- to the file ------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Write what was gathered, if there is much of it or the last time is a while ago.

        `now` in seconds of any clock. A failure is noted, for the run to end.
        """
        if now - self._flushed >= FLUSH:
            self._flushed = now
            self._write()
            if isinstance(self._out, Writer):
                self.flush()
                self._hand_over()
        elif len(self._gathered) + len(self._rows) >= _BURST:
            self._write()

    def flush(self) -> None:
        """Give everything to the kernel, for readers."""
        self._write()
        if not self.failure:
            self._try(self._out.flush)

    def _write(self) -> None:
        gathered = self._gathered
        if gathered:
            self._records += len(gathered)
            if not self.failure:
                self._try(self._out.write_all, gathered)
            gathered.clear()
        if self._rows:
            self._records += len(self._rows)
            if isinstance(self._out, Scribe) and not self.failure:
                self._try(self._out.write, self._inputs)
            self._rows.clear()
            self._make_room()

    def _try(self, work: Callable[..., object], *arguments: object) -> None:
        try:
            work(*arguments)
        except (TraceError, ValueError) as problem:
            self.failure = self.failure or str(problem)

    def _hand_over(self) -> None:
        """Let another process write, once it has started and if the run is worth it."""
        writer, scribe = self._out, self._scribe
        if scribe is not None and isinstance(writer, Writer):
            if scribe.is_ready and not self.failure:
                self._out = scribe
                self._try(scribe.take_over, writer, self._engine)
                self._gather_inputs()
        elif not self._alone and self._records >= _LONG:
            try:
                self._scribe = Scribe()
            except OSError:
                self._alone = True

    def _gather_inputs(self) -> None:
        """From now on; these shadow the methods, as each of them counts."""
        inputs = self._inputs
        self._make_room()
        self.append = inputs.other
        self.__dict__.update(td_exit=inputs.td_exit, step=inputs.step, answer=inputs.answer)

    def close(self) -> None:
        """Flush and close; may be called twice."""
        self._write()
        self._try(self._out.close)
        if self._scribe is not None:
            self._try(self._scribe.close)

    def leave(self) -> None:
        """In a forked child: the recording is the parent's."""
        self._gathered.clear()
        self._rows.clear()
        if self._scribe is not None:
            self._scribe.leave()

    # --- another recording's beginning ------------------------------------------------

    def copy_prefix(self, source: str, steps: int, busy: Callable[[], object]) -> None:
        """Begin with another recording, up to the end of this many engine steps.

        `busy` is called now and then. Raises TraceError.
        """
        with open_trace(source) as trace:
            done = self._copy(trace, steps, busy)
        self.flush()
        if self.failure:
            raise TraceError(self.failure)
        if done != steps:
            raise TraceError(f"{source}: holds {done} of {steps} steps; it was not fully written")
        self._next_checkpoint = self._records + _CHECKPOINT

    def _copy(self, trace: Trace, steps: int, busy: Callable[[], object]) -> int:
        done = 0
        if not steps:
            return 0
        for index, record in trace.records():
            self.append(record)
            if index % 1024 == 0:
                self._write()
                busy()
            done += record.kind in _ENDS
            if done == steps or self.failure:
                break
        return done

    def discard(self) -> None:
        """Close, and remove the file: it did not become a recording."""
        self.close()
        os.unlink(self.path)
