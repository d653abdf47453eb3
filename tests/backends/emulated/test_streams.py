"""Random instruction streams as guests: the machine always comes back, and twice the same."""

from __future__ import annotations

import os
import random
from typing import Final

import pytest

from tdxdbg.abi.regs import NO_REGS
from tdxdbg.backends import Pause, Why
from tdxdbg.backends.emulated.machine import Machine
from tdxdbg.backends.emulated.memory import Slot
from tdxdbg.backends.emulated.td import Image, TdConfig, open_machine
from tdxdbg.backends.emulated.vcpu import Where
from tdxdbg.backends.emulated.vmcb import StartState
from tdxdbg.engine.state import TdExit
from tdxdbg.module import TdParams
from tests.backends.emulated.harness import (
    ADDED,
    CODE,
    GDT,
    IDT,
    RAM,
    TABLES,
    TSS,
    descriptors,
    gates,
    page_tables,
    task_state,
)
from tests.backends.emulated.streams import handlers, stream, talk
from tests.backends.emulated.test_machine import registers

pytestmark = pytest.mark.fuzz
COUNT: Final = int(os.environ.get("TDXDBG_FUZZ", "2000")) // 200
INSTRUCTIONS: Final = 2000
EXITS: Final = 50
#: Streams that once were another run with stops.
KNOWN: Final = (129, 277, 315, 736, 3030, 4453)


def build(seed: int) -> tuple[Machine, TdParams]:
    """A TD whose code is a random stream; every other one talks to the host and the module."""
    chance = random.Random(seed)
    gpaw, vcpus = chance.choice((48, 52)), chance.choice((1, 1, 2))
    params = TdParams(
        gpaw=gpaw, attributes=chance.choice((0, 1 << 28)), num_vcpus=vcpus, max_vcpus=vcpus
    )
    start = StartState(
        CODE, NO_REGS._replace(rsp=0x80000), cr3=TABLES, gdt=(GDT, 0x67), idt=(IDT, 0xFFF)
    )
    images = (
        Image(TABLES, page_tables(params.shared_mask)),
        Image(GDT, descriptors()),
        Image(TSS, task_state()),
        Image(IDT, gates(range(32))),
        Image(CODE, talk(chance) if seed % 2 else stream(chance)),
        Image(CODE + 0x1000, handlers(chance) if seed % 2 else chance.randbytes(0x1000)),
    )
    ram = (Slot(0, RAM),)
    config = TdConfig(params, ram, (start,) * vcpus, images, ((0, ADDED),), seed)
    return open_machine(config), params


class Undisturbed:
    """Runs on, as far as the budgets go."""

    def go(self, subject: Machine) -> TdExit | Pause:
        return subject.run_to(INSTRUCTIONS)


class Disturbed(Undisturbed):
    """Stops at chance places: breakpoints, watched bytes, instruction counts."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def go(self, subject: Machine) -> TdExit | Pause:
        chance = self.chance
        while True:
            if chance.random() < 0.1:
                subject.set_breakpoints({CODE + chance.randrange(600) for _ in range(20)})
            if chance.random() < 0.1:
                places = (CODE, 0x80000 - 0x100, TABLES, GDT, 0)
                subject.set_watchpoints(
                    [(chance.choice(places) + chance.randrange(512), 40) for _ in range(6)]
                )
            to = min(subject.instructions + chance.randrange(1, 200), INSTRUCTIONS)
            last = subject.run_to(to)
            if isinstance(last, Pause) and last.why in (Why.BREAKPOINT, Why.WATCHPOINT):
                continue
            done = subject.instructions >= INSTRUCTIONS
            if not isinstance(last, Pause) or last.why is not Why.INSTRUCTIONS or done:
                return last


def run(seed: int, how: Undisturbed) -> tuple[tuple[object, ...], bool]:
    """A run with small budgets; conversions as the guest wants them."""
    machine, params = build(seed)
    machine.exit_budget = EXITS
    for vcpu in machine.vcpus[:-1]:
        vcpu.where = Where.TD
    exits: list[TdExit] = []
    entered = machine.enter(len(machine.vcpus) - 1, NO_REGS)
    assert entered is None
    last = how.go(machine)
    while isinstance(last, TdExit) and not last.vp_enter_ret >> 62 and len(exits) < EXITS:
        exits.append(last)
        if last.vp_enter_ret == 0x30 and last.in_kernel is not None:
            private = not last.regs.r8 & params.shared_mask
            gpa = last.regs.r8 & ~params.shared_mask
            machine.set_memory_attributes(gpa, 4096, private=private)
        halted = last.vp_enter_ret == 77 and last.regs.r11 == 12
        last = machine.enter(last.vcpu, last.regs._replace(r10=0), halted=halted) or how.go(machine)
    digest = machine.platform.memory.digest()
    end = exits, last, digest, machine.instructions, machine.tsc, registers(machine)
    return end, tables_changed(machine, params)


def tables_changed(machine: Machine, params: TdParams) -> bool:
    """Whether the guest wrote to its page tables, accessed and dirty bits aside."""
    was = memoryview(page_tables(params.shared_mask)).cast("Q")
    first = TABLES >> 3
    now = machine.platform.memory.words[first : first + len(was)]
    return any((a ^ b) & ~0x60 for a, b in zip(was, now, strict=True))


@pytest.mark.parametrize("seed", sorted({*range(COUNT), *KNOWN}))
def test_a_stream_ends_and_is_repeatable(seed: int) -> None:
    """Also with stops on the way, and wherever it is interrupted.

    A guest that changes its page tables and goes on with the old translations
    sees it when code is translated anew.
    """
    end, changed = run(seed, Undisturbed())
    other = Undisturbed() if changed else Disturbed(seed)
    assert run(seed, other)[0] == end
