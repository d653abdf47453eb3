"""`python -m tests.fuzz --count N --seed S`: opens N damaged traces and looks at all of each.

A failure is anything but a TraceError of one line, more than a few seconds of
CPU time (not of the clock: the machine may be busy), or more memory than a
small file can need. Case I of seed S is always the same file: `--only I` runs
it alone. `--hostile NAME` runs a file made by hand to be slow.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random

from tdxdbg.errors import TraceError
from tdxdbg.traces import open_trace
from tests.fuzz.corpus import corpus
from tests.fuzz.hostile import HOSTILE, TEXTS, hostile
from tests.fuzz.look import look_at
from tests.fuzz.mutate import mutate

_SECONDS = 5
#: For a hostile file, which has thousands of rows.
_HOSTILE_SECONDS = 20
#: Address space of a worker: the interpreter itself takes some 100 MiB.
_MEMORY = 640 << 20


class HangError(Exception):
    """A case took too long."""


def run_case(path: Path, data: bytes, seconds: int = _SECONDS) -> str:
    """What is wrong with how this file was treated, or ""."""
    path.write_bytes(data)
    before = signal.signal(signal.SIGPROF, _hang)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        with open_trace(path) as trace:
            look_at(trace)
    except TraceError as problem:
        if "\n" in str(problem):
            return f"more than one line: {problem}"
    except Exception:
        return traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    return ""


def case(seed: int, index: int, files: dict[str, bytes]) -> tuple[str, bytes]:
    """The format and the bytes of one case."""
    chance = Random(f"{seed}:{index}")
    kind = [*files][index % len(files)]
    return kind, mutate(kind, files[kind], chance)


def _hang(*_: object) -> None:
    raise HangError("takes too long")


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


def worker_hostile(name: str) -> int:
    """Runs one hostile file; prints what is wrong."""
    data = hostile(name)
    _limit()
    with tempfile.TemporaryDirectory() as directory:
        problem = run_case(Path(directory) / name, data, _HOSTILE_SECONDS)
    if problem:
        sys.stderr.write(f"--hostile {name}:\n{problem}\n")
    return 1 if problem else 0


def worker(seed: int, indexes: range) -> int:
    """Runs these cases and returns how many failed; prints the first few."""
    _limit()
    files = corpus()
    failures = 0
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "case"
        for index in indexes:
            kind, data = case(seed, index, files)
            problem = run_case(path, data)
            if problem:
                failures += 1
                if failures <= 5:
                    sys.stderr.write(f"--seed {seed} --only {index} ({kind}):\n{problem}\n")
    return failures


def _process(seed: int, indexes: range) -> None:
    sys.exit(min(worker(seed, indexes), 100))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", type=int)
    parser.add_argument("--hostile", choices=[*HOSTILE, *TEXTS])
    options = parser.parse_args()
    if options.hostile is not None:
        return worker_hostile(options.hostile)
    if options.only is not None:
        return min(worker(options.seed, range(options.only, options.only + 1)), 1)
    start = time.perf_counter()
    # Strides that no format divides, so that every process sees all of them.
    parts = [range(at, options.count, options.processes) for at in range(options.processes)]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_process, args=(options.seed, part)) for part in parts]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    failures = sum(abs(process.exitcode or 0) for process in processes)
    seconds = time.perf_counter() - start
    print(
        f"{options.count} cases of seed {options.seed}: "
        f"{failures} failures, {seconds:.0f} s, {options.count / seconds:.0f} cases/s"
    )
    return 1 if failures else 0
