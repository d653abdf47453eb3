"""What keeps a worker process within bounds: its client's life, and memory."""

from __future__ import annotations

import os
import resource
import select
import signal
from typing import Final

from tdxdbg.session.channel import Channel

#: Seconds between two looks whether the client is still there, in long work.
WATCH: Final = 1.0
#: What a worker may grow by beyond what it needs, in bytes.
_ROOM: Final = 2 << 30


def watch(channel: Channel) -> None:
    """End this process when its client is gone, even in work that looks at no socket."""
    poll = select.poll()
    poll.register(channel.fileno(), 0)
    seen = 0

    def look_up(signum: int, frame: object) -> None:
        nonlocal seen
        if poll.poll(0):
            seen += 1
            # Once: it may be ending in good order.
            if seen > 1:
                os._exit(1)

    signal.signal(signal.SIGALRM, look_up)
    signal.setitimer(signal.ITIMER_REAL, WATCH, WATCH)


def limit_memory(needed: int) -> None:
    """No guest makes this process grow without bound; it needs so many bytes more than now."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        now = int(statm.read().split()[0]) * resource.getpagesize()
    limit = now + needed + _ROOM
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    # Nobody asked for a guest's memory in a file.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
