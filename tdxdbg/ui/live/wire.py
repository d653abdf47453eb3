"""The screen's end of a session: requests go out, answers come in, nothing waits.

Only this module knows how `tdxdbg.session` is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from tdxdbg.session.state import State

__all__ = ["Event", "Wire", "Session", "State"]


class Event(Protocol):
    """`kind`: done, failed, progress, died."""

    @property
    def request(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def value(self) -> Any: ...


class Session(Protocol):
    """The half of a session that does not block."""

    @property
    def state(self) -> State: ...
    @property
    def trace_path(self) -> str: ...
    def send(self, command: str, **arguments: Any) -> int: ...
    def fileno(self) -> int: ...
    def poll(self) -> Iterable[Event]: ...
    def close(self) -> None: ...


class _Waiting(NamedTuple):
    then: Callable[[Any], object]
    failed: Callable[[str], object]


class Wire:
    """`then` gets a command's result, `failed` one line why there is none; later, from `pump`."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.state = session.state
        #: Why the worker is gone; empty while it lives.
        self.died = ""
        self.closed = False
        #: The command that runs the guest now, 0: none.
        self.running = 0
        #: Called when nothing more is to be read: the descriptor may be closed next.
        self.ends: Callable[[], object] = _nothing
        self._waiting: dict[int, _Waiting] = {}

    @property
    def alive(self) -> bool:
        return not self.died and not self.closed

    def fileno(self) -> int:
        return self.session.fileno()

    def ask(
        self,
        command: str,
        then: Callable[[Any], object] | None = None,
        failed: Callable[[str], object] | None = None,
        **arguments: Any,
    ) -> int:
        """Send a command; the number of the request, 0 when nobody is there."""
        if not self.alive:
            return 0
        number = self.session.send(command, **arguments)
        self._waiting[number] = _Waiting(then or _ignored, failed or _ignored)
        return number

    def run(
        self,
        command: str,
        then: Callable[[State], object],
        failed: Callable[[str], object],
        **arguments: Any,
    ) -> None:
        """A command that lets the guest run."""

        def done(state: State) -> None:
            self.running = 0
            self.state = state
            then(state)

        def refused(text: str) -> None:
            self.running = 0
            failed(text)

        self.running = self.ask(command, done, refused, **arguments)

    def interrupt(self) -> None:
        """Stop what runs; its command then comes back."""
        if self.running and self.alive:
            self.session.send("interrupt")

    def pump(self) -> bool:
        """Hand out what has arrived; False when there is nothing more to come."""
        if self.closed:
            return False
        for event in self.session.poll():
            if self._is_closed():
                return False
            self._take(event)
        return self.alive

    def _is_closed(self) -> bool:
        """What handles an answer may close the wire."""
        return self.closed

    def _take(self, event: Event) -> None:
        if event.kind == "progress":
            self.state = event.value
            return
        if event.kind == "died":
            self.died = str(event.value) or "it said nothing"
            self.running = 0
            waiting, self._waiting = self._waiting, {}
            for item in waiting.values():
                item.failed(self.died)
            return
        waiting_one = self._waiting.pop(event.request, None)
        if waiting_one is None:
            return
        if event.kind == "done":
            waiting_one.then(event.value)
        else:
            waiting_one.failed(str(event.value))

    def close(self) -> None:
        """End the session; answers that are still to come are dropped."""
        if not self.closed:
            self.closed = True
            self._waiting.clear()
            self.ends()
            self.session.close()


def _nothing() -> None:
    """No one listens."""


def _ignored(value: object) -> None:
    """No one wants to know."""
