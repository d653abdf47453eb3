"""A process that packs and writes records, so that who makes them need not.

Packing an exit's records costs about a third of what running it does. A
`Scribe` starts `python -m tdxdbg.traces.scribe SOCKET`; when that is ready it
takes over the file of a `Writer`, whose place it then takes, and is handed
records in bursts. Each message gets one reply, which says how far the file has
come, so `flush` knows when everything before it was written. When this side
ends, however it does, the process writes what it was given and ends too.
"""

from __future__ import annotations

import marshal
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from struct import Struct
from typing import Any, Final, NoReturn

from tdxdbg import child
from tdxdbg.engine import Engine
from tdxdbg.errors import TraceError
from tdxdbg.traces.handover import (
    Again,
    Inputs,
    engine_from_json,
    engine_to_json,
    flatten,
    rebuild,
)
from tdxdbg.traces.records import Record
from tdxdbg.traces.writer import Place, Writer

_LENGTH: Final = Struct("<I")
_READY: Final = b"!"
#: What a message wants, in its first byte; records follow the first.
_RECORDS: Final = b"r"
_FLUSH: Final = b"f"
_CLOSE: Final = b"c"
#: Seconds to end after it has said that everything is written.
_PATIENCE: Final = 5.0


class Scribe:
    """Raises OSError when there can be no such process."""

    def __init__(self) -> None:
        self.path = ""
        self.failure = ""
        self._waiting = 0
        self._written = 0
        self._ours, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                child.command(__name__, theirs.fileno()),
                env=child.environment(),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except OSError:
            self._ours.close()
            raise
        finally:
            theirs.close()

    @property
    def is_ready(self) -> bool:
        """Whether the process has started, which takes a while."""
        try:
            return self._ours.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) == _READY
        except OSError:
            return False

    def take_over(self, writer: Writer, engine: Engine | None = None) -> None:
        """Write on where `writer` has come to; it is closed. Raises TraceError.

        With `engine`, what comes are the records of what that does from now
        on: the process has one of its own, and is given the inputs (`write`).
        """
        self._ours.recv(1)
        twin = "" if engine is None else engine_to_json(engine)
        self.path, self._written = writer.path, writer.n_records
        fd, place = writer.hand_over()
        message = marshal.dumps((self.path, tuple(place), twin))
        try:
            socket.send_fds(self._ours, [_LENGTH.pack(len(message))], [fd])
            self._ours.sendall(message)
        except OSError:
            self._died()
        finally:
            os.close(fd)

    @property
    def n_records(self) -> int:
        """256-byte records in the file, as far as is known."""
        return self._written

    def write_all(self, records: Iterable[Record]) -> None:
        """Hand over; raises TraceError when an earlier one could not be written."""
        self._hand(flatten(records))

    def write(self, inputs: Inputs) -> None:
        """The same for what was gathered since it took over with an engine."""
        self._hand(inputs.take())

    def _hand(self, data: bytes) -> None:
        self._ask(_RECORDS + data)
        while self._waiting and self._hear(wait=False):
            pass
        self._complain()

    def flush(self) -> None:
        """Wait until everything so far can be read in the file; raises TraceError."""
        self._ask(_FLUSH)
        self._wait()

    def close(self) -> None:
        """Flush, wait for the disk, and end the process; does nothing the second time."""
        if self._ours.fileno() < 0:
            return
        try:
            if not self.failure:
                self._ask(_CLOSE)
                self._wait()
        finally:
            self._ours.close()
            child.wait_or_kill(self._process, _PATIENCE)

    def leave(self) -> None:
        """In a forked child: this is the parent's."""
        self._ours.close()
        # Not this process's child: nothing to wait for.
        self._process.returncode = 0

    def _ask(self, message: bytes) -> None:
        self._complain()
        self._waiting += 1
        self._send(message)

    def _send(self, message: bytes) -> None:
        try:
            self._ours.sendall(_LENGTH.pack(len(message)) + message)
        except OSError:
            self._died()

    def _wait(self) -> None:
        while self._waiting:
            self._hear(wait=True)
        self._complain()

    def _hear(self, *, wait: bool) -> bool:
        """Take one reply; False: there is none yet."""
        try:
            flags = 0 if wait else socket.MSG_DONTWAIT
            head = self._ours.recv(_LENGTH.size, flags)
            if len(head) < _LENGTH.size:
                head += _exactly(self._ours, _LENGTH.size - len(head)) if head else b""
            reply = _exactly(self._ours, _LENGTH.unpack(head)[0]) if head else b""
        except BlockingIOError:
            return False
        except (OSError, EOFError):
            reply = b""
        if not reply:
            self._died()
            return False
        self._waiting -= 1
        self._written, failure = marshal.loads(reply)
        self.failure = self.failure or failure
        return True

    def _died(self) -> None:
        self._waiting = 0
        self.failure = self.failure or (
            f"{self.path}: cannot be written: the process that writes it is gone; "
            "what it had written is in the file; record again"
        )

    def _complain(self) -> None:
        if self.failure:
            raise TraceError(self.failure)


def _exactly(sock: socket.socket, size: int) -> bytes:
    """So many bytes; raises EOFError when the other side ended before."""
    data = bytearray()
    while len(data) < size:
        piece = sock.recv(min(size - len(data), 1 << 20))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


def _message(sock: socket.socket) -> bytes:
    return _exactly(sock, _LENGTH.unpack(_exactly(sock, _LENGTH.size))[0])


def serve(sock: socket.socket) -> None:
    """The process's side, until it is told to close or nobody is there any more."""
    sock.sendall(_READY)
    head, fds, _, _ = socket.recv_fds(sock, _LENGTH.size, 1)
    if not fds:
        return
    path, place, twin = marshal.loads(_exactly(sock, _LENGTH.unpack(head)[0]))
    writer = Writer.take_over(path, fds[0], Place(*place))
    rebuilt: Callable[[bytes], Iterable[Record]] = rebuild
    if twin:
        rebuilt = Again(engine_from_json(twin)).records
    failure = ""
    while True:
        message = _message(sock)
        try:
            if not failure:
                _do(writer, message, rebuilt)
        except (TraceError, ValueError) as problem:
            failure = str(problem)
        reply: Any = marshal.dumps((writer.n_records, failure))
        sock.sendall(_LENGTH.pack(len(reply)) + reply)
        if message == _CLOSE:
            return


def _do(writer: Writer, message: bytes, rebuilt: Callable[[bytes], Iterable[Record]]) -> None:
    if message == _CLOSE:
        writer.close()
        return
    if message != _FLUSH:
        writer.write_all(rebuilt(message[1:]))
    # It has nothing else to do, and what is in the file is safe from here on.
    writer.flush()


def main(arguments: list[str]) -> NoReturn:
    """Write what comes over a socket, a file among it."""
    sock = socket.socket(fileno=int(arguments[0]))
    with suppress(EOFError, OSError):
        serve(sock)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
