"""The worlds that were forked from a worker, until each has a client of its own."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import Final

from tdxdbg.errors import SessionError
from tdxdbg.session.channel import Channel

_MOST: Final = 64
#: Seconds that they get to end by themselves.
_LAST_WORDS: Final = 0.5


class _Child:
    """A forked world. `ready` says when it is there; `socket` is for the client then."""

    def __init__(self, number: int, ready: Channel, client: socket.socket) -> None:
        self.number = number
        self.ready = ready
        self.interrupted = False
        self.socket: socket.socket | None = client

    def close(self) -> None:
        self.ready.close()
        if self.socket is not None:
            self.socket.close()
            self.socket = None


class Worlds:
    """Children of this process; what becomes of them is said over `channel`."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._children: dict[int, _Child] = {}

    def __len__(self) -> int:
        return len(self._children)

    @property
    def awaited(self) -> list[int]:
        """File descriptors on which a child says that it is where it should be."""
        return [item.ready.fileno() for item in self._children.values() if item.socket is not None]

    def fork(self, number: int) -> tuple[Channel, Channel] | None:
        """Another process, for the request of that number; raises SessionError.

        None in this one. In the other one: its client's channel, and the one on
        which it says that it is ready.
        """
        if len(self._children) >= _MOST:
            raise SessionError(f"there are {_MOST} worlds already: close one first")
        ours, clients = socket.socketpair()
        here, there = socket.socketpair()
        try:
            pid = os.fork()
        except OSError as problem:
            for each in (ours, clients, here, there):
                each.close()
            raise SessionError(f"no process for another world: {problem.strerror}") from None
        if pid:
            ours.close()
            there.close()
            self._children[pid] = _Child(number, Channel(here), clients)
            return None
        clients.close()
        here.close()
        for child in self._children.values():
            child.close()
        return Channel(ours), Channel(there)

    def interrupt(self) -> None:
        """End those that are still on their way."""
        for pid, child in self._children.items():
            if child.socket is not None:
                child.interrupted = True
                os.kill(pid, signal.SIGKILL)

    def look_after(self) -> None:
        """Pass on those that are ready, and wait for those that are dead; never blocks."""
        for pid, child in list(self._children.items()):
            if child.socket is not None:
                self._hear(child)
            if os.waitpid(pid, os.WNOHANG) != (0, 0):
                if child.socket is not None:
                    self._hear(child)
                child.close()
                del self._children[pid]

    def _hear(self, child: _Child) -> None:
        messages = child.ready.receive()
        if not messages:
            if child.ready.ended:
                why = "the process of the other world died on its way"
                self._lost(child, "interrupted" if child.interrupted else why, "SessionError")
            return
        body = messages[0].body
        if "value" not in body:
            self._lost(child, body["failed"], body["error"])
            return
        assert child.socket is not None
        reply = {"request": child.number, "kind": "done", "value": body["value"]}
        # The channel closes it.
        fd = child.socket.detach()
        child.socket = None
        self._channel.send(reply, [fd])
        child.close()

    def _lost(self, child: _Child, why: str, error: str) -> None:
        body = {"request": child.number, "kind": "failed", "value": why, "error": error}
        self._channel.send(body)
        child.close()

    def end(self) -> None:
        """All of them; their clients are gone."""
        until = time.monotonic() + _LAST_WORDS
        for pid, child in self._children.items():
            child.close()
            while os.waitpid(pid, os.WNOHANG) == (0, 0):
                if time.monotonic() > until:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.005)
