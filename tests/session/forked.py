"""Workers that are forked instead of started anew, where thousands are wanted.

A new Python spends a third of a second on imports before it is a worker. Here
the process that wants one has imported everything: its copy becomes a session
leader, drops all it had open, and is the worker from its `main` on. For
programs of one thread.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from typing import cast

# What a worker imports when it is asked for the first world.
import tdxdbg.session.server  # noqa: F401
from tdxdbg.session import worker


class _Forked:
    """What `WorkerProcess` needs of a Popen."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def fork_worker(sock: int, errors: int) -> subprocess.Popen[bytes]:
    """In place of `tdxdbg.session.process.start_worker`."""
    pid = os.fork()
    if pid:
        return cast("subprocess.Popen[bytes]", _Forked(pid))
    try:
        _become_worker(sock, errors)
    finally:
        os._exit(1)


def _become_worker(sock: int, errors: int) -> None:
    # No session of the other process is ended by its garbage here.
    gc.freeze()
    os.setsid()
    for number in range(1, signal.NSIG):
        if signal.getsignal(number) not in (signal.SIG_DFL, signal.SIG_IGN, None):
            signal.signal(number, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.dup2(errors, 2)
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2 and fd != sock:
            try:
                os.close(fd)
            except OSError:
                # The folder that was listed.
                continue
    worker.main([str(sock)])
