"""Which ranges are converted, and what happens to the others (facts: kernel_exits 6)."""

from __future__ import annotations

from typing import Any

import pytest

from tdxdbg.abi.regs import NO_REGS
from tdxdbg.engine import BY_NAME, KvmRun, Outcome, SetMemoryAttributes, Step, Td, TdxRawAnswer
from tdxdbg.engine.kvm_run import HYPERCALL, MEMORY_FAULT
from tdxdbg.vmm import Board, Vmm
from tdxdbg.vmm.conversion import convert
from tests.engine.support import (
    ALIGN,
    INVALID,
    MIB2,
    PAGE,
    RETRY,
    SHARED,
    SINCE_V1,
    SUCCESS,
    U64,
    call,
    map_gpa,
)
from tests.vmm.support import RAM, Interrupts, Memory, World, exit_of

MIB = 1 << 20
OUTSIDE = 0x8000_0000
BOARD = Board(ram=((0, RAM), (1 << 32, 16 * MIB)))


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize(
    ("gpa", "size"),
    [(0, PAGE), (RAM - PAGE, PAGE), (0, RAM), (1 << 32, 16 * MIB), (5 * PAGE, MIB2)],
)
def test_ram_is_converted(gpa: int, size: int, private: bool) -> None:
    done = convert(BOARD, gpa, size, private=private)
    assert done == ((SetMemoryAttributes(gpa, size, private),), "")


@pytest.mark.parametrize(
    ("gpa", "size", "to_shared", "to_private"),
    [
        (OUTSIDE, PAGE, "", "no RAM there"),
        (RAM, PAGE, "", "no RAM there"),
        (0xFEB0_0000, PAGE, "", "no RAM there"),
        (SHARED, 1 << 46, "", "no RAM there"),
        (U64 - 0xFFF, PAGE, "", "no RAM there"),
        (RAM - PAGE, 2 * PAGE, "only a part", "only a part"),
        ((1 << 32) - PAGE, 2 * PAGE, "only a part", "only a part"),
        (0, 1 << 51, "only a part", "only a part"),
        (PAGE, U64 - 0xFFF, "only a part", "only a part"),
        (0, 0, "not whole pages", "not whole pages"),
        (1, PAGE, "not whole pages", "not whole pages"),
        (0, PAGE + 1, "not whole pages", "not whole pages"),
    ],
)
def test_what_is_not_ram(gpa: int, size: int, to_shared: str, to_private: str) -> None:
    for private, error in ((False, to_shared), (True, to_private)):
        done = convert(BOARD, gpa, size, private=private)
        assert done.attributes == ()
        assert error in done.error
        assert bool(done.error) == bool(error)


@pytest.mark.parametrize("generation", SINCE_V1)
def test_map_gpa_is_converted_chunk_by_chunk(generation: str) -> None:
    world = World(generation)
    step = world.call(map_gpa(SHARED | 8 * MIB, 5 * MIB))
    assert step.outcome is Outcome.REENTER_TD
    assert step.regs.r10 == SUCCESS
    assert [reply.convert for reply in world.replies] == [
        (SetMemoryAttributes(8 * MIB, MIB2, False),),
        (SetMemoryAttributes(10 * MIB, MIB2, False),),
        (SetMemoryAttributes(12 * MIB, MIB, False),),
    ]
    assert world.memory.gpa_map == world.engine.gpa_map
    world.call(map_gpa(8 * MIB, 5 * MIB))
    assert world.memory.gpa_map.shared_bytes == 0


@pytest.mark.parametrize("generation", BY_NAME)
@pytest.mark.parametrize("gpaw", [48, 52])
def test_the_shared_bit_is_not_in_the_range(generation: str, gpaw: int) -> None:
    world = World(generation, Vmm(board=Board(gpaw=gpaw)), Td(gpaw=gpaw))
    step = world.call(map_gpa(1 << gpaw - 1 | MIB2, PAGE))
    assert step.regs.r10 == SUCCESS
    assert world.replies[0].convert == (SetMemoryAttributes(MIB2, PAGE, False),)


@pytest.mark.parametrize("generation", SINCE_V1)
@pytest.mark.parametrize(
    ("gpa", "size", "stop"),
    [
        (SHARED | OUTSIDE, MIB2, ""),
        (OUTSIDE, MIB2, "no RAM there"),
        (SHARED | RAM - MIB, MIB2, "only a part"),
    ],
)
def test_map_gpa_of_what_is_not_ram(generation: str, gpa: int, size: int, stop: str) -> None:
    world = World(generation)
    world.call(map_gpa(gpa, size))
    (reply,) = world.replies
    assert reply.convert == ()
    assert stop in reply.stop
    assert bool(reply.stop) == bool(stop)


@pytest.mark.parametrize("generation", SINCE_V1)
def test_a_hostile_map_gpa_is_as_many_exits_and_each_costs_nothing(generation: str) -> None:
    world = World(generation)
    world.call(map_gpa(SHARED, 1 << 46), budget=200)
    assert len(world.replies) == 200
    assert not world.replies[-1].stop
    assert world.memory.gpa_map.shared_bytes == RAM


@pytest.mark.parametrize("generation", BY_NAME)
@pytest.mark.parametrize(
    ("gpa", "pages", "attributes", "expected"),
    [
        (MIB2, 3, 0x10, (SetMemoryAttributes(MIB2, 3 * PAGE, True),)),
        (MIB2, 3, 0, (SetMemoryAttributes(MIB2, 3 * PAGE, False),)),
        # Bits 3:0 are a page size, which nobody looks at.
        (MIB2, 1, 0x11, (SetMemoryAttributes(MIB2, PAGE, True),)),
        # The guest's GPA goes through as it is: where the shared bit is, no RAM is.
        (SHARED | MIB2, 1, 0, ()),
        (SHARED | MIB2, 1, 0x10, "no RAM there"),
        (0, 1 << 39, 0, "only a part"),
        # The product of pages and 4096 wraps.
        (MIB2, 1 << 52, 0, "not whole pages"),
        (MIB2, (1 << 52) + 1, 0, (SetMemoryAttributes(MIB2, PAGE, False),)),
    ],
)
def test_kvms_own_hypercall(
    generation: str, gpa: int, pages: int, attributes: int, expected: Any
) -> None:
    world = World(generation)
    world.call(call(gpa, pages, attributes, r10=12))
    (reply,) = world.replies
    if isinstance(expected, str):
        assert expected in reply.stop
        assert reply.convert == ()
    else:
        assert (reply.convert, reply.stop) == (expected, "")


@pytest.mark.parametrize(
    ("gpa", "size", "r10", "r11", "converted"),
    [
        (SHARED | MIB2, PAGE, SUCCESS, None, PAGE),
        (MIB2, PAGE, SUCCESS, None, PAGE),
        (MIB2, 0, SUCCESS, None, 0),
        (MIB2 + 1, PAGE, ALIGN, None, 0),
        (MIB2, 5, ALIGN, None, 0),
        (OUTSIDE, PAGE, INVALID, None, 0),
        (SHARED | OUTSIDE, PAGE, SUCCESS, None, 0),
        (RAM - PAGE, 2 * PAGE, INVALID, None, 0),
        (0, 1 << 52, INVALID, None, 0),
        (1 << 51, 1 << 51, INVALID, None, 0),
        (PAGE, U64 - 0xFFF, INVALID, None, 0),
        (0, RAM + PAGE, RETRY, RAM, RAM),
        (SHARED, 1 << 40, RETRY, SHARED | RAM, RAM),
    ],
)
def test_v19_checks_map_gpa_itself(
    gpa: int, size: int, r10: int, r11: int | None, converted: int
) -> None:
    vmm = Vmm()
    reply = vmm.reply(0, exit_of("v19", map_gpa(gpa, size)), Memory(), Interrupts())
    assert reply.answer == TdxRawAnswer(r10=r10, r11=r11)
    assert reply.stop == ""
    assert sum(item.size for item in reply.convert) == converted
    assert all(item.private == (not gpa & SHARED) for item in reply.convert)


def fault(flags: int, gpa: int, size: int = PAGE, errno: int = 14) -> Step:
    union = b"".join(value.to_bytes(8, "little") for value in (flags, gpa, size))
    run = KvmRun(39, MEMORY_FAULT, union.ljust(256, b"\0"))
    return Step(Outcome.KVM_ERROR, NO_REGS, run, errno=errno)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (fault(8, MIB2), (SetMemoryAttributes(MIB2, PAGE, True),)),
        (fault(0, MIB2), (SetMemoryAttributes(MIB2, PAGE, False),)),
        (fault(0, OUTSIDE), ()),
        (fault(8, OUTSIDE), "no RAM there"),
        (fault(1, MIB2), "unknown flags 0x1"),
        (fault(8, MIB2, errno=133), "EHWPOISON"),
    ],
)
def test_memory_faults(step: Step, expected: Any) -> None:
    reply = Vmm().reply(0, step, Memory(), Interrupts())
    assert reply.answer is None
    if isinstance(expected, str):
        assert expected in reply.stop
    else:
        assert (reply.convert, reply.stop) == (expected, "")


def test_a_hypercall_that_qemu_does_not_know() -> None:
    union = (5).to_bytes(8, "little").ljust(256, b"\0")
    step = Step(Outcome.EXIT_TO_USERSPACE, NO_REGS, KvmRun(3, HYPERCALL, union))
    assert "number 5" in Vmm().reply(0, step, Memory(), Interrupts()).stop
