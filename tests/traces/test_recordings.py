"""Recordings that real tools made: what is in each, in full numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tdxdbg.engine.state import Outcome, Step, TdExit
from tdxdbg.traces import FORMATS, HEAD_SIZE, open_trace
from tdxdbg.traces.records import Kind, Record

DATA: Final = Path(__file__).parents[1] / "data" / "traces"

IO, HYPERCALL, MMIO, INTR, INTERNAL, FAULT, TDX = 2, 3, 6, 10, 17, 39, 40
#: Three rounds of the demonstration guest, and one of it.
DEMO3: Final = {IO: 25, MMIO: 15, INTERNAL: 3}
DEMO1: Final = {IO: 9, MMIO: 5, INTERNAL: 1}
SYNTHETIC: Final = {IO: 40, HYPERCALL: 40, MMIO: 80, INTR: 4, FAULT: 4, TDX: 4}
#: Of the last file only what fits into 3000 and into 1500 lines.
BOOT: Final = {IO: 860}
BOOT_CUT: Final = {IO: 424}

PORT_OUT: Final = {"direction": 1, "size": 1, "port": 0x3F8, "count": 1}
LAST_OUT: Final = {"direction": 1, "size": 1, "port": 0xF4, "count": 1}
SHORT_OUT: Final = {"direction": 1, "size": 1, "port": 0x3F8, "count": None}
SHORT_LAST: Final = {"direction": 1, "size": 1, "port": 0xF4, "count": None}
UNKNOWN_IO: Final = {"direction": None, "size": None, "port": None, "count": None}
RTC: Final = {"direction": 0, "size": 1, "port": 0x71, "count": 1}
LAST_BOOT: Final = {"direction": 0, "size": 1, "port": 0x1F3, "count": 1}
LAST_CUT: Final = {"direction": 0, "size": 4, "port": 0xCFC, "count": 1}


class Recording(NamedTuple):
    name: str
    form: str
    exits: dict[int, int]
    answers: int
    span: tuple[int, int] | None
    first: Mapping[str, int | None] = PORT_OUT
    last: Mapping[str, int | None] = LAST_OUT
    td_exits: int = 0
    vcpus: int = 1


MS, US, S = 10**6, 10**3, 10**9
DEMO3_SPAN: Final = (1721_725167 * US, 1721_731971 * US)
PERF_SPAN: Final = (1786_707366 * US, 1786_713103 * US)

RECORDINGS: Final = (
    Recording("demo3.ftrace.txt", "tracefs", DEMO3, 9, DEMO3_SPAN),
    Recording("demo3.tracecmd-report.txt", "trace-cmd", DEMO3, 9, DEMO3_SPAN),
    Recording("demo3.tracecmd-report-N.txt", "trace-cmd", DEMO3, 9, DEMO3_SPAN),
    Recording("demo3.tracecmd-report-R.txt", "trace-cmd", DEMO3, 9, DEMO3_SPAN),
    Recording("demo3.tracecmd-report-l.txt", "trace-cmd", DEMO3, 9, DEMO3_SPAN),
    Recording("demo3.tracecmd-report-tsdiff.txt", "trace-cmd", DEMO3, 9, DEMO3_SPAN),
    Recording("demo3.perf-script.txt", "perf", DEMO3, 9, PERF_SPAN),
    Recording("demo3.perf-script-F.txt", "perf", DEMO3, 9, PERF_SPAN),
    Recording("demo3.perf-script-header.txt", "perf", DEMO3, 9, PERF_SPAN),
    Recording(
        "ftrace_raw_trace.txt",
        "tracefs",
        {IO: 32, MMIO: 21, INTERNAL: 3},
        15,
        (1617_899582 * US, 1618_052804 * US),
        last={"direction": 1, "size": 1, "port": 0x99, "count": 1},
        vcpus=2,
    ),
    Recording("ftrace_raw_tgid.txt", "tracefs", DEMO1, 3, (1618_264158 * US, 1618_266676 * US)),
    Recording("ftrace_raw_latency.txt", "tracefs", DEMO1, 3, (206690 * US, 208630 * US)),
    Recording("ftrace_raw_mono.txt", "tracefs", DEMO1, 3, (1618_911872 * US, 1618_913838 * US)),
    Recording("ftrace_raw_x86tsc.txt", "tracefs", DEMO1, 3, None),
    Recording("ftrace_raw_optfields.txt", "tracefs", DEMO1, 3, None),
    Recording("ftrace_trace_pipe.txt", "tracefs", DEMO1, 3, (1619_464781 * US, 1619_466743 * US)),
    Recording(
        "uprobe_event_style.txt",
        "tracefs",
        {},
        0,
        (2199_975005 * US, 2199_975248 * US),
        {},
        {},
        td_exits=5,
    ),
    Recording(
        "bpftrace_demo.txt",
        "bpftrace",
        DEMO1,
        1,
        (2395_972804356, 2395_974910209),
        SHORT_OUT,
        SHORT_LAST,
    ),
    Recording(
        "bpftrace_demo.jsonl",
        "bpftrace",
        DEMO1,
        1,
        (2396_586846591, 2396_588775380),
        SHORT_OUT,
        SHORT_LAST,
    ),
    Recording(
        "demo1.strace-kvm.txt",
        "strace",
        DEMO1,
        0,
        (30947_107178 * US, 30947_109850 * US),
        UNKNOWN_IO,
        UNKNOWN_IO,
    ),
    Recording(
        "demo1.strace-raw.txt",
        "strace",
        {-1: 15},
        0,
        (1795422947_586973 * US, 1795422947_589758 * US),
        {},
        {},
    ),
    Recording(
        "qemu_kvm_log_ts.txt",
        "qemu",
        BOOT,
        277,
        (1795422983_423834 * US, 1795422984_498320 * US),
        RTC,
        LAST_BOOT,
    ),
    Recording("qemu_kvm_log_nots.txt", "qemu", BOOT_CUT, 123, None, RTC, LAST_CUT),
    *(
        Recording(
            f"synthetic_td.tracecmd-report{option}.txt",
            "trace-cmd",
            SYNTHETIC,
            40,
            (5000_000003 * US, 5000_001114 * US),
            {**PORT_OUT},
            {},
            td_exits=456,
            vcpus=2,
        )
        for option in ("", "-N", "-R")
    ),
)


def step_of(record: Record) -> Step:
    assert isinstance(record.body, Step)
    return record.body


def shown(step: Step, wanted: Mapping[str, int | None]) -> dict[str, int | None]:
    return {name: step.run.get(name) if step.run is not None else None for name in wanted}


@pytest.mark.parametrize("given", RECORDINGS, ids=lambda given: given.name)
def test_what_is_in_a_recording(given: Recording) -> None:
    path = DATA / given.name
    head = path.read_bytes()[:HEAD_SIZE]
    assert [item.key for item in FORMATS if item.sniff(head)] == [given.form]
    with open_trace(path) as trace:
        records = [record for _, record in trace.records()]
        assert (trace.problems, trace.unread) == ([], [])
        assert trace.imported is not None
        assert trace.imported.unread == 0
        lines = path.read_bytes().splitlines()
        assert trace.imported.lines == len(lines)
        assert trace.meta.origin == "imported"
        assert all(1 <= record.source <= len(lines) for record in records)
        assert len(trace) == (given.td_exits or sum(given.exits.values()))
    steps = [step_of(record) for record in records if record.kind is Kind.USERSPACE_EXIT]
    assert (
        Counter(-1 if step.run is None else step.run.exit_reason for step in steps) == given.exits
    )
    kinds = Counter(record.kind for record in records)
    assert (kinds[Kind.ANSWER], kinds[Kind.TD_EXIT]) == (given.answers, given.td_exits)
    times = [record.time for record in records if record.time is not None]
    if given.span is None:
        assert times == []
    else:
        assert (times[0], max(times)) == given.span
    assert {record.vcpu for record in records} == set(range(given.vcpus))
    if given.first:
        assert shown(steps[0], given.first) == given.first
    if given.last:
        assert shown(steps[-1], given.last) == given.last
    if not given.td_exits:
        assert {step.outcome for step in steps} == {Outcome.EXIT_TO_USERSPACE}


@pytest.mark.parametrize("option", ["", "-R"])
def test_what_a_tool_leaves_out_is_all_that_is_missing(option: str) -> None:
    """The same events, once with all their fields (-N) and once as an old plugin prints them."""
    names = (f"synthetic_td.tracecmd-report{option}.txt", "synthetic_td.tracecmd-report-N.txt")
    with open_trace(DATA / names[0]) as given, open_trace(DATA / names[1]) as full:
        pairs = list(zip(given.records(), full.records(), strict=True))
        assert len(pairs) == full.n_records
    for (_, one), (_, other) in pairs:
        assert (one.kind, one.row, one.vcpu, one.time) == (
            other.kind,
            other.row,
            other.vcpu,
            other.time,
        )
        if isinstance(one.body, TdExit) and isinstance(other.body, TdExit):
            assert one.known == other.known
            assert one.body.vp_enter_ret == other.body.vp_enter_ret
            assert one.body.regs[:9] == other.body.regs[:9]
        elif isinstance(one.body, Step) and isinstance(other.body, Step):
            # Of a KVM_EXIT_MEMORY_FAULT only the raw fields tell the errno.
            assert one.body._replace(errno=0) == other.body._replace(errno=0)
        else:
            assert one.body == other.body


def test_the_same_run_read_by_two_tools_is_the_same() -> None:
    with open_trace(DATA / "demo3.ftrace.txt") as kernel:
        wanted = [record._replace(source=0) for _, record in kernel.records()]
    for option in ("", "-N", "-R", "-l", "-tsdiff"):
        with open_trace(DATA / f"demo3.tracecmd-report{option}.txt") as trace:
            assert [record._replace(source=0) for _, record in trace.records()] == wanted
