"""A world, served over a channel to its client.

While the guest runs the socket is looked at between slices of work, so what
only looks is answered at once and an interrupt is never late.

To look at the past a worker forks. The child goes to the place, says over a
pipe that it is there, and the client gets a socket to it; the present stays as
it is. A place is reached by re-execution, so a child costs what it writes.
"""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Callable
from inspect import signature
from typing import Any, Final, NamedTuple

from tdxdbg.errors import SessionError, TdxdbgError
from tdxdbg.filters import FilterError
from tdxdbg.session import look
from tdxdbg.session.build import metadata, open_world
from tdxdbg.session.channel import Channel, ChannelError
from tdxdbg.session.config import LiveConfig
from tdxdbg.session.guard import WATCH, watch
from tdxdbg.session.moves import MOVES, PRESENT, RUNS, run_past
from tdxdbg.session.recorder import Recorder
from tdxdbg.session.run import Position, Stop, Why
from tdxdbg.session.view import view
from tdxdbg.session.world import World
from tdxdbg.session.worlds import Worlds

#: Seconds between two progress messages while the guest runs.
_PROGRESS: Final = 0.1
#: Requests that wait.
_MOST_REQUESTS: Final = 1024


class Request(NamedTuple):
    """What the client wants; its reply carries the same number."""

    number: int
    command: str
    arguments: dict[str, Any]


class _ForkedError(BaseException):
    """Unwinds a forked child to its own loop: it has to go where `request` says."""

    def __init__(self, request: Request, ready: Channel) -> None:
        super().__init__()
        self.request = request
        self.ready = ready


class _ClientGoneError(BaseException):
    """Unwinds everything: nobody is there any more."""


class Worker:
    """One world, its client, and the worlds that were forked from it."""

    def __init__(self, channel: Channel, config: LiveConfig) -> None:
        """Raises what `open_world` raises."""
        self.channel = channel
        self.config = config
        self.world: World
        self.recorder: Recorder | None
        self.world, self.recorder = open_world(config, self.poll, self.wait)
        self.record = self.recorder.path
        #: A folder that goes away with this process, in case its client was killed.
        self.private = ""
        self.kind = "live"
        #: The newest place that a past may go to.
        self.end: Position | None = None
        self.stop, self.why = Stop(Why.START), ""
        self._queue: deque[Request] = deque()
        self._running: Request | None = None
        self._interrupted = False
        self._progress = 0.0
        self._worlds = Worlds(channel)

    # --- the loop ---------------------------------------------------------------------

    def serve(self) -> None:
        """Until the client is gone."""
        forked: _ForkedError | None = None
        while True:
            try:
                if forked is not None:
                    fork, forked = forked, None
                    self._become(fork)
                self._turn()
            except _ForkedError as fork:
                forked = fork
            except (_ClientGoneError, ChannelError):
                return

    def _turn(self) -> None:
        if self._queue:
            self._do(self._queue.popleft())
            return
        self.channel.wait(WATCH if self._worlds else None, self._worlds.awaited)
        self._take()

    def poll(self) -> bool:
        """Between slices of work: whether to stop."""
        self._take()
        self._meanwhile()
        now = time.monotonic()
        if self.recorder is not None:
            self.recorder.tick(now)
        running = self._running
        if running is not None and now - self._progress >= _PROGRESS:
            self._progress = now
            # Who does not read gets no more of them.
            if self.channel.is_flushed:
                self._say(running.number, "progress", self.state())
        return self._interrupted or bool(self.failure)

    def wait(self, seconds: float) -> None:
        """Sleep, but not over a message."""
        if self.channel.is_flushed:
            self.channel.wait(seconds)

    def _meanwhile(self) -> None:
        """What the guest is told while it runs, in the order in which it was asked for."""
        if self._running is None or self._running.command not in RUNS:
            return
        while self._queue and self._queue[0].command in look.MEANWHILE:
            self._do(self._queue.popleft())

    @property
    def failure(self) -> str:
        """Why nothing more can be recorded; empty while it can."""
        return self.recorder.failure if self.recorder is not None else ""

    def _take(self) -> None:
        """Everything that has arrived."""
        self.channel.flush()
        for message in self.channel.receive():
            self._arrived(message.body)
        if self.channel.ended:
            raise _ClientGoneError
        self._worlds.look_after()

    def _arrived(self, body: dict[str, Any]) -> None:
        request = Request(body["request"], body["do"], body["with"])
        command = request.command
        moving = self._running is not None and self._running.command in MOVES
        if command == "close":
            raise _ClientGoneError
        if command == "interrupt":
            self._interrupt(request)
        elif command == "state" or command in look.LOOKS:
            self._do(request)
        elif command in look.CHANGES and not moving:
            self._do(request)
            if self._running is not None:
                self.world.rearm()
        elif command in MOVES and self.kind != "past":
            self._reply(request, self._fork)
        elif len(self._queue) >= _MOST_REQUESTS:
            self._fail(request, SessionError("too many requests are waiting"))
        else:
            self._queue.append(request)

    def _interrupt(self, request: Request) -> None:
        waiting = any(item.command in RUNS or item.command in MOVES for item in self._queue)
        if self._running is not None or waiting:
            self._interrupted = True
        else:
            self._worlds.interrupt()
        self._say(request.number, "done", self.state())

    # --- requests ---------------------------------------------------------------------

    def _do(self, request: Request) -> None:
        command = request.command
        if command in look.LOOKS:
            self._reply(request, self._asked, look.LOOKS[command])
        elif command in look.CHANGES:
            self._reply(request, self._asked, look.CHANGES[command])
        elif command in look.INTERVENTIONS:
            self._reply(request, self._intervene)
        elif command in RUNS or command in MOVES:
            self._reply(request, self._run)
        elif command == "state":
            self._reply(request, lambda _: self.state())
        elif command == "make_live":
            self._reply(request, self._make_live)
        else:
            self._fail(request, SessionError(f"no command {command!r}"))

    def _reply(self, request: Request, work: Callable[..., Any], *more: Any) -> None:
        """Do it, and say what came of it."""
        try:
            value = work(request, *more)
            if value is not _LATER:
                self._say(request.number, "done", value)
        except (TdxdbgError, FilterError, ChannelError) as problem:
            self._fail(request, problem)
        except MemoryError:
            raise
        except Exception as problem:
            what = f"a bug in tdxdbg: {type(problem).__name__}: {problem}"
            self._fail(request, SessionError(what))

    def _fail(self, request: Request, problem: Exception) -> None:
        name = type(problem).__name__
        body = {"request": request.number, "kind": "failed", "value": str(problem), "error": name}
        self.channel.send(body)

    def _say(self, number: int, kind: str, value: Any, *fds: int) -> None:
        self.channel.send({"request": number, "kind": kind, "value": value}, fds)

    def state(self) -> dict[str, Any]:
        """See `State`."""
        return view(self.world, self.kind, self.stop, self.why, self.end, self.failure)

    def _asked(self, request: Request, ask: look.Ask) -> Any:
        return ask(self.world, **_checked(ask, request, 1))

    def _intervene(self, request: Request) -> dict[str, Any]:
        if self.kind == "past":
            raise SessionError(
                "this is the past, which cannot be changed: make_live goes on from it"
            )
        change = look.INTERVENTIONS[request.command]
        change(self.world, **_checked(change, request, 1))
        return self.state()

    def _run(self, request: Request) -> dict[str, Any]:
        if self.failure:
            raise SessionError(self.failure)
        self._running, self._progress = request, time.monotonic()
        try:
            self._go(request)
        finally:
            self._running, self._interrupted = None, False
            if self.recorder is not None:
                self.recorder.flush()
        return self.state()

    def _go(self, request: Request) -> None:
        work = MOVES.get(request.command) or RUNS[request.command]
        arguments = _checked(work, request, 1)
        if self.kind == "past" and request.command in RUNS:
            assert self.end is not None
            self.stop = run_past(self.world, self.end, request.command, arguments)
        else:
            self.stop = work(self.world, **arguments)
        self.why = PRESENT if self.world.run.position == self.end else ""

    # --- other worlds -----------------------------------------------------------------

    def _fork(self, request: Request) -> object:
        """Another process for a look at the past; its reply comes when it is there."""
        _checked(MOVES[request.command], request, 1)
        if self.recorder is not None:
            self.recorder.flush()
        fork = self._worlds.fork(request.number)
        if fork is None:
            return _LATER
        channel, ready = fork
        self._leave_parent(channel)
        raise _ForkedError(request, ready)

    def _leave_parent(self, channel: Channel) -> None:
        """In the child: what was the parent's is closed, and nothing is recorded."""
        self.channel.close()
        self.private = ""
        self.channel = channel
        self._worlds = Worlds(channel)
        watch(channel)
        if self.recorder is not None:
            self.recorder.leave()
        self.recorder = None
        if self.kind != "past":
            self.kind, self.end = "past", self.world.run.position
        self._queue.clear()
        self._running, self._interrupted = None, False

    def _become(self, fork: _ForkedError) -> None:
        """Go where this world is wanted, and tell the parent."""
        self.world.run.sink = None
        ready = fork.ready
        body: dict[str, Any]
        try:
            # Not `_run`: its progress would go to a client that did not ask for this.
            self._go(fork.request)
            body = {"value": self.state()}
        except (TdxdbgError, FilterError) as problem:
            body = {"failed": str(problem), "error": type(problem).__name__}
        ready.send(body)
        while not ready.flush():
            ready.wait()
        ready.close()
        if "failed" in body:
            raise _ClientGoneError

    def _make_live(self, request: Request) -> dict[str, Any]:
        """The past becomes a present of its own, with a recording of its own."""
        if self.kind != "past":
            raise SessionError("this is no past: it can be run as it is")
        record = request.arguments["record"]
        world = self.world
        meta = metadata(self.config, world.run.engine.td)
        recorder = Recorder(record, meta, world.run.engine)
        try:
            recorder.copy_prefix(self.record, world.run.steps, self._take)
        except BaseException:
            recorder.discard()
            raise
        world.forget_future()
        self.recorder, self.record = recorder, record
        world.run.sink = recorder
        self.kind, self.end, self.why = "fork", None, ""
        return self.state()

    # --- the end ----------------------------------------------------------------------

    def finish(self) -> None:
        """Close the recording, and end the worlds that were forked."""
        if self.recorder is not None:
            self.recorder.close()
        self.channel.close()
        self._worlds.end()
        if self.private:
            shutil.rmtree(self.private, ignore_errors=True)


#: The reply comes from somewhere else.
_LATER: Final = object()


#: By the annotations of commands, which are text.
_KINDS: Final = {
    **{kind.__name__: kind for kind in (int, str, bytes, bool, dict)},
    "None": type(None),
}


def _checked(work: Callable[..., Any], request: Request, skip: int) -> dict[str, Any]:
    """The arguments, if they are those of the command; `skip` of its own come first."""
    parameters = signature(work).parameters
    names = list(parameters)[skip:]
    unknown = sorted(set(request.arguments) - set(names))
    if unknown:
        raise SessionError(f"{request.command} has no {unknown[0]!r}: it takes {', '.join(names)}")
    try:
        signature(work).bind(*[None] * skip, **request.arguments)
    except TypeError as problem:
        raise SessionError(f"{request.command}: {problem}") from None
    for name, value in request.arguments.items():
        kinds = str(parameters[name].annotation)
        if not any(type(value) is _KINDS[kind.partition("[")[0]] for kind in kinds.split(" | ")):
            raise SessionError(f"{request.command}: {name} {value!r:.40} is no {kinds}")
    return request.arguments
