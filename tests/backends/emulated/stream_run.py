"""Many random streams in a row: python -m tests.backends.emulated.stream_run FIRST LAST.

Each twice, once with stops on the way. A stream that does not end kills the
process by SIGALRM, with its number printed last; memory that does not stay
bounded, and runs that differ, are reported and make the exit status 1.
"""

from __future__ import annotations

import gc
import resource
import signal
import sys
from pathlib import Path
from typing import Final

from tests.backends.emulated.test_streams import Disturbed, Undisturbed, run

#: Seconds for one stream, and bytes that all of them may add to the process.
LONGEST: Final = 60
MOST: Final = 64 << 20
REPORT_EVERY: Final = 500
WARM_UP: Final = 50


def resident() -> int:
    """Bytes of this process in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main(first: int, last: int) -> int:
    """Run seeds [first, last); the exit status."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    differ: list[int] = []
    start = 0
    for number, seed in enumerate(range(first, last)):
        if number == WARM_UP:
            start = resident()
        if not number % REPORT_EVERY:
            print(f"seed {seed}, {resident() >> 20} MiB", flush=True)
        signal.alarm(LONGEST)
        end, changed = run(seed, Undisturbed())
        if not changed and run(seed, Disturbed(seed))[0] != end:
            differ.append(seed)
            print(f"seed {seed} is another run with stops", flush=True)
        signal.alarm(0)
    grown = resident() - start if start else 0
    print(f"{last - first} streams, {len(differ)} differ, {grown >> 10} KiB more than at the start")
    return int(bool(differ) or grown > MOST)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
