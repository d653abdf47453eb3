"""The worker's process, from the client's side: its start, its death, its end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import weakref
from contextlib import suppress
from typing import Final

from tdxdbg import child
from tdxdbg.errors import SessionError
from tdxdbg.session.channel import Channel

#: Seconds: to end when asked, then when told; and until a death has a reason.
_POLITE: Final = 2.0
_REASON: Final = 1.0
#: What is kept of the worker's last words, in bytes.
_LAST_WORDS: Final = 4096
_MODULE: Final = "tdxdbg.session.worker"


def start_worker(sock: int, errors: int) -> subprocess.Popen[bytes]:
    """A worker that serves this socket, its standard error another file; raises OSError."""
    return subprocess.Popen(
        child.command(_MODULE, sock),
        env=child.environment(),
        pass_fds=[sock],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        start_new_session=True,
    )


class WorkerProcess:
    """One worker, the leader of a process group in which all of its worlds are.

    It is not waited for before `stop`, so its number stays its own.
    """

    def __init__(self) -> None:
        """Raises SessionError when no process can be started."""
        ours, theirs = socket.socketpair()
        self._errors, errors = os.pipe()
        # Who writes more than anybody reads loses it.
        os.set_blocking(errors, False)
        os.set_blocking(self._errors, False)
        try:
            self._popen = start_worker(theirs.fileno(), errors)
        except OSError as problem:
            ours.close()
            os.close(self._errors)
            raise SessionError(f"no worker process: {problem.strerror}") from None
        finally:
            theirs.close()
            os.close(errors)
        self.channel = Channel(ours)
        self._state = _State(self._popen, self._errors)
        self._finalizer = weakref.finalize(self, _stop, self._state, self.channel)

    @property
    def pid(self) -> int:
        """Of the worker with the present."""
        return self._popen.pid

    def private_path(self, name: str) -> str:
        """A path in a folder of this session, which goes away with it; raises SessionError."""
        if not self._state.directory:
            try:
                self._state.directory = tempfile.mkdtemp(prefix="tdxdbg-")
            except OSError as problem:
                where = tempfile.gettempdir()
                raise SessionError(
                    f"{where}: no folder for the recording: {problem.strerror}; "
                    "set TMPDIR, or give a file to record to"
                ) from None
        return os.path.join(self._state.directory, name)

    def death(self) -> tuple[str, str]:
        """Why the worker is gone, one line of unknown text, and the name of its signal."""
        status = _status(self._popen.pid, _REASON)
        words = self._last_words()
        if status is None:
            return "the worker closed its connection", ""
        if status < 0:
            name = _signal_name(-status)
            return f"the worker was killed by {name}" + (f": {words}" if words else ""), name
        return f"the worker ended{': ' + words if words else f' with status {status}'}", ""

    def _last_words(self) -> str:
        data = b""
        if self._state.errors >= 0:
            with suppress(OSError):
                while piece := os.read(self._state.errors, 1 << 16):
                    data = (data + piece)[-_LAST_WORDS:]
        lines = data.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""

    def kill(self) -> None:
        """At once: it cannot be trusted any more. Its recording stays until `stop`."""
        if self._finalizer.alive:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, signal.SIGKILL)

    def stop(self) -> None:
        """End the worker and every world of it; may be called twice."""
        self._finalizer()


class _State:
    """What is to be cleaned up, without a reference to the WorkerProcess."""

    __slots__ = ("directory", "errors", "popen")

    def __init__(self, popen: subprocess.Popen[bytes], errors: int) -> None:
        self.popen = popen
        self.errors = errors
        self.directory = ""


def _stop(state: _State, channel: Channel) -> None:
    # The end of the connection is what asks it to end.
    channel.close()
    pid = state.popen.pid
    if _status(pid, _POLITE) is None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    # Not waited for yet, so the group is still this one: worlds that are left go now.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    state.popen.wait()
    os.close(state.errors)
    state.errors = -1
    if state.directory:
        shutil.rmtree(state.directory, ignore_errors=True)


def _status(pid: int, patience: float) -> int | None:
    """How a child ended, a signal as a negative number; None: it did not in so many seconds."""
    until = time.monotonic() + patience
    pause = 0.001
    while True:
        try:
            # It stays a zombie: its number must not become another process's.
            found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return 0
        if found is not None:
            return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        if time.monotonic() >= until:
            return None
        time.sleep(pause)
        pause = min(pause * 2, 0.02)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
