"""A client's connection to one world: requests, events, waiting, and its end."""

from __future__ import annotations

import os
import socket
from types import TracebackType
from typing import Any, Self

from tdxdbg.errors import SessionError
from tdxdbg.session.channel import Channel, ChannelError
from tdxdbg.session.client import MOVES, Client, Event, Failure, Reply, SessionDied
from tdxdbg.session.config import LiveConfig
from tdxdbg.session.process import WorkerProcess
from tdxdbg.session.state import State
from tdxdbg.timeline import Timeline
from tdxdbg.traces import Trace, open_trace


class Connection:
    """The half of `Session` that has no commands of its own."""

    def __init__(self, process: WorkerProcess, client: Client, config: LiveConfig) -> None:
        """Use `Session.open` or `Session.start`."""
        self.config = config
        #: Where the recording is, a .tdxt file that grows while the guest runs.
        self.trace_path = config.record
        self.state: State
        self._process = process
        self._client = client
        self._root: Connection = self
        self._worlds: list[Connection] = []
        self._backlog: list[Reply] = []
        self._abandoned: set[int] = set()
        self._records: dict[int, str] = {}
        self._death: SessionDied | None = None
        self._closed = False
        self._started = False
        self._trace: Trace | None = None
        self._timeline: Timeline | None = None

    def close(self) -> None:
        """End this world, and with the first session all of them; may be called twice."""
        if self._closed:
            return
        self._closed = True
        for reply in self._backlog:
            if reply.fd >= 0:
                os.close(reply.fd)
        self._backlog.clear()
        self._close_timeline()
        self._client.channel.close()
        if self._root is self:
            for world in self._worlds:
                world.close()
            self._process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        name = os.path.basename(self.config.guest)
        if not self.alive:
            return f"<Session {name!r}, {'closed' if self._closed else 'died'}>"
        state = self.state
        place = f"exit {state.row}, step {state.step}" if state.row >= 0 else "the start"
        rip = f" at {state.rip:#x}" if state.is_in_td else ""
        return f"<Session {name!r}, {state.world}, {state.where}{rip}, after {place}>"

    @property
    def alive(self) -> bool:
        """Whether there is somebody to answer."""
        return not self._closed and self._death is None

    @property
    def world(self) -> str:
        """`live`, `past`, or `fork`."""
        return self.state.world

    # --- without waiting --------------------------------------------------------------

    def send(self, command: str, **arguments: Any) -> int:
        """Ask for something; `poll` gives the result as an Event with this number."""
        if self._closed:
            raise SessionError("the session is closed")
        if command == "make_live":
            arguments["record"] = self._new_record(arguments.get("record"))
        request = self._client.send(command, arguments)
        if command == "make_live":
            self._records[request] = arguments["record"]
        return request

    def fileno(self) -> int:
        """Can be read when `poll` has something."""
        return self._client.channel.fileno()

    def poll(self) -> list[Event]:
        """What has happened since; a dead worker is told of once."""
        if self._closed:
            return []
        replies, self._backlog = [*self._backlog, *self._receive()], []
        return [self._event(reply) for reply in replies]

    def _event(self, reply: Reply) -> Event:
        value = reply.value.message if isinstance(reply.value, Failure) else self._result(reply)
        return Event(reply.request, reply.kind, value)

    def _receive(self) -> list[Reply]:
        replies = [item for item in self._client.receive() if not self._is_abandoned(item)]
        for reply in replies:
            self._note(reply)
        if self._client.broken and self._death is None:
            self._death = self._autopsy()
            replies.append(Reply(0, "died", str(self._death)))
        return replies

    def _is_abandoned(self, reply: Reply) -> bool:
        if reply.request not in self._abandoned:
            return False
        if reply.kind != "progress":
            self._abandoned.discard(reply.request)
        if reply.fd >= 0:
            os.close(reply.fd)
        return True

    def _note(self, reply: Reply) -> None:
        """What an answer says of this world."""
        if isinstance(reply.value, State) and reply.fd < 0:
            self.state = reply.value
        record = self._records.pop(reply.request, "")
        if record and reply.kind == "done":
            self.trace_path = record
            self._close_timeline()

    def _result(self, reply: Reply) -> Any:
        if reply.command not in MOVES or reply.kind != "done":
            return reply.value
        if reply.fd < 0:
            return self
        client = Client(Channel(socket.socket(fileno=reply.fd)))
        world = type(self)(self._process, client, self.config)
        world.state = reply.value
        world._started = True
        world.trace_path = self.trace_path
        world._root = self._root
        self._root._worlds = [item for item in self._root._worlds if not item._closed]
        self._root._worlds.append(world)
        return world

    def _autopsy(self) -> SessionDied:
        if self._client.broken != "ended":
            if self._root is self:
                self._process.kill()
            return SessionDied(self._client.broken)
        if self._root is not self:
            return SessionDied("the process of this world is gone; the others are not touched")
        why, signal = self._process.death()
        if not self._started:
            return SessionDied(why, signal)
        return SessionDied(f"{why}; the recording up to there is in {self.trace_path}", signal)

    # --- waiting ----------------------------------------------------------------------

    def _ask(self, command: str, **arguments: Any) -> Any:
        return self._wait(command, arguments)

    def _wait(self, command: str, arguments: dict[str, Any]) -> Any:
        if self._death is not None:
            raise self._death
        try:
            if command == "open":
                request = self._client.send(command, arguments)
            else:
                request = self.send(command, **arguments)
            return self._answer_to(request)
        except ChannelError as problem:
            raise SessionError(str(problem)) from None

    def _answer_to(self, request: int) -> Any:
        try:
            found = self._reply_to(request)
        except KeyboardInterrupt:
            self._stop(request)
            raise
        if isinstance(found.value, Failure):
            raise found.value.error(found.value.message)
        return self._result(found)

    def _reply_to(self, request: int) -> Reply:
        """Its last reply; what else comes is kept for `poll`. Raises SessionDied."""
        while True:
            found = None
            for reply in self._receive():
                if reply.request == request and reply.kind in ("done", "failed"):
                    found = reply
                elif reply.kind != "progress":
                    self._backlog.append(reply)
            if found is not None:
                return found
            if self._death is not None:
                raise self._death
            self._client.channel.wait()

    def _stop(self, request: int) -> None:
        """Somebody is tired of waiting: what runs stops. A second Ctrl-C does not wait for it."""
        try:
            self._abandoned.add(self._client.send("interrupt", {}))
            reply = self._reply_to(request)
        except (SessionError, ChannelError):
            return
        except KeyboardInterrupt:
            self._abandoned.add(request)
            return
        if reply.fd >= 0:
            os.close(reply.fd)

    # --- the recording ----------------------------------------------------------------

    @property
    def timeline(self) -> Timeline:
        """The recording so far."""
        if self._timeline is None or self._trace is None:
            self._trace = open_trace(self.trace_path)
            self._timeline = Timeline(self._trace)
        elif self._trace.refresh():
            self._timeline.grown()
        return self._timeline

    def _new_record(self, record: str | os.PathLike[str] | None) -> str:
        if record:
            return os.path.abspath(record)
        number = len(self._root._worlds)
        while os.path.lexists(path := self._process.private_path(f"fork-{number}.tdxt")):
            number += 1
        return path

    def _close_timeline(self) -> None:
        if self._trace is not None:
            self._trace.close()
        self._trace = self._timeline = None
