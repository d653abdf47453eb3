"""The same events in every layout of every tool are the same exits."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tdxdbg.engine.state import TdExit
from tdxdbg.errors import TraceError
from tdxdbg.traces import ftrace, open_trace
from tdxdbg.traces.records import Kind
from tests.traces.texts import opened, told


class Event(NamedTuple):
    comm: str
    thread: int
    cpu: int
    #: In us.
    time: int
    name: str
    text: str


R10_R11: Final = 0xFC00
EXIT: Final = (
    "vcpu {} reason {} rip 0x0 info1 0x000000000000fc00 info2 0x0000000000000000 "
    "intr_info 0x00000000 error_code 0x00000000 requests 0x0000000000000000"
)
ENTRY: Final = "vcpu {}, rip 0x0 intr_info 0x00000000 error_code 0x00000000"
USERSPACE: Final = "kvm_userspace_exit"
A, B = ("CPU 0/KVM", 4100, 0), ("CPU 1/KVM", 4101, 3)
EVENTS: Final = (
    Event(*A, 5_000_000_001, "kvm_exit", EXIT.format(0, "IO_INSTRUCTION")),
    Event(*A, 5_000_000_002, "kvm_pio", "pio_write at 0x3f8 size 1 count 1 val 0x41 "),
    Event(*B, 5_000_000_003, "kvm_exit", EXIT.format(1, "EPT_MISCONFIG")),
    Event(*A, 5_000_000_004, USERSPACE, "reason KVM_EXIT_IO (2)"),
    Event(*B, 5_000_000_005, "kvm_mmio", "mmio unsatisfied-read len 4 gpa 0xfed00000 val 0x0"),
    Event(*B, 5_000_000_006, USERSPACE, "reason KVM_EXIT_MMIO (6)"),
    Event(*B, 5_000_000_007, "kvm_mmio", "mmio read len 4 gpa 0xfed00000 val 0x1234"),
    Event(*A, 5_000_000_008, "kvm_set_irq", "gsi 4 level 1 source 0"),
    Event(*A, 5_000_000_009, "kvm_entry", ENTRY.format(0)),
    Event(*B, 5_000_000_010, "kvm_entry", ENTRY.format(1)),
)

Print = Callable[[Event], str]
_FLAGS: Final = "d..1."


def seconds(event: Event, digits: int = 6) -> str:
    return f"{event.time // 10**6}.{event.time % 10**6:06}" + "0" * (digits - 6)


def _at(event: Event) -> str:
    return f"{event.comm:>16}-{event.thread:<7}"


TRACEFS: Final[dict[str, Print]] = {
    "tracefs": lambda e: f"{_at(e)} [{e.cpu:03}] {_FLAGS} {seconds(e):>12}: {e.name}: {e.text}",
    "tracefs, 4 flags": lambda e: f"{_at(e)} [{e.cpu:03}] d..1 {seconds(e)}: {e.name}: {e.text}",
    "tracefs, 7 flags": lambda e: f"{_at(e)} [{e.cpu:03}] dNLh1.. {seconds(e)}: {e.name}: {e.text}",
    "tracefs, no irq-info": lambda e: f"{_at(e)} [{e.cpu:03}] {seconds(e)}: {e.name}: {e.text}",
    "tracefs, record-tgid": lambda e: (
        f"{_at(e)} (   4100) [{e.cpu:03}] {_FLAGS} {seconds(e)}: {e.name}: {e.text}"
    ),
    "tracefs, unknown tgid": lambda e: (
        f"{_at(e)} (-------) [{e.cpu:03}] {_FLAGS} {seconds(e)}: {e.name}: {e.text}"
    ),
    "tracefs, latency-format": lambda e: (
        f"{e.comm[:8]:>8}-{e.thread:<7} {e.cpu:3}{_FLAGS} {e.time}us+: {e.name}: {e.text}"
    ),
}
TRACE_CMD: Final[dict[str, Print]] = {
    "trace-cmd": lambda e: f"{_at(e)} [{e.cpu:03}] {seconds(e)}: {e.name + ':':21} {e.text}",
    "trace-cmd with flags": lambda e: (
        f"{_at(e)} [{e.cpu:03}] {_FLAGS} {seconds(e)}: {e.name + ':':21} {e.text}"
    ),
    "trace-cmd -t": lambda e: f"{_at(e)} [{e.cpu:03}] {seconds(e, 9)}: {e.name + ':':21} {e.text}",
    "trace-cmd -l": lambda e: (
        f"{e.comm[:8]:>8}-{e.thread:<7} {e.cpu:3}{_FLAGS} {seconds(e)}: {e.name + ':':21} {e.text}"
    ),
    "trace-cmd --ts-diff": lambda e: (
        f"{_at(e)} [{e.cpu:03}] {seconds(e)}: (+1000)  {e.name + ':':21} {e.text}"
    ),
    "trace-cmd of several files": lambda e: (
        f"   trace.dat: {_at(e)} [{e.cpu:03}] {seconds(e)}: {e.name + ':':21} {e.text}"
    ),
}
PERF: Final[dict[str, Print]] = {
    "perf": lambda e: f"{e.comm:>16} {e.thread:5} [{e.cpu:03}] {seconds(e)}: {_named(e)} {e.text}",
    "perf --ns": lambda e: (
        f"{e.comm:>16} {e.thread:5} [{e.cpu:03}] {seconds(e, 9)}: {_named(e)} {e.text}"
    ),
    "perf -F +pid": lambda e: (
        f"{e.comm:>16} {4100:5}/{e.thread:<5} [{e.cpu:03}] {seconds(e)}: {_named(e)} {e.text}"
    ),
    "perf, no cpu": lambda e: f"{e.comm:>16} {e.thread:5} {seconds(e)}: {_named(e)} {e.text}",
    "perf, no comm": lambda e: f"{e.thread:5} [{e.cpu:03}] {seconds(e)}: {_named(e)} {e.text}",
    "perf -F +period": lambda e: (
        f"{e.comm:>16} {e.thread:5} [{e.cpu:03}] {seconds(e)}:          1 {_named(e)} {e.text}"
    ),
    "perf, no thread": lambda e: f"{e.comm:>16} [{e.cpu:03}] {seconds(e)}: {_named(e)} {e.text}",
    "perf -F cpu,time,event,trace": lambda e: f"[{e.cpu:03}] {seconds(e)}: {_named(e)} {e.text}",
    "perf -F comm,tid,time,trace": lambda e: f"{e.comm:>16} {e.thread:5} {seconds(e)}: {e.text}",
    "perf with modifiers": lambda e: (
        f"{e.comm:>16} {e.thread:5} [{e.cpu:03}] {seconds(e)}: kvm:{e.name}:u: {e.text}"
    ),
}
WITHOUT_TIMES: Final[dict[str, Print]] = {
    "tracefs, a counter": lambda e: (
        f"{_at(e)} [{e.cpu:03}] {_FLAGS} {e.time * 2300}: {e.name}: {e.text}"
    ),
    "tracefs, latency of a counter": lambda e: (
        f"{e.comm[:8]:>8}-{e.thread:<7} {e.cpu:3}{_FLAGS} {e.time}: {e.name}: {e.text}"
    ),
    "trace-cmd, a counter": lambda e: (
        f"{_at(e)} [{e.cpu:03}] {e.time * 2300}: {e.name + ':':21} {e.text}"
    ),
    "perf, no time": lambda e: f"{e.comm:>16} {e.thread:5} [{e.cpu:03}] {_named(e)} {e.text}",
}


def _named(event: Event) -> str:
    return f"{'kvm:' + event.name:>24}:"


REFERENCE: Final = told(opened("".join(f"{TRACEFS['tracefs'](event)}\n" for event in EVENTS)))


def test_the_reference() -> None:
    row_a, row_b = ([r for r in REFERENCE if r.vcpu == vcpu] for vcpu in (0, 1))
    entered = Kind.TD_ENTRY
    assert [r.kind for r in row_a] == [Kind.TD_EXIT, Kind.USERSPACE_EXIT, entered]
    assert [r.kind for r in row_b] == [Kind.TD_EXIT, Kind.USERSPACE_EXIT, Kind.ANSWER, entered]
    assert [r.source for r in row_a] == [1, 4, 9]
    assert [r.time for r in row_b] == [5000_000003_000 + 1000 * at for at in (0, 3, 4, 7)]


@pytest.mark.parametrize("name", [*TRACEFS, *TRACE_CMD, *PERF])
def test_every_layout_tells_the_same(name: str) -> None:
    layout = {**TRACEFS, **TRACE_CMD, **PERF}[name]
    trace = opened("".join(f"{layout(event)}\n" for event in EVENTS))
    assert (trace.problems, trace.unread) == ([], [])
    assert told(trace) == REFERENCE


@pytest.mark.parametrize("name", WITHOUT_TIMES)
def test_layouts_without_times(name: str) -> None:
    trace = opened("".join(f"{WITHOUT_TIMES[name](event)}\n" for event in EVENTS))
    assert told(trace) == [record._replace(time=None) for record in REFERENCE]


@pytest.mark.parametrize("system", ["", "kvm:"], ids=["context-info off", "perf -F event,trace"])
def test_without_threads_and_cpus_only_a_vcpu_that_is_alone_can_be_meant(system: str) -> None:
    trace = opened("\n".join(f"{system}{event.name}: {event.text}" for event in EVENTS))
    assert {record.vcpu for record in told(trace)} == {0, 1}
    assert trace.problems == []
    io_exit, mmio_exit = (trace.row_records(row)[0][1].body for row in (0, 1))
    assert isinstance(io_exit, TdExit)
    assert isinstance(mmio_exit, TdExit)
    # The port I/O came before the second vCPU showed up.
    assert io_exit.regs.r14 == 0x3F8
    assert mmio_exit.regs.r12 == 0
    assert "4 events that name no thread" in " ".join(trace.remarks)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("tool", ["tracefs", "trace-cmd", "perf"])
def test_ends_of_lines_empty_lines_and_a_byte_order_mark(tool: str, end: str) -> None:
    layout = {**TRACEFS, **TRACE_CMD, **PERF}[tool]
    lines = [layout(event) for event in EVENTS]
    trace = opened("\ufeff" + end.join([*lines[:3], "", " ", *lines[3:]]))
    assert trace.problems == []
    sources = [record.source for record in REFERENCE]
    assert [r._replace(source=0) for r in told(trace)] == [r._replace(source=0) for r in REFERENCE]
    assert [r.source for r in told(trace)] == [at if at <= 3 else at + 2 for at in sources]


COMMS: Final = (
    "a", "CPU 0/KVM", "x-1", "x 5", "[worker]", "a:b", "(sd-pam)", "kvm-4100 [0]x", "a b c",
    "<...>", "1", "1 2 3", "-", "qemu:tdx-1 5", "0.5:",
)  # fmt: skip


#: Where no thread follows, a number in a comm cannot be told from one.
_CLEAR: Final = [name for name in (*TRACEFS, *TRACE_CMD, *PERF) if name != "perf, no thread"]


@pytest.mark.parametrize("comm", COMMS)
@pytest.mark.parametrize("name", _CLEAR)
def test_a_thread_may_be_called_anything(name: str, comm: str) -> None:
    layout = {**TRACEFS, **TRACE_CMD, **PERF}[name]
    trace = opened("".join(f"{layout(event._replace(comm=comm))}\n" for event in EVENTS))
    assert told(trace) == REFERENCE


def test_names_of_threads_that_are_no_text() -> None:
    text = "".join(f"{TRACEFS['tracefs'](event._replace(comm='zZz'))}\n" for event in EVENTS)
    data = text.encode().replace(b"zZz", b"\xff\x1b[1m")
    trace = ftrace.read(io.BytesIO(data), "x.txt")
    assert told(trace) == REFERENCE
    assert trace.remarks[-1].startswith("vCPU 0 is \ufffd\x1b[1m-4100, vCPU 1 is ")


WARNINGS: Final[dict[str, tuple[str, ...]]] = {
    "tracefs": (
        "# tracer: nop",
        "#",
        "#           TASK-PID     CPU#",
        "##### CPU 1 buffer started ####",
    ),
    "trace-cmd": (
        "version = 7",
        "CPU 1 is empty",
        "cpus=2",
        "trace-cmd: No such file or directory",
        "  warning: cannot find plugins",
        "registering plugin: /usr/lib/x86_64-linux-gnu/traceevent/plugins/plugin_kvm.so",
        "overriding event (103) kvm:kvm_exit with new print handler",
    ),
    "perf": (
        "# ========",
        "# captured on    : Mon Nov 23 08:28:58 2026",
        "# os release : 6.18.44-generic",
        "# ========",
        "Warning:",
        "perf: some message",
        "libtraceevent: No such file or directory",
        "  [kvm:kvm_inj_exception] bad op token }",
        "  Error: expected type 5 but read 0",
        "'trace' not valid for hardware events. Ignoring.",
        "No kallsyms or vmlinux with build-id 4a5a9b0affb66c437abcd455d2738af879985fa9 was found",
        "       swapper     0 [000]     0.000000: PERF_RECORD_MMAP -1/0: [0xffffffff81000000] x",
    ),
}


@pytest.mark.parametrize("tool", WARNINGS)
def test_headers_and_warnings_are_no_lines_that_could_not_be_read(tool: str) -> None:
    layout = {**TRACEFS, **TRACE_CMD, **PERF}[tool]
    trace = opened("\n".join([*WARNINGS[tool], "", *map(layout, EVENTS)]) + "\n")
    assert (trace.problems, trace.unread) == ([], [])
    assert len(trace) == 2
    assert trace.meta.kernel == ("6.18.44-generic" if tool == "perf" else "")


LOST: Final = (
    ("tracefs", "CPU:1 [LOST 77 EVENTS]", "77 events"),
    ("tracefs", "CPU:1 [LOST EVENTS]", "events 2 times"),
    ("trace-cmd", "CPU:1 [77 EVENTS DROPPED]", "77 events"),
    ("trace-cmd", "CPU:1 [EVENTS DROPPED]", "events 2 times"),
    ("trace-cmd", "[77 EVENTS DROPPED]", "77 events"),
    ("perf", "Processed 1200 events and lost 77 chunks!", "77 events"),
    ("perf", "  a 4100 [000]  5000.000001: PERF_RECORD_LOST lost 77", "77 events"),
)


@pytest.mark.parametrize(("tool", "line", "words"), LOST)
def test_nothing_is_joined_across_lost_events(tool: str, line: str, words: str) -> None:
    layout = {**TRACEFS, **TRACE_CMD, **PERF}[tool]
    again = "CPU:0 [LOST EVENTS]" if "times" in words else ""
    lines = [layout(event) for event in EVENTS]
    trace = opened("\n".join([*lines[:3], line, again, *lines[3:]]))
    assert trace.problems == [f"the kernel lost {words}: exits around them may be missing"]
    assert len(trace) == 4


def test_the_last_line_may_be_cut() -> None:
    lines = [TRACEFS["tracefs"](event) for event in EVENTS]
    trace = opened("\n".join(lines)[:-60])
    assert told(trace) == REFERENCE[:-1]
    assert [number for number, _ in trace.unread] == [10]


@pytest.mark.parametrize(
    "line",
    [
        " => kvm_arch_vcpu_ioctl_run",
        " CPU 0/KVM-4100    [000] d..1.  5000.000001: <stack trace>",
        "           a-1     [000] d..1.  5000.000001: kvm_vcpu_ioctl <-__x64_sys_ioctl",
        "\tffffffff8104f45a vmx_vcpu_run+0x12 ([kernel.kallsyms])",
    ],
)
def test_what_traces_of_functions_add(line: str) -> None:
    text = "\n".join([line, *map(TRACEFS["tracefs"], EVENTS)])
    assert opened(text).problems == []


def test_an_overwritten_buffer_is_said() -> None:
    head = "# tracer: nop\n#\n# entries-in-buffer/entries-written: 10/2000   #P:2\n#\n"
    trace = opened(head + "\n".join(map(TRACEFS["tracefs"], EVENTS)))
    assert len(trace.problems) == 1
    assert trace.problems[0].startswith("the buffer held 10 of 2000 events: the first ones")


# --- processes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "pids", "vcpus", "left_out"),
    [
        ("tracefs", [4100], {0}, 5),
        ("tracefs", [4100, 4101], {0, 1}, 0),
        ("tracefs, record-tgid", [4100], {0, 1}, 0),
        ("tracefs, unknown tgid", [4101], {1}, 5),
        ("trace-cmd -l", [4101], {1}, 5),
        ("perf", [4101], {1}, 5),
        ("perf -F +pid", [4100], {0, 1}, 0),
    ],
)
def test_events_of_other_processes_are_left_out(
    tmp_path: Path, name: str, pids: list[int], vcpus: set[int], left_out: int
) -> None:
    layout = {**TRACEFS, **TRACE_CMD, **PERF}[name]
    path = tmp_path / "x.txt"
    path.write_text("".join(f"{layout(event)}\n" for event in EVENTS))
    with open_trace(path, pid=pids) as trace:
        assert {record.vcpu for record in told(trace)} == vcpus
        said = [f"{left_out} lines of other processes are left out"] if left_out else []
        assert [line for line in trace.remarks if "other processes" in line] == said
    with open_trace(path, pid=pids[0]) as trace:
        assert len(trace) >= 1


def test_nothing_of_a_process_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("".join(f"{TRACEFS['tracefs'](event)}\n" for event in EVENTS))
    with pytest.raises(TraceError, match="10 of other processes were left out"):
        open_trace(path, pid=5)


def test_a_format_without_processes_refuses_to_pick_one(tmp_path: Path) -> None:
    path = tmp_path / "x.tdxt"
    path.write_bytes(opened(TRACEFS["tracefs"](EVENTS[0])).data())
    with pytest.raises(TraceError, match="names no processes; leave the pid out"):
        open_trace(path, pid=1)
