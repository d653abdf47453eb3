"""Requests to a worker and what comes back, checked: the client's half of the protocol."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final, NamedTuple

from tdxdbg.abi.regs import REG_NAMES
from tdxdbg.engine import GpaMap
from tdxdbg.engine.gpa import MAX_PAGE
from tdxdbg.errors import BackendError, SessionError, TdxdbgError, TraceError
from tdxdbg.session.channel import Channel, ChannelError, Message
from tdxdbg.session.state import State, flag, number, text

#: Worlds or answers that a client waits for at once.
_MOST: Final = 4096
_MOST_BREAKPOINTS: Final = 1024
_MOST_BYTES: Final = 1 << 20
#: Commands that go to another time; those of `moves`, which loads the machine.
MOVES: Final = frozenset(
    {
        "go_to",
        "reverse_step",
        "reverse_step_instruction",
        "reverse_cont",
        "last_write",
        "last_match",
    }
)
_KINDS: Final = ("condition", "address", "watch", "mapping")
_ERRORS: Final[dict[str, type[TdxdbgError]]] = {
    "BackendError": BackendError,
    "TraceError": TraceError,
}


class SessionDied(SessionError):  # noqa: N818 - what the field calls it
    """The worker is gone. `signal` names what killed it, "" if nothing did; the recording stays."""

    def __init__(self, message: str, signal: str = "") -> None:
        super().__init__(message)
        self.signal = signal


class Event(NamedTuple):
    """`kind`: done (`value` is the result), failed (one line of text), progress (a State), died."""

    request: int
    kind: str
    value: Any


class Registers(dict[str, int]):
    """A vCPU's registers by name; general ones and `rip` also as attributes."""

    def __getattr__(self, name: str) -> int:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __repr__(self) -> str:
        inside = " ".join(f"{name}={value:#x}" for name, value in self.items())
        return f"<Registers {inside}>"


class Failure(NamedTuple):
    """Why a request failed, to be raised by who waits for it."""

    message: str
    error: type[TdxdbgError]


class Reply(NamedTuple):
    """A message from the worker, checked: `fd` is the socket of another world, -1 none."""

    request: int
    kind: str
    value: Any
    command: str = ""
    fd: int = -1


class Client:
    """The client's end of one world's channel."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._next = 1
        self._commands: dict[int, str] = {}
        #: Why nothing more will come; empty while it may.
        self.broken = ""

    def send(self, command: str, arguments: dict[str, Any]) -> int:
        """The number of the request, which is on its way. Never blocks; raises ChannelError."""
        request = self._next
        self._next += 1
        self._commands[request] = command
        if len(self._commands) > _MOST:
            raise ChannelError(f"{_MOST} requests are not answered yet")
        self.channel.send({"request": request, "do": command, "with": arguments})
        return request

    def receive(self) -> list[Reply]:
        """What has come; sets `broken` at the end. Never blocks."""
        if self.broken:
            return []
        found: list[Reply] = []
        try:
            self.channel.flush()
            for message in self.channel.receive():
                reply = self._checked(message)
                if reply is not None:
                    found.append(reply)
        except (ChannelError, ValueError) as problem:
            self.broken = f"the worker said what makes no sense: {problem}"
        else:
            if self.channel.ended:
                self.broken = "ended"
        return found

    def _checked(self, message: Message) -> Reply | None:
        """None: an answer to what nobody waits for any more."""
        body, fds = message
        try:
            request, kind = number(body.get("request")), body.get("kind")
            command = self._commands.get(request)
            if command is None:
                raise ValueError("an answer to no request")
            if fds and (kind != "done" or len(fds) != 1):
                raise ValueError("a socket that nobody asked for")
            if kind == "progress":
                return Reply(request, kind, State.from_json(body.get("value")), command)
            del self._commands[request]
            if kind == "failed":
                error = _ERRORS.get(str(body.get("error")), SessionError)
                return Reply(request, kind, Failure(text(body.get("value")), error), command)
            if kind != "done":
                raise ValueError("an unknown kind of message")
            if fds and command not in MOVES:
                raise ValueError("a socket that nobody asked for")
            read: Callable[[Any], Any] = _RESULTS.get(command, State.from_json)
            value = read(body.get("value"))
            return Reply(request, kind, value, command, _checked_socket(fds[0]) if fds else -1)
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise


def _checked_socket(fd: int) -> int:
    """A stream socket of this machine, or ValueError."""
    try:
        sock = socket.socket(fileno=fd)
    except OSError:
        raise ValueError("another world that is no socket") from None
    good = sock.family == socket.AF_UNIX and sock.type == socket.SOCK_STREAM
    sock.detach()
    if not good:
        raise ValueError("another world that is no socket")
    return fd


# --- results --------------------------------------------------------------------------


def _registers(value: Any) -> Registers:
    if not isinstance(value, dict) or len(value) > 64 or not {*REG_NAMES, "rip"} <= value.keys():
        raise ValueError("not registers")
    return Registers({text(name, 16): number(item) for name, item in value.items()})


def _memory(value: Any) -> bytes | None:
    if value is None or (isinstance(value, bytes) and len(value) <= _MOST_BYTES):
        return value
    raise ValueError("not memory")


def _console(value: Any) -> tuple[int, bytes, int]:
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError("not console output")
    total, data, start = value
    if not isinstance(data, bytes) or len(data) > _MOST_BYTES:
        raise ValueError("not console output")
    return number(total), data, number(start)


def _gpa_map(value: Any) -> GpaMap:
    if not isinstance(value, list):
        raise ValueError("not a GPA map")
    edges = tuple(number(edge, 0, MAX_PAGE - 1) for edge in value)
    if any(low >= high for low, high in pairwise(edges)):
        raise ValueError("not a GPA map")
    return GpaMap(edges)


def _breakpoint(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or value.get("kind") not in _KINDS:
        raise ValueError("not a breakpoint")
    return {
        "id": number(value.get("id")),
        "kind": value["kind"],
        "text": text(value.get("text")),
        "enabled": flag(value.get("enabled")),
        "hits": number(value.get("hits")),
        "address": number(value.get("address")),
        "size": number(value.get("size")),
    }


def _breakpoints(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or len(value) > _MOST_BREAKPOINTS:
        raise ValueError("not a list of breakpoints")
    return [_breakpoint(item) for item in value]


def _nothing(value: Any) -> None:
    if value is not None:
        raise ValueError("an answer where none is due")


#: What a command gives; the others a State.
_RESULTS: Final[dict[str, Callable[[Any], Any]]] = {
    "registers": _registers,
    "read_memory": _memory,
    "console": _console,
    "gpa_map": _gpa_map,
    "breakpoints": _breakpoints,
    "add_breakpoint": _breakpoint,
    "add_watchpoint": _breakpoint,
    "watch_conversions": _breakpoint,
    "change_breakpoint": _breakpoint,
    "remove_breakpoint": _nothing,
}
