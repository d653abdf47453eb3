"""Importing a million events, beside the tools that print them.

Run it with: nice python -m benchmarks.traces [--events N] [--repeats N] [--directory DIR]

The recordings are made of the small ones in tests/data/traces (recordings.py).
`trace-cmd report` and `perf script` print them to a file; tdxdbg imports the
same recording, and then the text that the tool wrote. Each is a process of its
own, its start included; the best of several is shown, with the processor time
of all its threads. The ratio is that of the tool's time to tdxdbg's: above 1
tdxdbg is quicker. Tools that are not installed are named and left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.recordings import GROW

_DATA: Final = Path(__file__).parents[1] / "tests" / "data" / "traces"
_IMPORT: Final = """
import sys
from tdxdbg.traces import open_trace
with open_trace(sys.argv[1]) as trace:
    print(trace.imported.lines, len(trace))
"""


class Recording(NamedTuple):
    """A small recording of `events` events, and the tools that print it."""

    title: str
    kind: str
    small: str
    events: int
    tools: tuple[tuple[str, ...], ...]


_RECORDINGS: Final = (
    Recording(
        "a TD's exits, trace.dat",
        "trace.dat",
        "synthetic_td.trace.dat",
        1484,
        (("trace-cmd", "report"), ("trace-cmd", "report", "-N")),
    ),
    Recording(
        "a small guest, trace.dat", "trace.dat", "demo3.trace.dat", 440, (("trace-cmd", "report"),)
    ),
    Recording(
        "a small guest, perf.data", "perf.data", "demo3.perf.data", 440, (("perf", "script", "-i"),)
    ),
)


class Cost(NamedTuple):
    """Seconds by the clock and of the processors."""

    wall: float
    cpu: float


def run(command: list[str], output: Path) -> Cost:
    """One process, its output in a file."""
    with output.open("wb") as out:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: ended with {process.returncode}")
    return Cost(wall, usage.ru_utime + usage.ru_stime)


def best(command: list[str], output: Path, repeats: int) -> Cost:
    costs = [run(command, output) for _ in range(repeats)]
    return Cost(min(cost.wall for cost in costs), min(cost.cpu for cost in costs))


def importing(path: Path, repeats: int) -> tuple[Cost, int]:
    """What tdxdbg takes, and how many events or lines it read."""
    output = path.with_suffix(".imported")
    cost = best([sys.executable, "-c", _IMPORT, str(path)], output, repeats)
    return cost, int(output.read_text().split()[0])


def line(what: str, events: int, cost: Cost, tool: Cost | None = None) -> None:
    rate = events / cost.wall / 1e6
    ratio = "" if tool is None else f"  {tool.wall / cost.wall:5.2f}  {tool.cpu / cost.cpu:5.2f}"
    print(f"  {what:<34} {cost.wall:6.2f} s  {cost.cpu:6.2f} s  {rate:5.2f} M/s{ratio}", flush=True)


def measure(recording: Recording, events: int, repeats: int, directory: Path) -> None:
    large = directory / recording.small
    times = -(-events // recording.events)
    GROW[recording.kind](_DATA / recording.small, large, times)
    ours, read = importing(large, repeats)
    print(f"{recording.title}: {read:,} events, {large.stat().st_size >> 20} MiB")
    for number, tool in enumerate(recording.tools):
        name = " ".join(tool)
        text = directory / f"{recording.small}.{number}.txt"
        cost = best([*tool, str(large)], text, repeats)
        line(name, read, cost)
        line(f"tdxdbg, {recording.kind}", read, ours, cost)
        theirs, lines = importing(text, repeats)
        line(f"tdxdbg, the text of {name}", lines, theirs, cost)
        text.unlink()
    large.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--directory", default=None)
    options = parser.parse_args()
    print(f"  {'':<34} {'clock':>8}  {'cpu':>8}  {'':>9}  ratios: clock, cpu")
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        for recording in _RECORDINGS:
            missing = {tool[0] for tool in recording.tools if shutil.which(tool[0]) is None}
            if missing:
                print(f"{recording.title}: left out, {', '.join(missing)} is not installed")
                continue
            measure(recording, options.events, options.repeats, Path(name))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
