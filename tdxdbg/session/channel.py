"""Messages over a socket: JSON objects, each with its length before it, and file descriptors.

The worker runs a hostile guest, so what comes from it is data of a stranger:
nothing is unpickled, sizes are limited, and what is no message ends the
conversation (`ChannelError`). Nothing in here blocks but `wait`.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from tdxdbg.traces.meta import dump_json, load_json

#: Bytes of one message, in JSON.
LARGEST: Final = 16 << 20
#: Messages that the other side did not read yet, in bytes.
MOST_WAITING: Final = 64 << 20
#: File descriptors that may be under way.
_MOST_FDS: Final = 4
#: Length of the text, and how many file descriptors come with it.
_HEAD: Final = struct.Struct(">IB")
_PIECE: Final = 1 << 18
#: Bytes taken in one go, so that a flood cannot keep the reader.
_ONE_GO: Final = 1 << 22
_DEPTH: Final = 16
#: Key of an object that stands for bytes.
_BYTES: Final = "$hex"


class ChannelError(Exception):
    """The other side sent what is no message, or does not read: one line."""


class Message(NamedTuple):
    """`fds` belong to whoever takes the message."""

    body: dict[str, Any]
    fds: tuple[int, ...] = ()


class _Piece:
    """A frame on its way out; `fds` go with its first byte."""

    __slots__ = ("fds", "view")

    def __init__(self, data: bytes, fds: Sequence[int]) -> None:
        self.view = memoryview(data)
        self.fds = list(fds)


class Channel:
    """One end of a stream socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._in = bytearray()
        self._in_fds: deque[int] = deque()
        self._out: deque[_Piece] = deque()
        self._waiting = 0
        #: The other side is gone; what it sent before may still be taken.
        self.ended = False

    def fileno(self) -> int:
        """-1 after `close`."""
        return self._socket.fileno()

    # --- out --------------------------------------------------------------------------

    @property
    def is_flushed(self) -> bool:
        """Whether everything is with the kernel."""
        return not self._out

    def send(self, body: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Queue a message and send what goes; `fds` are closed when they are gone.

        Raises ChannelError when it is too large or nobody reads.
        """
        text = dump_json(encoded(body)).encode("ascii")
        if len(text) > LARGEST:
            raise ChannelError(f"a message of {len(text)} bytes: at most {LARGEST} are sent")
        if self._waiting > MOST_WAITING:
            raise ChannelError("the other side does not read what it is sent")
        frame = _HEAD.pack(len(text), len(fds)) + text
        self._waiting += len(frame)
        self._out.append(_Piece(frame, fds))
        self.flush()

    def flush(self) -> bool:
        """Send as much as goes without waiting; True: nothing is left."""
        while self._out and not self.ended:
            piece = self._out[0]
            try:
                count = self._send(piece)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError:
                self.ended = True
                break
            self._waiting -= count
            piece.view = piece.view[count:]
            if not piece.view:
                self._out.popleft()
        if self.ended:
            self._drop_out()
        return True

    def _send(self, piece: _Piece) -> int:
        if not piece.fds:
            return self._socket.send(piece.view)
        count = socket.send_fds(self._socket, [piece.view], piece.fds)
        _close_all(piece.fds)
        piece.fds = []
        return count

    def _drop_out(self) -> None:
        for piece in self._out:
            _close_all(piece.fds)
        self._out.clear()
        self._waiting = 0

    # --- in ---------------------------------------------------------------------------

    def receive(self) -> list[Message]:
        """What has arrived; raises ChannelError for what is no message."""
        taken = 0
        while taken < _ONE_GO and not self.ended:
            try:
                data, fds, flags, _ = socket.recv_fds(
                    self._socket, _PIECE, _MOST_FDS, socket.MSG_CMSG_CLOEXEC
                )
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                self.ended = True
                break
            self._in_fds += fds
            if flags & socket.MSG_CTRUNC or len(self._in_fds) > _MOST_FDS:
                raise ChannelError("more file descriptors than anybody asked for")
            if not data:
                self.ended = True
            self._in += data
            taken += len(data)
        return self._messages()

    def _messages(self) -> list[Message]:
        found = []
        at = 0
        while len(self._in) - at >= _HEAD.size:
            length, count = _HEAD.unpack_from(self._in, at)
            if length > LARGEST or count > _MOST_FDS:
                raise ChannelError(f"a message of {length} bytes, {count} file descriptors")
            end = at + _HEAD.size + length
            if len(self._in) < end:
                break
            found.append(self._message(bytes(self._in[at + _HEAD.size : end]), count))
            at = end
        del self._in[:at]
        if not self._in and self._in_fds:
            raise ChannelError("a file descriptor that belongs to no message")
        return found

    def _message(self, text: bytes, count: int) -> Message:
        if count > len(self._in_fds):
            raise ChannelError("a message without the file descriptors that it names")
        try:
            body = decoded(load_json(text, _DEPTH))
        except ValueError as problem:
            raise ChannelError(f"a message that cannot be read: {problem}") from None
        if not isinstance(body, dict):
            raise ChannelError("a message that is no JSON object")
        return Message(body, tuple(self._in_fds.popleft() for _ in range(count)))

    # --- both -------------------------------------------------------------------------

    def wait(self, timeout: float | None = None, others: Sequence[int] = ()) -> None:
        """Until something can be read, or sent when something is waiting; seconds, None: for ever.

        `others`: file descriptors that end it as well when they can be read.
        """
        if self.ended:
            return
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._out else 0))
        for fd in others:
            poll.register(fd, select.POLLIN)
        poll.poll(None if timeout is None else max(timeout, 0) * 1000)

    def close(self) -> None:
        """Forget everything; may be called twice."""
        self.ended = True
        self._drop_out()
        _close_all(self._in_fds)
        self._in_fds.clear()
        self._socket.close()


def encoded(value: Any) -> Any:
    """JSON for a value with bytes in it."""
    if isinstance(value, (bytes, bytearray)):
        return {_BYTES: value.hex()}
    if isinstance(value, dict):
        return {name: encoded(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encoded(item) for item in value]
    return value


def decoded(value: Any) -> Any:
    """The value of that JSON; raises ValueError."""
    if isinstance(value, dict):
        if value.keys() == {_BYTES}:
            text = value[_BYTES]
            if not isinstance(text, str):
                raise ValueError("bytes are hex text")
            return bytes.fromhex(text)
        return {name: decoded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [decoded(item) for item in value]
    return value


def _close_all(fds: Sequence[int] | deque[int]) -> None:
    for fd in fds:
        os.close(fd)
