"""What one line of the queue says of an exit of which a recording does not know everything."""

from __future__ import annotations

import pytest

from tdxdbg.abi.kvm import Exit
from tdxdbg.abi.regs import KNOWN_ALL, Regs
from tdxdbg.decode.queue import Role, queue_line
from tdxdbg.decode.summary import RowSummary, call_of_row, summarise
from tdxdbg.engine import Outcome, Reentry, Step, Td
from tdxdbg.engine.kvm_run import recorded_run
from tdxdbg.traces import records
from tdxdbg.traces.records import Record
from tests.decode.summaries import MAP, OK, journal, summary
from tests.decode.test_tdvmcall import LINUX_PANIC
from tests.decode.trees import call


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
