"""The process that holds a world: `python -m tdxdbg.session.worker FD`.

FD is a socket with the client at its other end (`channel`). The first request
says what to run (`server` does it); the process ends when the client is gone.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from tdxdbg.errors import TdxdbgError
from tdxdbg.session.channel import Channel
from tdxdbg.session.config import LiveConfig
from tdxdbg.session.guard import limit_memory, watch

if TYPE_CHECKING:
    from tdxdbg.session.server import Worker


def _open(channel: Channel) -> Worker | None:
    """The first request: what to run."""
    messages = channel.receive()
    while not messages and not channel.ended:
        channel.wait()
        messages = channel.receive()
    if not messages:
        return None
    body = messages[0].body
    try:
        # Here, so that a C library that does not load is told of.
        from tdxdbg.session.history import BUDGET
        from tdxdbg.session.server import Worker

        worker = Worker(channel, LiveConfig.from_json(body["with"]["config"]))
        worker.private = str(body["with"]["private"])
        # All of RAM may come to be written; checkpoints hold pages, and what finds them.
        limit_memory((worker.config.memory << 20) + 2 * BUDGET)
        channel.send({"request": body["request"], "kind": "done", "value": worker.state()})
        return worker
    except (TdxdbgError, ImportError, OSError, MemoryError) as problem:
        name, what = type(problem).__name__, str(problem)
        if not isinstance(problem, TdxdbgError):
            name, what = "BackendError", f"the emulated vCPU does not start: {name}: {problem}"
        channel.send({"request": body["request"], "kind": "failed", "value": what, "error": name})
        while not channel.flush():
            channel.wait()
        return None


def settle() -> None:
    """Let the collector look at less, and more rarely: a run makes few cycles and much else."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def main(arguments: list[str]) -> NoReturn:
    """Serve the client at the other end of a socket."""
    # An interrupt from the terminal is the client's, who asks for it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sock = socket.socket(fileno=int(arguments[0]))
    os.set_inheritable(sock.fileno(), False)
    channel = Channel(sock)
    watch(channel)
    status = 0
    try:
        worker = _open(channel)
        if worker is not None:
            settle()
            worker.serve()
            worker.finish()
    except MemoryError:
        print("out of memory: the worker's limit is used up", file=sys.stderr)
        status = 1
    except Exception as problem:
        print(f"a bug in tdxdbg: {type(problem).__name__}: {problem}", file=sys.stderr)
        status = 1
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    # Without the last rites of C libraries: forked children share them.
    os._exit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
