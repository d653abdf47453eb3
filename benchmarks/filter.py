"""Filters over 10 million exits: first hits, all hits, and what a key costs meanwhile.

Run it with: nice python benchmarks/filter.py [--exits N] [--trace FILE] [--directory DIR]

The columns are built in an empty cache folder first, then read from it. Beside
it stands `grep -c` over a text with the leaf of each exit on a line. A filter that
is typed as soon as the screen stands, and a key, are measured at a pty: to the
frame with hits, to the bytes that show another exit. The trace (about 900 bytes
an exit) goes to a temporary directory and is deleted afterwards.
"""

from __future__ import annotations

import argparse
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fcntl import ioctl
from itertools import count, product
from pathlib import Path
from termios import TIOCSWINSZ
from typing import Final

import pyte

from benchmarks.folders import use_own_folders
from benchmarks.open import Generator, block, generate
from benchmarks.screen_terminal import Program
from tdxdbg.decode.values import leaf_short
from tdxdbg.index.client import Index
from tdxdbg.timeline import Timeline
from tdxdbg.traces import Trace, open_trace

_FILTERS: Final = ("leaf == CPUID", "status == RETRY", "vcpu == 0", "exit == KVM_EXIT_IO")
#: Those that have something to step over.
_KEYS: Final = (_FILTERS[0], *_FILTERS[2:])
_REPEATS: Final = 3
_STEPS: Final = 150
#: Seconds between two keys.
_PACE: Final = 0.05
_BYTES_PER_EXIT: Final = 900
_ROWS: Final = 4096
_PATIENCE: Final = 4.0
#: Seconds between the keys of somebody who types fast.
_TYPED: Final = 0.1
#: In the lower edge of the queue; behind it, where it does not know all.
_FOUND: Final = re.compile(r"  ([0-9]+) match(?:es)? (in the first)?")

_states = count()


def asked(index: Index, text: str, total: int) -> tuple[float, float, int]:
    """Seconds to the first hits and to all of them, and how many there are."""
    start = time.perf_counter()
    answer, first = index.ask(text, total), 0.0
    while answer.seen < total:
        select.select([index], [], [])
        if not index.read():
            raise RuntimeError("the process for the columns ended")
        if not first and len(answer.rows):
            first = time.perf_counter() - start
    return first, time.perf_counter() - start, len(answer.rows)


def filters(trace: Trace) -> None:
    """While the columns are built, when they are there, and read from the cache."""
    total = len(trace)
    index = Index(trace)
    first, all_, _ = asked(index, _FILTERS[2], total)
    print(f"no columns yet, {_FILTERS[2]}: first hits {first:.3f} s, all (built) {all_:.1f} s")
    for text in _FILTERS:
        tries = [asked(index, text, total) for _ in range(_REPEATS)]
        first, all_ = (min(each[at] for each in tries) for at in (0, 1))
        worst = max(each[1] for each in tries)
        print(f"  {text:<22} first {first:.3f} s  all {all_:.3f} s (worst {worst:.3f})"
              f"  {tries[0][2]:,} match")  # fmt: skip
    index.close()
    index = Index(trace)
    first, all_, _ = asked(index, _FILTERS[0], total)
    index.close()
    print(f"columns from the cache, process included: first {first:.3f} s, all {all_:.3f} s")


def grep(trace: Trace, directory: Path) -> None:
    """What a text of the leaves costs."""
    timeline = Timeline(trace)
    rows = [timeline.summary(row).leaf for row in range(min(_ROWS, len(trace)))]
    text = "".join(f"{leaf_short(leaf or 0)}\n" for leaf in rows).encode()
    path = directory / "leaves.txt"
    with path.open("wb") as file:
        for _ in range(len(trace) // len(rows)):
            file.write(text)
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        # Into a pipe: before /dev/null grep stops at the first line that matches.
        subprocess.run(["grep", "-c", "CPUID", path], stdout=subprocess.PIPE, check=True)
        times.append(time.perf_counter() - start)
    print(f"grep -c over {path.stat().st_size >> 20} MiB of text: {min(times):.3f} s")


class Screen:
    """The program at a pty; every chunk that it wrote, with its time."""

    def __init__(self, trace: str, cache: str) -> None:
        self.chunks: list[tuple[float, bytes]] = []
        pid, self._fd = pty.fork()
        if not pid:
            ioctl(0, TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
            env = {**os.environ, "TERM": "xterm-256color", **_own(cache)}
            os.execve(sys.executable, [sys.executable, "-m", "tdxdbg", "replay", trace], env)
        self._pid = pid

    def read(self, seconds: float) -> None:
        """Take what is written in so many seconds."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            if select.select([self._fd], [], [], left)[0]:
                try:
                    data = os.read(self._fd, 1 << 16)
                except OSError:
                    # The program has ended.
                    return
                self.chunks.append((time.perf_counter(), data))

    def type(self, keys: str) -> float:
        """Press keys; when that was."""
        os.write(self._fd, keys.encode())
        return time.perf_counter()

    def close(self) -> None:
        self.type("\x11")
        self.read(1.0)
        os.close(self._fd)
        os.waitpid(self._pid, 0)

    def step_times(self, keys: list[float]) -> list[float]:
        """Of each key the milliseconds until another exit is shown."""
        screen = pyte.Screen(120, 40)
        stream = pyte.ByteStream(screen)
        found, at, shown = [], 0, ""
        for key, until in zip(keys, [*keys[1:], float("inf")], strict=True):
            while at < len(self.chunks) and self.chunks[at][0] <= key:
                stream.feed(self.chunks[at][1])
                at += 1
            shown = _exit(screen)
            while at < len(self.chunks) and self.chunks[at][0] <= until:
                stream.feed(self.chunks[at][1])
                at += 1
                if _exit(screen) != shown:
                    found.append((self.chunks[at - 1][0] - key) * 1e3)
                    break
        return found


def _cache() -> str:
    return os.environ["XDG_CACHE_HOME"]


def _own(cache: str) -> dict[str, str]:
    """The environment of a screen: this cache, and nothing that another screen remembered."""
    return {"XDG_CACHE_HOME": cache, "XDG_STATE_HOME": f"{cache}-state{next(_states)}"}


def typed(path: str, cache: str, text: str, pace: float) -> tuple[float, float]:
    """Type a filter as soon as the screen stands: ms from Enter to its hits, and to all of them.

    `pace`: seconds between two keys; 0: all come at once, as when it is pasted.
    """
    with Program(("-m", "tdxdbg", "replay", path), 120, 40, _own(cache)) as program:
        while not program.frames:
            program.read(0.1)
        keys = (f"/{text}", "\r") if not pace else f"/{text}\r"
        for key in keys:
            program.send(key)
            program.wait_until(program.keys[-1].at + pace)
        enter = program.keys[-1]
        program.wait_until(enter.at + _PATIENCE)
        first = all_ = float("inf")
        for frame, lines in program.pictures():
            found = _FOUND.search("\n".join(lines))
            if frame.end <= enter.seen or not found or not int(found[1]):
                continue
            passed = (frame.at - enter.at) * 1e3
            first, all_ = min(first, passed), min(all_, passed if not found[2] else all_)
        return first, all_


def filters_on_screen(path: str, directory: Path) -> None:
    """The process starts with the screen; what it has not answered yet the screen looks for."""
    print("a filter at the first frame, from Enter to the frame that shows hits, ms, 120x40:")
    for title, kept in (("no columns yet", ""), ("columns in the cache", _cache())):
        for text, pace in product(_KEYS, (_TYPED, 0)):
            # A screen keeps what it read of the columns, so each has a cache of its own.
            tries = [typed(path, kept or str(directory / f"new{next(_states)}"), text, pace)
                     for _ in range(_REPEATS)]  # fmt: skip
            first, all_ = (min(each[at] for each in tries) for at in (0, 1))
            worst = [max(each[at] for each in tries) for at in (0, 1)]
            how = "typed" if pace else "pasted"
            print(f"  {title:<20} {text:<19} {how:<6} first {first:5.0f} (worst {worst[0]:.0f})"
                  f"  all {all_:5.0f} (worst {worst[1]:.0f})")  # fmt: skip


def _exit(screen: pyte.Screen) -> str:
    return screen.display[0].partition("exit ")[2].partition("/")[0]


def steps(title: str, screen: Screen, before: Callable[[int], str]) -> float:
    """Press j, and now and then something else before it; p99 in ms."""
    keys = []
    for number in range(_STEPS):
        more = before(number)
        if more:
            screen.type(more)
            screen.read(0.1)
        keys.append(screen.type("j"))
        screen.read(_PACE)
    times = sorted(screen.step_times(keys))
    p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
    print(f"  {title:<34} p50 {p50:6.1f} ms  p99 {p99:6.1f} ms  of {len(times)} keys")
    return p99


def keys(path: str, directory: Path) -> None:
    """A step while columns are built, when they are there, and while a filter runs."""
    print("a step, to the bytes that show another exit, at 120x40:")
    empty = Screen(path, str(directory / "other"))
    empty.read(2.0)
    building = steps("columns are being built", empty, lambda number: "")
    empty.close()
    screen = Screen(path, _cache())
    screen.read(5.0)
    plain = steps("no filter", screen, lambda number: "")

    def sometimes(number: int) -> str:
        # Ctrl-U takes the last one out of the prompt; the next keys come while this one is counted.
        return "" if number % 6 else f"/\x15{_KEYS[number // 6 % len(_KEYS)]}\r"

    running = steps("filters being set every 6 keys", screen, sometimes)
    screen.close()
    print(f"  p99, ratio to no filter: building {building / plain:.2f}, "
          f"filters {running / plain:.2f}")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exits", type=int, default=10_000_000)
    parser.add_argument("--trace", help="a trace that is there, instead of writing one")
    parser.add_argument("--directory", default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        directory = Path(name)
        path = options.trace or str(directory / "filter.tdxt")
        if options.trace is None:
            free = shutil.disk_usage(directory).free
            need = options.exits * _BYTES_PER_EXIT
            if free < need + (1 << 30):
                print(f"{name}: {free >> 20} MiB free, {need >> 20} are needed; see --directory")
                return 4
            generate(Path(path), options.exits, Generator(block()))
        use_own_folders(directory)
        with open_trace(path) as trace:
            print(f"{len(trace):,} exits")
            filters(trace)
            grep(trace, directory)
        filters_on_screen(path, directory)
        keys(path, directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
