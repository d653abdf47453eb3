"""TDH.VP.ENTER and TD exits that are no instruction (facts: ghci_and_guest 6.1 to 6.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tdxdbg.abi.regs import Regs
from tdxdbg.module import (
    READ,
    Entered,
    Host,
    InjectVe,
    LastExit,
    Native,
    TdParams,
    Trouble,
    VeInfo,
)
from tests.module.support import (
    BUSY,
    INVALID_RCX,
    MARKED,
    OK,
    PAGE,
    PENDING_VE,
    U64,
    Td,
    call,
    exit_of,
    guest,
    running,
    state_of,
    status_of,
)

GPA = 0x10_0000
HOST_REGS = Regs(r10=1, r11=2)
HINT = 1 << 52

#: 6.4: what is wrong, in the order of the checks; the status
TROUBLES = [
    (Host(trouble=Trouble.BOOT_NT4), 0xC000_0901_0000_0000),
    (Host(rcx=1), INVALID_RCX),
    (Host(rcx=1 << 54), INVALID_RCX),
    (Host(rcx=1 << 63), INVALID_RCX),
    (Host(trouble=Trouble.TDVPR_BUSY), BUSY | 1),
    (Host(trouble=Trouble.TDR_BUSY), BUSY | 128),
    (Host(trouble=Trouble.KEYS_NOT_CONFIGURED), 0x8000_0810_0000_0000),
    (Host(trouble=Trouble.OP_STATE_BUSY), BUSY | 172),
    (Host(trouble=Trouble.ASSOCIATED_ELSEWHERE), 0x8000_0701_0000_0000),
    (Host(rcx=HINT), INVALID_RCX),
    (Host(rcx=1 << 53), INVALID_RCX),
    (Host(trouble=Trouble.TSC_ADJUST_CHANGED), 0xC000_0920_0000_003B),
    (Host(tsc=999), 0xC000_0706_0000_0000),
    (Host(trouble=Trouble.MONITOR_FSM_OFF), 0xC000_0921_0000_01A0),
    (Host(trouble=Trouble.TD_EPOCH_BUSY), BUSY | 169),
]


@pytest.mark.parametrize(("host", "status"), TROUBLES)
def test_a_refused_entry_changes_nothing(host: Host, status: int) -> None:
    td = running()
    call(td, 0, rcx=0xFFCC, tsc=1000)
    before = state_of(td)
    result = exit_of_entry(td, host)
    assert (result.vp_enter_ret, result.regs) == (status, HOST_REGS)
    assert state_of(td) == before


def exit_of_entry(td: Td, host: Host) -> Any:
    result = td.vp_enter(0, HOST_REGS, host)
    assert not isinstance(result, Entered)
    return result


def test_the_first_check_that_fails_decides() -> None:
    td = running()
    call(td, 0, rcx=0xFFCC, tsc=1000)
    merged = Host()
    for host, status in reversed(TROUBLES):
        tsc = merged.tsc if host.tsc is None else host.tsc
        merged = Host(merged.rcx | host.rcx, tsc, merged.trouble | host.trouble)
        assert exit_of_entry(td, merged).vp_enter_ret == status


@pytest.mark.parametrize("host", [Host(), Host(rcx=0x000F_FFFF_FFFF_F000), Host(tsc=1000)])
def test_entry(host: Host) -> None:
    td = running()
    td.tdcall(0, guest(regs=MARKED._replace(rax=0, rcx=0x0C00), tsc=1000))
    expected = MARKED._replace(rax=0, rcx=0x0C00, r10=1, r11=2)
    assert td.vp_enter(0, HOST_REGS, host) == Entered(expected)
    assert td.vcpus[0].last_exit is LastExit.NONE


def test_a_td_runs_only_after_finalization() -> None:
    td = Td()
    assert exit_of_entry(td, Host()).vp_enter_ret == 0xC000_0608_0000_0000
    td.start(0, MARKED, 0xFFFF_FFF0)
    td.finalize()
    assert td.vp_enter(0, HOST_REGS) == Entered(MARKED)
    assert td.vcpus[0].rip_on_entry == 0xFFFF_FFF0


def test_after_an_asynchronous_exit_the_guest_gets_its_own_registers_back() -> None:
    td = running()
    td.event(0, guest(regs=MARKED), 1, intr_info=0x8000_00EC)
    assert td.vp_enter(0, HOST_REGS) == Entered(MARKED)


def test_the_hint_tells_the_guest_that_the_host_held_the_page() -> None:
    td = running()
    td.page_aug(GPA)
    td.lock_entry(GPA)
    call(td, 6, rcx=GPA, tsc=0)
    call(td, 6, rcx=GPA, tsc=1 << 40)
    entered = td.vp_enter(0, HOST_REGS, Host(rcx=HINT))
    assert entered == Entered(Regs(rax=BUSY | 1 | 1 << 60, rcx=GPA))


# --- events -------------------------------------------------------------------------------

EXT = 0x8000_00EC
NMI = 0x8000_0202
MC = 0x8000_0312
PF = 0x8000_0B0E
DEBUG = TdParams(attributes=1)
NMI_REASON, INTERRUPT, TRIPLE, INIT, SMI, TASK, C_SMI, BUS_LOCK, NOTIFY = (
    0,
    1,
    2,
    3,
    6,
    9,
    42,
    74,
    75,
)

#: parameters, reason, qualification, interruption information, RAX, RCX, R9
EVENTS = [
    (TdParams(), INTERRUPT, 0, EXT, 0x1, 0, EXT),
    (TdParams(), NMI_REASON, 0, NMI, 0x0, 0, NMI),
    (TdParams(), NMI_REASON, 0, MC, 0x6000_0005_0000_0000, 0, MC),
    (TdParams(), TRIPLE, 5, EXT, 0x4000_0001_0000_0002, 5, 0),
    (TdParams(), INIT, 5, 0, 0x3, 5, 0),
    (TdParams(), SMI, 0, 7, 0x6, 0, 7),
    (TdParams(), SMI, 1, 7, 0x6000_0005_0000_0006, 1, 7),
    (TdParams(), C_SMI, 2, 7, 0x2A, 2, 7),
    (TdParams(), TASK, 5, 7, 0x9, 5, 0),
    (TdParams(), BUS_LOCK, 0, 0, 0x4A, 0, 0),
    (TdParams(), NOTIFY, 2, 0, 0x4B, 2, 0),
    (TdParams(), NOTIFY, 1, 0, 0x6000_0002_0000_004B, 1, 0),
    # what does not happen to a production TD, and what a debug TD may do
    (TdParams(), NMI_REASON, 0, PF, 0x6000_0002_0000_0000, 0, 0),
    (DEBUG, NMI_REASON, 0, PF, 0x0, 0, PF),
    (TdParams(), 16, 3, 0, 0x6000_0002_0000_0010, 3, 0),
    (DEBUG, 16, 3, 9, 0x10, 3, 0),
]


@pytest.mark.parametrize(("params", "reason", "qual", "info", "rax", "rcx", "r9"), EVENTS)
def test_event(
    params: TdParams, reason: int, qual: int, info: int, rax: int, rcx: int, r9: int
) -> None:
    td = running(params)
    result = td.event(0, guest(regs=MARKED, rip=0x6000), reason, qual, info)
    assert (result.vp_enter_ret, result.regs) == (rax, Regs(rcx=rcx, r9=r9))
    assert not result.advance
    assert (td.vcpus[0].rip, td.vcpus[0].regs) == (0x6000, MARKED)
    again = td.vp_enter(0, HOST_REGS)
    if rax >> 32 == 0:
        assert again == Entered(MARKED)
    else:
        # 6.1: TD_FATAL for a dead TD, VCPU_STATE_INCORRECT for a dead vCPU
        dead = 0xC000_0700_0000_0000 if reason == TRIPLE else 0xE000_0604_0000_0000
        assert exit_of_entry(td, Host()).vp_enter_ret == dead


def test_a_triple_fault_stops_one_vcpu_alone() -> None:
    td = running(TdParams(num_vcpus=2, max_vcpus=2))
    td.event(0, guest(), TRIPLE)
    assert isinstance(td.vp_enter(1, HOST_REGS), Entered)


# --- zero-step detection ------------------------------------------------------------------


def fault(td: Td, rip: int = 0x1000, gpa: int = GPA) -> Any:
    result = exit_of(td.access(0, guest(rip=rip), gpa, READ, 0x8))
    entered = td.vp_enter(0, HOST_REGS)
    return result, entered


def test_the_seventh_fault_at_one_place_ends_in_a_fake_one() -> None:
    td = running()
    for _ in range(6):
        _, entered = fault(td)
        assert isinstance(entered, Entered)
    result, entered = fault(td, gpa=GPA + 0x123)
    assert result.regs.r8 == GPA
    # 6.3: entry refused, RCX exactly 2, the GPA from the log
    assert (entered.vp_enter_ret, entered.regs) == (48, Regs(rcx=2, r8=GPA))
    assert exit_of_entry(td, Host()).vp_enter_ret == 48
    td.page_aug(GPA)
    # PENDING, and the TD wants no #VE for it: the access would still fault.
    assert exit_of_entry(td, Host()).regs == Regs(rcx=2, r8=GPA)
    td.convert(GPA, PAGE, private=False)
    td.td.sept = td.td.sept.with_leaf(GPA, 0, td.td.sept.state(GPA).MAPPED)
    assert isinstance(td.vp_enter(0, HOST_REGS), Entered)
    assert td.access(0, guest(rip=0x1000), GPA, READ, 0) == Native()


def test_a_page_that_gives_a_ve_is_no_fault_any_more() -> None:
    td = running(PENDING_VE)
    for _ in range(7):
        fault(td)
    assert exit_of_entry(td, Host()).vp_enter_ret == 48
    td.page_aug(GPA)
    assert isinstance(td.vp_enter(0, HOST_REGS), Entered)


@pytest.mark.parametrize("stop", ["tdcall", "instruction", "access", "event"])
def test_progress_clears_the_count(stop: str) -> None:
    td = running()
    for _ in range(7):
        fault(td)
    vcpu = td.vcpus[0]
    assert (vcpu.epf_count, vcpu.epf_gpas) == (6, (GPA,))
    elsewhere = guest(1, rip=0x2000)
    stops: dict[str, Callable[[], object]] = {
        "tdcall": lambda: td.tdcall(0, elsewhere),
        "instruction": lambda: td.instruction(0, elsewhere, 10),
        "access": lambda: td.access(0, elsewhere, 1 << 48, READ, 0),
        "event": lambda: td.event(0, elsewhere, 1),
    }
    stops[stop]()
    assert (vcpu.epf_count, vcpu.epf_gpas) == (0, ())


def test_faults_at_different_places_do_not_add_up() -> None:
    td = running()
    for n in range(20):
        _, entered = fault(td, rip=0x1000 + 4 * n)
        assert isinstance(entered, Entered)
    assert td.vcpus[0].epf_count == 1


def test_every_gpa_is_remembered_once_and_at_most_32_of_them() -> None:
    td = running()
    for _ in range(6):
        fault(td)
    for n in range(40):
        for _ in range(2):
            td.access(0, guest(rip=0x1000), GPA + n * PAGE, READ, 0)
    assert td.vcpus[0].epf_gpas == tuple(GPA + n * PAGE for n in range(32))


def test_the_sept_tree_may_be_busy() -> None:
    td = running()
    busy = Host(trouble=Trouble.SEPT_TREE_BUSY)
    # Without a suspicion nobody asks for the lock.
    assert isinstance(td.vp_enter(0, HOST_REGS, busy), Entered)
    for _ in range(7):
        fault(td)
    result = exit_of_entry(td, busy)
    assert (result.vp_enter_ret, result.regs) == (BUSY | 146, HOST_REGS)


def suspected(td: Td) -> None:
    """Seven faults, the page there in the end, NOTIFY_ENABLES set."""
    field = 0x9110_0003_0000_0010
    assert status_of(call(td, 8, rip=0x1000, rdx=field, r8=1, r9=U64)) == OK
    for _ in range(7):
        fault(td)
    td.td.sept = td.td.sept.with_leaf(GPA, 0, td.td.sept.state(GPA).MAPPED)


def test_the_guest_is_told_if_it_asked_for_it() -> None:
    td = running()
    suspected(td)
    assert td.vp_enter(0, HOST_REGS) == Entered(Regs(), InjectVe(VeInfo(48, gpa=GPA)))
    assert td.vcpus[0].ve_info == VeInfo(48, gpa=GPA)


def test_the_guest_is_not_told_while_ve_info_is_full() -> None:
    td = running()
    suspected(td)
    td.vcpus[0].ve_info = VeInfo(12)
    assert td.vp_enter(0, HOST_REGS) == Entered(Regs())


def test_the_guest_is_not_told_after_a_tdvmcall() -> None:
    td = running()
    suspected(td)
    td.vp_enter(0, HOST_REGS)
    call(td, 3, rip=0x1000)
    call(td, 0, rip=0x1000, rcx=0xFFCC)
    entered = td.vp_enter(0, HOST_REGS)
    assert isinstance(entered, Entered)
    assert entered.inject is None
