"""The screen at a real pty: from the byte of a key to the last byte of the frame it brings.

Run it with: nice python benchmarks/screen.py [--exits N] [--trace FILE] [--sizes 120x40,...]

Every pane changes at every step, which is checked, as is that the screen shows
the exit that the keys lead to. An empty Textual app that draws one line at a
key is measured in the same run: it is the floor, and the ratio to it is what
counts where the machine is noisy. A trace of 10 million exits has 10 GB and
takes minutes to write; it goes to a temporary directory and is deleted
afterwards.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.folders import use_own_folders
from benchmarks.open import Generator, generate
from benchmarks.screen_terminal import Frame, Program
from benchmarks.screen_trace import BYTES_PER_EXIT, block
from tdxdbg.ui.layout import CODE, HINTS, QUEUE, STATUS, View, arrange

#: Seconds between two keys of a keyboard that repeats.
_REPEAT: Final = 1 / 30
_STEPS: Final = 150
_OPENINGS: Final = 3
_ROW: Final = re.compile(r"exit ([0-9,]+)/")
#: By size: p50 and p95 of a step in ms.
_AIMS: Final = {"120x40": (20, 35), "200x60": (30, 60)}
_OPEN_AIM: Final = 1000
_MEMORY_AIM: Final = 120 << 10

_FLOOR: Final = """
from textual.app import App
from textual.widgets import Static

class Floor(App):
    BINDINGS = [("j", "next", "")]
    row = 0
    def compose(self):
        self.line = Static("exit 0/")
        yield self.line
    def action_next(self):
        self.row += 1
        self.line.update(f"exit {self.row}/", layout=False)

Floor().run()
"""


class Times(NamedTuple):
    """Milliseconds, in the order they were measured."""

    values: list[float]

    def at(self, percent: int) -> float:
        """The percentile."""
        ordered = sorted(self.values)
        return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)]

    def __str__(self) -> str:
        return f"{self.at(50):7.1f} {self.at(95):7.1f} {max(self.values):7.1f}"


class Shown(NamedTuple):
    """What stood on the screen after a frame."""

    frame: Frame
    lines: list[str]

    @property
    def row(self) -> int:
        """The exit that the status line names; -1 before it does."""
        found = _ROW.search("\n".join(self.lines))
        return int(found[1].replace(",", "")) if found else -1


class Measured(NamedTuple):
    """All of one program at one size; `bytes_` is what a step wrote, in the middle."""

    opening: Times
    steps: Times
    repeat: Times
    burst: float
    bytes_: int
    anonymous: int


def measure(arguments: Sequence[str], size: str, panes: bool) -> Measured:
    """Start the program, step, hold the key, and let a burst of keys arrive at once.

    `panes`: whether it has panes, all of which have to change at each step.
    """
    columns, rows = (int(part) for part in size.split("x"))
    opening = []
    for _ in range(1 + _OPENINGS):
        with Program(arguments, columns, rows) as program:
            program.settle(0.5)
            opening.append(_since(_first_full(program, panes), program.started))
    del opening[0]
    with Program(arguments, columns, rows) as program:
        program.settle(1.0)
        for _ in range(_STEPS):
            program.send("j")
            program.settle()
        stepped = len(program.keys)
        start = time.perf_counter()
        for number in range(_STEPS):
            program.wait_until(start + number * _REPEAT)
            program.send("j")
        program.settle(1.0)
        program.send("j" * _STEPS)
        program.settle(1.0)
        anonymous = program.anonymous()
        shown = [Shown(*item) for item in _copied(program)]
        if panes:
            _check_panes(program, shown, stepped, columns, rows)
        steps = [_step(program, shown, number) for number in range(stepped)]
        repeat = [_reached(program, shown, number, number + 1)
                  for number in range(stepped, stepped + _STEPS)]  # fmt: skip
        burst = _reached(program, shown, stepped + _STEPS, 3 * _STEPS)
        written = statistics.median(
            after.seen - before.seen
            for before, after in zip(program.keys, program.keys[1:stepped], strict=False)
        )
        return Measured(Times(opening), Times(steps), Times(repeat), burst, int(written), anonymous)


def _copied(program: Program) -> Iterator[tuple[Frame, list[str]]]:
    for frame, lines in program.pictures():
        yield frame, list(lines)


def _since(frame: Frame, moment: float) -> float:
    return (frame.at - moment) * 1e3


def _first_full(program: Program, panes: bool) -> Frame:
    """The first frame that looks as the screen does when it has come to rest.

    But for the right edge of the queue: marks come into it for as long as the
    columns are built, which is half a minute.
    """
    seen = [Shown(*item) for item in _copied(program)]
    if panes:
        place = arrange(program.columns, program.rows, View()).places[QUEUE]
        edge = place.x + place.width - 1
        for shown in seen:
            for y in range(place.y, place.y + place.height):
                line = shown.lines[y]
                shown.lines[y] = line[:edge] + line[edge + 1 :]
    *_, last = seen
    return next(shown.frame for shown in seen if shown.lines == last.lines)


def _step(program: Program, shown: list[Shown], number: int) -> float:
    """From this key to the frame after which nothing changed until the next key."""
    key, after = program.keys[number], program.keys[number + 1]
    frames = [item for item in shown if key.seen < item.frame.end <= after.seen]
    final = frames[-1]
    if final.row != number + 1:
        raise RuntimeError(f"after {number + 1} keys the screen shows exit {final.row}")
    first = next(item for item in frames if item.lines == final.lines)
    return _since(first.frame, key.at)


def _reached(program: Program, shown: list[Shown], number: int, row: int) -> float:
    """From this key to the frame that shows this exit or a later one."""
    key = program.keys[number]
    for item in shown:
        if item.frame.end > key.seen and item.row >= row:
            return _since(item.frame, key.at)
    raise RuntimeError(f"exit {row} was never shown")


def _check_panes(program: Program, shown: list[Shown], steps: int, columns: int, rows: int) -> None:
    """Every pane that is seen has to change at every step, or less is measured than is said.

    But for the code: a recording has none, and the pane says so.
    """
    places = arrange(columns, rows, View()).places
    for name, place in places.items():
        if name in (HINTS, CODE):
            continue
        last = None
        for number in range(steps):
            end = program.keys[number + 1].seen
            final = [item for item in shown if item.frame.end <= end][-1]
            part = [line[place.x : place.x + place.width]
                    for line in final.lines[place.y : place.y + place.height]]  # fmt: skip
            if part == last:
                where = "status line" if name == STATUS else f"pane {name}"
                raise RuntimeError(f"the {where} did not change at step {number + 1}")
            last = part


def report(size: str, floor: Measured, found: Measured) -> None:
    """Print what was measured at one size beside the floor."""
    print(f"\n{size}", end="")
    print(f"{'':<32}{'p50':>8}{'p95':>8}{'max':>8}   floor p50   p95   ratio p50   p95")
    for title, mine, base in (
        ("a key to its last byte, ms", found.steps, floor.steps),
        ("30 keys a second, lag, ms", found.repeat, floor.repeat),
        ("opening to the full frame, ms", found.opening, floor.opening),
    ):
        p50, p95 = base.at(50), base.at(95)
        print(f"  {title:<36}{mine}     {p50:7.1f} {p95:5.1f}     "
              f"{mine.at(50) / p50:7.2f} {mine.at(95) / p95:5.2f}")  # fmt: skip
    print(f"  {f'{_STEPS} keys at once, ms':<36}{found.burst:7.1f}"
          f"{'':>21}{floor.burst:7.1f}")  # fmt: skip
    print(f"  {'bytes a step':<36}{found.bytes_:7}{'':>21}{floor.bytes_:7}")
    print(f"  {'anonymous memory, KiB':<36}{found.anonymous:7}{'':>21}{floor.anonymous:7}")
    for aim, value, most in _aims(size, found):
        print(f"  {'met   ' if value <= most else 'MISSED'} {aim}: {value:.1f}, at most {most}")


def _aims(size: str, found: Measured) -> list[tuple[str, float, float]]:
    p50, p95 = _AIMS.get(size, _AIMS["120x40"])
    return [
        ("p50 of a key, ms", found.steps.at(50), p50),
        ("p95 of a key, ms", found.steps.at(95), p95),
        # Later than the next key: the screen lags behind the keyboard.
        ("p95 of a held key, ms", found.repeat.at(95), _REPEAT * 1e3),
        ("opening, ms", found.opening.at(50), _OPEN_AIM),
        ("anonymous memory, KiB", found.anonymous, _MEMORY_AIM),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exits", type=int, default=10_000_000)
    parser.add_argument("--sizes", default="80x24,120x40,200x60")
    parser.add_argument("--directory", default=None, help="where the trace is written")
    parser.add_argument("--trace", type=Path, help="one that --keep left, instead of writing it")
    parser.add_argument("--keep", type=Path, help="write the trace to this file, and leave it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        use_own_folders(Path(name))
        trace = options.trace
        if trace is None:
            trace = options.keep or Path(name) / "screen.tdxt"
            need, free = options.exits * BYTES_PER_EXIT, shutil.disk_usage(trace.parent).free
            if free < need + (1 << 30):
                print(f"{trace.parent}: {free >> 20} MiB free, {need >> 20} are needed;"
                      " see --directory")  # fmt: skip
                return 4
            seconds = generate(trace, options.exits, Generator(block()))
            size = trace.stat().st_size
            print(f"{options.exits:,} exits: {size / 1e6:,.1f} MB, written in {seconds:.1f} s")
        for size in options.sizes.split(","):
            floor = measure(("-c", _FLOOR), size, panes=False)
            found = measure(("-m", "tdxdbg", "replay", str(trace)), size, panes=True)
            report(size, floor, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
