"""CPUID (facts: ghci_and_guest 3.7)."""

from __future__ import annotations

from typing import Any

import pytest

from tdxdbg.abi.cpuid import DEFAULT, EMULATED
from tdxdbg.module import InjectVe, Resume, TdParams, VeInfo
from tests.module.support import MARKED, OK, U64, Td, call, guest, running, status_of

CPUID = 10
TD_CTLS = 0x9110_0003_0000_0017
ENUM_TOPOLOGY, VIRT_CPUID2 = 2, 4

#: AVX at 576, an aligned AMX tile, and CET_S as a supervisor component.
XSAVE = {
    (0xD, 2): (256, 576, 0, 0),
    (0xD, 12): (24, 0, 1, 0),
    (0xD, 18): (8192, 2816, 2, 0),
}
VALUES = {
    **DEFAULT,
    **XSAVE,
    (0x0, 0): (0x23, 1, 2, 3),
    (0x1, 0): (0xA, 0xFF00_0B0B, 0x0800_0C0C, 0xD),
    (0x2, 0): (2, 2, 2, 2),
    (0x3, 0): (3, 33, 333, 3333),
    (0x4, 4): (4, 44, 444, 4444),
    (0x7, 0): (2, 0, 0x10, 0),
    (0x7, 1): (0x71, 0, 0x10, 0),
    (0xB, 1): (0xB, 0xBB, 0x201, 7),
    (0x23, 0): (0x23, 0x2323, 0, 0),
    (0x8000_0001, 0): (1, 1, 1, 0x0800),
}
PARAMS = TdParams(cpuid=VALUES, num_vcpus=3, max_vcpus=3, x2apic_ids=(0, 8, 0x110), xfam=0x6_18E7)


def ask(td: Td, leaf: int, sub_leaf: int = 0, vcpu: int = 0, **state: Any) -> object:
    """EAX to EDX, or the #VE."""
    regs = MARKED._replace(rax=leaf | 0xABCD << 32, rcx=sub_leaf | 0xABCD << 32)
    result = td.instruction(vcpu, guest(regs=regs, length=2, **state), CPUID)
    if not isinstance(result, Resume):
        return result
    assert result.regs._replace(rax=0, rbx=0, rcx=0, rdx=0) == MARKED._replace(
        rax=0, rbx=0, rcx=0, rdx=0
    )
    return result.regs.rax, result.regs.rbx, result.regs.rcx, result.regs.rdx


VE = InjectVe(VeInfo(CPUID, length=2))
ZERO = (0, 0, 0, 0)

LEAVES: list[tuple[int, int, object]] = [
    (0x0, 0, (0x23, 1, 2, 3)),
    (0x0, 9, (0x23, 1, 2, 3)),
    (0x3, 77, (3, 33, 333, 3333)),
    (0x4, 4, (4, 44, 444, 4444)),
    (0x4, 0, ZERO),
    (0x4, 5, VE),
    (0x5, 0, ZERO),
    (0x7, 1, (0x71, 0, 0x10, 0)),
    (0x7, 2, ZERO),
    (0x7, 3, VE),
    (0x8, 0, ZERO),
    (0xA, 0, ZERO),
    (0xD, 0x12, (8192, 2816, 2, 0)),
    (0xD, 0x13, VE),
    (0x14, 1, ZERO),
    (0x14, 2, VE),
    (0x1D, 1, ZERO),
    (0x1D, 2, VE),
    (0x23, 3, ZERO),
    (0x23, 4, VE),
    # in the table, but faulting; not in the table
    *((leaf, 0, VE) for leaf in (6, 0x1F, 0x8000_0006)),
    *((leaf, 0, VE) for leaf in (2, 9, 0xB, 0xC, 0xF, 0x10, 0x16, 0x17, 0x18, 0x1A, 0x1B)),
    *((leaf, 0, VE) for leaf in range(0x8000_0002, 0x8000_0006)),
    # the hypervisor's range
    *((leaf, 0, VE) for leaf in (0x4000_0000, 0x4000_0001, 0x4000_0100, 0x4FFF_FFFF)),
    # above the maximum of its range: the last base leaf
    *((leaf, 0, (0x23, 0x2323, 0, 0)) for leaf in (0x24, 0x3FFF_FFFF, 0x5000_0000, 0x7FFF_FFFF)),
    *((leaf, 0, (0x23, 0x2323, 0, 0)) for leaf in (0x8000_0009, 0xC000_0000, 0xFFFF_FFFF)),
    # "IntelTDX    "
    (0x21, 0, (0, 0x6574_6E49, 0x2020_2020, 0x5844_546C)),
    (0x21, 1, VE),
    (0x8000_0008, 0, (0x3034, 0, 0, 0)),
]


@pytest.mark.parametrize(("leaf", "sub_leaf", "expected"), LEAVES)
def test_leaf(leaf: int, sub_leaf: int, expected: object) -> None:
    assert ask(running(PARAMS), leaf, sub_leaf) == expected


@pytest.mark.parametrize("leaf", sorted(EMULATED))
def test_the_default_answers_every_leaf_that_a_module_answers(leaf: int) -> None:
    assert isinstance(ask(running(), leaf), tuple)


def test_the_default_is_what_a_tdx_guest_looks_for() -> None:
    td = running()
    assert ask(td, 0x21) == (0, 0x6574_6E49, 0x2020_2020, 0x5844_546C)
    maximum = ask(td, 0)
    assert isinstance(maximum, tuple)
    assert maximum[0] >= 0x21
    leaf_1 = ask(td, 1)
    assert isinstance(leaf_1, tuple)
    # HYPERVISOR, RDRAND, TSC_DEADLINE, x2APIC: facts emulated_vcpu 3
    assert leaf_1[2] & (1 << 31 | 1 << 30 | 1 << 24 | 1 << 21) == 0xC120_0000


OSXSAVE, PKE = 1 << 18, 1 << 22

#: leaf, sub-leaf, vCPU, the guest's state, register, value
DYNAMIC: list[tuple[int, int, int, dict[str, Any], int, int]] = [
    (1, 0, 0, {}, 1, 0x0000_0B0B),
    (1, 0, 2, {}, 1, 0x0200_0B0B),
    (1, 0, 0, {"cr4": 0}, 2, 0x0C0C),
    (1, 0, 0, {"cr4": OSXSAVE}, 2, 0x0800_0C0C),
    (7, 0, 0, {"cr4": 0}, 2, 0),
    (7, 0, 0, {"cr4": PKE}, 2, 0x10),
    (7, 1, 0, {"cr4": 0}, 2, 0x10),
    (0x8000_0001, 0, 0, {"is_64bit": True}, 3, 0x0800),
    (0x8000_0001, 0, 0, {"is_64bit": False}, 3, 0),
    # the XSAVE area that XCR0 needs; XCR0 | IA32_XSS, compacted
    (0xD, 0, 0, {"xcr0": 3}, 1, 576),
    (0xD, 0, 0, {"xcr0": 7}, 1, 832),
    (0xD, 0, 0, {"xcr0": 7 | 1 << 18}, 1, 11008),
    (0xD, 1, 0, {"xcr0": 3}, 1, 576),
    (0xD, 1, 0, {"xcr0": 7, "xss": 1 << 12}, 1, 856),
    (0xD, 1, 0, {"xcr0": 7 | 1 << 18, "xss": 1 << 12}, 1, 896 + 8192),
    (0xD, 0, 0, {"xcr0": 3 | 1 << 9}, 1, 576),
]


@pytest.mark.parametrize(("leaf", "sub_leaf", "vcpu", "state", "register", "value"), DYNAMIC)
def test_what_follows_the_guest(
    leaf: int, sub_leaf: int, vcpu: int, state: dict[str, Any], register: int, value: int
) -> None:
    values = ask(running(PARAMS), leaf, sub_leaf, vcpu, **state)
    assert isinstance(values, tuple)
    assert values[register] == value


#: CPUIDVE control, CPL, is every leaf a #VE
CPUIDVE = [(1, 0, True), (1, 3, False), (2, 0, False), (2, 3, True), (3, 1, True), (0, 3, False)]


@pytest.mark.parametrize(("control", "cpl", "expected"), CPUIDVE)
def test_a_guest_may_ask_for_a_ve_on_every_cpuid(control: int, cpl: int, expected: bool) -> None:
    td = running(PARAMS)
    call(td, 5, rcx=control)
    assert (ask(td, 0, cpl=cpl) == VE) is expected


def set_td_ctls(td: Td, bits: int) -> None:
    assert status_of(call(td, 8, rdx=TD_CTLS, r8=bits | 1, r9=U64)) == OK


def test_enum_topology() -> None:
    td = running(PARAMS)
    set_td_ctls(td, ENUM_TOPOLOGY)
    assert ask(td, 0xB, 1, vcpu=1) == (0xB, 0xBB, 0x201, 8)
    assert ask(td, 0xB, 2, vcpu=2) == (0, 0, 2, 0x110)
    assert ask(td, 0x1F, 0, vcpu=2) == (0, 0, 0, 0x110)
    # The initial APIC id has eight bits.
    leaf_1 = ask(td, 1, vcpu=2)
    assert isinstance(leaf_1, tuple)
    assert leaf_1[1] == 0x1000_0B0B


def test_virt_cpuid2() -> None:
    td = running(PARAMS)
    set_td_ctls(td, VIRT_CPUID2)
    assert ask(td, 2, 5) == (2, 2, 2, 2)
    assert ask(td, 0xB) == VE
