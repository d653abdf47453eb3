"""The past that is looked at: a session of its own, which the present knows nothing of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tdxdbg.ui.live.wire import Session, State, Wire


class Past:
    """At most one session in the past; a newer wish makes an older one's answer worthless."""

    def __init__(
        self, listen: Callable[[Wire], object], arrived: Callable[[], object],
        failed: Callable[[str], object],
    ) -> None:  # fmt: skip
        """`arrived`: the session stands where it was wanted. `failed`: why it does not."""
        self.wire: Wire | None = None
        self.reading = False
        self._listen = listen
        self._arrived = arrived
        self._failed = failed
        self._wish = 0
        self._asked: Wire | None = None
        self._then: Callable[[], object] | None = None

    @property
    def state(self) -> State | None:
        """Where the past session stands; None while there is none."""
        return self.wire.state if self.wire is not None and not self.reading else None

    def seek(self, present: Wire, command: str, **arguments: Any) -> None:
        """Ask the present for a session in the past."""
        self._begin(present)
        wish = self._wish

        def found(session: Session) -> None:
            if wish != self._wish:
                session.close()
                return
            self._drop()
            self.wire = Wire(session)
            self._listen(self.wire)
            self._end()

        present.ask(command, found, self._refused(wish), **arguments)

    def move(self, command: str, **arguments: Any) -> None:
        """Let the session in the past go elsewhere in the past."""
        if self.wire is None:
            return
        wire = self.wire
        self._begin(wire)
        wish = self._wish

        def moved(_: object) -> None:
            if wish == self._wish:
                wire.state = wire.session.state
                self._end()

        wire.ask(command, moved, self._refused(wish), **arguments)

    def when_there(self, then: Callable[[], object]) -> bool:
        """Do it once the session stands where it is wanted; False when none is on its way."""
        if self.reading:
            self._then = then
            return True
        if self.wire is None:
            return False
        then()
        return True

    def interrupt(self) -> bool:
        """Stop a search; False when there is none."""
        if self.reading and self._asked is not None and self._asked.alive:
            self._asked.session.send("interrupt")
            return True
        return False

    def take(self) -> Wire | None:
        """Hand the session over: it is the past no more."""
        wire, self.wire = self.wire, None
        self._wish += 1
        return wire

    def leave(self) -> None:
        """Nobody looks at the past any more."""
        self._wish += 1
        self.reading = False
        self._then = None
        self._drop()

    def _begin(self, asked: Wire) -> None:
        self._wish += 1
        self.reading = True
        self._asked = asked

    def _end(self) -> None:
        self.reading = False
        self._asked = None
        self._arrived()
        then, self._then = self._then, None
        if then is not None:
            then()

    def _refused(self, wish: int) -> Callable[[str], None]:
        def refused(text: str) -> None:
            if wish == self._wish:
                self.reading = False
                self._then = None
                self._failed(text)

        return refused

    def _drop(self) -> None:
        if self.wire is not None:
            self.wire.close()
            self.wire = None
