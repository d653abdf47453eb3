"""Many random streams as guests of live sessions: python -m tests.session.stream_run FIRST LAST.

Each seed as `stream_play` has it. One that does not come back in time, or is
not as it should be, is reported with its number; its processes are ended, and
the exit status is 1.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Final, NamedTuple
from unittest.mock import patch

from tdxdbg.session import process
from tests.session.forked import fork_worker
from tests.session.stream_guest import stream_guest
from tests.session.stream_play import MakeGuest, Played, Player

#: Seconds for one seed.
LONGEST: Final = 60
REPORT_EVERY: Final = 500
#: Every so many seeds its workers are started as a person's are, and not forked.
STARTED: Final = 50


class TooLongError(BaseException):
    """No answer in time; a BaseException, so that nothing keeps it."""


class Result(NamedTuple):
    """`failure`: why it is not as it should be; empty when it is."""

    seed: int
    played: Played | None
    failure: str = ""


def run(seed: int, make: MakeGuest = stream_guest) -> Result:
    """Play a seed of a kind of guest within LONGEST."""
    old = signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(LONGEST)
    try:
        with tempfile.TemporaryDirectory(prefix="streams-") as folder:
            return Result(seed, _play(seed, Path(folder), make))
    except (Exception, TooLongError):
        return Result(seed, None, traceback.format_exc())
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


def _play(seed: int, folder: Path, make: MakeGuest) -> Played:
    if seed % STARTED == 0:
        return Player(seed, folder, make).play()
    with patch.object(process, "start_worker", fork_worker):
        return Player(seed, folder, make).play()


def _too_long(signum: int, frame: object) -> None:
    raise TooLongError(f"no answer within {LONGEST} s")


class Totals:
    """What many seeds came to."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.failed: list[int] = []
        self.sessions = self.rows = self.steps = self.peak = self.largest = 0

    def add(self, result: Result) -> None:
        if result.played is None:
            self.failed.append(result.seed)
            print(f"seed {result.seed}: {result.failure}", flush=True)
            return
        kind, sessions, rows, steps, peak = result.played
        self.kinds[kind] += 1
        self.sessions += sessions
        self.rows += rows
        self.steps += steps
        if peak > self.peak:
            self.peak, self.largest = peak, result.seed

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kinds.items()))
        return (
            f"{kinds or 'none'}; {self.sessions} sessions, {self.steps} engine steps, "
            f"{self.rows} rows; at most {self.peak / (1 << 20):.1f} MiB (seed {self.largest}); "
            f"{len(self.failed)} failed{': ' if self.failed else ''}"
            + ", ".join(map(str, self.failed[:20]))
        )


def results(seeds: range, jobs: int) -> Iterator[Result]:
    """In order; each job is a process of one thread, as forking wants it."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(run, seeds)


def main(arguments: list[str]) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="stream_run", description="Streams in live sessions.")
    parser.add_argument("first", type=int)
    parser.add_argument("last", type=int)
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args(arguments)
    totals = Totals()
    start = time.monotonic()
    for number, result in enumerate(results(range(given.first, given.last), given.jobs), 1):
        totals.add(result)
        if number % REPORT_EVERY == 0:
            spent = time.monotonic() - start
            rate = number / spent
            print(f"seed {result.seed}, {spent:.0f} s, {rate:.1f}/s: {totals}", flush=True)
    print(f"{given.last - given.first} streams: {totals}")
    return int(bool(totals.failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
