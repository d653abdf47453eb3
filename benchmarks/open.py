"""Opening traces of 10 thousand, 1 million and 10 million exits: time and anonymous memory.

Run it with: python benchmarks/open.py [--exits N,N,...] [--directory DIR]

Each measurement is a fresh process; the best of several is shown, and beside
it the ratio to the smallest trace of the same run. Flat means about 1. Mapped
pages of the file are not anonymous memory. The files (about 800 bytes an exit)
go to a temporary directory and are deleted afterwards.
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
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BLOCK_ROWS: Final = 4096
_BYTES_PER_EXIT: Final = 900
_ROWS_SHOWN: Final = 60
_REPEATS: Final = 3
#: Bytes of a record that differ from block to block: row, rows_started, time, checkpoint.
_PATCHED: Final = (8, 16, 24, 48)

_PROBE: Final = """
import sys, time
from tdxdbg.timeline.timeline import Timeline
from tdxdbg.traces import open_trace

def anonymous():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon:"):
            return int(line.split()[1])

def lap():
    global last
    now = time.perf_counter()
    print(f"{(now - last) * 1e3:.4f}")
    last = time.perf_counter()

# Caches of the interpreter are not what is measured: the first use of each function is not timed.
with open_trace(sys.argv[2]) as small:
    timeline = Timeline(small)
    timeline.summary(0), timeline.moment(0)
    small.row_records(9)
before = anonymous()
last = time.perf_counter()
trace = open_trace(sys.argv[1])
lap()
for row in range(int(sys.argv[3])):
    assert trace.row_records(row)
lap()
# Both 500 rows behind a checkpoint: how long the way from there is has nothing to do with size.
middle, end = (row // 4096 * 4096 + 500 for row in (len(trace) // 2, len(trace) - 1))
assert trace.row_records(middle)
lap()
timeline = Timeline(trace)
for row in range(int(sys.argv[3])):
    timeline.summary(row)
timeline.moment(0)
lap()
timeline.moment(middle)
lap()
timeline.moment(min(end, len(trace) - 1))
lap()
assert not trace.problems, trace.problems
print(anonymous() - before)
print(anonymous())
"""
_MEASURES: Final = (
    ("open", "ms"),
    ("records of the first 60 rows", "ms"),
    ("records of a row in the middle", "ms"),
    ("timeline: first 60 rows, moment 0", "ms"),
    ("timeline: moment in the middle", "ms"),
    ("timeline: moment at the end", "ms"),
    ("anonymous memory, more than before", "KiB"),
    ("anonymous memory, all", "KiB"),
)


def block() -> bytes:
    """A checkpoint and 4096 rows of port output and input and CPUID, as one vCPU makes them."""
    from tdxdbg.abi.regs import LINUX_EXPOSE_MASK, Regs
    from tdxdbg.engine import Engine, IoAnswer, Outcome, Reentry, Td, TdExit, snapshot
    from tdxdbg.traces.pack import Packer
    from tdxdbg.traces.records import Record, answer, checkpoint, step_record, td_exit

    engine = Engine(Td())
    engine.force_into_td(0)

    def row(number: int) -> list[Record]:
        leaf, *operands = (
            (30, 1, 1, 0x3F8, 65 + number % 26),
            (30, 1, 0, 0x3FD, 0),
            (10, 1, 0, 0, 0),
        )[number % 3]
        regs = Regs(LINUX_EXPOSE_MASK)._replace(
            rax=0, rcx=LINUX_EXPOSE_MASK, r11=leaf,
            r12=operands[0], r13=operands[1], r14=operands[2], r15=operands[3],
        )  # fmt: skip
        exit_ = TdExit(0, 77, regs)
        step = engine.feed(exit_)
        found = [td_exit(number, exit_, 1000 * number), step_record(number, 0, step)]
        if step.outcome is Outcome.EXIT_TO_USERSPACE:
            reply = Reentry(0, None if operands[1] else IoAnswer(b"\x60"))
            found.append(answer(number, reply, 1000 * number + 500))
            found.append(step_record(number, 0, engine.feed(reply)))
        return found

    for number in range(3):
        row(number)
    packer = Packer()
    parts = [packer.pack(checkpoint(snapshot.dump(engine.checkpoint())))]
    for number in range(_BLOCK_ROWS):
        parts.extend(packer.pack(record) for record in row(number))
    return b"".join(parts)


class Generator:
    """Writes the block again and again with other numbers.

    CRC-32 is linear: what a patched byte does to it depends on its place and
    value alone. So the checksums of a whole block are a few table look-ups.
    """

    def __init__(self, data: bytes) -> None:
        import numpy as np

        self._block: NDArray[np.uint8] = np.frombuffer(data, np.uint8).reshape(-1, 256)
        words = self._block.view("<u8")
        self._rows = words[:, 1].copy()
        self._started = words[:, 2].copy()
        self._times = words[:, 3].copy()
        self._words = words
        self._crcs = self._block.view("<u4")[:, 1].copy()
        self._tables = {at + place: _table(at + place) for at in _PATCHED for place in range(8)}

    def blocks(self, exits: int) -> list[int]:
        """How many rows each block has."""
        whole, rest = divmod(exits, _BLOCK_ROWS)
        return [_BLOCK_ROWS] * whole + ([rest] if rest else [])

    def make(self, number: int, rows: int) -> tuple[memoryview, int]:
        """The bytes of one block of so many rows, and how many records they are."""
        import numpy as np

        count = len(self._block)
        first = number * count
        shift = np.uint64(number * _BLOCK_ROWS)
        new = self._block.copy()
        words = new.view("<u8")
        # A checkpoint before any row says that none was started.
        words[:, 1] = self._rows + shift
        words[:, 2] = self._started + shift
        known = self._times != np.uint64((1 << 64) - 1)
        words[known, 3] = self._times[known] + shift * np.uint64(1000)
        slots = int(self._block[0].view("<u4")[14]) + 1
        words[slots:, 6] = first + 1
        if number:
            words[:slots, 1] = shift - np.uint64(1)
            words[:slots, 6] = first - count + 1
        crcs = self._crcs.copy()
        for at, table in self._tables.items():
            changed = new[:, at] != self._block[:, at]
            if changed.any():
                crcs[changed] ^= table[new[changed, at]] ^ table[self._block[changed, at]]
        new.view("<u4")[:, 1] = crcs
        if rows < _BLOCK_ROWS:
            count = int(np.searchsorted(self._started, rows, side="right"))
        return memoryview(new[:count].tobytes()), count


def _table(at: int) -> NDArray[np.uint32]:
    """What each value of the byte at this offset of a record does to its checksum."""
    import numpy as np

    from tdxdbg.traces.pack import checksum

    record = bytearray(256)
    zero = checksum(record)
    values = []
    for value in range(256):
        record[at] = value
        values.append(checksum(record) ^ zero)
    return np.array(values, np.uint32)


def generate(path: Path, exits: int, generator: Generator) -> float:
    """Writes a trace of so many exits and returns how long that took, in seconds."""
    from tdxdbg.traces.header import pack_header
    from tdxdbg.traces.meta import TraceMeta

    start = time.perf_counter()
    meta = TraceMeta(
        source="benchmarks/open.py", generation="7.3", title="many exits", origin="synthetic"
    )
    with path.open("wb", buffering=0) as file:
        file.write(pack_header(meta))
        for number, rows in enumerate(generator.blocks(exits)):
            file.write(generator.make(number, rows)[0])
    return time.perf_counter() - start


def measure(path: Path, small: Path) -> list[float]:
    """The best of several fresh processes, measure by measure."""
    results = []
    for _ in range(_REPEATS):
        done = subprocess.run(
            [sys.executable, "-c", _PROBE, str(path), str(small), str(_ROWS_SHOWN)],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[1],
        )
        results.append([float(line) for line in done.stdout.split()])
    return [min(values) for values in zip(*results, strict=True)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exits", default="10000,1000000,10000000")
    parser.add_argument("--directory", default=None)
    options = parser.parse_args()
    sizes = sorted(int(item) for item in options.exits.split(","))
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        directory = Path(name)
        need = sum(sizes) * _BYTES_PER_EXIT
        free = shutil.disk_usage(directory).free
        if free < need + (1 << 30):
            print(f"{directory}: {free >> 20} MiB free, {need >> 20} are needed; see --directory")
            return 4
        generator = Generator(block())
        small = directory / f"{sizes[0]}.tdxt"
        columns = []
        for exits in sizes:
            path = directory / f"{exits}.tdxt"
            seconds = generate(path, exits, generator)
            size = path.stat().st_size
            print(f"{exits:>10} exits: {size / 1e6:>8.1f} MB, written in {seconds:.1f} s")
            columns.append(measure(path, small))
            if path != small:
                os.unlink(path)
    print()
    for at, (title, unit) in enumerate(_MEASURES):
        base = columns[0][at] or 1
        shown = "   ".join(f"{column[at]:>10.3f} ({column[at] / base:5.2f})" for column in columns)
        print(f"{title:<36} {unit:<4} {shown}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
