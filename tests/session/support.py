"""Small guests made by hand, and what happened to processes."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable

from tdxdbg.session import Event, Session

#: jmp $
ENDLESS = b"\xeb\xfe"
#: TDG.VP.VMCALL<Instruction.IO>, out of 'x' to port 0x3f8, for ever.
WRITES = bytes.fromhex(
    "31c0 b900fc0000 4531d2 41bb1e000000 41bc01000000 41bd01000000"
    "41bef8030000 41bf78000000 660f01cc ebd2"
)

PATIENCE = 20.0


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that another process does; fails when it does not come."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether there is such a process, a zombie not counted."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def group(leader: int) -> list[int]:
    """The processes of a group that run."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as stat:
                fields = stat.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == leader and fields[0] not in "ZX":
            found.append(int(name))
    return found


def leader_of(session: Session) -> int:
    """The worker of a session."""
    return session._process.pid


def wait_for(session: Session, request: int) -> Event:
    """What came of a request, as a screen gets it; or that the worker died."""
    found: list[Event] = []

    def came() -> bool:
        select.select([session], [], [], 0.1)
        found.extend(event for event in session.poll() if event.kind != "progress")
        return any(event.request in (request, 0) for event in found)

    until(came, f"an answer to {request}")
    return next(event for event in found if event.request in (request, 0))
