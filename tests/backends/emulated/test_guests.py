"""Small guests on the vCPU with the real TDX module: what each exit looks like."""

from __future__ import annotations

import errno
import struct
from typing import Final

import pytest

from tdxdbg.abi.regs import NO_REGS, Regs
from tdxdbg.backends import Pause, Why
from tdxdbg.backends.emulated.context import Segment
from tdxdbg.engine.state import TdExit
from tests.backends.emulated.harness import (
    CODE,
    DEVICE_GPA,
    DEVICE_LINEAR,
    GDT,
    REPORT_FATAL,
    Gate,
    machine,
    run,
)

TRIPLE_FAULT: Final = 0x4000_0001_0000_0002


def outputs(exits: list[TdExit], *names: str) -> list[tuple[int, ...]]:
    return [tuple(getattr(item.regs, name) for name in names) for item in exits]


def last_regs(last: TdExit | Pause) -> Regs:
    assert isinstance(last, TdExit)
    return last.regs


def test_a_tdvmcall_shows_the_exposed_registers_and_takes_the_reply() -> None:
    subject = machine("serial")
    exits, last = run(subject)
    assert outputs(exits, "r11", "r12", "r13", "r14", "r15", "rbx") == [
        (30, 1, 1, 0x3F8, 0x41, left) for left in (3, 2, 1)
    ]
    assert all(item.vp_enter_ret == 77 and item.regs.rcx == 0xFFCC for item in exits)
    assert all(item.regs.rax == item.regs.rsp == item.regs.rbp == 0 for item in exits)
    assert last_regs(last).r11 == REPORT_FATAL
    assert subject.instructions == 1 + 3 * 11 + 5


def test_port_access_is_a_ve_with_everything_undone() -> None:
    """Qualification, length, instruction information, RIP (facts: ghci_and_guest 3.6)."""
    exits, last = run(machine("io"))
    assert outputs(exits, "r12", "r13", "r14", "r15") == [
        (0x0071_0048, 2, 0, CODE + 0xC),  # in $0x71, %al
        (0x03F8_0000, 1, 0, CODE + 0x17),  # out %al, %dx
        (0x0080_0043, 2, 0, CODE + 0x18),  # out %eax, $0x80
        (0x03F8_0009, 2, 0, CODE + 0x1A),  # in %dx, %ax
        (0x03F8_0030, 2, 0x18100, CODE + 0x26),  # rep outsb
        (0x03F8_001B, 1, 0x100, CODE + 0x2D),  # insl
    ]
    # `jnz` after IN: flags survive, and RAX is not what IN read.
    assert last_regs(last).r11 == REPORT_FATAL


def test_flags_survive_exits() -> None:
    exits, _ = run(machine("flags"))
    assert outputs(exits, "r12", "r13") == [(0x897, 0xC97)]


def test_instructions_become_ve() -> None:
    """Exit reason and length (facts: ghci_and_guest 3.5)."""
    exits, _ = run(machine("instructions"))
    assert outputs(exits, "r12", "r13") == [
        (10, 2),  # CPUID 0x40000000
        (12, 1),  # HLT
        (31, 2),  # RDMSR 0x1b
        (32, 2),  # WRMSR
        (54, 2),  # WBINVD
        (13, 2),  # INVD
        (18, 3),  # VMCALL
        (39, 3),  # MONITOR
        (36, 3),  # MWAIT
    ]


def test_exceptions_have_the_frames_of_the_manual() -> None:
    """Vector, error code (0x55: none), RIP, RFLAGS with RF for faults."""
    vectors: list[int | Gate] = [0, 1, Gate(3, 0xEE), 6, 8, 11, 12, 13, 14, Gate(48, 0xEE)]
    exits, _ = run(machine("exceptions", vectors))
    fault, trap = 0x10046, 0x46
    assert outputs(exits, "r12", "r13", "r14", "r15") == [
        (0, 0x55, CODE + 0x10, fault),
        (6, 0x55, CODE + 0x20, fault),
        (3, 0x55, CODE + 0x31, trap),
        (48, 0x55, CODE + 0x42, trap),
        (14, 2, CODE + 0x60, fault),
        (13, 0, CODE + 0x80, fault),
        (6, 0x55, CODE + 0x90, fault),
        (11, 0x48, CODE + 0xB0, fault),
        (1, 0x55, CODE + 0xC1, trap),
        (1, 0x55, CODE + 0xE0, trap | 0x100),
    ]
    assert exits[4].regs.rdx == 0x800_0000_0000  # CR2


@pytest.mark.parametrize("name", ["triple", "wild", "fault_loop"])
def test_a_triple_fault_is_a_td_exit(name: str) -> None:
    """Also for a jump to nowhere, and for a handler that faults until the stack is gone."""
    subject = machine(name, [6] if name == "fault_loop" else ())
    _, last = run(subject)
    assert isinstance(last, TdExit)
    assert last.vp_enter_ret == TRIPLE_FAULT
    again = subject.vp_enter(0, NO_REGS)
    assert isinstance(again, TdExit)
    assert again.vp_enter_ret >> 32 == 0xC000_0700  # VCPU_STATE_INCORRECT


def test_a_fault_on_the_way_to_a_handler_makes_a_double_fault() -> None:
    """#UD without a gate: #NP, whose gate is outside the IDT: #DF, error code 0."""
    _, last = run(machine("double", [8]))
    regs = last_regs(last)
    assert (regs.r11, regs.r12, regs.r13) == (REPORT_FATAL, 0, CODE + 7)


@pytest.mark.parametrize(("stack", "rsp"), [(0, 0x380000 - 0x28), (1, 0x390000 - 0x28)])
def test_a_ve_from_ring_3_changes_stack_and_segments(stack: int, rsp: int) -> None:
    """RSP0 of the TSS, or the IST; SS is null."""
    exits, last = run(machine("ring3", [6, Gate(20, 0x8E, stack)]))
    assert outputs(exits, "r12", "r13", "r14", "r15", "rbx", "rdx") == [
        (10, rsp, 0x10, 0x33, 0x2B, 0)
    ]
    assert (last_regs(last).r12, last_regs(last).r13) == (0x300000, 0x380000 - 0x28)


def test_system_calls_work_as_on_an_intel_cpu() -> None:
    exits, last = run(machine("syscall", [6]))
    syscall, sysenter, back = exits
    assert syscall.regs.r12 == 2  # RFLAGS: IF taken away by FMASK
    assert syscall.regs.r13 == CODE + 0x72
    assert (syscall.regs.r14, syscall.regs.r15, syscall.regs.r8) == (0x202, 0x10, 0x33)
    assert sysenter.regs[12:16] == (0x90000, 0x10, 0x18, 1)
    assert back.regs[12:14] == (0x33, 0x300000)
    assert last_regs(last).r11 == REPORT_FATAL


def test_interrupts_arrive_in_order_right_after_the_shadow_of_sti() -> None:
    """R12 2: the instruction after STI ran, the next one did not."""
    exits, _ = run(machine("interrupts", [0x41, 0x50, 0x61]))
    assert outputs(exits, "r13", "r12") == [(0x50, 2), (0x41, 2), (0x61, 3)]
    assert exits[0].regs.r15 == exits[1].regs.r15 == CODE + 0x22
    assert exits[2].regs.r15 == CODE + 0x3D


def test_the_deadline_timer_fires_at_its_tick() -> None:
    """The first instruction of the handler reads the very deadline."""
    _, last = run(machine("timer", [0x61]))
    regs = last_regs(last)
    assert regs.r12 == regs.r13
    assert regs.r14 > 40_000


def test_a_halted_vcpu_sleeps_until_its_timer() -> None:
    subject = machine("halt", [0x61])
    exits, last = run(subject)
    assert [item.regs.r11 for item in exits] == [32, 32, 12]
    assert last_regs(last).r12 == 5_000_001
    assert subject.instructions < 40


def test_halted_without_a_timer_is_a_pause_and_an_interrupt_wakes_it() -> None:
    subject = machine("halt", [0x61])
    first = subject.vp_enter(0, NO_REGS)
    assert isinstance(first, TdExit)
    refused = first.regs._replace(r10=1 << 63)  # neither LVT nor deadline are written
    second = subject.vp_enter(0, refused)
    assert isinstance(second, TdExit)
    third = subject.vp_enter(0, second.regs._replace(r10=1 << 63))
    assert isinstance(third, TdExit)
    pause = subject.vp_enter(0, third.regs._replace(r10=0), halted=True)
    assert pause == Pause(Why.IDLE, 0)
    assert not subject.has_events(0)
    subject.inject(0, 0x61)
    assert subject.has_events(0)
    assert last_regs(subject.resume()).r11 == REPORT_FATAL


@pytest.mark.parametrize("gpaw", [48, 52])
def test_shared_memory_is_reached_through_the_shared_bit(gpaw: int) -> None:
    """Read, write, locked, across pages, from page to page (facts: emulated_vcpu 2)."""
    subject = machine("shared", gpaw=gpaw)
    subject.set_memory_attributes(0x300000, 0x3000, private=False)
    exits, _ = run(subject)
    mapped = [item.regs.r8 for item in exits if item.vp_enter_ret == 0x30]
    shared = 1 << (gpaw - 1)
    assert mapped == [shared | page for page in (0x300000, 0x301000, 0x302000)]
    report = exits[-1].regs
    assert report[12:16] == (0x1234, 0x1235, 0x55, 0x1235)
    assert subject.read_gpa(0x300000 | shared, 2) == b"\x35\x12"
    entries = subject.platform.memory.words[0x13000 + 8 >> 3]
    assert entries & ~0x60 == 0x200000 | 0x87 | shared


def test_shared_access_to_private_memory_is_a_memory_fault() -> None:
    """KVM cannot map it: EFAULT, until userspace converts the page."""
    subject = machine("shared")
    exit_ = subject.vp_enter(0, NO_REGS)
    for _ in range(2):
        assert isinstance(exit_, TdExit)
        assert exit_.regs.r8 == 1 << 47 | 0x300000
        assert exit_.in_kernel is not None
        assert exit_.in_kernel.errno == errno.EFAULT
        exit_ = subject.vp_enter(0, exit_.regs)
    subject.set_memory_attributes(0x300000, 0x3000, private=False)
    exit_ = subject.vp_enter(0, NO_REGS)
    assert isinstance(exit_, TdExit)
    assert exit_.in_kernel is None


def test_private_access_to_shared_memory_is_a_memory_fault_too() -> None:
    subject = machine("serial")
    subject.set_memory_attributes(CODE, 0x1000, private=False)
    exit_ = subject.vp_enter(0, NO_REGS)
    assert isinstance(exit_, TdExit)
    assert (exit_.vp_enter_ret, exit_.regs.r8, exit_.regs.rcx) == (0x30, CODE, 4)
    assert exit_.in_kernel is not None
    assert exit_.in_kernel.errno == errno.EFAULT


def test_device_memory_is_a_ve_with_both_addresses() -> None:
    exits, _ = run(machine("mmio"))
    gpa = 1 << 47 | DEVICE_GPA
    assert (exits[0].vp_enter_ret, exits[0].regs.r8) == (0x30, gpa)
    assert outputs(exits[1:], "r12", "r13", "r14", "r15") == [
        (48, 0x181, DEVICE_LINEAR + 0x10, gpa + 0x10),
        (48, 0x182, DEVICE_LINEAR + 0x10, gpa + 0x10),
    ]


def test_running_device_memory_ends_the_td_and_nothing_else() -> None:
    exits, last = run(machine("device", ()))
    assert (exits[0].regs.r8, exits[0].regs.rcx & 7) == (1 << 47 | DEVICE_GPA, 4)
    assert isinstance(last, TdExit)
    assert last.vp_enter_ret == TRIPLE_FAULT


def test_a_page_has_to_be_accepted() -> None:
    exits, last = run(machine("accept"))
    violation, report, second = exits
    assert (violation.regs.r8, violation.regs.rdx & 0xF) == (0x900000, 1)
    assert report.regs[12:15] == (0, 7, 0x0B0A_0000_0000)
    assert (second.regs.r8, second.regs.rdx) == (0x901000, 0)
    # The page is pending now, and SEPT_VE_DISABLE is set.
    assert last_regs(last).rdx == 6


def test_a_pending_page_is_a_ve_with_its_linear_address() -> None:
    """Without SEPT_VE_DISABLE (facts: ghci_and_guest 3.5)."""
    _, last = run(machine("accept", attributes=0))
    assert last_regs(last)[12:16] == (48, 0x181, 0x901000, 0x901000)


def test_random_numbers_and_time_come_from_the_run() -> None:
    def numbers(seed: int) -> tuple[int, ...]:
        exits, _ = run(machine("random", seed=seed))
        return (*exits[0].regs[12:16], exits[0].regs.rbx)

    assert numbers(1) == numbers(1)
    assert numbers(1)[:3] != numbers(2)[:3]
    assert numbers(1)[4] == numbers(2)[4] == 502  # ticks between RDTSC and RDTSCP


def test_control_and_debug_registers() -> None:
    exits, last = run(machine("registers", [13]))
    debug, other = exits
    assert debug.regs[12:16] == (0x12345678, 0x400, 5, 0x8005_0033)
    assert other.regs[12:14] == (0x6E0, 0xD00)
    # CR4.OSXSAVE: the CPU has no XSAVE, so #GP(0).
    assert (last_regs(last).r11, last_regs(last).r12) == (REPORT_FATAL, 0)


def test_process_context_identifiers() -> None:
    """CR3 keeps a PCID and not bit 63; #GP for PG = 0, and for PCIDE while CR3 has a PCID."""
    exits, last = run(machine("pcid", [13]))
    assert exits[0].regs[12:14] == (0x2_0660, 0x1_0005)
    assert last_regs(last)[12:15] == (2, 0x1_0005, 0x1_0000)


def test_code_that_changes_itself_runs_as_it_is_now() -> None:
    exits, _ = run(machine("selfmod"))
    assert exits[0].regs.r12 == 0x4A


def test_frames_may_lie_beside_code() -> None:
    exits, last = run(machine("stack_in_code"))
    assert exits[0].regs.r12 == 1
    assert last_regs(last).r11 == REPORT_FATAL


def test_entry_in_32_bit_mode() -> None:
    """As the TDX module starts a vCPU (facts: tdvf)."""
    exits, _ = run(machine("compat", start32=True))
    assert exits[0].regs[12:14] == (0x30, 0x1234)


def test_the_descriptor_table_is_where_the_tests_think() -> None:
    subject = machine("serial")
    assert subject.read_gpa(GDT + 0x10, 8) == bytes.fromhex("ffff0000009baf00")
    assert subject.read_linear(0, CODE, 5) == bytes.fromhex("bb03000000")
    assert subject.read_linear(0, 0x7000_0000_0000, 1) is None


@pytest.mark.parametrize(
    ("gate", "vector", "error_code"),
    [
        (Gate(48), 48, 0x55),
        (Gate(48, 0x8F), 48, 0x55),
        (Gate(48, 0x8C), 13, 0x182),  # a call gate
        (Gate(48, 0x0E), 11, 0x182),  # not present
        (Gate(48, selector=0), 13, 0),
        (Gate(48, selector=0x18), 13, 0x18),  # data
        (Gate(48, selector=0x30), 13, 0x30),  # less privileged
        (Gate(48, selector=0x58), 13, 0x58),  # 32 bits
        (Gate(48, selector=0x50), 11, 0x50),  # not present
        (Gate(48, selector=0x68), 13, 0x68),  # outside the GDT
        (Gate(48, selector=0x60), 48, 0x55),  # conforming
        (Gate(48, stack=1), 10, 0),  # no TSS was loaded: its limit is 0xFFFF, its IST is 0
    ],
)
def test_what_is_wrong_with_a_gate(gate: Gate, vector: int, error_code: int) -> None:
    """INT 0x30; the error code without EXT, since the guest asked for it."""
    subject = machine("gates", [10, 11, 12, 13, gate])
    if gate.stack:
        subject.vcpus[0].context.set_segment(7, Segment(0x38, 0x6800, 0x10, 0x8B00))
        error_code = 0x38
    _, last = run(subject)
    regs = last_regs(last)
    assert (regs.r11, regs.r12, regs.r13) == (REPORT_FATAL, vector, error_code)
    assert regs.r14 == CODE + (2 if vector == 48 else 0)


def test_exceptions_before_long_mode() -> None:
    """32-bit gates: #UD, INT 0x30, a #VE; without a GDT the next one ends the vCPU."""
    subject = machine("legacy", start32=True)
    for vector in (6, 20, 48, 49):
        target = CODE + 0x1000 + 32 * vector
        gate = struct.pack("<HHBBH", target & 0xFFFF, 8, 0, 0x8E, target >> 16)
        subject.write_gpa(0x8000 + 8 * vector, gate)
    subject.write_gpa(GDT + 8, struct.pack("<2Q", 0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF))
    subject.write_gpa(GDT + 0x18, struct.pack("<Q", 0x00CF_9300_0000_FFFF))
    exits, last = run(subject)
    assert not exits
    assert isinstance(last, TdExit)
    assert last.vp_enter_ret == TRIPLE_FAULT
    regs = subject.vcpus[0].context.regs
    text = subject.read_gpa(CODE, 0x40)
    assert text is not None
    assert regs.rdx == CODE + text.index(b"\x0f\x0b")
    assert regs.rbx == CODE + text.index(b"\xcd\x30") + 2
    assert (regs.rbp, regs.rdi, regs.rsi) == (1, 0xDEAD, 0x500)
    assert regs.rsp == 0x70000


def test_system_calls_from_32_bit_user_code() -> None:
    """SYSENTER works from there, SYSCALL does not on an Intel CPU."""
    exits, last = run(machine("compat_call", [6]))
    assert exits[0].regs[12:15] == (0x90000, 0x10, 0x123)
    assert last_regs(last).r12 == 0x23
    assert last_regs(last).r11 == REPORT_FATAL
