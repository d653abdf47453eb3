"""Memory accesses (facts: ghci_and_guest 3.1, 3.5, 3.6, 6.2, 6.3, kernel_exits 4.9)."""

from __future__ import annotations

import pytest

from tdxdbg.abi.regs import Regs
from tdxdbg.module import (
    FETCH,
    READ,
    SHARED_MISCONFIGURED,
    SHARED_MMIO,
    SHARED_RAM,
    WRITE,
    InjectFault,
    InjectVe,
    LastExit,
    Native,
    TdParams,
    VeInfo,
)
from tests.module.support import (
    MARKED,
    PAGE,
    PENDING_VE,
    SHARED,
    SHARED_52,
    Td,
    exit_of,
    guest,
    running,
)

GLA = 0xFFFF_8000_0000_0ABC
MAPPED = 0x10_0000
ABSENT = 0x20_0000
PENDING = 0x30_0000
BLOCKED = 0x40_0000
PENDING_BLOCKED = 0x50_0000
MMIO = 0xFEC0_0000
ALL = (READ, WRITE, FETCH)


def td_with_pages(params: TdParams | None = None) -> Td:
    td = Td(params)
    for gpa in (MAPPED, BLOCKED):
        td.page_add(gpa)
    td.range_block(BLOCKED)
    td.finalize()
    for gpa in (PENDING, PENDING_BLOCKED):
        td.page_aug(gpa)
    td.range_block(PENDING_BLOCKED)
    td.map_shared(MAPPED, PAGE, SHARED_RAM)
    td.map_shared(MMIO, PAGE, SHARED_MMIO)
    td.vp_enter(0, Regs())
    return td


@pytest.mark.parametrize("kind", ALL)
def test_a_mapped_private_page(kind: int) -> None:
    assert td_with_pages().access(0, guest(), MAPPED + 8, kind, GLA) == Native()


#: GPA, extended qualification type
PRIVATE_EXITS = [(ABSENT, 0), (BLOCKED, 0), (PENDING_BLOCKED, 0), (PENDING, 6)]


@pytest.mark.parametrize(("gpa", "ext"), PRIVATE_EXITS)
@pytest.mark.parametrize("kind", [*ALL, READ | WRITE])
def test_private_exit(gpa: int, ext: int, kind: int) -> None:
    td = td_with_pages()
    result = exit_of(td.access(0, guest(rip=0x4000, regs=MARKED), gpa + 0xABC, kind, GLA))
    # 6.2: offset in the page and bits 12:7 of the qualification are not shown.
    assert (result.vp_enter_ret, result.regs) == (48, Regs(rcx=kind, rdx=ext, r8=gpa))
    assert not result.advance
    vcpu = td.vcpus[0]
    assert (vcpu.regs, vcpu.rip, vcpu.last_exit) == (MARKED, 0x4000, LastExit.ASYNC_FAULT)


@pytest.mark.parametrize("kind", ALL)
def test_a_pending_page_is_a_ve_where_the_td_wants_it(kind: int) -> None:
    td = td_with_pages(PENDING_VE)
    result = td.access(0, guest(), PENDING + 8, kind, GLA)
    assert result == InjectVe(VeInfo(48, kind | 0x180, GLA, PENDING + 8))
    # ... and that one alone
    assert exit_of(td.access(0, guest(), ABSENT, kind, GLA)).regs.rdx == 0
    assert exit_of(td.access(0, guest(), PENDING_BLOCKED, kind, GLA)).regs.rdx == 0


@pytest.mark.parametrize("kind", [READ, WRITE])
def test_shared_ram(kind: int) -> None:
    assert td_with_pages().access(0, guest(), MAPPED | SHARED, kind, GLA) == Native()


def test_shared_ram_cannot_be_executed() -> None:
    result = exit_of(td_with_pages().access(0, guest(), MAPPED | SHARED, FETCH, GLA))
    assert result.regs == Regs(rcx=FETCH | 3 << 3, r8=MAPPED | SHARED)


@pytest.mark.parametrize("kind", ALL)
def test_a_shared_page_that_the_host_has_not_mapped(kind: int) -> None:
    result = exit_of(td_with_pages().access(0, guest(), ABSENT + 5 | SHARED, kind, GLA))
    assert (result.vp_enter_ret, result.regs) == (48, Regs(rcx=kind, r8=ABSENT | SHARED))


@pytest.mark.parametrize("kind", ALL)
def test_device_memory_is_a_ve_with_the_shared_bit(kind: int) -> None:
    td = td_with_pages()
    result = td.access(0, guest(length=3), MMIO + 0x10 | SHARED, kind, GLA)
    assert result == InjectVe(VeInfo(48, kind | 0x180, GLA, MMIO + 0x10 | SHARED))


def test_device_memory_before_ve_info_was_read() -> None:
    td = td_with_pages()
    td.access(0, guest(), MMIO | SHARED, READ, GLA)
    assert td.access(0, guest(), MMIO | SHARED, READ, GLA) == InjectFault(8, 0)


@pytest.mark.parametrize("kind", ALL)
def test_a_shared_entry_that_the_cpu_refuses_is_the_hosts_bug(kind: int) -> None:
    td = td_with_pages()
    td.map_shared(ABSENT, PAGE, SHARED_MISCONFIGURED)
    for result in (
        td.access(0, guest(), ABSENT + 8 | SHARED, kind, GLA),
        td.tdcall(0, guest(4, rcx=MAPPED, rdx=ABSENT | SHARED)),
    ):
        assert exit_of(result).vp_enter_ret == 49
        assert exit_of(result).regs == Regs(r8=ABSENT | SHARED)


def test_shared_faults_are_no_zero_steps() -> None:
    td = td_with_pages()
    for _ in range(10):
        td.access(0, guest(), ABSENT | SHARED, READ, GLA)
    assert td.vcpus[0].epf_count == 0


#: GPA, access, CPL, page-fault error code: P and RSVD, W, U, I
RESERVED = [
    (1 << 48, READ, 0, 0b01001),
    (1 << 51 | MAPPED, WRITE, 0, 0b01011),
    (SHARED | 1 << 50, FETCH, 0, 0b11001),
    (1 << 49, WRITE, 3, 0b01111),
    (1 << 49, READ, 1, 0b01001),
]


@pytest.mark.parametrize(("gpa", "kind", "cpl", "code"), RESERVED)
def test_bits_above_a_gpaw_of_48_are_a_page_fault(gpa: int, kind: int, cpl: int, code: int) -> None:
    result = td_with_pages().access(0, guest(cpl=cpl), gpa, kind, GLA)
    assert result == InjectFault(14, code, cr2=GLA)


def test_with_a_gpaw_of_52_these_bits_are_addresses() -> None:
    td = running(TdParams(gpaw=52))
    result = exit_of(td.access(0, guest(), SHARED | PAGE, READ, GLA))
    assert result.regs.r8 == SHARED | PAGE
    assert td.vcpus[0].epf_count == 1
    result = exit_of(td.access(0, guest(), SHARED_52 | PAGE, READ, GLA))
    assert result.regs.r8 == SHARED_52 | PAGE
    assert td.vcpus[0].epf_count == 1
