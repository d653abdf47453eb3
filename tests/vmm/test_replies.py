"""What the VMM replies to each exit (facts: kernel_exits 6)."""

from __future__ import annotations

from typing import Any

import pytest

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.regs import NO_REGS
from tdxdbg.engine import (
    Answer,
    IoAnswer,
    KvmRun,
    MmioAnswer,
    MsrAnswer,
    Outcome,
    Step,
    Td,
    TdxAnswer,
    TdxRawAnswer,
)
from tdxdbg.engine.kvm_run import EX, IO, NOTIFY, SYSTEM_EVENT, TDX_UNKNOWN, recorded_run
from tdxdbg.vmm import Board, Reply, Vmm
from tdxdbg.vmm.fatal import Fatal, why
from tests.engine.support import ALL, INVALID, MERGED, SHARED, SINCE_616, SINCE_V1, call
from tests.vmm.support import Interrupts, Memory, World, exit_of

VIRTIO = SHARED | 0xFEB0_0000


def reply_to(step: Step, vmm: Vmm | None = None) -> Reply:
    return (vmm or Vmm()).reply(0, step, Memory(), Interrupts())


def exits_with(reason: int, layout: Any, *values: tuple[int, int]) -> Step:
    """An exit to userspace; `values`: each a number and its size in bytes."""
    union = b"".join(value.to_bytes(size, "little") for value, size in values)
    return Step(Outcome.EXIT_TO_USERSPACE, NO_REGS, KvmRun(reason, layout, union.ljust(256, b"\0")))


# --- devices --------------------------------------------------------------------------


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize(
    ("port", "size", "value"),
    [
        (0x3FD, 1, 0x60),
        (0x3FC, 2, 0x6008),
        (0x3FE, 4, 0xFFFF_00B0),
        (0xF4, 4, 0),
        (0x71, 1, 0),
        (0x70, 2, 0x00FF),
        (0x80, 1, 0xFF),
        (0xCFC, 4, 0xFFFF_FFFF),
        (0xFFFF, 4, 0xFFFF_FFFF),
    ],
)
def test_ports_that_are_read(generation: str, port: int, size: int, value: int) -> None:
    step = World(generation).call(call(SubFunction.IO, size, 0, port))
    assert step.regs.r11 == value


@pytest.mark.parametrize("generation", ALL)
def test_the_serial_port_and_its_console(generation: str) -> None:
    world = World(generation)
    for letter in b"hello\n":
        assert world.call(call(SubFunction.IO, 1, 1, 0x3F8, letter)).regs.r10 == 0
    assert bytes(world.vmm.console) == b"hello\n"
    assert world.vmm.serial_input(b"x", world.interrupts) == 1
    assert world.call(call(SubFunction.IO, 1, 0, 0x3FD)).regs.r11 == 0x61
    assert world.call(call(SubFunction.IO, 1, 0, 0x3F8)).regs.r11 == ord("x")


def test_the_serial_port_interrupts_with_the_vector_it_was_given() -> None:
    for vector, raised in ((0, []), (0x24, [(0, 0x24), (0, 0x24)])):
        world = World("7.3", Vmm(board=Board(serial_vector=vector)))
        world.call(call(SubFunction.IO, 1, 1, 0x3F9, 3))
        world.call(call(SubFunction.IO, 1, 0, 0x3FA))
        world.vmm.serial_input(b"x", world.interrupts)
        assert world.interrupts.raised == raised


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize(("size", "value"), [(1, 0), (1, 3), (2, 0x1234), (4, 0xFFFF_FFFF)])
def test_the_debug_exit_port(generation: str, size: int, value: int) -> None:
    world = World(generation)
    world.call(call(SubFunction.IO, size, 1, 0xF4, value))
    assert world.replies[-1].stop == f"guest exited with status {value} through the debug port"


def test_a_person_can_overrule_the_end() -> None:
    world = World("7.3")
    world.call(call(SubFunction.IO, 1, 1, 0xF4, 1))
    assert world.replies[-1].stop
    world = World("7.3", world.vmm)
    assert world.call(call(SubFunction.IO, 1, 1, 0x3F8, 65)).outcome is Outcome.REENTER_TD


@pytest.mark.parametrize("generation", ALL)
@pytest.mark.parametrize(
    ("gpa", "size", "value"),
    [
        (VIRTIO, 4, int.from_bytes(b"virt", "little")),
        (VIRTIO, 8, int.from_bytes(b"virt\2\0\0\0", "little")),
        (VIRTIO | 12, 4, int.from_bytes(b"tdxd", "little")),
        (VIRTIO | 1, 1, 0),
        (SHARED | 0xFE00_0000, 8, 0),
    ],
)
def test_mmio_that_is_read(generation: str, gpa: int, size: int, value: int) -> None:
    assert World(generation).call(call(SubFunction.MMIO, size, 0, gpa)).regs.r11 == value


@pytest.mark.parametrize("generation", ALL)
def test_mmio_that_is_written(generation: str) -> None:
    world = World(generation)
    for status in (1, 3, 0):
        world.call(call(SubFunction.MMIO, 4, 1, VIRTIO | 0x70, status))
        step = world.call(call(SubFunction.MMIO, 4, 0, VIRTIO | 0x70))
        assert step.regs.r11 == status


@pytest.mark.parametrize(
    ("direction", "size", "count", "data", "expected"),
    [
        (1, 1, 5, b"hello", b"hello"),
        (1, 1, 2, b"hello", b"he"),
        (1, 1, 0, b"hello", b""),
        (1, 1, 0xFFFF_FFFF, b"hello", b"hello"),
        (1, 1, 1, b"", b""),
        # A word goes to 0x3f8 and 0x3f9.
        (1, 2, 2, b"a\0b\0", b"ab"),
        (1, 0, 1, b"x", b"x"),
        (1, 255, 1, b"a", b"a"),
    ],
)
def test_string_output_of_a_recording(
    direction: int, size: int, count: int, data: bytes, expected: bytes
) -> None:
    fields = ((direction, 1), (size, 1), (0x3F8, 2), (count, 4), (0x1000, 8))
    union = b"".join(value.to_bytes(length, "little") for value, length in fields)
    run = recorded_run(2, union, 0xFFFF, data)
    vmm = Vmm()
    assert reply_to(Step(Outcome.EXIT_TO_USERSPACE, NO_REGS, run), vmm) == Reply()
    assert bytes(vmm.console) == expected


@pytest.mark.parametrize(
    ("size", "count", "expected"),
    [(1, 1, b"a"), (1, 3, b"abc"), (1, 0xFFFF_FFFF, b"abcd" + bytes(4)), (1, 0, b"")],
)
def test_string_input_of_a_recording(size: int, count: int, expected: bytes) -> None:
    vmm = Vmm()
    vmm.serial_input(b"abcd", Interrupts())
    step = exits_with(2, IO, (0, 1), (size, 1), (0x3F8, 2), (count, 4), (0x1000, 8))
    assert reply_to(step, vmm) == Reply(IoAnswer(expected))


# --- the rest -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("generation", "regs", "answer"),
    [
        *(
            (name, call(SubFunction.GET_TD_VM_CALL_INFO, 1), TdxAnswer(0, 2, 0, 0, 0))
            for name in SINCE_616
        ),
        *(
            (name, call(SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT, 40), TdxAnswer(0))
            for name in SINCE_616
        ),
        ("v19", call(SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT, 40), TdxRawAnswer(r10=0)),
        ("v19", call(SubFunction.WBINVD), TdxRawAnswer(r10=INVALID)),
        ("v19", call(SubFunction.SERVICE), TdxRawAnswer(r10=INVALID)),
        ("v19", call(0x1234), TdxRawAnswer(r10=INVALID)),
    ],
)
def test_answers(generation: str, regs: Any, answer: Answer) -> None:
    assert reply_to(exit_of(generation, regs)) == Reply(answer)


def test_a_call_that_qemu_does_not_know_keeps_kvms_answer() -> None:
    step = exits_with(40, TDX_UNKNOWN, (0, 8), (0x10005, 8), (INVALID | 3, 8))
    assert reply_to(step) == Reply()


@pytest.mark.parametrize("generation", SINCE_616)
def test_msr_exits_fail(generation: str) -> None:
    vmm = Vmm(["msr-exits"])
    td = vmm.td(Td())
    for regs in (call(SubFunction.RDMSR, 0x1234), call(SubFunction.WRMSR, 0x1234, 5)):
        assert reply_to(exit_of(generation, regs, td), vmm) == Reply(MsrAnswer(error=1))
        assert World(generation, vmm).call(regs).regs.r10 == INVALID


@pytest.mark.parametrize(
    ("step", "stop"),
    [
        (exits_with(1, EX, (14, 4), (0x10, 4)), "KVM_EXIT_EXCEPTION: vector 14, error code 0x10"),
        (exits_with(5, ()), "KVM_EXIT_HLT, which QEMU does not handle"),
        (exits_with(0, ()), "KVM_EXIT_UNKNOWN, which QEMU does not handle"),
        (exits_with(999, ()), "KVM_EXIT 0x3e7, which QEMU does not handle"),
        (exits_with(10, ()), ""),
        (exits_with(33, ()), ""),
        (exits_with(37, NOTIFY, (0, 4)), ""),
        (exits_with(37, NOTIFY, (1, 4)), "KVM_EXIT_NOTIFY with an invalid context"),
        (exits_with(24, SYSTEM_EVENT, (2, 4), (0, 4)), "KVM_SYSTEM_EVENT_RESET"),
        (exits_with(24, SYSTEM_EVENT, (99, 4), (0, 4)), "KVM_EXIT_SYSTEM_EVENT 99"),
        (Step(Outcome.KVM_ERROR, NO_REGS, errno=4), ""),
        (Step(Outcome.KVM_ERROR, NO_REGS, errno=11), ""),
        (Step(Outcome.KVM_ERROR, NO_REGS, errno=5), "KVM_RUN failed: EIO"),
        (Step(Outcome.KVM_ERROR, NO_REGS, errno=22), "KVM_RUN failed: EINVAL"),
        (Step(Outcome.KVM_ERROR, NO_REGS, errno=999), "KVM_RUN failed: 999"),
        (Step(Outcome.REENTER_TD, NO_REGS), ""),
    ],
)
def test_where_it_stops(step: Step, stop: str) -> None:
    assert reply_to(step) == Reply(stop=stop)


@pytest.mark.parametrize("generation", ALL)
def test_a_triple_fault(generation: str) -> None:
    step = exit_of(generation, call(0), ret=0x4000_0001_0000_0002)
    assert "triple fault" in reply_to(step).stop


@pytest.mark.parametrize("generation", MERGED)
def test_an_internal_error(generation: str) -> None:
    step = exit_of(generation, call(0), ret=0x8000_FFFF_0000_0000)
    assert reply_to(step).stop == (
        "KVM_EXIT_INTERNAL_ERROR: KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON,"
        " data[0] 0x8000ffff00000000"
    )


@pytest.mark.parametrize("generation", MERGED)
def test_a_failed_entry(generation: str) -> None:
    step = exit_of(generation, call(0), ret=0x8000_0021)
    assert reply_to(step).stop == "KVM_EXIT_FAIL_ENTRY: hardware reason 0x80000021"


# --- ReportFatalError -----------------------------------------------------------------

#: facts: ghci_and_guest 2.3, the worked sample (Linux v6.13).
LINUX = call(
    SubFunction.REPORT_FATAL_ERROR,
    0,
    0,
    0x6F63_7369_6D20_4454,
    0x7461_7275_6769_666E,
    rbx=0x5045_5320_3A6E_6F69,
    rdi=0x6168_2045_5623_2054,
    rsi=0x2065_6220_6F74_2073,
    r8=0x6465_6C62_6173_6964,
)
LINUX_TEXT = "TD misconfiguration: SEPT #VE has to be disabled"


@pytest.mark.parametrize("generation", ALL)
def test_the_message_of_a_fatal_error(generation: str) -> None:
    stop = reply_to(exit_of(generation, LINUX)).stop
    assert stop == f"the guest reported a fatal error, code 0x0: {LINUX_TEXT}"


@pytest.mark.parametrize("generation", ALL)
def test_a_code_that_qemu_refuses_stops_too(generation: str) -> None:
    stop = reply_to(exit_of(generation, call(SubFunction.REPORT_FATAL_ERROR, 0xBEEF))).stop
    assert stop.startswith("the guest reported a fatal error, code 0xbeef (one that QEMU refuses")


@pytest.mark.parametrize("generation", SINCE_V1)
def test_registers_that_are_hidden_shift_the_text(generation: str) -> None:
    regs = call(SubFunction.REPORT_FATAL_ERROR, 0, 0, 0x41, 0x42, rcx=0xFC00 & ~(1 << 15))
    stop = reply_to(exit_of(generation, regs._replace(rdx=0x43))).stop
    assert stop == "the guest reported a fatal error, code 0x0: A"


@pytest.mark.parametrize("generation", ALL)
def test_the_page_with_more_text(generation: str) -> None:
    memory = Memory()
    memory.share(0x5000, 4096)
    memory.write_gpa(0x5000, b"\x1b[2Jmore\nof it\0junk")
    regs = call(SubFunction.REPORT_FATAL_ERROR, 1 << 63, SHARED | 0x5000)
    reply = Vmm().reply(0, exit_of(generation, regs), memory, Interrupts())
    # As the guest wrote it: who shows it escapes it.
    assert reply.stop.endswith("; at GPA 0x5000: \x1b[2Jmore\nof it")


@pytest.mark.parametrize(
    ("gpa", "end"),
    [
        (1 << 46, "; no RAM at GPA 0x400000000000, where more is to be read"),
        (0x6000, "; at GPA 0x6000: "),
        (0x5FFF, "; at GPA 0x5fff: \xff"),
    ],
)
def test_pages_without_text(gpa: int, end: str) -> None:
    memory = Memory()
    memory.share(0x5000, 4096)
    memory.write_gpa(0x5FFF, b"\xffprivate")
    assert why(Fatal(1 << 63, gpa, ()), memory, SHARED).endswith(end)


def test_a_fatal_event_is_one_line_of_bounded_length() -> None:
    memory = Memory()
    memory.share(0, 1 << 20)
    memory.write_gpa(0x5000, b"A" * 8192)
    line = why(Fatal(1 << 63, 0x5000, (0x4141_4141_4141_4141,) * 8), memory, SHARED)
    assert len(line) < 4096 + 200


def test_mmio_of_a_recording_with_a_wrong_length() -> None:
    run = recorded_run(6, b"\0" * 16 + b"\xff\xff\xff\xff\0", (1 << 21) - 1)
    step = Step(Outcome.EXIT_TO_USERSPACE, NO_REGS, run)
    assert reply_to(step) == Reply(MmioAnswer(bytes(8)))
