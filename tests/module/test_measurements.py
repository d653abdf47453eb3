"""TDG.MR.REPORT and TDG.MR.RTMR.EXTEND (facts: ghci_and_guest 1.2)."""

from __future__ import annotations

from hashlib import sha384

import pytest

from tdxdbg.abi.regs import Regs
from tdxdbg.module import (
    SHARED_MMIO,
    SHARED_RAM,
    InjectVe,
    LastExit,
    Retry,
    TdParams,
    VeInfo,
)
from tdxdbg.module.mr_report import EMULATED_MAC
from tests.module.support import (
    INVALID_R8,
    INVALID_RCX,
    INVALID_RDX,
    OK,
    PAGE,
    SHARED,
    Td,
    call,
    exit_of,
    status_of,
)

EXTEND, REPORT = 2, 4
DATA = 0x10_0000
PAGE_2 = DATA + PAGE
DIGEST = bytes(range(48))
USER = bytes(range(64, 128))
ONES = b"\x11" * 48


def with_pages(params: TdParams | None = None) -> Td:
    """Two accepted pages, and a shared one at the same GPA as the first."""
    td = Td(params)
    td.map_private(DATA, 2 * PAGE)
    td.map_shared(DATA, PAGE, SHARED_RAM)
    td.finalize()
    td.vp_enter(0, Regs())
    td.fake.write_gpa(DATA, DIGEST)
    td.fake.write_gpa(DATA + 64, USER)
    td.fake.write_gpa(DATA + 64 | SHARED, USER[::-1])
    return td


@pytest.mark.parametrize("index", range(4))
def test_extend(index: int) -> None:
    td = with_pages()
    assert status_of(call(td, EXTEND, rcx=DATA, rdx=index)) == OK
    once = sha384(bytes(48) + DIGEST).digest()
    assert td.td.rtmrs[index] == once
    assert status_of(call(td, EXTEND, rcx=DATA, rdx=index)) == OK
    assert td.td.rtmrs[index] == sha384(once + DIGEST).digest()
    assert [n for n in range(4) if td.td.rtmrs[n] != bytes(48)] == [index]


@pytest.mark.parametrize(
    ("rcx", "rdx", "status"),
    [
        (DATA + 32, 0, INVALID_RCX),
        (DATA + 1, 4, INVALID_RCX),
        (DATA | SHARED, 0, INVALID_RCX),
        (DATA | 1 << 48, 0, INVALID_RCX),
        (DATA, 4, INVALID_RDX),
        (DATA, 1 << 63, INVALID_RDX),
    ],
)
def test_extend_operands(rcx: int, rdx: int, status: int) -> None:
    td = with_pages()
    assert status_of(call(td, EXTEND, rcx=rcx, rdx=rdx)) == status
    assert td.td.rtmrs == (bytes(48),) * 4


def report_of(td: Td, **registers: int) -> bytes:
    assert status_of(call(td, REPORT, rcx=PAGE_2 + 1024, **registers)) == OK
    return td.fake.read_gpa(PAGE_2 + 1024, 1024)


def test_report_layout() -> None:
    params = TdParams(mrtd=ONES, mrconfigid=b"c" * 48, mrowner=b"o" * 48, mrownerconfig=b"C" * 48)
    td = with_pages(params)
    call(td, EXTEND, rcx=DATA, rdx=2)
    report = report_of(td, rdx=DATA + 64)
    info = report[512:]
    expected = {
        "type": (report[:4], b"\x81\0\0\0"),
        "reserved, CPUSVN": (report[4:32], bytes(28)),
        "TEE_TCB_INFO_HASH": (report[32:80], sha384(bytes(239)).digest()),
        "TEE_INFO_HASH": (report[80:128], sha384(info).digest()),
        "REPORTDATA": (report[128:192], USER),
        "reserved": (report[192:224], bytes(32)),
        "MAC": (report[224:256], EMULATED_MAC),
        "TEE_TCB_INFO, reserved": (report[256:512], bytes(256)),
        "ATTRIBUTES": (info[:8], (1 << 28).to_bytes(8, "little")),
        "XFAM": (info[8:16], (3).to_bytes(8, "little")),
        "MRTD": (info[16:64], ONES),
        "MRCONFIGID": (info[64:112], b"c" * 48),
        "MROWNER": (info[112:160], b"o" * 48),
        "MROWNERCONFIG": (info[160:208], b"C" * 48),
        "RTMR": (info[208:400], b"".join(td.td.rtmrs)),
        "SERVTD_HASH, reserved": (info[400:], bytes(112)),
    }
    assert {name for name, (found, wanted) in expected.items() if found != wanted} == set()
    assert len(report) == 1024


def test_a_report_is_known_as_emulated() -> None:
    assert len(EMULATED_MAC) == 32
    assert b"emulated" in report_of(with_pages(), rdx=DATA + 64)[224:256]


def test_report_data_may_be_shared_and_so_may_the_report() -> None:
    td = with_pages()
    assert report_of(td, rdx=DATA + 64 | SHARED)[128:192] == USER[::-1]
    assert status_of(call(td, REPORT, rcx=DATA | SHARED, rdx=DATA + 64)) == OK
    assert td.fake.read_gpa(DATA | SHARED, 4) == b"\x81\0\0\0"


@pytest.mark.parametrize(
    ("rcx", "rdx", "r8", "status"),
    [
        (PAGE_2 + 512, DATA, 0, INVALID_RCX),
        (PAGE_2 + 512, DATA + 1, 1, INVALID_RCX),
        (PAGE_2, DATA + 32, 1, INVALID_RDX),
        (PAGE_2, DATA | 1 << 48, 1, INVALID_RDX),
        (PAGE_2 | 1 << 48, DATA, 1, INVALID_R8),
        (PAGE_2, DATA, 1, INVALID_R8),
        (PAGE_2, DATA, 0x100, INVALID_R8),
        (PAGE_2 | 1 << 48, DATA, 0, INVALID_RCX),
    ],
)
def test_report_operands_in_order(rcx: int, rdx: int, r8: int, status: int) -> None:
    assert status_of(call(with_pages(), REPORT, rcx=rcx, rdx=rdx, r8=r8)) == status


def test_an_interrupt_comes_between_the_hash_and_the_report() -> None:
    td = with_pages()
    operands = {"rcx": PAGE_2, "rdx": DATA}
    assert isinstance(call(td, REPORT, interrupt_pending=True, **operands), Retry)
    # The hash is there now, so the next try gets through.
    assert status_of(call(td, REPORT, interrupt_pending=True, **operands)) == OK
    call(td, EXTEND, rcx=DATA, rdx=0)
    assert isinstance(call(td, REPORT, interrupt_pending=True, **operands), Retry)


ABSENT = 0x20_0000
PENDING = 0x20_1000
BLOCKED = 0x20_2000
MMIO = 0x20_3000 | SHARED
UNMAPPED = 0x20_4000 | SHARED


def with_trouble(*, pending_ve: bool = False) -> Td:
    td = Td(TdParams(attributes=0) if pending_ve else TdParams())
    td.map_private(DATA, 2 * PAGE)
    td.map_private(BLOCKED, PAGE)
    td.range_block(BLOCKED)
    td.finalize()
    td.page_aug(PENDING)
    td.map_shared(MMIO & ~SHARED, PAGE, SHARED_MMIO)
    td.vp_enter(0, Regs())
    return td


#: GPA, extended qualification type
EXITS = [(ABSENT, 0), (BLOCKED, 0), (PENDING, 6), (UNMAPPED, 0)]


@pytest.mark.parametrize(("gpa", "kind"), EXITS)
def test_an_operand_that_is_not_there_is_an_ept_violation(gpa: int, kind: int) -> None:
    td = with_trouble()
    result = exit_of(call(td, REPORT, rcx=DATA, rdx=gpa + 64, rip=0x9000))
    assert (result.vp_enter_ret, result.regs) == (48, Regs(rcx=1, rdx=kind, r8=gpa))
    assert td.vcpus[0].rip == 0x9000
    assert td.vcpus[0].last_exit is LastExit.ASYNC_FAULT
    # The report itself is written: a read and a write.
    td.vp_enter(0, Regs())
    result = exit_of(call(td, REPORT, rcx=gpa, rdx=DATA))
    assert (result.vp_enter_ret, result.regs) == (48, Regs(rcx=3, rdx=kind, r8=gpa))


def test_an_operand_that_is_device_memory_is_a_ve() -> None:
    result = call(with_trouble(), REPORT, rcx=DATA, rdx=MMIO)
    assert result == InjectVe(VeInfo(48, 1, gpa=MMIO))


def test_a_pending_operand_is_a_ve_where_the_td_wants_it() -> None:
    td = with_trouble(pending_ve=True)
    assert call(td, EXTEND, rcx=PENDING, rdx=0) == InjectVe(VeInfo(48, 1, gpa=PENDING))


def test_an_absent_digest_is_an_ept_violation() -> None:
    result = exit_of(call(with_trouble(), EXTEND, rcx=ABSENT, rdx=9))
    assert (result.vp_enter_ret, result.regs) == (48, Regs(rcx=1, r8=ABSENT))
