from collections.abc import Sequence

import pytest

from tdxdbg.abi.kvm import Exit
from tdxdbg.abi.regs import KNOWN_ALL, Regs
from tdxdbg.decode.queue import Role, queue_line
from tdxdbg.decode.summary import RowSummary, call_of_row, summarise
from tdxdbg.engine import (
    BY_NAME,
    Engine,
    HypercallAnswer,
    InKernel,
    Input,
    Outcome,
    Reentry,
    Step,
    Td,
    TdExit,
)
from tdxdbg.engine.kvm_run import recorded_run
from tdxdbg.filters import FIELDS
from tdxdbg.traces import records
from tdxdbg.traces.records import Record
from tests.decode.test_tdvmcall import LINUX_PANIC
from tests.decode.trees import MIB, SHARED48, call

OK = HypercallAnswer(0)


def journal(*inputs: Input, generation: str = "7.2", td: Td | None = None) -> list[Record]:
    engine = Engine(td or Td(), BY_NAME[generation])
    engine.force_into_td(0)
    result: list[Record] = []
    for event in inputs:
        if isinstance(event, TdExit):
            result.append(records.td_exit(7, event, 1_024_113_000))
        elif isinstance(event, Reentry):
            result.append(records.answer(7, event))
        result.append(records.step_record(7, 0, engine.feed(event)))
    return result


def summary(*inputs: Input, generation: str = "7.2", td: Td | None = None) -> RowSummary:
    return summarise(7, journal(*inputs, generation=generation, td=td), td)


MAP = call(0x10001, r12=SHARED48 | 0x40000000, r13=8 * MIB)
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


# --- recordings that know less ----------------------------------------------------------


def exit_record(reason: int, union: bytes, valid: int, pio: bytes = b"") -> Record:
    step = Step(Outcome.EXIT_TO_USERSPACE, Regs(), recorded_run(reason, union, valid, pio))
    return records.step_record(0, 1, step, 5, known=0)


IO_UNION = bytes([1, 1]) + (0x3F8).to_bytes(2, "little") + (1).to_bytes(4, "little")
MAP_UNION = b"".join(value.to_bytes(8, "little") for value in (12, 0x4000, 2, 0x10))
FAULT_UNION = b"".join(value.to_bytes(8, "little") for value in (8, 0x4000, 4096))
FATAL_UNION = b"".join(
    value.to_bytes(size, "little")
    for value, size in [(7, 4), (10, 4), (0, 8), (0, 8), (0x4241, 8), *[(0, 8)] * 7]
)
ALL = (1 << 256) - 1


@pytest.mark.parametrize(
    ("reason", "union", "valid", "attributes", "cells"),
    [
        (
            Exit.IO,
            IO_UNION,
            0xFF,
            {"port": 0x3F8, "size": 1, "direction": 1, "leaf": None, "reason": None},
            ["KVM_EXIT_IO", "out port 0x3f8 1B", "userspace: KVM_EXIT_IO"],
        ),
        (
            Exit.IO,
            IO_UNION,
            0xE,
            {"port": 0x3F8, "direction": None},
            ["KVM_EXIT_IO", "?   port 0x3f8 1B", "userspace: KVM_EXIT_IO"],
        ),
        (
            Exit.MMIO,
            (0xFEC00000).to_bytes(8, "little") + bytes(8) + b"\4\0\0\0\0",
            ALL,
            {"gpa": 0xFEC00000, "size": 4, "direction": 0},
            ["KVM_EXIT_MMIO", "read 00000000fec00000 4B", "userspace: KVM_EXIT_MMIO"],
        ),
        (Exit.MMIO, b"", 0, {"gpa": None}, ["KVM_EXIT_MMIO", "", "userspace: KVM_EXIT_MMIO"]),
        (
            Exit.HYPERCALL,
            MAP_UNION,
            ALL,
            {"gpa": 0x4000, "size": 8192, "private": True},
            ["KVM_EXIT_HYPERCALL", "S→P 0000000000004000 +8K", "userspace: KVM_EXIT_HYPERCALL"],
        ),
        (
            Exit.HYPERCALL,
            MAP_UNION,
            0xFF,
            {"gpa": None},
            ["KVM_EXIT_HYPERCALL", "? ???????????????? +?", "userspace: KVM_EXIT_HYPERCALL"],
        ),
        (
            Exit.MEMORY_FAULT,
            FAULT_UNION,
            ALL,
            {"gpa": 0x4000, "size": 4096, "private": True, "shared": False},
            [
                "KVM_EXIT_MEMORY_FAULT",
                "private 0000000000004000",
                "userspace: KVM_EXIT_MEMORY_FAULT",
            ],
        ),
        (Exit.MEMORY_FAULT, FAULT_UNION, 0, {"private": None}, ["KVM_EXIT_MEMORY_FAULT", ""]),
        (
            Exit.SYSTEM_EVENT,
            FATAL_UNION,
            ALL,
            {"message": "AB", "error": True},
            ["KVM_EXIT_SYSTEM_EVENT", 'code ? msg "AB"', "event"],
        ),
        (Exit.SYSTEM_EVENT, FATAL_UNION, 0xFF, {"message": None}, ["KVM_EXIT_SYSTEM_EVENT", ""]),
        (
            Exit.SYSTEM_EVENT,
            FATAL_UNION[:4] + b"\3" + FATAL_UNION[5:],
            ALL,
            {"message": None},
            ["KVM_EXIT_SYSTEM_EVENT", "", "event"],
        ),
        (Exit.SYSTEM_EVENT, b"\6", ALL, {"message": None}, ["KVM_EXIT_SYSTEM_EVENT", ""]),
        (Exit.SHUTDOWN, b"", 0, {"error": True}, ["KVM_EXIT_SHUTDOWN", "", "shutdown"]),
    ],
)
def test_rows_of_which_only_the_exit_to_userspace_was_seen(
    reason: int, union: bytes, valid: int, attributes: dict[str, object], cells: list[str]
) -> None:
    row = summarise(0, [exit_record(reason, union, valid)])
    assert {name: getattr(row, name) for name in attributes} == attributes
    assert row.exit == (reason,)
    texts = [cell.text for cell in queue_line(row)]
    assert texts[:3] == ["0", "0.000000", "v1"]
    assert texts[3 : 3 + len(cells)] == cells


MMIO_WRITE = b"".join(
    value.to_bytes(size, "little") for value, size in [(0xFEC00000, 8), (7, 8), (4, 4), (1, 1)]
)


@pytest.mark.parametrize(
    ("record", "value", "arguments"),
    [
        (exit_record(Exit.IO, IO_UNION, 0xFF, b"T"), 0x54, "out port 0x3f8 1B 'T'"),
        (exit_record(Exit.IO, b"\0" + IO_UNION[1:], 0xFF, b"T"), None, "in  port 0x3f8 1B"),
        (exit_record(Exit.MMIO, MMIO_WRITE, ALL), 7, "write 00000000fec00000 4B 0x7"),
        (
            exit_record(Exit.MMIO, MMIO_WRITE, ALL & ~(1 << 9)),
            None,
            "write 00000000fec00000 4B",
        ),
    ],
)
def test_what_userspace_saw_written(record: Record, value: int | None, arguments: str) -> None:
    row = summarise(0, [record])
    assert row.value == value
    assert queue_line(row)[4].text == arguments


@pytest.mark.parametrize(
    ("row", "name", "arguments", "result"),
    [
        (RowSummary(0, leaf=10), "CPUID", "leaf ?", "?"),
        (RowSummary(0, leaf=12), "HLT", "if=?", "?"),
        (RowSummary(0, leaf=31), "RDMSR", "?", "?"),
        (RowSummary(0, leaf=48), "MMIO", "? ? ?", "?"),
        (RowSummary(0, leaf=0x10001), "MapGPA", "? ???????????????? +?", "?"),
        (RowSummary(0, leaf=0x10003), "FATAL", "code ? msg ?", "?"),
        (RowSummary(0, leaf=0x10002), "GetQuote", "? +?", "?"),
        (RowSummary(0, gpa=0x1000, outcome="userspace"), "?", "0000000000001000", "userspace"),
        (RowSummary(0, leaf=30, outcome="guest", status=1, retry=True), "IO", "?   port ? ?",
         "RETRY"),
        (RowSummary(0, leaf=10, outcome="guest", status=0), "CPUID", "leaf ?", "ok"),
    ],
)  # fmt: skip
def test_lines_of_rows_that_know_little(
    row: RowSummary, name: str, arguments: str, result: str
) -> None:
    assert [cell.text for cell in queue_line(row)[3:]] == [name, arguments, result]


def test_fatal_text_of_the_newer_event() -> None:
    panic = journal(call(0x10003, **LINUX_PANIC))
    row = summarise(0, panic[1:])
    assert row.message == "TD misconfiguration: SEPT #VE has to be disabled"


def test_nothing_is_known() -> None:
    row = summarise(3, [])
    assert row == RowSummary(3)
    assert [cell.text for cell in queue_line(row)] == ["3", "?", "?", "?", "", "?"]


def test_a_td_exit_of_which_nothing_else_was_recorded() -> None:
    row = summarise(0, journal(MAP)[:1])
    assert (row.leaf, row.exit, row.outcome, row.error) == (0x10001, None, None, None)
    assert queue_line(row)[5] == ("?", Role.UNKNOWN)


@pytest.mark.parametrize(
    ("known", "attributes", "name"),
    [
        (KNOWN_ALL, {"reason": None, "rax": None, "leaf": None, "r11": 0x10001}, "?"),
        (
            KNOWN_ALL | records.KNOWN_REASON,
            {"reason": 77, "rax": None, "leaf": 0x10001},
            "MapGPA",
        ),
        (
            records.KNOWN_VP_ENTER_RET | KNOWN_ALL & ~(1 << 11),
            {"leaf": None, "r11": None, "vendor": False},
            "TDVMCALL",
        ),
        (
            records.KNOWN_VP_ENTER_RET | KNOWN_ALL & ~(1 << 10),
            {"leaf": None, "vendor": None},
            "TDVMCALL",
        ),
    ],
)
def test_partly_recorded_td_exits(known: int, attributes: dict[str, object], name: str) -> None:
    record = records.td_exit(0, MAP)._replace(known=known)
    row = summarise(0, [record])
    assert {key: getattr(row, key) for key in attributes} == attributes
    assert queue_line(row)[3].text == name


def test_a_reply_that_was_not_recorded_is_unknown() -> None:
    rows = journal(call(10))
    row = summarise(0, [rows[0], rows[1]._replace(known=0)])
    assert (row.status, row.error, row.retry, row.kernel) == (None, None, None, True)
    assert queue_line(row)[5] == ("?", Role.UNKNOWN)


def test_an_errno_that_was_not_recorded() -> None:
    step = Step(Outcome.KVM_ERROR, Regs(), errno=5)
    row = summarise(0, [records.td_exit(0, MAP), records.step_record(0, 0, step, known=0)])
    assert (row.outcome, row.errno) == ("error", None)
    assert queue_line(row)[5] == ("KVM_RUN ?", Role.ERROR)


def test_the_call_of_a_row() -> None:
    row = summary(MAP)
    assert call_of_row(row, MAP.regs, KNOWN_ALL, Td()).leaf == 0x10001
    assert call_of_row(RowSummary(0), MAP.regs, KNOWN_ALL, Td()).tdcall is None


def test_a_retry_outside_the_range_is_shown_whole() -> None:
    rows = journal(MAP, Reentry(0, OK, has_events=True))
    step = rows[-1].body
    assert isinstance(step, Step)
    odd = step._replace(regs=step.regs._replace(r11=0x10))
    row = summarise(0, [*rows[:-1], rows[-1]._replace(body=odd)])
    assert queue_line(row)[5].text == "RETRY @0x10"
