"""Booting Linux as a TD beside QEMU's TCG without TDX, and going back in that boot.

Run it with: python -m benchmarks.linux_boot [--repetitions N] [--positions N]

Both boot the same bzImage and the same initramfs of busybox (tools/fetch_kernels,
tools/make_initramfs.py) in turns, as whole processes, from their start to the
line that says that user space is reached; the TD is recorded. The ratio is what
counts on a noisy machine; that of CPU time, in which what else ran is not, is
the steadier one. Then one more boot goes back to random exits from its end.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import Final, NamedTuple

from tdxdbg.backends.initramfs import MARKER, busybox_initramfs
from tdxdbg.session import Session
from tools.make_initramfs import CACHE, find_busybox

QEMU: Final = "qemu-system-x86_64"
#: nokaslr: QEMU 7.2 itself crashes in every fourth boot of a kernel that was moved.
APPEND: Final = "console=ttyS0 nokaslr panic=-1"
#: A boot of QEMU that panics or hangs is done again, this often at most.
ATTEMPTS: Final = 8
#: Seconds for one boot of QEMU, which needs four when it has the machine for itself.
PATIENCE: Final = 60


class Job(NamedTuple):
    """What is booted; `memory` in MiB."""

    kernel: Path
    initrd: Path
    append: str
    memory: int


class Times(NamedTuple):
    """Seconds by the clock and of CPU time."""

    wall: float
    cpu: float


class TdBoot(NamedTuple):
    """`size` of the recording in bytes, `digest` of what is in it."""

    times: Times
    exits: int
    instructions: int
    size: int
    digest: str


def skip(reason: str) -> None:
    print(f"skipped: {reason}")
    sys.exit(0)


def children() -> float:
    """CPU seconds of all child processes that have ended, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def boot_qemu(job: Job) -> Times | None:
    """QEMU until the marker comes; None: it did not."""
    command = [QEMU, "-accel", "tcg", "-m", str(job.memory), "-nographic", "-no-reboot"]
    command += ["-kernel", str(job.kernel), "-initrd", str(job.initrd), "-append", job.append]
    cpu, start = children(), time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        patience = Timer(PATIENCE, process.kill)
        patience.start()
        assert process.stdout is not None
        seen = any(MARKER.encode() in line for line in process.stdout)
        wall = time.perf_counter() - start
        patience.cancel()
        process.kill()
    return Times(wall, children() - cpu) if seen else None


def boot_td(job: Job, recording: Path) -> TdBoot:
    """`tdxdbg linux`, recorded, until the marker comes."""
    command = [sys.executable, "-m", "tdxdbg", "linux", str(job.kernel), "--headless"]
    command += ["--initrd", str(job.initrd), "--append", job.append, "--memory", str(job.memory)]
    command += ["--until", MARKER, "--record", str(recording)]
    cpu, start = children(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    times = Times(time.perf_counter() - start, children() - cpu)
    found = re.search(r"tdxdbg: (\d+) exits, (\d+) instructions", done.stderr)
    if done.returncode or not found:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        sys.exit(f"tdxdbg linux did not come to user space: {''.join(last)}")
    data = recording.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return TdBoot(times, int(found[1]), int(found[2]), len(data), digest)


def go_back(job: Job, positions: int, seed: int) -> list[tuple[float, int]]:
    """(Seconds, exit) from the end of the boot to the end of each of so many random exits."""
    choice = random.Random(seed)
    taken = []
    with Session.open(
        str(job.kernel),
        linux=True,
        initrd=job.initrd,
        append=job.append,
        memory=job.memory,
    ) as session:
        end = session.cont(serial=MARKER.encode()).row
        for _ in range(positions):
            row = choice.randrange(end)
            start = time.perf_counter()
            past = session.go_to(row)
            taken.append((time.perf_counter() - start, row))
            assert past.state.row == row
            past.close()
    return taken


def compare(job: Job, folder: Path, repetitions: int) -> list[TdBoot]:
    """Boots in turns, a line for each."""
    print("boot    TD, s (CPU)      QEMU, s (CPU)    ratio (CPU)")
    boots, walls, cpus, again = [], [], [], 0
    for number in range(1, repetitions + 1):
        boot = boot_td(job, folder / f"{number}.tdxt")
        (folder / f"{number}.tdxt").unlink()
        qemu = None
        for _ in range(ATTEMPTS):
            qemu = boot_qemu(job)
            if qemu is not None:
                break
            again += 1
        if qemu is None:
            sys.exit(f"{QEMU} did not come to user space in {ATTEMPTS} attempts")
        boots.append(boot)
        walls.append(boot.times.wall / qemu.wall)
        cpus.append(boot.times.cpu / qemu.cpu)
        print(
            f"{number:4}  {boot.times.wall:7.2f} ({boot.times.cpu:6.2f})  "
            f"{qemu.wall:7.2f} ({qemu.cpu:6.2f})  {walls[-1]:7.2f} ({cpus[-1]:.2f})",
            flush=True,
        )
    print(f"ratio by the clock: {spread(walls)}")
    print(f"ratio of CPU time:  {spread(cpus)}")
    if again:
        print(f"boots of {QEMU} that crashed or hung and were done again: {again}")
    return boots


def spread(values: Sequence[float]) -> str:
    return f"min {min(values):.2f}, median {statistics.median(values):.2f}, max {max(values):.2f}"


def report(boots: Sequence[TdBoot], kernel: Path) -> None:
    one = boots[0]
    print(
        f"{kernel.name}: {one.exits:,} exits, {one.instructions:,} instructions, "
        f"recording of {one.size / 1e6:.1f} MB"
    )
    if len({boot.digest for boot in boots}) > 1:
        print("THE RECORDINGS DIFFER")


def report_back(taken: Sequence[tuple[float, int]]) -> None:
    seconds = sorted(each for each, _ in taken)
    p95 = seconds[min(len(seconds) * 95 // 100, len(seconds) - 1)]
    longest, row = max(taken)
    print(
        f"going back to {len(seconds)} random exits, seconds: median "
        f"{statistics.median(seconds):.2f}, p95 {p95:.2f}, max {longest:.2f} (exit {row})"
    )


def prepare(kernel: Path, folder: Path) -> Path:
    """The initramfs; says why nothing is measured when something is missing."""
    if not kernel.is_file():
        skip(f"no kernel {kernel}: tools/fetch_kernels cloud")
    if shutil.which(QEMU) is None:
        skip(f"no {QEMU}: install the Debian package qemu-system-x86")
    busybox = find_busybox()
    if busybox is None:
        skip("no busybox: tools/fetch_kernels busybox")
    initrd = folder / "initrd"
    assert busybox is not None
    initrd.write_bytes(busybox_initramfs(busybox.read_bytes()))
    return initrd


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kernel", type=Path, default=CACHE / "cloud" / "vmlinuz")
    parser.add_argument("--append", default=APPEND)
    parser.add_argument("--memory", type=int, default=512, help="MiB")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--positions", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1, help="of the positions")
    args = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        job = Job(args.kernel, prepare(args.kernel, folder), args.append, args.memory)
        if args.repetitions:
            report(compare(job, folder, args.repetitions), args.kernel)
        if args.positions:
            report_back(go_back(job, args.positions, args.seed))


if __name__ == "__main__":
    main()
