"""Breakpoints and watchpoints: exact places, and runs that are what they were without them."""

from __future__ import annotations

import ctypes
import random
from functools import lru_cache
from typing import Final

import pytest

from tdxdbg.abi.regs import NO_REGS
from tdxdbg.backends import Pause, Why
from tdxdbg.backends.emulated.machine import Machine
from tdxdbg.backends.emulated.vcpu import Where
from tdxdbg.engine.state import TdExit
from tests.backends.emulated.harness import CODE, RAM, TABLES, answer, is_pending, machine
from tests.backends.emulated.test_machine import GUESTS, LONG, registers

#: Where the CPU itself writes accessed and dirty bits.
TABLES_END: Final = TABLES + 0x5000
LIMIT: Final = 300_000


class Driver:
    """Answers exits as harness.run does, and comes back at each Pause."""

    def __init__(self, name: str) -> None:
        vcpus = 2 if name == "two" else 1
        self.machine = machine(name, GUESTS.get(name, ()), vcpus=vcpus)
        self.machine.instruction_limit = LIMIT
        if name == "shared":
            self.machine.set_memory_attributes(0x300000, 0x3000, private=False)
        for vcpu in self.machine.vcpus[:-1]:
            vcpu.where = Where.TD
        self.exits: list[TdExit] = []
        assert self.machine.enter(vcpus - 1, NO_REGS) is None

    def next(self) -> Pause | None:
        """None: the guest is done."""
        while True:
            last = self.machine.resume()
            if isinstance(last, Pause):
                return last
            self.exits.append(last)
            if last.vp_enter_ret >> 62 or is_pending(last) or last.regs.r11 == 0x10003:
                return None
            halted = last.vp_enter_ret == 77 and last.regs.r11 == 12
            entered = self.machine.enter(last.vcpu, answer(last), halted=halted)
            assert entered is None

    def to(self, instructions: int) -> None:
        """Stand between two instructions."""
        self.machine.instruction_limit = instructions
        pause = self.next()
        assert pause is not None
        assert pause.why is Why.INSTRUCTIONS
        self.machine.instruction_limit = LIMIT

    def end(self) -> tuple[object, ...]:
        """Everything that two runs have in common, after the last stop."""
        subject = self.machine
        digest = subject.platform.memory.digest()
        return self.exits, registers(subject), digest, subject.instructions, subject.tsc


@lru_cache
def plain(name: str) -> tuple[object, ...]:
    driver = Driver(name)
    pause = driver.next()
    assert pause is None or pause.why not in (Why.BREAKPOINT, Why.WATCHPOINT)
    return driver.end()


def same_memory(one: Machine, other: Machine) -> bool:
    """All RAM but the page tables."""
    a, b = one.platform.memory.address, other.platform.memory.address
    compare = ctypes.CDLL(None).memcmp
    compare.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    return not (compare(a, b, TABLES) or compare(a + TABLES_END, b + TABLES_END, RAM - TABLES_END))


def rips_of(name: str, most: int = 3000) -> list[int]:
    """The RIP of each instruction, by single steps."""
    driver = Driver(name)
    rips = []
    for number in range(most):
        driver.machine.instruction_limit = number
        if driver.next() is None:
            break
        if driver.machine.where(0) is Where.TD:
            rips.append(driver.machine.registers(0).rip)
    return rips


def check_place(driver: Driver, reference: Driver, vcpu: int) -> None:
    """The guest of a stop is what one without stops has at this instruction."""
    subject, other = driver.machine, reference.machine
    here = subject.registers(vcpu)
    reference.to(subject.instructions)
    if other.registers(vcpu).rip != here.rip:
        # An exception came between; its handler's first instruction has the same number.
        other.set_breakpoints({here.rip})
        pause = reference.next()
        assert pause is not None
        assert pause.why is Why.BREAKPOINT
        other.set_breakpoints(())
        assert other.instructions == subject.instructions
    assert other.registers(vcpu) == here
    assert same_memory(subject, other)


ALL: Final = sorted(GUESTS.keys() - LONG)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("part", [1.0, 0.2])
def test_breakpoints_stop_everywhere_and_change_nothing(name: str, part: float) -> None:
    chance = random.Random(3)
    wanted = {rip for rip in rips_of(name) if chance.random() < part}
    driver, reference = Driver(name), Driver(name)
    driver.machine.set_breakpoints(wanted)
    seen = set()
    while (pause := driver.next()) is not None and pause.why is Why.BREAKPOINT:
        seen.add(pause.address)
        assert pause.address == driver.machine.registers(pause.vcpu).rip
        if len(seen) < 40:
            check_place(driver, reference, pause.vcpu)
    assert seen == wanted
    assert driver.end() == plain(name)


@pytest.mark.parametrize("name", [*ALL, "two", "shared"])
@pytest.mark.parametrize("seed", [0, 1])
def test_watchpoints_stop_before_each_write_and_change_nothing(name: str, seed: int) -> None:
    """All of the RAM, or some words of it."""
    chance = random.Random(seed)
    driver, reference = Driver(name), Driver(name)
    before = driver.machine.platform.memory.buffer[:]
    ranges = [(0, RAM)]
    if seed:
        plain_driver = Driver(name)
        plain_driver.next()
        after = plain_driver.machine.platform.memory.buffer[:]
        written = [at for at in range(0, RAM, 8) if before[at : at + 8] != after[at : at + 8]]
        ranges = [(at + chance.randrange(8), 1) for at in written if chance.random() < 0.4]
    driver.machine.set_watchpoints(ranges)
    count = 0
    while (pause := driver.next()) is not None and pause.why is Why.WATCHPOINT:
        count += 1
        assert pause.size > 0
        low, high = pause.address, pause.address + pause.size
        assert any(low < at + size and at < high for at, size in ranges)
        if pause.linear >= 0:
            assert driver.machine.translate(pause.vcpu, pause.linear, 1) == [(pause.address, 1)]
        if count < 60 and not pause.detail:
            check_place(driver, reference, pause.vcpu)
    assert driver.end() == plain(name)


def writes_to(name: str, gpa: int, size: int) -> list[tuple[int, int, int, str]]:
    """RIP in the code, GPA, size and author of each announced write to a range."""
    driver = Driver(name)
    driver.machine.set_watchpoints([(gpa, size)])
    found = []
    while (pause := driver.next()) is not None and pause.why is Why.WATCHPOINT:
        rip = driver.machine.registers(pause.vcpu).rip
        found.append((rip - CODE, pause.address, pause.size, pause.detail))
    assert driver.end() == plain(name)
    return found


@pytest.mark.parametrize(
    ("gpa", "size", "expected"),
    [
        pytest.param(0x200000, 1, [(0xF, 0x200000, 1)], id="a byte"),
        pytest.param(0x200008, 1, [(0x11, 0x200001, 8)], id="the last byte of a write"),
        pytest.param(0x20000B, 1, [], id="next to a write"),
        pytest.param(
            0x200008, 2, [(0x11, 0x200001, 8), (0x15, 0x200009, 2)], id="two that overlap"
        ),
        pytest.param(0x200024, 4, [(0x22, 0x200024, 4)], id="one round of REP STOS"),
        pytest.param(
            0x200024,
            10,
            [(0x22, 0x200024, 4), (0x22, 0x200028, 4), (0x2D, 0x20002C, 1), (0x2D, 0x20002D, 1)],
            id="rounds of REP",
        ),
        pytest.param(
            0x2000F8,
            8,
            [(0x39, 0x2000F8, 8)],
            id="a push",
        ),
        pytest.param(
            0x2000F0, 8, [(0x3A, 0x2000F0, 8), (0x40, 0x2000F0, 8)], id="a call, and enter"
        ),
        pytest.param(0x20020F, 1, [(0x45, 0x200208, 8)], id="the second half of 16 bytes"),
        pytest.param(0x200218, 1, [(0x61, 0x200218, 8), (0x66, 0x200218, 8)], id="lock cmpxchg16b"),
        pytest.param(0x200220, 8, [(0x6B, 0x200220, 8), (0x83, 0x200220, 1)], id="xchg, shl"),
        pytest.param(0x200230, 1, [(0x7B, 0x20022F, 2)], id="locked, in two words"),
        pytest.param(0x200500, 1, [(0x89, 0x200500, 8)], id="fxsave"),
        pytest.param(0x20060C, 1, [(0x90, 0x20060C, 4)], id="fnstenv"),
        pytest.param(0x200624, 1, [(0x96, 0x200622, 8)], id="sgdt"),
        pytest.param(0x201000, 1, [(0x9D, 0x201000, 2)], id="across two pages, the second"),
        pytest.param(0x200FFF, 1, [(0x9D, 0x200FFE, 2)], id="across two pages, the first"),
        pytest.param(0x200FFF, 2, [(0x9D, 0x200FFE, 2)], id="across two pages, once"),
        pytest.param(
            0x3FFFFF, 1, [(0xAE, 0x3FFFFE, 2), (0xB8, 0x3FFFFC, 4)], id="across large pages"
        ),
    ],
)
def test_only_what_touches_the_range_stops(
    gpa: int, size: int, expected: list[tuple[int, int, int]]
) -> None:
    assert [each[:3] for each in writes_to("stores", gpa, size)] == expected


def test_frames_stop_before_anything_of_them_is_written() -> None:
    driver = Driver("exceptions")
    driver.machine.set_watchpoints([(0x80000 - 8, 8)])
    pauses = []
    while (pause := driver.next()) is not None and pause.why is Why.WATCHPOINT:
        frame = driver.machine.read_gpa(pause.address, pause.size)
        pauses.append((pause.detail, pause.size, frame, driver.machine.registers(0).regs.rsp))
        assert pause.linear == pause.address
    whos = [who for who, _, _, _ in pauses if who]
    assert whos[:4] == [f"the frame of vector {vector}" for vector in (0, 6, 3, 48)]
    assert pauses[0][1:] == (40, bytes(40), 0x80000)
    assert driver.end() == plain("exceptions")


def test_an_interrupt_that_was_announced_comes_all_the_same() -> None:
    """One from the timer, between two instructions."""
    driver = Driver("halt")
    driver.machine.set_watchpoints([(0x80000 - 40, 40)])
    pause = driver.next()
    assert pause == Pause(
        Why.WATCHPOINT, 0, "the frame of vector 97", 0x80000 - 40, 40, 0x80000 - 40
    )
    assert driver.machine.vcpus[0].event is not None
    assert driver.next() is None
    assert driver.end() == plain("halt")


@pytest.mark.parametrize("gpaw", [48, 52])
def test_the_shared_bit_does_not_matter(gpaw: int) -> None:
    """Stores through a shared mapping hit, whatever bit the watchpoint was given with."""
    found = []
    for bit in (0, 1 << gpaw - 1):
        subject = machine("shared", gpaw=gpaw)
        subject.set_memory_attributes(0x300000, 0x3000, private=False)
        subject.set_watchpoints([(0x300FFF | bit, 1)])
        pauses = []
        last = subject.vp_enter(0, NO_REGS)
        while not isinstance(last, TdExit) or last.regs.r11 != 0x10003:
            if isinstance(last, Pause):
                pauses.append((last.address, last.size, last.linear))
                last = subject.resume()
            else:
                last = subject.vp_enter(0, answer(last))
        found.append(pauses)
    assert found == [[(0x300FFC, 4, 0x40300FFC)]] * 2


def tdcall_guest(code: str) -> Machine:
    """Instructions, then a TDCALL, then HLT with interrupts off."""
    subject = machine("spin")
    subject.write_gpa(CODE, bytes.fromhex(code + "660f01cc" + "f4"))
    subject.instruction_limit = 100
    return subject


def test_what_the_module_writes_stops_before_the_tdcall() -> None:
    """TDG.MR.REPORT to 0x300000 over 0x300400."""
    subject = tdcall_guest("b804000000" + "b900003000" + "ba00043000" + "4531c0")
    subject.set_watchpoints([(0x3003FF, 1)])
    assert subject.vp_enter(0, NO_REGS) == Pause(
        Why.WATCHPOINT, 0, "the TDX module", 0x300000, 1024
    )
    assert subject.registers(0).rip == CODE + 18
    assert subject.read_gpa(0x300000, 1024) == bytes(1024)
    assert subject.step() == Pause(Why.INSTRUCTIONS, 0)
    assert (subject.registers(0).regs.rax, subject.registers(0).rip) == (0, CODE + 22)
    assert subject.read_gpa(0x300000, 1) == b"\x81"


def test_a_page_that_is_accepted_is_cleared() -> None:
    subject = tdcall_guest("b806000000" + "b900009000")
    subject.set_watchpoints([(0x900800, 1)])
    exit_ = subject.vp_enter(0, NO_REGS)
    assert isinstance(exit_, TdExit)
    assert subject.vp_enter(0, exit_.regs) == Pause(
        Why.WATCHPOINT, 0, "the TDX module", 0x900000, 4096
    )
    subject.step()
    assert (subject.registers(0).regs.rax, subject.registers(0).rip) == (0, CODE + 14)


def test_what_the_host_writes_is_noted_after_it() -> None:
    subject = machine("spin")
    subject.instruction_limit = 10
    subject.set_watchpoints([(0x300000, 8)])
    subject.write_gpa(0x300008, b"near")
    subject.write_gpa(0x300004, b"x")
    assert subject.vp_enter(0, NO_REGS) == Pause(Why.WATCHPOINT, 0, "the host", 0x300004, 1)
    assert subject.resume() == Pause(Why.INSTRUCTIONS, 0)
    subject.set_memory_attributes(0x300000, 0x1000, private=False)
    assert subject.resume() == Pause(Why.WATCHPOINT, 0, "the host", 0x300000, 0x1000)


def test_a_breakpoint_is_one_stop_for_a_repeated_instruction() -> None:
    """And one for each round of a loop."""
    driver = Driver("stores")
    driver.machine.set_breakpoints({CODE + 0x22, CODE + 0x24, CODE + 0x2D, CODE + 0x2F})
    seen = []
    while (pause := driver.next()) is not None and pause.why is Why.BREAKPOINT:
        seen.append(pause.address - CODE)
    assert seen == [0x22, 0x24, 0x2D, 0x2F]
    driver = Driver("stores")
    driver.machine.set_breakpoints({CODE + 0x22})
    driver.to(7)
    assert driver.machine.registers(0).regs.rcx == 3
    driver.machine.pass_breakpoint(0)
    for number in (8, 9, 10, 11):
        driver.to(number)
    assert driver.machine.registers(0).rip == CODE + 0x24
    driver = Driver("serial")
    driver.machine.set_breakpoints({CODE + 5})
    count = 0
    while (pause := driver.next()) is not None:
        count += 1
    assert count == 3


def test_breakpoints_in_code_that_runs_already() -> None:
    """Set, removed and set elsewhere in a loop that is translated."""
    subject = machine("spin")
    subject.instruction_limit = 50_000
    subject.vp_enter(0, NO_REGS)
    subject.instruction_limit = 100_000_000
    for offset in (3, 6, 0):
        subject.set_breakpoints({CODE + offset})
        for _ in range(3):
            before = subject.instructions
            assert subject.resume() == Pause(Why.BREAKPOINT, 0, address=CODE + offset)
            assert subject.instructions - before <= 8
    subject.set_breakpoints(())
    assert subject.run_to(5_000_000) == Pause(Why.INSTRUCTIONS, 0)
    assert not subject._stops._code_hooks


def test_a_breakpoint_in_patched_code_and_on_a_page_that_is_not_there_yet() -> None:
    driver = Driver("selfmod")
    at = CODE + 14  # the instruction that is patched
    driver.machine.set_breakpoints({at})
    values = []
    while (pause := driver.next()) is not None and pause.why is Why.BREAKPOINT:
        values.append(driver.machine.read_gpa(at, 3))
    assert [value[-1] for value in values if value] == list(range(0x41, 0x4B))
    assert driver.end() == plain("selfmod")
    # jmp to 0x900000, which has to be accepted first
    code = "b806000000b900009000660f01cc" + "b800009000ffe0"
    subject = tdcall_guest(code)
    subject.set_breakpoints({0x900000, 0x900003})
    exit_ = subject.vp_enter(0, NO_REGS)
    assert isinstance(exit_, TdExit)
    last = subject.vp_enter(0, exit_.regs)
    assert last == Pause(Why.BREAKPOINT, 0, address=0x900000)
    subject.write_gpa(0x900000, bytes.fromhex("48ffc0") + b"\xf4")
    assert subject.resume() == Pause(Why.BREAKPOINT, 0, address=0x900003)
    assert subject.registers(0).regs.rax == 0x900001


def test_a_breakpoint_stops_each_vcpu() -> None:
    driver = Driver("two")
    driver.machine.set_breakpoints({CODE + 21})
    found: dict[int, int] = {0: 0, 1: 0}
    while (pause := driver.next()) is not None and pause.why is Why.BREAKPOINT:
        found[pause.vcpu] += 1
    assert min(found.values()) > 1
    assert driver.end() == plain("two")


def why(last: TdExit | Pause) -> Why:
    assert isinstance(last, Pause)
    return last.why


def test_what_was_announced_is_passed_by_after_a_restore() -> None:
    driver = Driver("stores")
    subject = driver.machine
    subject.set_breakpoints({CODE + 0x11})
    subject.set_watchpoints([(0x200004, 1)])
    pause = driver.next()
    assert pause is not None
    assert pause.why is Why.BREAKPOINT
    checkpoint = subject.checkpoint()
    pauses = []
    for _ in range(2):
        last = driver.next()
        assert last is not None
        pauses.append(last.why)
        subject.restore(checkpoint)
    assert pauses == [Why.WATCHPOINT, Why.BREAKPOINT]
    subject.pass_breakpoint(0)
    assert why(subject.step()) is Why.WATCHPOINT
    subject.restore(checkpoint)
    subject.pass_breakpoint(0)
    subject.pass_watchpoint(0)
    assert why(subject.step()) is Why.INSTRUCTIONS
    assert driver.next() is None


def test_a_linear_range_becomes_one_of_gpas() -> None:
    subject = machine("spin")
    assert subject.translate(0, 0x40300FFE, 4) == [(0x300FFE, 2), (0x301000, 2)]
    assert subject.translate(0, 1 << 46, 1) is None
    assert subject.write_linear(0, 0x300FFE, b"abcd")
    assert subject.read_gpa(0x301000, 2) == b"cd"
    assert not subject.write_linear(0, 0x1FFFFFE, b"abcd")
    assert not subject.write_linear(0, 0x8000_0000, b"x")
