"""Exporting a part of a long recording: time an exit by form, and anonymous memory.

Run it with: nice python benchmarks/export.py [--exits N] [--trace FILE] [--directory DIR]

Each form is a fresh process that exports the same exits into a file, then all
of them but the first few; the second tells whether memory grows with their number. The
trace (about 850 bytes an exit) goes to a temporary directory and is deleted
afterwards.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.open import Generator, block, generate
from tdxdbg.export import FORMATS

_PROBE: Final = """
import sys, time
from tdxdbg.export import FORMATS, Job, Level, Selection, to_file
from tdxdbg.filters import compile_filter
from tdxdbg.timeline import Timeline
from tdxdbg.traces import open_trace

name, path, out, first, count, text, level = sys.argv[1:]
wanted = compile_filter(text) if text else None
with open_trace(path) as trace, to_file(out, force=True) as file:
    job = Job(Timeline(trace), Selection(int(first), int(count), wanted),
              Level[level] if level else None)
    start = time.process_time()
    done = FORMATS[name].write(job, file)
    spent = time.process_time() - start
    anonymous = next(line.split()[1] for line in open("/proc/self/status")
                     if line.startswith("RssAnon:"))
    print(spent / max(done.exits, 1) * 1e6, anonymous, file.size / max(done.exits, 1))
"""
_FEW: Final = 20_000


def measured(*arguments: str) -> tuple[float, int, float] | None:
    """us of processor time an exit, KiB of anonymous memory, bytes an exit; None: it failed."""
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"  {done.stderr.strip().splitlines()[-1]}")
        return None
    time, memory, size = done.stdout.split()
    return float(time), int(memory), float(size)


def show(path: Path, out: Path, exits: int) -> None:
    cases = [(name, "", "") for name in FORMATS]
    cases += [("tdxt", "leaf == CPUID", ""), ("csv", "leaf == CPUID", ""), ("tdxt", "", "TEXT")]
    for name, wanted, level in cases:
        few = measured(name, str(path), str(out), "1", str(_FEW), wanted, level)
        many = measured(name, str(path), str(out), "1", str(exits), wanted, level)
        if few is None or many is None:
            continue
        what = " ".join(part for part in (name, wanted, level.lower()) if part)
        print(f"  {what:<22} {many[0]:6.1f} us an exit, {many[2]:6.0f} bytes; memory "
              f"{few[1] >> 10} MiB for {_FEW:,}, {many[1] >> 10} MiB for all")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exits", type=int, default=200_000)
    parser.add_argument("--trace", help="a trace that is there, instead of writing one")
    parser.add_argument("--directory", default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        directory = Path(name)
        path = Path(options.trace) if options.trace else directory / "many.tdxt"
        if not options.trace:
            generate(path, options.exits, Generator(block()))
        show(path, directory / "out", options.exits)
    return 0


if __name__ == "__main__":
    sys.exit(main())
