"""Inputs per second through Engine.feed, beside a loop that only builds the same inputs.

Run it with: python benchmarks/engine.py [--inputs N]

`through feed` is the time of feed itself: the loop that builds and feeds, less
the loop that only builds.

The journal is mixed: serial port output, MMIO reads and writes, MapGPA in
chunks, HLT, CPUID, WRMSR, KVM hypercalls, an unknown sub-function. The ratio
is what counts on a noisy machine: how many times as long as building the
inputs it takes to build them and feed them.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Iterator

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.regs import LINUX_EXPOSE_MASK, Regs
from tdxdbg.engine import (
    GENERATIONS,
    Engine,
    Generation,
    HypercallAnswer,
    Input,
    IoAnswer,
    MmioAnswer,
    Reentry,
    Td,
    TdExit,
)

SHARED = 1 << 47


def call(r10: int, r11: int, *operands: int) -> Regs:
    """The registers of a Linux guest's TDVMCALL."""
    r12, r13, r14, r15 = (*operands, 0, 0, 0, 0)[:4]
    return Regs(rcx=LINUX_EXPOSE_MASK, r10=r10, r11=r11, r12=r12, r13=r13, r14=r14, r15=r15)


def journal(rounds: int) -> Iterator[Input]:
    """`rounds` times the same mixed exits of two vCPUs; newly built objects each time."""
    done = HypercallAnswer(0)
    for turn in range(rounds):
        vcpu = turn & 1
        gpa = turn % 4096 << 21
        for letter in b"TD says":
            yield TdExit(vcpu, 77, call(0, SubFunction.IO, 1, 1, 0x3F8, letter))
            yield Reentry(vcpu)
        yield TdExit(vcpu, 77, call(0, SubFunction.IO, 1, 0, 0x3FD))
        yield Reentry(vcpu, IoAnswer(b"\x60"))
        yield TdExit(vcpu, 77, call(0, SubFunction.MMIO, 4, 0, SHARED | 0xFEC00000))
        yield Reentry(vcpu, MmioAnswer(b"\x20\0\0\0"))
        yield TdExit(vcpu, 77, call(0, SubFunction.MMIO, 4, 1, SHARED | 0xFEC00010, turn))
        yield Reentry(vcpu)
        yield TdExit(vcpu, 77, call(0, SubFunction.MAP_GPA, SHARED | gpa, 5 << 20))
        yield Reentry(vcpu, done)
        yield Reentry(vcpu, done)
        yield Reentry(vcpu, done)
        yield TdExit(vcpu, 77, call(0, SubFunction.MAP_GPA, gpa, 5 << 20))
        yield Reentry(vcpu, done)
        yield Reentry(vcpu, done, has_events=True)
        yield TdExit(vcpu, 77, call(0, SubFunction.HLT))
        yield TdExit(vcpu, 77, call(0, SubFunction.CPUID, 0x40000000))
        yield TdExit(vcpu, 77, call(0, SubFunction.WRMSR, 0x830, turn))
        yield TdExit(vcpu, 77, call(1, 0))
        yield TdExit(vcpu, 77, call(0, 0x20000))
        yield TdExit(vcpu, 1, Regs())


INPUTS_PER_ROUND = sum(1 for _ in journal(1))


def build(rounds: int, _: Generation) -> None:
    """The baseline: the inputs alone."""
    for _input in journal(rounds):
        pass


def feed(rounds: int, generation: Generation) -> None:
    """The same, fed to an engine."""
    engine = Engine(Td(), generation)
    feed_one = engine.feed
    for vcpu in (0, 1):
        feed_one(Reentry(vcpu))
    for event in journal(rounds):
        feed_one(event)


def seconds(work: Callable[[int, Generation], None], rounds: int, generation: Generation) -> float:
    """How long one run takes, with the garbage collector as the program leaves it."""
    gc.collect()
    start = time.perf_counter()
    work(rounds, generation)
    return time.perf_counter() - start


def main() -> None:
    """Print one line a generation: inputs per second and the ratio to the baseline."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    rounds = max(1, options.inputs // INPUTS_PER_ROUND)
    count = rounds * INPUTS_PER_ROUND
    print(f"{count} inputs a run, {options.runs} runs in pairs, medians")
    print(
        f"{'generation':<12}{'through feed/s':>15}{'build and feed/s':>18}"
        f"{'build only/s':>14}{'ratio':>8}"
    )
    for generation in GENERATIONS[2:]:  # the older two end some of these exits otherwise
        pairs = [
            (seconds(build, rounds, generation), seconds(feed, rounds, generation))
            for _ in range(options.runs)
        ]
        built = statistics.median(first for first, _ in pairs)
        fed = statistics.median(second for _, second in pairs)
        ratio = statistics.median(second / first for first, second in pairs)
        alone = statistics.median(second - first for first, second in pairs)
        print(
            f"{generation.name:<12}{count / alone:>15,.0f}{count / fed:>18,.0f}"
            f"{count / built:>14,.0f}{ratio:>8.2f}"
        )


if __name__ == "__main__":
    main()
