from __future__ import annotations

import os
import random
import resource
import struct
from itertools import pairwise
from typing import Final

import pytest

from tdxdbg.abi import vmx
from tdxdbg.abi.regs import NO_REGS
from tdxdbg.backends import Pause, Why
from tdxdbg.backends.emulated import apic
from tdxdbg.backends.emulated import context as ctx
from tdxdbg.backends.emulated.machine import QUIET_INSTRUCTIONS, Machine, MachineCheckpoint
from tdxdbg.backends.emulated.vcpu import Where
from tdxdbg.engine.state import TdExit
from tests.backends.emulated.harness import CODE, TABLES, Gate, answer, is_pending, machine, run

#: Every guest that stops by itself, and what it needs.
GUESTS: Final[dict[str, tuple[int | Gate, ...]]] = {
    "serial": (),
    "io": (20,),
    "flags": (20,),
    "instructions": (20,),
    "exceptions": (0, 1, Gate(3, 0xEE), 6, 8, 11, 12, 13, 14, Gate(48, 0xEE)),
    "double": (8,),
    "ring3": (6, 20),
    "syscall": (6,),
    "interrupts": (0x41, 0x50, 0x61),
    "timer": (0x61,),
    "halt": (0x61,),
    "mmio": (20,),
    "accept": (20,),
    "random": (),
    "registers": (13,),
    "selfmod": (),
    "stack_in_code": (20,),
    "stores": (),
    "triple": (),
}


def state(subject: Machine) -> tuple[object, ...]:
    """Everything that two machines in the same state have in common."""
    return (
        subject.platform.memory.digest(),
        subject.instructions,
        subject.tsc,
        subject.exits,
        registers(subject),
        [(item.where, item.apic.irr, item.apic.isr, item.msrs) for item in subject.vcpus],
    )


@pytest.mark.parametrize("name", GUESTS)
def test_two_runs_are_the_same_byte_for_byte(name: str) -> None:
    first, second = machine(name, GUESTS[name]), machine(name, GUESTS[name])
    assert run(first) == run(second)
    assert registers(first) == registers(second)
    assert first.platform.memory.digest() == second.platform.memory.digest()
    assert (first.instructions, first.tsc) == (second.instructions, second.tsc)


def registers(subject: Machine) -> list[tuple[object, ...]]:
    """What the guest has: general, control and segment registers, flags, debug registers."""
    return [
        (
            item.context.regs,
            item.context.rip,
            item.context.rflags,
            item.context.q[ctx.CR0 : ctx.CR4 + 1].tolist(),
            item.context.q[ctx.EFER],
            [item.context.segment(number) for number in range(10)],
            item.debug_registers,
        )
        for item in subject.vcpus
    ]


#: Too many steps; `test_pauses_anywhere` has them.
LONG: Final = {"timer", "interrupts"}


@pytest.mark.parametrize("name", sorted(GUESTS.keys() - LONG))
def test_a_run_in_single_steps_is_the_same_run(name: str) -> None:
    """Pauses leave no trace: not in the exits, the time, the RAM or the registers."""
    whole, stepped = machine(name, GUESTS[name]), machine(name, GUESTS[name])
    expected = run(whole)
    assert run_with_pauses(stepped, lambda: 1) == expected
    assert registers(stepped) == registers(whole)
    assert stepped.platform.memory.digest() == whole.platform.memory.digest()
    assert (stepped.instructions, stepped.tsc) == (whole.instructions, whole.tsc)


def run_with_pauses(subject: Machine, stride: object) -> tuple[list[TdExit], TdExit | Pause]:
    """As harness.run, with a Pause every `stride()` instructions."""
    assert callable(stride)
    subject.instruction_limit = stride()
    exits: list[TdExit] = []
    for vcpu in subject.vcpus[:-1]:
        vcpu.where = Where.TD
    last = subject.vp_enter(len(subject.vcpus) - 1, NO_REGS)
    while True:
        if isinstance(last, Pause):
            if last.why is not Why.INSTRUCTIONS:
                return exits, last
            subject.instruction_limit = subject.instructions + stride()
            last = subject.resume()
            continue
        if last.vp_enter_ret >> 62 or is_pending(last):
            return exits, last
        if last.vp_enter_ret == 77 and last.regs.r11 == 0x10003:
            return exits, last
        exits.append(last)
        halted = last.vp_enter_ret == 77 and last.regs.r11 == 12
        last = subject.vp_enter(last.vcpu, answer(last), halted=halted)


@pytest.mark.parametrize("name", ["timer", "interrupts", "io", "exceptions"])
def test_pauses_anywhere(name: str) -> None:
    chance = random.Random(7)
    whole, paused = machine(name, GUESTS[name]), machine(name, GUESTS[name])
    expected = run(whole)
    assert run_with_pauses(paused, lambda: chance.randrange(1, 3000)) == expected
    assert registers(paused) == registers(whole)
    assert paused.tsc == whole.tsc


@pytest.mark.parametrize("name", [*GUESTS, "two"])
def test_going_back_and_forward_gives_the_same_states(name: str) -> None:
    """Checkpoints between exits; from each of them the rest of the run is the same."""
    subject = machine(name, GUESTS.get(name, ()), vcpus=2 if name == "two" else 1)
    for vcpu in subject.vcpus[:-1]:
        vcpu.where = Where.TD
    points = []
    last = subject.vp_enter(len(subject.vcpus) - 1, NO_REGS)
    for _ in range(70):
        if isinstance(last, Pause) or last.vp_enter_ret >> 62 or last.regs.r11 == 0x10003:
            break
        points.append((subject.checkpoint(), last, state(subject)))
        last = forward(subject, last)
    end = (last, state(subject))
    for index in [0, len(points) - 1, len(points) // 2] if points else []:
        checkpoint, last, then = points[index]
        subject.restore(checkpoint)
        assert state(subject) == then
        for later in points[index + 1 :]:
            last = forward(subject, last)
            assert (last, state(subject)) == later[1:]
        assert (forward(subject, last), state(subject)) == end


def forward(subject: Machine, last: TdExit | Pause) -> TdExit | Pause:
    assert isinstance(last, TdExit)
    halted = last.vp_enter_ret == 77 and last.regs.r11 == 12
    return subject.vp_enter(last.vcpu, answer(last), halted=halted)


def test_a_checkpoint_in_the_middle_of_a_slice() -> None:
    subject = machine("two", vcpus=2)
    subject.vcpus[0].where = Where.TD
    subject.instruction_limit = 12_345
    subject.vp_enter(1, NO_REGS)
    checkpoint, then = subject.checkpoint(), state(subject)
    subject.instruction_limit = 500_000
    ends = []
    for _ in range(2):
        exits = []
        last = subject.resume()
        while isinstance(last, TdExit):
            exits.append(last)
            last = forward(subject, last)
        ends.append((exits, last, registers(subject), subject.platform.memory.digest()))
        subject.restore(checkpoint)
        assert state(subject) == then
    assert ends[0] == ends[1]


def test_two_vcpus_take_turns_and_share_memory() -> None:
    subject = machine("two", vcpus=2)
    exits, last = run(subject, 200, instructions=4_020_000)
    assert last == Pause(Why.INSTRUCTIONS, last.vcpu)
    counts = [item.regs.r12 for item in exits if item.regs.r11 == 0x200F]
    assert counts == list(range(1, 101))
    turns = [item.vcpu for item in exits]
    assert turns.count(0) == turns.count(1) == 51
    switches = sum(a != b for a, b in pairwise(turns))
    assert 10 < switches < 30


def test_the_host_may_hold_one_vcpu_while_the_other_runs() -> None:
    subject = machine("two", vcpus=2)
    subject.vcpus[0].where = Where.TD
    seen = []
    last = subject.vp_enter(1, NO_REGS)
    while isinstance(last, TdExit):
        seen.append(last.vcpu)
        last = subject.resume() if last.vcpu == 0 else forward(subject, last)
        if len(seen) == 20:
            break
    assert seen.count(0) == 1


def test_an_interrupt_wakes_the_other_vcpu() -> None:
    """ICR by TDVMCALL: KVM's APIC sends it when the host enters again."""
    subject = machine("two", [0x41], vcpus=2)
    sender, receiver = subject.vcpus
    receiver.where = Where.HALTED
    exit_ = subject.vp_enter(0, NO_REGS)
    assert isinstance(exit_, TdExit)
    sender.call = sender.call._replace(msr=apic.ICR, value=1 << 32 | 0x41)
    subject.vp_enter(0, answer(exit_))
    assert receiver.apic.irr == 1 << 0x41


def test_budgets() -> None:
    subject = machine("storm")
    subject.exit_budget = 3
    last = subject.vp_enter(0, NO_REGS)
    count = 0
    while isinstance(last, TdExit):
        count += 1
        last = forward(subject, last)
    assert (count, last) == (3, Pause(Why.EXITS, 0))
    subject.exit_budget = 10
    subject.instruction_limit = subject.instructions
    assert subject.resume() == Pause(Why.INSTRUCTIONS, 0)


def test_an_instruction_limit_is_exact() -> None:
    subject = machine("spin")
    subject.instruction_limit = 1001
    assert subject.vp_enter(0, NO_REGS) == Pause(Why.INSTRUCTIONS, 0)
    assert (subject.instructions, subject.vcpus[0].context.regs.rax) == (1001, 251)
    assert subject.step() == Pause(Why.INSTRUCTIONS, 0)
    assert (subject.instructions, subject.vcpus[0].context.rip) == (1002, CODE + 6)
    assert subject.run_to(2000) == Pause(Why.INSTRUCTIONS, 0)
    assert subject.instruction_limit == 1001


#: xor %ecx, %ecx; add $-1, %ecx; mov $1 << 60, %rax; jmp *%rax
FAR_JUMP: Final = "31c9 83c1ff 48b80000000000000010 ffe0"


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 100])
def test_a_jump_out_of_the_address_space_is_done_wherever_one_stops(stride: int) -> None:
    """Nothing can be fetched there: #GP before an instruction that is not begun."""
    subject = jumper(FAR_JUMP)
    while subject.instructions < 6:
        end = min(subject.instructions + stride, 6)
        assert isinstance(subject.run_to(end), Pause)
        assert subject.instructions == end
    once = jumper(FAR_JUMP)
    once.run_to(6)
    assert state(subject) == state(once)
    error, rip, _, rflags = frame(subject)
    assert (error, rip) == (0, 1 << 60)
    assert rflags & 0x8D5 == 0x84  # SF, PF


@pytest.mark.parametrize(("code", "rip", "done"), [(FAR_JUMP, CODE, 4), ("90", 1 << 60, 0)])
def test_what_cannot_be_fetched_is_not_counted(code: str, rip: int, done: int) -> None:
    """However the vCPU came there: by a jump, or by a debugger."""
    subject = jumper(code, handled=False)
    subject.set_registers(0, subject.registers(0).regs, rip)
    assert isinstance(subject.resume(), TdExit)
    assert subject.instructions == done


def frame(subject: Machine) -> tuple[int, ...]:
    """What the #GP pushed: error code, RIP, CS, RFLAGS."""
    data = subject.read_gpa(subject.vcpus[0].context.regs.rsp, 32)
    assert data is not None
    return struct.unpack("<4Q", data)


def jumper(code: str, *, handled: bool = True) -> Machine:
    """In the TD before this code; a #GP handler that stays where it is, or a triple fault."""
    subject = machine("serial", (13,) if handled else ())
    subject.write_gpa(CODE, bytes.fromhex(code))
    subject.write_gpa(CODE + 0x1000 + 32 * 13, b"\xeb\xfe")
    subject.enter(0, NO_REGS)
    return subject


@pytest.mark.parametrize("code", ["0f23c0", "0f21c0", "0f22c0", "0fa2", "f4", "660f01cc"])
def test_code_that_runs_from_a_stale_translation_faults_where_it_exits(code: str) -> None:
    """Its page tables are gone by then, and those of the handler with them."""
    # movq $0, TABLES
    subject = jumper("48c70425" + TABLES.to_bytes(4, "little").hex() + "00000000" + code)
    last = subject.run_to(3)
    assert isinstance(last, TdExit)
    assert last.vp_enter_ret & 0xFFFF == vmx.TRIPLE_FAULT


def test_stops_in_long_blocks_do_not_fill_the_memory() -> None:
    """Each place where a run goes on is the begin of another block of translated code."""
    subject, once = jumper("90" * 3500), jumper("90" * 3500)
    before = resident()
    while subject.instructions < 3400:
        subject.step()
    assert resident() - before < 64 << 20
    once.run_to(3400)
    assert state(subject) == state(once)


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def test_a_run_can_be_interrupted_before_each_slice() -> None:
    subject = machine("spin")
    subject.interrupt()
    assert subject.vp_enter(0, NO_REGS) == Pause(Why.INTERRUPTED, 0)
    assert subject.instructions == 0


def test_nothing_runs_when_the_host_has_all_vcpus() -> None:
    assert machine("spin").resume() == Pause(Why.NOTHING_TO_RUN, 0)


def test_code_that_the_debugger_changes_is_run_as_changed() -> None:
    """`inc %rax` becomes `dec %rax`."""
    subject = machine("spin")
    subject.instruction_limit = 400
    subject.vp_enter(0, NO_REGS)
    assert subject.vcpus[0].context.regs.rax == 100
    assert subject.write_gpa(CODE, bytes.fromhex("48ffc8"))
    assert not subject.write_gpa(1 << 40, b"x")
    subject.run_to(800)
    assert subject.vcpus[0].context.regs.rax == 0


@pytest.mark.parametrize("in_td", [True, False])
def test_registers_that_the_debugger_changes_are_the_guests(in_td: bool) -> None:
    subject = machine("spin")
    if in_td:
        subject.instruction_limit = 4
        subject.vp_enter(0, NO_REGS)
    regs = subject.vcpus[0].context.regs
    subject.set_registers(0, regs._replace(rax=1000), CODE)
    subject.instruction_limit = subject.instructions + 4
    if in_td:
        subject.resume()
    else:
        subject.vp_enter(0, NO_REGS)
    assert subject.vcpus[0].context.regs.rax == 1001


def test_conversion_clears_what_becomes_shared() -> None:
    subject = machine("serial")
    subject.write_gpa(0x200000, b"secret")
    subject.set_memory_attributes(0x200000, 1 << 51, private=False)
    assert subject.read_gpa(0x200000, 6) == bytes(6)
    subject.write_gpa(0x200000, b"shared")
    subject.set_memory_attributes(0x200000, 0x1000, private=False)
    assert subject.read_gpa(0x200000, 6) == b"shared"


def test_large_pages_are_mapped_where_kvm_can() -> None:
    """Accepting 4 KiB of a 2 MiB mapping, and the other way round, is the module's matter."""
    subject = machine("accept", large_pages=True)
    exits, _ = run(subject)
    assert exits[0].regs.r8 == 0x900000


def test_every_64th_exit_is_quiet() -> None:
    subject = machine("storm")
    last = subject.vp_enter(0, NO_REGS)
    quiet = []
    for _ in range(130):
        quiet.append(subject.is_quiet)
        last = forward(subject, last)
    assert [index + 1 for index, value in enumerate(quiet) if value] == [64, 128]


@pytest.mark.parametrize("stride", [QUIET_INSTRUCTIONS, 999_999])
def test_quiet_places_without_exits(stride: int) -> None:
    """They come at the same places, whatever pauses a run has, and only there is it quiet."""
    subject = machine("spin")
    found: list[int] = []
    subject.on_quiet = lambda: found.append(subject.instructions)
    subject.instruction_limit = 0
    subject.vp_enter(0, NO_REGS)
    while subject.instructions < 2 * QUIET_INSTRUCTIONS + 5:
        subject.instruction_limit = min(
            subject.instructions + stride, 2 * QUIET_INSTRUCTIONS + 5, subject.next_quiet
        )
        assert subject.resume() == Pause(Why.INSTRUCTIONS, 0)
        assert subject.is_quiet == (subject.instructions % QUIET_INSTRUCTIONS == 0)
    assert found == [QUIET_INSTRUCTIONS, 2 * QUIET_INSTRUCTIONS]


def test_a_checkpoint_at_a_quiet_place_leaves_no_trace() -> None:
    """A guest that clears accessed bits without INVLPG sees each flush of the TLB."""
    ends = []
    for take in (False, True):
        subject = machine("forgetful")
        checkpoints: list[MachineCheckpoint] = []
        if take:
            subject.on_quiet = lambda s=subject, c=checkpoints: c.append(s.checkpoint())
        subject.instruction_limit = 3 * QUIET_INSTRUCTIONS + 1000
        assert subject.vp_enter(0, NO_REGS) == Pause(Why.INSTRUCTIONS, 0)
        ends.append(state(subject))
        assert subject.registers(0).regs.r12 == 4
        subject.on_quiet = None
        for checkpoint in checkpoints:
            subject.restore(checkpoint)
            assert subject.is_quiet
            assert subject.resume() == Pause(Why.INSTRUCTIONS, 0)
            ends.append(state(subject))
    assert len(ends) == 5
    assert all(end == ends[0] for end in ends)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("name", ["exceptions", "two"])
def test_a_forked_process_has_a_machine_of_its_own(name: str) -> None:
    """It goes back and on from there; the other one notices nothing."""
    subject = machine(name, GUESTS.get(name, ()), vcpus=2 if name == "two" else 1)
    for vcpu in subject.vcpus[:-1]:
        vcpu.where = Where.TD
    last = subject.vp_enter(len(subject.vcpus) - 1, NO_REGS)
    checkpoint, first = subject.checkpoint(), last
    states = []
    for _ in range(3):
        last = forward(subject, last)
        states.append((last, state(subject)))
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            subject.restore(checkpoint)
            last = first
            for expected in states:
                last = forward(subject, last)
                if (last, state(subject)) != expected:
                    break
            else:
                subject.write_gpa(0x5000, b"of the child")
                os.write(writing, b"same")
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    assert os.read(reading, 10) == b"same"
    os.close(reading)
    assert state(subject) == states[-1][1]


def test_who_has_a_vcpu_and_its_registers() -> None:
    subject = machine("serial")
    assert subject.where(0) is Where.HOST
    assert subject.enter(0, NO_REGS) is None
    assert subject.where(0) is Where.TD
    assert subject.instructions == 0
    exit_ = subject.resume()
    assert isinstance(exit_, TdExit)
    assert subject.where(0) is Where.HOST
    seen = subject.registers(0)
    # The host sees no RAX and RSP; the guest has its own, and is behind the TDCALL.
    assert seen.regs == exit_.regs._replace(rax=0, rsp=0x80000)
    assert subject.read_linear(0, seen.rip - 4, 4) == bytes.fromhex("660f01cc")
    assert (seen.cs, seen.ss, seen.cpl, seen.is_64bit) == (0x10, 0x18, 0, True)
    assert (seen.cr0, seen.cr3, seen.cr4, seen.efer) == (0x8005_0033, 0x10000, 0x660, 0xD01)
    assert seen.rflags & 0x202 == 2


FLAGS: Final = {
    "add": ("01c8", 0x80000001, 0x80000002, 0x805),
    "an add that carries into the upper half": ("01c8", 0xF, 0x10001, 0x10),
    "sub": ("29c8", 0, 1, 0x95),
    "shl": ("d1e0", 0x80000001, 0, 0x801),
    "mul": ("f7e1", 0x80000002, 2, 0x801),
    "bt": ("0fbae000", 1, 0, 0x1),
}


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("stride", [1, 1000])
def test_flags_at_an_exit_are_those_before_the_instruction(name: str, stride: int) -> None:
    """Right after what computed them, in the same translated block (QEMU's are lazy)."""
    code, eax, ecx, expected = FLAGS[name]
    subject = machine("spin")
    subject.write_gpa(
        CODE,
        b"\xb8"
        + eax.to_bytes(4, "little")
        + b"\xb9"
        + ecx.to_bytes(4, "little")
        # add to flags, store to a page that is not written yet, pushf; pop %rbx; hlt
        + bytes.fromhex("6690" + code + "488925000030009c5bfaf4"),
    )
    subject.instruction_limit = 0
    subject.vp_enter(0, NO_REGS)
    while subject.instructions < 7:
        subject.instruction_limit = min(subject.instructions + stride, 7)
        subject.resume()
    assert subject.registers(0).regs.rbx & 0x8D5 == expected
