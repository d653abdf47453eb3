"""TDG.MEM.PAGE.ACCEPT (facts: ghci_and_guest 1.2, 4.3, 6.2)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tdxdbg.abi.regs import Regs
from tdxdbg.module import (
    LEVEL_2M,
    LEVEL_4K,
    LastExit,
    Resume,
    Retry,
    SeptState,
    TdParams,
)
from tests.module.support import (
    BUSY,
    GIB,
    INVALID_RCX,
    MIB2,
    OK,
    PAGE,
    SHARED,
    SHARED_52,
    Td,
    call,
    exit_of,
    running,
    status_of,
)

ACCEPT = 6
GPA = 4 * MIB2
ALREADY = 0x0000_0B0A_0000_0000
MISMATCH = 0xC000_0B0B_0000_0000

Setup = Callable[[Td], None]


def empty(td: Td) -> None:
    pass


def pending_4k(td: Td) -> None:
    assert td.page_aug(GPA) == OK


def pending_2m(td: Td) -> None:
    assert td.page_aug(GPA, LEVEL_2M) == OK


def mapped_4k(td: Td) -> None:
    pending_4k(td)
    assert status_of(call(td, ACCEPT, rcx=GPA)) == OK


def mapped_2m(td: Td) -> None:
    pending_2m(td)
    assert status_of(call(td, ACCEPT, rcx=GPA | 1)) == OK


def blocked_4k(td: Td) -> None:
    mapped_4k(td)
    assert td.range_block(GPA) == OK


def blocked_2m(td: Td) -> None:
    mapped_2m(td)
    assert td.range_block(GPA, LEVEL_2M) == OK


def pending_blocked_4k(td: Td) -> None:
    pending_4k(td)
    assert td.range_block(GPA) == OK


def neighbour_4k(td: Td) -> None:
    assert td.page_aug(GPA + PAGE) == OK


def neighbour_2m(td: Td) -> None:
    assert td.page_aug(GPA + MIB2) == OK


#: what is there, level requested, status
STATUSES = [
    (pending_4k, 0, OK),
    (pending_2m, 1, OK),
    (mapped_4k, 0, ALREADY | 0),
    (mapped_2m, 1, ALREADY | 1),
    (mapped_2m, 0, ALREADY | 1),
    (pending_4k, 1, MISMATCH | 1),
    (mapped_4k, 1, MISMATCH | 1),
    (blocked_4k, 1, MISMATCH | 1),
    (neighbour_4k, 1, MISMATCH | 1),
]


@pytest.mark.parametrize(("setup", "level", "status"), STATUSES)
def test_status(setup: Setup, level: int, status: int) -> None:
    td = running()
    setup(td)
    assert status_of(call(td, ACCEPT, rcx=GPA | level)) == status


FREE, BLOCKED, PENDING, PENDING_BLOCKED = 0, 1, 2, 3

#: what is there, level requested; in the exit: level of the failing entry, its state, is it a leaf
VIOLATIONS = [
    (empty, 0, 3, FREE, 0),
    (empty, 1, 3, FREE, 0),
    (neighbour_4k, 0, 0, FREE, 0),
    (neighbour_2m, 0, 1, FREE, 0),
    (neighbour_2m, 1, 1, FREE, 0),
    (pending_2m, 0, 1, PENDING, 1),
    (blocked_4k, 0, 0, BLOCKED, 1),
    (blocked_2m, 1, 1, BLOCKED, 1),
    (blocked_2m, 0, 1, BLOCKED, 1),
    (pending_blocked_4k, 0, 0, PENDING_BLOCKED, 1),
]


@pytest.mark.parametrize(("setup", "level", "failing", "state", "leaf"), VIOLATIONS)
def test_violation(setup: Setup, level: int, failing: int, state: int, leaf: int) -> None:
    td = running()
    setup(td)
    result = exit_of(call(td, ACCEPT, rcx=GPA | level, rip=0x7000))
    info = level | failing << 3 | state << 6 | leaf << 14
    # A write, extended qualification type 1, the guest executes the TDCALL again.
    assert result.vp_enter_ret == 48
    assert result.regs == Regs(rcx=2, rdx=1 | info << 32, r8=GPA)
    assert not result.advance
    assert td.vcpus[0].rip == 0x7000
    assert td.vcpus[0].last_exit is LastExit.ASYNC_FAULT


def test_violations_of_accept_do_not_count_as_zero_steps() -> None:
    td = running()
    for _ in range(20):
        exit_of(call(td, ACCEPT, rcx=GPA))
        td.vp_enter(0, Regs())
    assert td.vcpus[0].epf_count == 0


#: RCX, GPAW
OPERANDS = [
    (GPA | 2, 48),
    (GPA | 7, 48),
    (GPA | 8, 48),
    (GPA | 0x800, 48),
    (GPA | 1 << 52, 48),
    (GPA | 1 << 63, 48),
    (GPA + PAGE | 1, 48),
    (GPA | SHARED, 48),
    (GPA | 1 << 48, 48),
    (GPA | 1 << 51, 48),
    (GPA | SHARED_52, 52),
    (GIB | 2, 52),
]


@pytest.mark.parametrize(("rcx", "gpaw"), OPERANDS)
def test_operand(rcx: int, gpaw: int) -> None:
    td = running(TdParams(gpaw=gpaw))
    assert status_of(call(td, ACCEPT, rcx=rcx)) == INVALID_RCX


def test_a_gpa_between_the_two_shared_bits_is_private_for_gpaw_52() -> None:
    td = running(TdParams(gpaw=52))
    assert td.page_aug(SHARED) == OK
    assert status_of(call(td, ACCEPT, rcx=SHARED)) == OK
    # The root of a five-level table is one level higher.
    assert exit_of(call(td, ACCEPT, rcx=1 << 50)).regs.rdx >> 35 & 7 == 4


@pytest.mark.parametrize(("level", "size"), [(LEVEL_4K, PAGE), (LEVEL_2M, MIB2)])
def test_the_page_is_cleared(level: int, size: int) -> None:
    td = running()
    td.page_aug(GPA, level)
    td.fake.write_gpa(GPA, b"left by the host")
    call(td, ACCEPT, rcx=GPA | level)
    assert td.fake.zeroed == [(GPA, size)]
    assert td.fake.read_gpa(GPA, 16) == bytes(16)
    assert td.td.sept.state(GPA + size - PAGE) is SeptState.MAPPED


def test_an_interrupt_stops_a_2m_accept_between_two_pages() -> None:
    td = running()
    pending_2m(td)
    for done in range(3):
        assert isinstance(call(td, ACCEPT, rcx=GPA | 1, interrupt_pending=True), Retry)
        assert td.fake.zeroed[-1] == (GPA + done * PAGE, PAGE)
        assert td.td.sept.state(GPA) is SeptState.PENDING
    assert status_of(call(td, ACCEPT, rcx=GPA | 1)) == OK
    assert td.fake.zeroed[-1] == (GPA + 3 * PAGE, MIB2 - 3 * PAGE)
    assert td.td.accepting == ()


def test_an_interrupt_at_the_last_page_comes_too_late() -> None:
    td = running()
    pending_2m(td)
    calls = 0
    while isinstance(result := call(td, ACCEPT, rcx=GPA | 1, interrupt_pending=True), Retry):
        calls += 1
    assert isinstance(result, Resume)
    assert calls == 511
    assert sum(size for _, size in td.fake.zeroed) == MIB2


def test_a_4k_accept_does_not_wait_for_interrupts() -> None:
    td = running()
    pending_4k(td)
    assert status_of(call(td, ACCEPT, rcx=GPA, interrupt_pending=True)) == OK


def test_an_accept_of_a_page_that_was_replaced_starts_anew() -> None:
    td = running()
    pending_2m(td)
    other = GPA + 8 * MIB2
    td.page_aug(other, LEVEL_2M)
    for page in (GPA, other):
        call(td, ACCEPT, rcx=page | 1, interrupt_pending=True)
    td.convert(GPA, MIB2, private=False)
    assert td.td.accepting == ((other, 1),)
    pending_2m(td)
    call(td, ACCEPT, rcx=GPA | 1)
    assert td.fake.zeroed[-1] == (GPA, MIB2)


SECOND = 1_000_000_000  # ticks at 40 * 25 MHz
TIMEOUT = 0x9000_0205_0000_0000


def test_a_page_that_the_host_holds_is_busy() -> None:
    td = running()
    pending_4k(td)
    td.lock_entry(GPA)
    before = call(td, ACCEPT, rcx=GPA, tsc=5)
    assert status_of(before) == BUSY | 1
    assert status_of(call(td, ACCEPT, rcx=GPA, tsc=4 + SECOND)) == BUSY | 1
    result = exit_of(call(td, ACCEPT, rcx=GPA, tsc=5 + SECOND))
    # 1.1: the host hears of it after HP_LOCK_TIMEOUT; the guest's RAX already says BUSY.
    assert result.vp_enter_ret == TIMEOUT
    assert result.regs == Regs()
    assert result.advance
    assert td.vcpus[0].regs.rax == BUSY | 1
    assert td.vcpus[0].last_exit is LastExit.ASYNC_TRAP
    td.unlock_entry(GPA)
    td.vp_enter(0, Regs())
    assert status_of(call(td, ACCEPT, rcx=GPA)) == OK


def test_any_other_answer_ends_the_wait_for_the_host() -> None:
    td = running()
    pending_4k(td)
    td.lock_entry(GPA)
    call(td, ACCEPT, rcx=GPA, tsc=0)
    call(td, 1)
    assert status_of(call(td, ACCEPT, rcx=GPA, tsc=2 * SECOND)) == BUSY | 1
