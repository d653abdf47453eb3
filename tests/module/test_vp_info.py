"""TDG.VP.INFO, VEINFO.GET, CPUIDVE.SET (facts: ghci_and_guest 1.2, 3.6)."""

from __future__ import annotations

import pytest

from tdxdbg.module import InjectFault, InjectVe, TdParams, VeInfo
from tests.module.support import (
    INVALID_RCX,
    MARKED,
    OK,
    U64,
    call,
    guest,
    outputs,
    running,
    status_of,
)

NO_VALID_VE_INFO = 0xC000_0704_0000_0000
HLT = 12
IO = 30
DF = InjectFault(8, 0)

INFO = [
    (TdParams(), 0, {"rcx": 48, "rdx": 1 << 28, "r8": 0x1_0000_0001, "r9": 0}),
    (TdParams(gpaw=52, attributes=0), 0, {"rcx": 52, "rdx": 0, "r8": 0x1_0000_0001, "r9": 0}),
    (
        TdParams(num_vcpus=3, max_vcpus=7),
        2,
        {"rcx": 48, "rdx": 1 << 28, "r8": 0x7_0000_0003, "r9": 2},
    ),
]


@pytest.mark.parametrize(("params", "vcpu", "expected"), INFO)
def test_vp_info(params: TdParams, vcpu: int, expected: dict[str, int]) -> None:
    before = MARKED._replace(rax=1)
    result = running(params).tdcall(vcpu, guest(regs=before))
    assert status_of(result) == OK
    # R10 bit 0: TDG.SYS.RD is there.
    assert outputs(before, result) == {**expected, "r10": 1, "r11": 0}


def test_ve_info_is_handed_out_once() -> None:
    td = running()
    regs = MARKED._replace(rax=3)
    qualification = 0x3F8_0008
    given = td.instruction(0, guest(length=2), IO, qualification, info=0x100)
    assert given == InjectVe(VeInfo(IO, qualification, length=2, info=0x100))
    first = td.tdcall(0, guest(regs=regs))
    assert status_of(first) == OK
    assert outputs(regs, first) == {
        "rcx": IO,
        "rdx": qualification,
        "r8": 0,
        "r9": 0,
        "r10": 0x100_0000_0002,
    }
    again = td.tdcall(0, guest(regs=regs))
    assert status_of(again) == NO_VALID_VE_INFO
    assert outputs(regs, again) == {"rcx": 0, "rdx": 0, "r8": 0, "r9": 0, "r10": 0}


def test_a_second_ve_before_the_first_was_read_is_a_double_fault() -> None:
    td = running()
    assert isinstance(td.instruction(0, guest(length=1), HLT), InjectVe)
    assert td.instruction(0, guest(length=1), HLT) == DF
    # What the first one said stays.
    assert td.vcpus[0].ve_info == VeInfo(HLT, length=1)
    call(td, 3)
    assert isinstance(td.instruction(0, guest(length=1), HLT), InjectVe)


def test_ve_info_is_per_vcpu() -> None:
    td = running(TdParams(num_vcpus=2, max_vcpus=2))
    td.instruction(0, guest(length=1), HLT)
    assert status_of(call(td, 3, vcpu=1)) == NO_VALID_VE_INFO
    assert status_of(call(td, 3, vcpu=0)) == OK


def test_an_nmi_waits_until_ve_info_was_read() -> None:
    td = running()
    assert not td.take_nmi(0)
    td.pend_nmi(0)
    td.instruction(0, guest(length=1), HLT)
    assert not td.take_nmi(0)
    call(td, 3)
    assert td.take_nmi(0)
    assert not td.take_nmi(0)


@pytest.mark.parametrize(
    ("control", "status", "flags"),
    [
        (0, OK, (False, False)),
        (1, OK, (True, False)),
        (2, OK, (False, True)),
        (3, OK, (True, True)),
        (4, INVALID_RCX, (False, False)),
        (1 << 63, INVALID_RCX, (False, False)),
        (U64, INVALID_RCX, (False, False)),
    ],
)
def test_cpuidve_set(control: int, status: int, flags: tuple[bool, bool]) -> None:
    td = running()
    assert status_of(call(td, 5, rcx=control)) == status
    assert (td.vcpus[0].cpuid_supervisor_ve, td.vcpus[0].cpuid_user_ve) == flags
