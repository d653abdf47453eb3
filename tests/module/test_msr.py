"""RDMSR and WRMSR (facts: ghci_and_guest 3.8, data/msr_virtualization_1_5_01.csv)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tdxdbg.abi.msrs import MSRS
from tdxdbg.module import InjectFault, InjectVe, Native, Resume, TdParams, VeInfo
from tdxdbg.module.msr import find
from tests.module.support import MARKED, guest, running

GP = InjectFault(13, 0)
NATIVE = Native()
READ, WRITE = 31, 32
RVE = InjectVe(VeInfo(READ, length=2))
WVE = InjectVe(VeInfo(WRITE, length=2))

N, G, R, W = NATIVE, GP, RVE, WVE

#: MSR, read, write; a number is what a read returns
PLAIN: list[tuple[int, object, object]] = [
    (0x10, N, W),
    (0x48, N, N),
    (0x49, N, N),
    (0x8C, G, G),
    (0x8F, G, G),
    (0x98, G, G),
    (0xBC, N, W),
    (0xBD, 1, N),
    (0xC1, G, G),
    (0xC8, G, G),
    (0xE1, G, G),
    (0x10A, 0x1234_5678_9ABC, N),
    (0x122, G, G),
    (0x174, N, N),
    (0x1A0, 0x1801, W),
    (0x1C4, G, G),
    (0x1D9, 0, N),
    (0x276, G, G),
    (0x277, N, N),
    (0x345, 0, G),
    (0x480, 0x77, G),
    (0x481, R, G),
    (0x485, 0, G),
    (0x48A, R, G),
    (0x492, 0, G),
    (0x560, G, G),
    (0x600, N, N),
    (0x6A0, G, G),
    (0x6E1, G, G),
    (0x800, G, G),
    (0x808, N, N),
    (0x80B, N, N),
    (0x83F, N, N),
    (0x8FF, G, G),
    (0x985, G, G),
    (0xC80, N, W),
    (0xD90, G, G),
    (0xDA0, N, N),
    (0x1200, G, G),
    (0x1500, G, G),
    (0x1B01, N, N),
    (0xC000_0081, N, N),
    (0xC000_0103, N, N),
    # not in the table, though Linux asks for them
    *((msr, R, W) for msr in (0x1B, 0x3A, 0x3B, 0x8B, 0xCE, 0xFE, 0x200, 0x2FF, 0x179, 0x400)),
    *((msr, R, W) for msr in (0x802, 0x803, 0x80D, 0x80F, 0x828, 0x82F, 0x830, 0x838, 0x83E)),
    (0x0, R, W),
    (0x1FFF, R, W),
    (0xC000_0000, R, W),
    (0xC000_1FFF, R, W),
    # outside what the hardware's bitmaps cover
    (0x2000, R, W),
    (0x4B56_4D00, R, W),
    (0x4000_0000, R, W),
    (0xC000_2000, R, W),
    (0xFFFF_FFFF, R, W),
]
PARAMS = TdParams(msrs={0x10A: 0x1234_5678_9ABC, 0x480: 0x77})


@pytest.mark.parametrize(("index", "read", "write"), PLAIN)
def test_plain_td(index: int, read: object, write: object) -> None:
    regs = MARKED._replace(rcx=index | 0xDEAD << 32, rax=0, rdx=0)
    result = running(PARAMS).instruction(0, guest(regs=regs, length=2), READ)
    if isinstance(read, int):
        assert result == Resume(regs._replace(rax=read & 0xFFFF_FFFF, rdx=read >> 32))
    else:
        assert result == read
    # EFER and IA32_XSS are written with what they are.
    assert running(PARAMS).instruction(0, guest(regs=regs, length=2), WRITE) == write


def cpuid(leaf: int, register: int, bit: int, sub_leaf: int = 0) -> dict[str, Any]:
    """Parameters with one bit in a virtual CPUID leaf."""
    values = [0, 0, 0, 0]
    values[register] = 1 << bit
    base = dict(TdParams().cpuid)
    base[leaf, sub_leaf] = (values[0], values[1], values[2], values[3])
    return {"cpuid": base}


EAX, EBX, ECX, EDX = range(4)
NOTHING = {"cpuid": {**TdParams().cpuid, (1, 0): (0, 0, 0, 0)}}

#: parameters, MSR, read, write: what a feature of the TD changes
FEATURES: list[tuple[dict[str, Any], int, object, object]] = [
    ({"attributes": 1 << 63}, 0xC1, N, N),
    ({"attributes": 1 << 63}, 0x186, N, N),
    ({"attributes": 1 << 63}, 0x1A0, N, W),
    ({"attributes": 1 << 63}, 0x329, N, N),
    ({"attributes": 1 << 63}, 0x345, N, N),
    ({"attributes": 1 << 30}, 0x6E1, N, N),
    ({"xfam": 3 | 1 << 8}, 0x570, N, N),
    ({"xfam": 3 | 3 << 11}, 0x6A2, N, N),
    ({"xfam": 3 | 1 << 14}, 0x98A, N, N),
    ({"xfam": 3 | 1 << 15}, 0x14CE, N, N),
    (cpuid(7, ECX, 5), 0xE1, N, N),
    (cpuid(7, EBX, 11), 0x122, N, N),
    (cpuid(0xD, EAX, 4, sub_leaf=1), 0x1C4, N, N),
    # "#GP or #VE (virtual CPUID)"
    (cpuid(7, EDX, 18), 0x87, R, W),
    (cpuid(7, ECX, 13), 0x981, R, W),
    (cpuid(1, ECX, 18), 0x1F8, R, W),
    (cpuid(1, ECX, 24), 0x6E0, R, W),
    (NOTHING, 0x87, G, G),
    (NOTHING, 0x984, G, G),
    (NOTHING, 0x1FA, G, G),
    (NOTHING, 0x6E0, G, G),
]


@pytest.mark.parametrize(("params", "index", "read", "write"), FEATURES)
def test_features(params: dict[str, Any], index: int, read: object, write: object) -> None:
    td = TdParams(**params)
    state = guest(rcx=index, length=2)
    assert running(td).instruction(0, state, READ) == read
    assert running(td).instruction(0, state, WRITE) == write


EFER = 0xD01
LMA, NXE, SCE, LME = 1 << 10, 1 << 11, 1, 1 << 8

#: parameters, MSR, value, result
WRITES: list[tuple[dict[str, Any], int, int, object]] = [
    ({}, 0xC000_0080, EFER, N),
    ({}, 0xC000_0080, EFER & ~SCE, N),
    ({}, 0xC000_0080, EFER & ~LMA, N),
    ({}, 0xC000_0080, EFER & ~NXE, W),
    ({}, 0xC000_0080, EFER & ~LME, W),
    ({}, 0xC000_0080, EFER | 1 << 12, W),
    ({}, 0xDA0, 0, N),
    ({}, 0xDA0, 1 << 11, G),
    ({"xfam": 3 | 3 << 11}, 0xDA0, 3 << 11, N),
    ({"xfam": 3 | 3 << 11}, 0xDA0, 3, G),
    ({"xfam": 3 | 3 << 11}, 0xDA0, 1 << 63, G),
    ({}, 0x1D9, 1, N),
    ({}, 0x1D9, 1 << 6, W),
    ({}, 0x1D9, 3 << 6, N),
    ({}, 0x1D9, 1 << 3, G),
    ({}, 0x1D9, 1 << 16, G),
    ({}, 0x1D9, 1 << 14, G),
    ({"attributes": 1 << 63}, 0x1D9, 1 << 14, N),
    ({}, 0x1D9, 1 << 15, G),
    (cpuid(7, EBX, 11), 0x1D9, 1 << 15, N),
]


@pytest.mark.parametrize(("params", "index", "value", "result"), WRITES)
def test_emulated_write(params: dict[str, Any], index: int, value: int, result: object) -> None:
    td = running(TdParams(**params))
    regs = {"rax": value & 0xFFFF_FFFF | 5 << 32, "rdx": value >> 32 | 5 << 32}
    state = guest(rcx=index, length=2, efer=EFER, **regs)
    assert td.instruction(0, state, WRITE) == result


def test_debugctl_is_read_back_without_uncore_pmi() -> None:
    td = running()
    td.instruction(0, guest(rax=1 | 1 << 13, rcx=0x1D9), WRITE)
    result = td.instruction(0, guest(rcx=0x1D9), READ)
    assert isinstance(result, Resume)
    assert result.regs.rax == 1


def test_the_table_is_in_order() -> None:
    assert all(row.first <= row.last for row in MSRS)
    assert all(before.last < after.first for before, after in pairwise(MSRS))
    assert [find(row.first) for row in MSRS] == list(MSRS)
    assert [find(row.last) for row in MSRS] == list(MSRS)
