"""What the screen holds of the process that answers filters; nothing here waits for it."""

from __future__ import annotations

import json
import mmap
import os
import socket
import subprocess
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from tdxdbg import child
from tdxdbg.errors import TraceError
from tdxdbg.traces.native import Trace

#: A recording of fewer rows is looked through by the screen itself.
FEWEST: Final = 20_000
_LONGEST: Final = 64 << 10
#: How long the process gets to end by itself, in seconds.
_ENDS: Final = 0.1
_NUMBER: Final = 8
_NICE: Final = 10
#: Nothing here is multiplied: numpy starts in half the time without threads for that.
_SETTINGS: Final = {"OPENBLAS_NUM_THREADS": "1"}


class Asked(Protocol):
    """Who answers, as far as an answer needs it."""

    alive: bool

    def send(self, message: dict[str, Any]) -> None: ...


class Answer:
    """The rows that match a filter: all of those before row `seen`.

    `firm`: rows from here on may change when the recording grows.
    """

    def __init__(self, index: Asked, number: int, text: str) -> None:
        self._index = index
        self._number = number
        self._text = text
        self._turn = 0
        self._fd = -1
        self.seen = 0
        self.firm = 0
        self.rows: Sequence[int] = ()

    @property
    def comes(self) -> bool:
        """Whether there is anybody to answer."""
        return self._index.alive

    def go_on(self, start: int, count: int, total: int) -> None:
        """Ask for rows from `start`, before which `count` match, up to `total`."""
        self._turn += 1
        self.seen, self.rows = start, self.rows[:count]
        self._index.send(
            {"query": self._number, "turn": self._turn, "filter": self._text,
             "start": start, "count": count, "total": total}
        )  # fmt: skip

    def take(self, message: dict[str, Any], brought: int) -> None:
        """What the process says; raises ValueError for what it never says."""
        if brought >= 0:
            self._fd = brought
            weakref.finalize(self, os.close, brought)
        if message["turn"] != self._turn:
            return
        count, seen, firm = (int(message[name]) for name in ("count", "seen", "firm"))
        if self._fd < 0 or not len(self.rows) <= count <= seen:
            raise ValueError("rows that do not fit")
        if count > len(self.rows):
            if os.fstat(self._fd).st_size < count * _NUMBER:
                raise ValueError("fewer rows than said")
            shared = mmap.mmap(self._fd, count * _NUMBER, access=mmap.ACCESS_READ)
            self.rows = memoryview(shared).cast("Q")
        self.seen, self.firm = seen, firm


class Index:
    """The process, while it lives; after that no answer changes any more."""

    def __init__(self, trace: Trace) -> None:
        """Raises TraceError if no process can be made."""
        own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fds = trace.fileno(), other.fileno()
        try:
            self._process = subprocess.Popen(
                child.command("tdxdbg.index.server", *fds),
                env=child.environment(**_SETTINGS),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=fds,
                start_new_session=True,
            )
        except OSError as error:
            own.close()
            raise TraceError(f"no process for the columns: {error.strerror}") from None
        finally:
            other.close()
        # From the start: what the screen does comes first.
        with suppress(OSError):
            nice = max(os.getpriority(os.PRIO_PROCESS, 0), _NICE)
            os.setpriority(os.PRIO_PROCESS, self._process.pid, nice)
        own.setblocking(False)
        self._channel = own
        self._answers: weakref.WeakValueDictionary[int, Answer] = weakref.WeakValueDictionary()
        self._asked = 0
        self.alive = True

    def fileno(self) -> int:
        """What to wait on before `read`."""
        return self._channel.fileno()

    def ask(self, text: str, total: int) -> Answer:
        """The rows before `total` that match a filter; they come with `read`."""
        self._asked += 1
        answer = self._answers[self._asked] = Answer(self, self._asked, text)
        weakref.finalize(answer, self.send, {"query": self._asked, "drop": True}).atexit = False
        answer.go_on(0, 0, total)
        return answer

    def send(self, message: dict[str, Any]) -> None:
        """One packet; what cannot be sent ends the process."""
        if not self.alive:
            return
        packet = json.dumps(message).encode()
        try:
            if len(packet) > _LONGEST:
                raise OSError
            self._channel.send(packet)
        except OSError:
            self.close()

    def read(self) -> bool:
        """Take what was answered since; False: nothing comes any more, and it is to be closed."""
        while self.alive:
            try:
                packet, brought, _, _ = socket.recv_fds(self._channel, _LONGEST, 1)
                if not packet:
                    return False
                self._take(packet, brought[0] if brought else -1)
            except BlockingIOError:
                return True
            except (OSError, ValueError, KeyError, TypeError):
                return False
        return False

    def _take(self, packet: bytes, brought: int) -> None:
        message = json.loads(packet)
        answer = self._answers.get(message["query"])
        if answer is not None:
            answer.take(message, brought)
        elif brought >= 0:
            os.close(brought)

    def close(self) -> None:
        """End the process."""
        if not self.alive:
            return
        self.alive = False
        self._channel.close()
        child.wait_or_kill(self._process, _ENDS)
