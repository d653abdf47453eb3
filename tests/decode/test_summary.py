from collections.abc import Sequence

import pytest

from tdxdbg.abi.regs import Regs
from tdxdbg.decode.queue import Role, queue_line
from tdxdbg.engine import HypercallAnswer, InKernel, Input, Reentry, Td, TdExit
from tdxdbg.filters import FIELDS
from tests.decode.summaries import MAP, OK, summary
from tests.decode.test_tdvmcall import LINUX_PANIC
from tests.decode.trees import MIB, SHARED48, call

FAULT = TdExit(0, 48, Regs(rcx=2, r8=0x5000), in_kernel=InKernel(errno=14))
TABLE: list[tuple[str, Sequence[Input], dict[str, object], Sequence[str]]] = [
    (
        "7.2",
        [MAP, Reentry(0, OK, has_events=True)],
        {
            "reason": 77,
            "leaf": 0x10001,
            "gpa": 0x40000000,
            "size": 8 * MIB,
            "shared": True,
            "private": False,
            "status": 1,
            "outcome": "guest",
            "exit": (3,),
            "kernel": False,
            "retry": True,
            "error": False,
            "reply": SHARED48 | 0x40200000,
            "vendor": False,
            "rax": 77,
            "rcx": 0xFFCC,
        },
        ["MapGPA", "P→S 0000000040000000 +8M", "RETRY @+2M", Role.RETRY],
    ),
    (
        "7.2",
        [call(0x10001, r12=0x40000000, r13=4096), Reentry(0, OK)],
        {"private": True, "shared": False, "status": 0, "error": False},
        ["MapGPA", "S→P 0000000040000000 +4K", "ok", Role.OK],
    ),
    (
        "6.16",
        [MAP, Reentry(0, HypercallAnswer(22))],
        {"status": 1 << 63, "retry": False, "error": True},
        ["MapGPA", "P→S 0000000040000000 +8M", "INVALID_OPERAND", Role.ERROR],
    ),
    (
        "7.2",
        [MAP, Reentry(0, HypercallAnswer(16))],
        {"outcome": "error", "errno": 22, "error": True, "status": None},
        ["MapGPA", "P→S 0000000040000000 +8M", "KVM_RUN -EINVAL", Role.ERROR],
    ),
    (
        "7.2",
        [MAP],
        {"outcome": "userspace", "kernel": False, "status": None, "error": False},
        [
            "MapGPA",
            "P→S 0000000040000000 +8M",
            "userspace: KVM_EXIT_HYPERCALL",
            Role.USERSPACE,
        ],
    ),
    (
        "7.2",
        [call(30, r12=1, r13=1, r14=0x3F8, r15=0x48), Reentry(0)],
        {"port": 0x3F8, "size": 1, "direction": 1, "exit": (2,), "gpa": None},
        ["IO", "out port 0x3f8 1B 'H'", "ok", Role.OK],
    ),
    (
        "7.2",
        [call(30, r12=2, r13=0, r14=0x10CF8)],
        {"port": 0xCF8, "size": 2, "direction": 0},
        ["IO", "in  port 0xcf8 2B", "userspace: KVM_EXIT_IO", Role.USERSPACE],
    ),
    (
        "7.2",
        [call(30, r12=2, r13=7, r14=1)],
        {"direction": None, "error": True, "kernel": True},
        ["IO", "?   port 0x1 2B", "INVALID_OPERAND", Role.ERROR],
    ),
    (
        "7.2",
        [call(48, r12=4, r13=1, r14=SHARED48 | 0xFEC00000, r15=0x10), Reentry(0)],
        {"gpa": 0xFEC00000, "size": 4, "direction": 1, "shared": True, "value": 0x10},
        ["MMIO", "write 00000000fec00000 4B 0x10", "ok", Role.OK],
    ),
    (
        "7.2",
        [call(10, r12=0x4C780002)],
        {"kernel": True, "exit": (), "status": 0},
        ["CPUID", "leaf 0x4c780002", "kernel", Role.KERNEL],
    ),
    ("7.2", [call(10, r12=4, r13=1)], {}, ["CPUID", "leaf 0x4 sub-leaf 0x1", "kernel", "kernel"]),
    ("7.2", [call(12)], {}, ["HLT", "if=1", "kernel", Role.KERNEL]),
    ("7.2", [call(12, r12=1)], {}, ["HLT", "if=0", "kernel", Role.KERNEL]),
    (
        "7.2",
        [call(31, r12=0x10)],
        {"error": True},
        ["RDMSR", "0x10 IA32_TIME_STAMP_COUNTER", "INVALID_OPERAND", Role.ERROR],
    ),
    (
        "7.2",
        [call(32, r12=0x12345, r13=5)],
        {},
        ["WRMSR", "0x12345 = 0x5", "INVALID_OPERAND", Role.ERROR],
    ),
    (
        "7.2",
        [call(0x10003, **{**LINUX_PANIC, "r12": 3})],
        {
            "message": "TD misconfiguration: SEPT #VE has to be disabled",
            "error": True,
            "exit": (24,),
            "outcome": "userspace",
        },
        [
            "FATAL",
            'code 0x3 msg "TD misconfiguration: SEPT #VE has to be disabled"',
            "event",
            Role.ERROR,
        ],
    ),
    (
        "7.2",
        [call(0x10003, r12=1 << 63, r13=SHARED48 | 0x7000, r14=0x5D1B)],
        {"gpa": 0x7000, "shared": True, "message": "\x1b]"},
        ["FATAL", 'code 0x0 msg "\\x1b]"', "event", Role.ERROR],
    ),
    (
        "7.2",
        [call(0x10002, r12=SHARED48 | 0x5000, r13=8192), Reentry(0)],
        {"gpa": 0x5000, "size": 8192, "error": True},
        [
            "GetQuote",
            "0000000000005000 +8K",
            "SUBFUNC_UNSUPPORTED",
            Role.ERROR,
        ],
    ),
    (
        "7.2",
        [call(0x10004, r12=0x40), Reentry(0)],
        {},
        ["EventNotify", "vector 0x40", "SUBFUNC_UNSUPPORTED", Role.ERROR],
    ),
    ("7.2", [call(0x10000)], {"status": 0}, ["VmCallInfo", "leaf 0x0", "kernel", Role.KERNEL]),
    (
        "7.2",
        [call(0x99, r12=1)],
        {"leaf": 0x99},
        ["0x99", "r12 0x1 r13 0x0", "SUBFUNC_UNSUPPORTED", Role.ERROR],
    ),
    (
        "7.2",
        [call(SHARED48 | 0x1000, r10=12, r12=16, r13=0x10), Reentry(0, OK)],
        {
            "vendor": True,
            "leaf": None,
            "gpa": 0x1000,
            "size": 65536,
            "private": True,
            "shared": False,
            "error": False,
        },
        ["HC_MAP_GPA_RANGE", "S→P 0000000000001000 +64K", "ok", Role.OK],
    ),
    (
        "7.2",
        [call(1, r10=99, r12=2)],
        {"vendor": True, "error": True, "status": 2**64 - 1000},
        ["HC 0x63", "r11 0x1 r12 0x2", "-KVM_ENOSYS", Role.ERROR],
    ),
    (
        "7.2",
        [TdExit(0, 48, Regs(rcx=2, r8=SHARED48 | 0x5000))],
        {"reason": 48, "gpa": 0x5000, "shared": True, "kernel": True, "status": None},
        ["EPT_VIOLATION", "shared 0000000000005000", "kernel", Role.KERNEL],
    ),
    (
        "7.2",
        [FAULT],
        {"outcome": "error", "errno": 14, "error": False, "exit": (39,), "size": 4096},
        ["EPT_VIOLATION", "private 0000000000005000", "KVM_RUN -EFAULT", Role.USERSPACE],
    ),
    (
        "7.2",
        [FAULT, Reentry(0)],
        {"outcome": "guest"},
        ["EPT_VIOLATION", "private 0000000000005000", "ok", Role.OK],
    ),
    (
        "7.2",
        [TdExit(0, 0x4000000100000002, Regs())],
        {"reason": 2, "error": True, "exit": (8,), "rax": 0x4000000100000002},
        ["TRIPLE_FAULT", "", "shutdown", Role.ERROR],
    ),
    (
        "7.2",
        [TdExit(0, 49, Regs())],
        {"outcome": "dead", "error": True, "errno": 5},
        ["EPT_MISCONFIG", "private 0000000000000000", "VM dead", Role.ERROR],
    ),
    (
        "7.2",
        [TdExit(0, 0x8000020000000092, Regs())],
        {"reason": None, "rax": 0x8000020000000092, "leaf": None},
        ["OPERAND_BUSY", "", "kernel", Role.KERNEL],
    ),
    (
        "7.2",
        [TdExit(0, 9, Regs())],
        {"exit": (17,), "error": True},
        ["TASK_SWITCH", "", "internal error", Role.ERROR],
    ),
    ("7.2", [TdExit(0, 1, Regs(r9=1 << 31))], {}, ["EXTERNAL_INTERRUPT", "", "kernel", "kernel"]),
    (
        "v19",
        [call(0x10002, rcx=0xFC00, r12=1, r13=2), Reentry(0)],
        {"exit": (40,), "status": 0},
        ["GetQuote", "0000000000000001 +2B", "ok", Role.OK],
    ),
]


@pytest.mark.parametrize(
    ("generation", "inputs", "attributes", "cells"), TABLE, ids=[str(row[3][0]) for row in TABLE]
)
def test_rows(
    generation: str, inputs: Sequence[Input], attributes: dict[str, object], cells: Sequence[str]
) -> None:
    row = summary(*inputs, generation=generation)
    assert {name: getattr(row, name) for name in attributes} == attributes
    line = queue_line(row)
    assert [cell.text for cell in line[:3]] == ["7", "1.024113", "v0"]
    assert [*(cell.text for cell in line[3:]), line[5].role] == cells


def test_every_filter_field_is_an_attribute() -> None:
    row = summary(MAP)
    assert all(hasattr(row, name) for name in FIELDS)


def test_shared_bit_of_a_52_bit_td() -> None:
    td = Td(gpaw=52)
    row = summary(call(0x10001, r12=1 << 51 | 0x1000, r13=4096), td=td)
    assert (row.gpa, row.shared) == (0x1000, True)


def test_ascii_line_has_no_arrow() -> None:
    line = queue_line(summary(MAP), ascii_only=True)
    assert line[4].text == "P>S 0000000040000000 +8M"
    assert all(cell.text.isascii() for cell in line)
