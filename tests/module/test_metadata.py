"""TDG.VM.RD, TDG.VM.WR, TDG.SYS.RD (facts: ghci_and_guest 1.2, 3.4, 5 class 0x0C)."""

from __future__ import annotations

import pytest

from tdxdbg.abi.regs import Regs
from tdxdbg.abi.tdx_fields import SYS_FIELDS, TD_FIELDS, Field
from tdxdbg.module import Resume, TdParams
from tdxdbg.module.metadata import SYS_VALUES, TD_VALUES, Reader
from tests.module.support import (
    INVALID_RAX,
    INVALID_RCX,
    OK,
    U64,
    Td,
    call,
    running,
    status_of,
)

VM_RD, VM_RD_V1, VM_WR, SYS_RD = 7, 0x1_0007, 8, 11

ID_INCORRECT = 0xC000_0C00_0000_0000
NOT_WRITABLE = 0xC000_0C01_0000_0000
NOT_READABLE = 0xC000_0C02_0000_0000
VALUE_NOT_VALID = 0xC000_0C03_0000_0000
FIRST = 0x0000_0C0B_0000_0000

ATTRIBUTES = 0x1110_0003_0000_0000
CONFIG_FLAGS = 0x9110_0003_0000_0016
NOTIFY_ENABLES = 0x9110_0003_0000_0010
TD_CTLS = 0x9110_0003_0000_0017
RTMR = 0x1310_0003_0000_0040
UUID = 0x8010_0003_0000_0020

FLEXIBLE = TdParams(attributes=0, config_flags=6)
TOPOLOGY = TdParams(num_vcpus=2, max_vcpus=2, x2apic_ids=(0, 4))


def regs_of(td: Td, rax: int, **registers: int) -> Regs:
    result = call(td, rax, **registers)
    assert isinstance(result, Resume)
    return result.regs


#: field id, status, value
READS = [
    (ATTRIBUTES, OK, 1 << 28),
    (0x1110_0003_0000_0001, OK, 3),
    (0x1110_0002_0000_0002, OK, 1),
    (0x1110_0000_0000_0003, OK, 0),
    (0x9010_0002_0000_0001, OK, 1),
    (CONFIG_FLAGS, OK, 4),
    # 3.4, 9: the top bit and the context are ignored, and so is the size
    (0x1110_0003_0000_0016, OK, 4),
    (0x9170_0000_0000_0016, OK, 4),
    (TD_CTLS, OK, 1),
    (0x1110_0003_0000_0017, OK, 1),
    (NOTIFY_ENABLES, OK, 0),
    (0x9110_0000_0000_0019, OK, 0),
    (0x1110_0001_0000_000C, OK, 40),
    (UUID, OK, 0x0706_0504_0302_0100),
    (UUID + 3, OK, 0x1F1E_1D1C_1B1A_1918),
    (UUID + 4, ID_INCORRECT, 0),
    (RTMR + 23, OK, 0),
    (RTMR + 24, ID_INCORRECT, 0),
    # the host's alone
    (0x9110_0003_0000_0011, NOT_READABLE, 0),
    (0x1110_0003_0000_0004, NOT_READABLE, 0),
    (0x9110_0003_0000_0015, NOT_READABLE, 0),
    # no such class, no such code
    (0x3F10_0003_0000_0000, ID_INCORRECT, 0),
    (0x1110_0003_0000_0777, ID_INCORRECT, 0),
    # bits that a single-element id does not have
    (ATTRIBUTES | 1 << 24, ID_INCORRECT, 0),
    (ATTRIBUTES | 1 << 34, ID_INCORRECT, 0),
    (ATTRIBUTES | 1 << 38, ID_INCORRECT, 0),
    (ATTRIBUTES | 1 << 47, ID_INCORRECT, 0),
    (ATTRIBUTES | 1 << 55, ID_INCORRECT, 0),
    (ATTRIBUTES | 1 << 62, ID_INCORRECT, 0),
    # ... but these are ignored
    (ATTRIBUTES | 1 << 50, OK, 1 << 28),
    (ATTRIBUTES | 1 << 51, OK, 1 << 28),
    # only version 1 knows the null id
    (U64, ID_INCORRECT, 0),
]


@pytest.mark.parametrize(("field", "status", "value"), READS)
def test_read(field: int, status: int, value: int) -> None:
    td = running(TdParams(td_uuid=bytes(range(32))))
    regs = regs_of(td, VM_RD, rdx=field, r8=0xDEAD)
    assert (regs.rax, regs.r8) == (status, value)
    # Version 0 leaves RDX alone.
    assert regs.rdx == field


@pytest.mark.parametrize("context", ["TD", "SYS"])
def test_version_1_walks_over_every_readable_element(context: str) -> None:
    td = running()
    leaf, fields = (VM_RD_V1, TD_FIELDS) if context == "TD" else (SYS_RD, SYS_FIELDS)
    regs = regs_of(td, leaf, rdx=U64)
    assert (regs.rax, regs.r8) == (FIRST, 0)
    seen = []
    while regs.rdx != U64:
        seen.append(regs.rdx)
        regs = regs_of(td, leaf, rdx=regs.rdx)
        assert regs.rax == OK
    readable = [field for field in fields if field.read_mask]
    assert seen == [field.id + n for field in readable for n in range(field.span)]


@pytest.mark.parametrize("version", [1, 2, 255])
def test_a_failed_read_of_a_later_version_gives_no_next_field(version: int) -> None:
    regs = regs_of(running(), VM_RD | version << 16, rdx=0x3F10_0003_0000_0000, r8=5)
    assert regs.rax == (ID_INCORRECT if version == 1 else INVALID_RAX)
    assert (regs.rdx, regs.r8) == (U64, 0)


@pytest.mark.parametrize("leaf", [VM_RD, VM_RD_V1, VM_WR])
def test_rcx_must_be_zero(leaf: int) -> None:
    regs = regs_of(running(), leaf, rcx=1, rdx=ATTRIBUTES, r8=5, r9=U64)
    assert (regs.rax, regs.r8) == (INVALID_RCX, 0)


#: parameters, field, value, mask, status, what the field holds then
WRITES = [
    # 3.4: Linux writes NOTIFY_ENABLES = 0 with mask -1
    (TdParams(), 0x9100_0000_0000_0010, 0, U64, OK, 0),
    (TdParams(), NOTIFY_ENABLES, 1, U64, OK, 1),
    (TdParams(), NOTIFY_ENABLES, 1, 1, OK, 1),
    (TdParams(), NOTIFY_ENABLES, U64, 1, OK, 1),
    (TdParams(), NOTIFY_ENABLES, 2, U64, VALUE_NOT_VALID, 0),
    (TdParams(), NOTIFY_ENABLES, 1, 2, NOT_WRITABLE, 0),
    (TdParams(), NOTIFY_ENABLES, 1, 0, NOT_WRITABLE, 0),
    (TdParams(), ATTRIBUTES, 0, U64, NOT_WRITABLE, 1 << 28),
    (TdParams(), 0x3F10_0003_0000_0000, 0, U64, ID_INCORRECT, 0),
    # PENDING_VE_DISABLE needs FLEXIBLE_PENDING_VE, unless it stays as it is
    (TdParams(), TD_CTLS, 0, 1, VALUE_NOT_VALID, 1),
    (TdParams(), TD_CTLS, 1, 1, OK, 1),
    (FLEXIBLE, TD_CTLS, 1, 1, OK, 1),
    (FLEXIBLE, TD_CTLS, 0, U64, OK, 0),
    # ENUM_TOPOLOGY needs an x2APIC id for each vCPU
    (TdParams(), TD_CTLS, 3, 7, VALUE_NOT_VALID, 1),
    (TOPOLOGY, TD_CTLS, 3, 7, OK, 3),
    (TOPOLOGY, TD_CTLS, 4, 4, OK, 5),
    # REDUCE_VE is not in this module
    (TdParams(), TD_CTLS, 8, 8, NOT_WRITABLE, 1),
    (TdParams(), TD_CTLS, 9, U64, VALUE_NOT_VALID, 1),
]


@pytest.mark.parametrize(("params", "field", "value", "mask", "status", "after"), WRITES)
def test_write(
    params: TdParams, field: int, value: int, mask: int, status: int, after: int
) -> None:
    td = running(params)
    old = regs_of(td, VM_RD, rdx=field).r8
    regs = regs_of(td, VM_WR, rdx=field, r8=value, r9=mask)
    assert regs.rax == status
    assert regs.r8 == (old if status == OK else 0)
    assert regs_of(td, VM_RD, rdx=field).r8 == after


#: field, status, value
SYS_READS = [
    (0x0800_0002_0000_0000, OK, 0x8086),
    (0x0800_0001_0000_0004, OK, 1),
    (0x0800_0001_0000_0003, OK, 5),
    (0x0A00_0003_0000_0008, OK, 1 << 18),
    (0x0A10_0003_0000_0008, OK, 1 << 18),
    (0x1900_0003_0000_0000, NOT_READABLE, 0),
    (0x9000_0003_0000_009F, NOT_READABLE, 0),
    (0x7F00_0003_0000_0000, ID_INCORRECT, 0),
]


@pytest.mark.parametrize(("field", "status", "value"), SYS_READS)
def test_sys_read(field: int, status: int, value: int) -> None:
    regs = regs_of(running(), SYS_RD, rdx=field, r8=0xDEAD)
    assert (regs.rax, regs.r8) == (status, value)
    if status != OK:
        assert regs.rdx == U64


def test_td_ctls_begins_as_sept_ve_disable() -> None:
    for attributes in (0, 1 << 28):
        td = running(TdParams(attributes=attributes))
        assert regs_of(td, VM_RD, rdx=TD_CTLS).r8 == attributes >> 28


@pytest.mark.parametrize(
    ("fields", "values"), [(TD_FIELDS, TD_VALUES), (SYS_FIELDS, SYS_VALUES)], ids=["TD", "SYS"]
)
def test_every_readable_field_has_all_its_elements(
    fields: tuple[Field, ...], values: dict[str, Reader]
) -> None:
    td = running()
    assert set(values) == {field.name for field in fields if field.read_mask}
    for field in fields:
        if field.read_mask:
            assert len(values[field.name](td)) == field.span
    keys = [field.key for field in fields]
    assert len(set(keys)) == len(keys)


def test_status_of_is_rax() -> None:
    assert status_of(call(running(), VM_RD, rdx=ATTRIBUTES)) == OK
