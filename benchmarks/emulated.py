"""The emulated vCPU: TD exits a second beside a bare Unicorn loop, instructions, checkpoints.

Run it with: python benchmarks/emulated.py [--exits N]

The bare loop executes the same TDCALL on plain Unicorn and skips it in the
cheapest hook there is, in the same run; the ratio is what counts on a noisy
machine. Times are CPU times of this process.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any, Final

from tdxdbg.abi.regs import LINUX_EXPOSE_MASK, NO_REGS
from tdxdbg.backends.emulated.machine import Machine
from tdxdbg.backends.emulated.memory import PAGE, Slot
from tdxdbg.backends.emulated.td import Image, TdConfig, open_machine
from tdxdbg.backends.emulated.vmcb import StartState
from tdxdbg.engine import GENERATIONS, Engine, Outcome, Reentry, Td, TdExit
from tdxdbg.module import TdParams
from tdxdbg.session.recorder import Recorder
from tdxdbg.session.run import Run
from tdxdbg.session.worker import settle
from tdxdbg.traces.meta import TraceMeta
from tdxdbg.vmm import Vmm

CODE: Final = 0x100000
TABLES: Final = 0x10000
TDCALL: Final = bytes.fromhex("660f01cc")

#: mov $1,%r12d; mov $1,%r13d; mov $0x3f8,%r14d; mov $0x41,%r15d; mov $30,%r11d;
#: xor %r10d,%r10d; mov $mask,%ecx; xor %eax,%eax; tdcall; jmp back
SERIAL: Final = bytes.fromhex(
    "41bc01000000 41bd01000000 41bef8030000 41bf41000000 41bb1e000000 4531d2"
) + (b"\xb9" + LINUX_EXPOSE_MASK.to_bytes(4, "little") + b"\x31\xc0" + TDCALL + b"\xeb\xd2")
#: inc %rax; add %rax,%rbx; xor %rbx,%rcx; jmp back
ARITHMETIC: Final = bytes.fromhex("48ffc0 4801c3 4831d9 ebf5")
#: mov (%rsi),%rax; add %rcx,%rax; mov %rax,8(%rsi); jmp back
MEMORY: Final = bytes.fromhex("488b06 4801c8 48894608 ebf4")


def machine(code: bytes, megabytes: int = 16) -> Machine:
    """One vCPU in 64-bit mode, all RAM accepted."""
    ram = megabytes << 20
    tables = bytearray(0x3000)
    tables[0:8] = (TABLES + 0x1000 | 7).to_bytes(8, "little")
    tables[0x1000:0x1008] = (TABLES + 0x2000 | 7).to_bytes(8, "little")
    for page in range(512):
        at = 0x2000 + 8 * page
        tables[at : at + 8] = (page << 21 | 0x87).to_bytes(8, "little")
    start = StartState(CODE, NO_REGS._replace(rsp=0x80000, rsi=0x200000), cr3=TABLES)
    images = (Image(TABLES, bytes(tables)), Image(CODE, code))
    return open_machine(TdConfig(TdParams(), (Slot(0, ram),), (start,), images, ((0, ram),)))


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one run."""
    start = time.process_time()
    work()
    return time.process_time() - start


def bare(exits: int) -> None:
    """TDCALL on plain Unicorn: skipped in a hook, nothing else."""
    unicorn: Any = import_module("unicorn")
    uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
    uc.mem_map(0x1000, PAGE)
    uc.mem_write(0x1000, TDCALL + b"\xeb\xfa")
    left = exits

    def skip(_uc: object, _data: object) -> bool:
        nonlocal left
        left -= 1
        uc.reg_write(unicorn.x86_const.UC_X86_REG_RIP, 0x1004)
        if not left:
            uc.emu_stop()
        return True

    uc.hook_add(unicorn.UC_HOOK_INSN_INVALID, skip)
    uc.emu_start(0x1000, 0)


def vcpu_and_module(exits: int) -> None:
    """Each exit is answered at once with what it had."""
    subject = machine(SERIAL)
    exit_ = subject.vp_enter(0, NO_REGS)
    for _ in range(exits):
        assert isinstance(exit_, TdExit)
        exit_ = subject.vp_enter(0, NO_REGS)


class NoEvents:
    """A board whose devices raise no interrupts here."""

    def raise_vector(self, vcpu: int, vector: int) -> None:
        raise AssertionError(vector)


def with_kvm(exits: int, path: str = "") -> None:
    """Each exit through the engine of the newest generation and the VMM's serial port."""
    subject = machine(SERIAL)
    engine = Engine(Td(), GENERATIONS[-1])
    vmm, events = Vmm(), NoEvents()
    recorder = Recorder(path, META, engine) if path else None
    clock = subject.platform.clock
    step = engine.feed(Reentry(0))
    for row in range(exits):
        exit_ = subject.vp_enter(0, step.regs)
        assert isinstance(exit_, TdExit)
        if recorder is not None:
            recorder.td_exit(row, exit_, clock.tsc)
        step = engine.feed(exit_)
        if recorder is not None:
            recorder.step(row, 0, step, clock.tsc)
        while step.outcome is Outcome.EXIT_TO_USERSPACE:
            reentry = Reentry(0, vmm.reply(0, step, subject, events).answer)
            step = engine.feed(reentry)
            if recorder is not None:
                recorder.answer(row, reentry, clock.tsc)
                recorder.step(row, 0, step, clock.tsc)
        if recorder is not None and not row % SLICE:
            recorder.tick(time.monotonic())
    if recorder is not None:
        recorder.close()
        assert not recorder.failure


META: Final = TraceMeta(generation=GENERATIONS[-1].name, origin="emulated")
#: Exits between two looks up, as in a session.
SLICE: Final = 64


def recorded(exits: int) -> None:
    """The same, recorded to a file: four records an exit."""
    with TemporaryDirectory() as folder:
        with_kvm(exits, f"{folder}/trace.tdxt")


def session(exits: int) -> None:
    """The same, as a live session does it."""
    with TemporaryDirectory() as folder:
        run = Run(machine(SERIAL), Td(), GENERATIONS[-1], Vmm())
        recorder = run.sink = Recorder(f"{folder}/trace.tdxt", META, run.engine)
        while run.rows < exits:
            for _ in range(2 * SLICE):
                run.step()
            recorder.tick(time.monotonic())
        recorder.close()
        assert not recorder.failure


def instructions(code: bytes, count: int) -> Callable[[], object]:
    """A run of `count` instructions without an exit."""
    subject = machine(code)
    subject.instruction_limit = count
    return lambda: subject.vp_enter(0, NO_REGS)


def checkpoints(megabytes: int, dirty: int) -> tuple[float, float]:
    """Seconds of a checkpoint and of going back to it, with `dirty` pages in between."""
    subject = machine(ARITHMETIC, megabytes)
    for page in range(dirty):
        subject.write_gpa(0x200000 + page * PAGE, b"\1" * 64)
    first = seconds(subject.checkpoint)
    for page in range(dirty):
        subject.write_gpa(0x200000 + page * PAGE, b"\2" * 64)
    checkpoint = subject.checkpoint()
    for page in range(dirty):
        subject.write_gpa(0x200000 + page * PAGE, b"\3" * 64)
    return first, seconds(lambda: subject.restore(checkpoint))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--exits", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    exits = options.exits
    # As in the process of a live run.
    settle()
    print(f"{exits} exits a run, {options.runs} runs in turn, medians")
    works = {
        "bare loop": bare,
        "vCPU and module": vcpu_and_module,
        "and engine, VMM": with_kvm,
        "and recording": recorded,
        "a session": session,
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(options.runs):
        for name, work in works.items():
            times[name].append(seconds(partial(work, exits)))
    base = statistics.median(times["bare loop"])
    for name, measured in times.items():
        middle = statistics.median(measured)
        print(f"{name:<18}{exits / middle:>12,.0f}/s   1/{middle / base:.1f} of the bare loop")
    for name, code in {"arithmetic": ARITHMETIC, "memory": MEMORY}.items():
        count = 20_000_000
        print(f"{name:<18}{count / seconds(instructions(code, count)) / 1e6:>12,.0f} MIPS")
    print(f"{'RAM':>8}{'dirty pages':>13}{'checkpoint':>13}{'restore':>10}")
    for megabytes in (16, 256, 1024):
        for dirty in (64, 2048):
            made, restored = checkpoints(megabytes, dirty)
            print(f"{megabytes:>4} MiB{dirty:>13}{made * 1e3:>10.1f} ms{restored * 1e3:>7.1f} ms")


if __name__ == "__main__":
    main()
