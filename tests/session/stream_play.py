"""One seed: a random guest in a live session, acted on by chance; then its recording.

In turn a run is looked at and walked about in (it must be the run that it would
have been), meddled with, or loses its worker to SIGKILL.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from tdxdbg.analysis.shadow import check
from tdxdbg.session import Session, SessionDied
from tdxdbg.timeline import Timeline
from tdxdbg.traces import Kind, Record, open_trace
from tests.session.stream_guest import StreamGuest, stream_guest
from tests.session.support import group, is_running, leader_of, until
from tests.session.walk import Walk, answer, finish

#: Bytes in memory that a process of a session may have had at most: itself, all of a
#: guest's RAM twice (now, and in checkpoints), and some.
MOST: Final = 96 << 20
#: Processes of a session: the present, pasts that nobody closed, and one on its way.
_MOST_PROCESSES: Final = 24
#: Set by hardware, whoever looks: accessed and dirty.
_ACCESSED: Final = 0x60


MakeGuest = Callable[[int], StreamGuest]


class Played(NamedTuple):
    """`peak`: bytes in memory that its largest process had at most; `rows`: of all recordings."""

    kind: str
    sessions: int
    rows: int
    steps: int
    peak: int


class Watch:
    """The memory of a session's processes, at its highest."""

    def __init__(self, session: Session) -> None:
        self._leader = leader_of(session)
        self.peak = 0

    def look(self) -> None:
        pids = group(self._leader)
        assert len(pids) <= _MOST_PROCESSES
        for pid in pids:
            self.peak = max(self.peak, resident(pid))
        assert self.peak <= MOST, f"a worker of {self.peak >> 20} MiB"


def resident(pid: int) -> int:
    """Bytes that a process had in memory at most; 0: it is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            sizes = [line.split()[1] for line in status if line.startswith("VmHWM:")]
    except OSError:
        return 0
    return int(sizes[0]) << 10 if sizes else 0


class Player:
    """A seed's guest in a folder, and what its runs came to."""

    def __init__(self, seed: int, folder: Path, make: MakeGuest = stream_guest) -> None:
        self.chance = random.Random(f"walk {seed}")
        self.guest = make(seed)
        self.folder = folder
        self.image = folder / "guest"
        self.image.write_bytes(self.guest.image)
        self._sessions = self._rows = self._steps = self._peak = 0

    def play(self) -> Played:
        kind = self.chance.choices(("watched", "meddled", "killed"), (9, 7, 4))[0]
        getattr(self, f"_{kind}")()
        return Played(kind, self._sessions, self._rows, self._steps, self._peak)

    def _watched(self) -> None:
        """Twice: straight on, and looked at on the way."""
        straight, moved = self._straight()
        path = self.folder / "watched"
        forked = self._walk(path, meddles=False)
        if not moved:
            assert path.read_bytes() == straight.read_bytes(), "looking made it another run"
            journal = read_whole(straight)
            for fork in forked:
                assert fork == journal, "another future is not the same one"

    def _straight(self) -> tuple[Path, bool]:
        """The recording, and whether the guest's own page tables are not what they were.

        A guest that changes them and goes on with the old translations sees it
        when code is translated anew, as for a breakpoint.
        """
        path = self.folder / "straight"
        with self._open(path) as session:
            watch = Watch(session)
            before = self._tables(session)
            self._steps += finish(session).steps
            moved = self._tables(session) != before
            watch.look()
        self._ended(session, watch)
        self._read(path)
        return path, moved

    def _tables(self, session: Session) -> list[int]:
        words = memoryview(session.read_memory(*self.guest.tables)).cast("Q")
        return [word & ~_ACCESSED for word in words]

    def _meddled(self) -> None:
        self._walk(self.folder / "meddled", meddles=True)

    def _walk(self, path: Path, *, meddles: bool) -> list[list[Record]]:
        """To the end by way of chance actions; the journals of the futures that branched off."""
        with self._open(path) as session:
            watch = Watch(session)
            walk = Walk(session, self.chance, meddles=meddles)
            walk.on_world = watch.look
            walk.go(self.chance.randint(4, 14))
            self._steps += finish(session).steps
            forked = []
            for fork in walk.forks:
                self._steps += finish(fork).steps
                forked.append(self._read(Path(fork.trace_path)))
            watch.look()
            last = session.state
        self._ended(session, watch)
        assert any(record.row == last.row for record in self._read(path)) or not last.steps
        return forked

    def _killed(self) -> None:
        path = self.folder / "killed"
        with self._open(path) as session:
            watch = Watch(session)
            walk = Walk(session, self.chance, meddles=self.chance.random() < 0.5)
            walk.on_world = watch.look
            walk.go(self.chance.randrange(8))
            known = session.refresh()
            watch.look()
            self._kill(session)
            assert not session.alive
            assert "died" in repr(session)
            assert len(session.timeline) > known.row
        self._ended(session, watch)
        self._read(path)

    def _kill(self, session: Session) -> None:
        """In the middle of something, or while it waits to be asked."""
        worker = leader_of(session)
        if self.chance.random() < 0.3:
            os.kill(worker, signal.SIGKILL)
            with pytest.raises(SessionDied, match="killed by SIGKILL") as death:
                session.step()
            assert death.value.signal == "SIGKILL"
            return
        command, arguments = self.chance.choice(_BUSY)
        session.send(command, **arguments)
        time.sleep(self.chance.choice((0, 0.001, 0.003, 0.01)))
        os.kill(worker, signal.SIGKILL)
        assert "killed by SIGKILL" in answer(session, 0).value

    def _read(self, path: Path) -> list[Record]:
        journal = read_whole(path)
        self._rows += len({record.row for record in journal})
        return journal

    def _open(self, path: Path) -> Session:
        self._sessions += 1
        return Session.open(self.image, record=path, **self.guest.options)

    def _ended(self, session: Session, watch: Watch) -> None:
        worker = leader_of(session)
        until(lambda: not group(worker) and not is_running(worker), "the end of its processes")
        self._peak = max(self._peak, watch.peak)


_BUSY: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("cont", {}),
    ("step", {"count": 1000}),
    ("go_to", {"steps": 0}),
    ("reverse_step", {}),
    ("registers", {}),
)


def read_whole(path: Path) -> list[Record]:
    """The journal of a recording; raises AssertionError if not all of it can be read and holds."""
    with open_trace(path) as trace:
        assert trace.problems == []
        timeline = Timeline(trace)
        for row in range(len(timeline)):
            for step in range(timeline.steps(row)):
                assert not timeline.moment(row, step).differences
            timeline.summary(row)
        found = check(trace, None)
        assert [str(each) for each in found] == []
        return [each for _, each in trace.records() if each.kind is not Kind.CHECKPOINT]
