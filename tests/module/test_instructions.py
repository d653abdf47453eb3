"""What each instruction becomes (facts: ghci_and_guest 3.5, 3.6)."""

from __future__ import annotations

from typing import Any

import pytest

from tdxdbg.module import (
    InjectFault,
    InjectVe,
    Native,
    TdParams,
    VeInfo,
    cr_qualification,
    io_qualification,
    string_io_information,
)
from tests.module.support import guest, running

GP = InjectFault(13, 0)
UD = InjectFault(6)
NATIVE = Native()
PERFMON = TdParams(attributes=1 << 63)

#: exit reason, length in bytes
VES = {
    "HLT": (12, 1),
    "INVD": (13, 2),
    "VMCALL": (18, 3),
    "IO_INSTRUCTION": (30, 1),
    "MWAIT": (36, 3),
    "MONITOR": (39, 3),
    "WBINVD": (54, 2),
    "APIC_WRITE": (56, 2),
    "PCONFIG": (65, 3),
}


@pytest.mark.parametrize(("reason", "length"), VES.values(), ids=VES)
def test_ve(reason: int, length: int) -> None:
    result = running().instruction(0, guest(length=length), reason, 0x1234, info=0x5678)
    assert result == InjectVe(VeInfo(reason, 0x1234, 0, 0, length, 0x5678))


#: GETSEC, RSM, VMX instructions, INVEPT, INVVPID, VMFUNC, ENCLS, ENCLV, ENQCMDS, SEAMCALL
UNDEFINED = [11, *range(17, 18), *range(19, 28), 50, 53, 59, 60, 70, 73, 76]


@pytest.mark.parametrize("reason", UNDEFINED)
@pytest.mark.parametrize("cpl", [0, 3])
def test_undefined(reason: int, cpl: int) -> None:
    td = running()
    assert td.instruction(0, guest(cpl=cpl), reason) == UD
    assert td.vcpus[0].ve_info is None


def test_enqcmd() -> None:
    assert running().instruction(0, guest(), 72) == GP


#: exit reason, what it is at CPL 3
PRIVILEGED = [
    (12, GP),
    (13, GP),
    (54, GP),
    (65, GP),
    (55, GP),
    (28, GP),
    (31, GP),
    (32, GP),
    (36, UD),
    (39, UD),
]


@pytest.mark.parametrize(("reason", "fault"), PRIVILEGED)
def test_the_cpu_checks_the_privilege_first(reason: int, fault: InjectFault) -> None:
    td = running()
    assert td.instruction(0, guest(cpl=3), reason) == fault
    assert td.vcpus[0].ve_info is None


@pytest.mark.parametrize("reason", [18, 30])
def test_ring_3_gets_a_ve_for_what_needs_no_privilege(reason: int) -> None:
    assert isinstance(running().instruction(0, guest(cpl=3), reason), InjectVe)


@pytest.mark.parametrize(("params", "result"), [(TdParams(), GP), (PERFMON, NATIVE)])
def test_rdpmc(params: TdParams, result: object) -> None:
    assert running(params).instruction(0, guest(), 15) == result


@pytest.mark.parametrize("reason", [14, 16, 29, 40, 51, 57, 58, 61, 63, 64, 67, 68])
def test_what_no_td_stops_at_is_native(reason: int) -> None:
    assert running().instruction(0, guest(cpl=3), reason) == NATIVE


IN, STRING, REP, IMMEDIATE = 8, 16, 32, 64

#: port, size, flags, qualification: [2:0] size - 1, [3] IN, [4] string, [5] REP,
#: [6] immediate, [31:16] port
IO = [
    (0x3F8, 1, 0, 0x03F8_0000),
    (0x3FD, 1, IN, 0x03FD_0008),
    (0xCF8, 4, 0, 0x0CF8_0003),
    (0x70, 1, IMMEDIATE, 0x0070_0040),
    (0x1F0, 2, IN | STRING | REP, 0x01F0_0039),
    (0xFFFF, 4, STRING, 0xFFFF_0013),
]


@pytest.mark.parametrize(("port", "size", "flags", "qualification"), IO)
def test_io_qualification(port: int, size: int, flags: int, qualification: int) -> None:
    assert io_qualification(port, size, flags) == qualification


@pytest.mark.parametrize(
    ("bits", "segment", "info"), [(16, 0, 0), (32, 3, 0x1_8080), (64, 5, 0x2_8100)]
)
def test_string_io_information(bits: int, segment: int, info: int) -> None:
    assert string_io_information(bits, segment) == info


# --- control registers ------------------------------------------------------------------

CR0 = 0x8005_0033
CR4 = 0x660
PE, NE, WP, NW, CD, PG = 1, 1 << 5, 1 << 16, 1 << 29, 1 << 30, 1 << 31
MCE, VMXE, SMXE, KL, PKE, CET, PKS, UINTR = (1 << n for n in (6, 13, 14, 19, 22, 23, 24, 25))
PKRU_XFAM, CET_XFAM, UINTR_XFAM = 1 << 9, 3 << 11, 1 << 14
VE = "#VE"

#: register, value, parameters, guest's state, result
CR: list[tuple[int, int, dict[str, Any], dict[str, Any], object]] = [
    (0, CR0, {}, {}, NATIVE),
    (0, CR0 & ~WP, {}, {}, NATIVE),
    (0, CR0 & ~NE, {}, {}, VE),
    (0, CR0 & ~PE & ~PG, {}, {}, VE),
    (0, CR0 | CD, {}, {}, VE),
    (0, CR0 | CD | NW, {}, {}, VE),
    # illegal for the CPU
    (0, CR0 | NW, {}, {}, GP),
    (0, CR0 & ~PE, {}, {}, GP),
    (0, CR0 | 1 << 32, {}, {}, GP),
    (0, CR0 & ~WP, {}, {"cr4": CR4 | CET}, GP),
    (0, CR0, {}, {"cr4": CR4 | CET}, NATIVE),
    (4, CR4, {}, {}, NATIVE),
    (4, CR4 & ~MCE, {}, {}, VE),
    (4, CR4 | VMXE, {}, {}, VE),
    (4, CR4 | SMXE, {}, {}, VE),
    (4, CR4 | 1 << 15, {}, {}, GP),
    (4, CR4 | 1 << 32, {}, {}, GP),
    (4, CR4 | 1 << 63, {}, {}, GP),
    # outside XFAM or ATTRIBUTES
    (4, CR4 | PKE, {}, {}, GP),
    (4, CR4 | PKE, {"xfam": 3 | PKRU_XFAM}, {}, NATIVE),
    (4, CR4 | CET, {}, {}, GP),
    (4, CR4 | CET, {"xfam": 3 | CET_XFAM}, {}, NATIVE),
    (4, CR4 | CET, {"xfam": 3 | CET_XFAM}, {"cr0": CR0 & ~WP}, GP),
    (4, CR4 | UINTR, {}, {}, GP),
    (4, CR4 | UINTR, {"xfam": 3 | UINTR_XFAM}, {}, NATIVE),
    (4, CR4 | PKS, {}, {}, GP),
    (4, CR4 | PKS, {"attributes": 1 << 30}, {}, NATIVE),
    (4, CR4 | KL, {"xfam": 3, "attributes": 1 << 30}, {}, GP),
    # a 32-bit MOV has no upper half
    (0, CR0 | 1 << 32, {}, {"is_64bit": False}, NATIVE),
    # the others are the guest's
    (3, 1 << 63, {}, {}, NATIVE),
    (8, 15, {}, {}, NATIVE),
]


@pytest.mark.parametrize(("register", "value", "params", "state", "result"), CR)
@pytest.mark.parametrize("gpr", ["rax", "rsp", "r15"])
def test_mov_to_cr(
    register: int,
    value: int,
    params: dict[str, Any],
    state: dict[str, Any],
    result: object,
    gpr: str,
) -> None:
    number = {"rax": 0, "rsp": 4, "r15": 15}[gpr]
    qualification = cr_qualification(register, number)
    td = running(TdParams(**params))
    found = td.instruction(0, guest(length=3, **{gpr: value}, **state), 28, qualification)
    if result == VE:
        assert found == InjectVe(VeInfo(28, qualification, length=3))
    else:
        assert found == result


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_mov_from_cr_clts_and_lmsw_are_native(kind: int) -> None:
    qualification = cr_qualification(0, 0, kind)
    assert running().instruction(0, guest(0), 28, qualification) == NATIVE


AVX, AVX512, AMX = 4, 7 << 5, 3 << 17
ALL = 0x6_DBE7

#: XFAM, index, value, legal
XSETBV = [
    (3, 0, 1, True),
    (3, 0, 3, True),
    (3, 1, 1, False),
    (3, 0, 0, False),
    (3, 0, 2, False),
    (3, 0, 7, False),
    (7, 0, 7, True),
    (7, 0, 5, False),
    (ALL, 0, 7 | AVX512, True),
    (ALL, 0, 3 | AVX512, False),
    (ALL, 0, 7 | 1 << 5, False),
    (ALL, 0, 3 | AMX, True),
    (ALL, 0, 3 | 1 << 17, False),
    (ALL, 0, 3 | 1 << 9, True),
    # a supervisor component is IA32_XSS's
    (ALL, 0, 3 | 1 << 11, False),
    (ALL, 0, 1 << 63 | 3, False),
]


@pytest.mark.parametrize(("xfam", "index", "value", "legal"), XSETBV)
def test_xsetbv(xfam: int, index: int, value: int, legal: bool) -> None:
    td = running(TdParams(xfam=xfam))
    # The upper halves of the registers do not count.
    state = guest(rax=value & 0xFFFF_FFFF | 1 << 40, rcx=index | 1 << 40, rdx=value >> 32)
    assert td.instruction(0, state, 55) == (NATIVE if legal else GP)
