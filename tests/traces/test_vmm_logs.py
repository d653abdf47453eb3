"""What a VMM's own logs tell: QEMU's trace log, and strace of any VMM."""

from __future__ import annotations

import io
from typing import Final

import pytest

from tdxdbg.engine.state import (
    IoAnswer,
    MmioAnswer,
    Outcome,
    Reentry,
    SetMemoryAttributes,
    Step,
)
from tdxdbg.traces import Trace, qemu_log, strace
from tdxdbg.traces.records import KNOWN_ERRNO, Kind
from tests.traces.texts import opened, told


def steps(trace: Trace) -> list[Step]:
    return [record.body for record in told(trace) if isinstance(record.body, Step)]


# --- QEMU ---------------------------------------------------------------------------------

RUN: Final = "kvm_vcpu_ioctl cpu_index {}, type 0xae80, arg (nil)"
EXIT: Final = "kvm_run_exit cpu_index {}, reason {}"
REGION: Final = "memory_region_ops_{} cpu {} mr {} addr {:#x} value {:#x} size {} name 'x'"


def region(kind: str, address: int, value: int, size: int, cpu: int = 0, mr: int = 0x5500) -> str:
    return REGION.format(kind, cpu, hex(mr), address, value, size)


def stamped(lines: list[str], threads: dict[int, int]) -> str:
    """With -msg timestamp=on; a line's thread follows from the vCPU that it names."""
    result = []
    for at, line in enumerate(lines):
        cpu = line.split("cpu_index ")[-1].split(",")[0].split("cpu ")[-1].split(" ")[0]
        thread = threads.get(int(cpu) if cpu.isdigit() else 0, 9)
        result.append(f"{thread}@1795422983.{at:06}:{line}")
    return "\n".join(result)


def io_values(direction: int | None, port: int | None, size: int | None) -> dict[str, int | None]:
    return {"direction": direction, "port": port, "size": size}


@pytest.mark.parametrize(
    ("lines", "values", "pio", "answer"),
    [
        ([region("write", 0x3F8, 0x41, 1)], io_values(1, 0x3F8, 1), b"A", None),
        ([region("read", 0x3FD, 0x60, 1)], io_values(0, 0x3FD, 1), b"", IoAnswer(b"\x60")),
        ([], io_values(None, None, None), b"", None),
        # A write that KVM had gathered comes first, to another device.
        (
            [region("write", 0x70, 0x8F, 1, mr=1), region("read", 0x71, 2, 1, mr=2)],
            io_values(0, 0x71, 1),
            b"",
            IoAnswer(b"\2"),
        ),
        (
            [region("write", 0x70, 0x8F, 1, mr=1), region("write", 0x71, 2, 1, mr=2)],
            io_values(1, 0x71, 1),
            b"\2",
            None,
        ),
        # A string: how many is not told.
        ([region("write", 0x402, 0x41, 1)] * 3, io_values(1, 0x402, None), b"", None),
        # One access in pieces.
        (
            [region("read", 0x510 + at, at, 1) for at in range(4)],
            io_values(0, 0x510, None),
            b"",
            None,
        ),
        # In pieces, or gathered: nobody knows.
        (
            [region("write", 0x510 + at, at, 1) for at in range(2)],
            io_values(None, None, None),
            b"",
            None,
        ),
        # Another thread did that.
        ([region("write", 0x3F8, 1, 1, cpu=-1)], io_values(None, None, None), b"", None),
    ],
)
@pytest.mark.parametrize("with_times", [False, True])
def test_port_io_of_qemu(
    lines: list[str],
    values: dict[str, int | None],
    pio: bytes,
    answer: IoAnswer | None,
    with_times: bool,
) -> None:
    log = [RUN.format(0), EXIT.format(0, 2), *lines, RUN.format(0)]
    trace = opened(stamped(log, {0: 18569}) if with_times else "\n".join(log))
    assert trace.problems == []
    (step,) = steps(trace)
    assert (step.outcome, step.errno) == (Outcome.EXIT_TO_USERSPACE, 0)
    assert step.run is not None
    assert {name: step.run.get(name) for name in values} == values
    assert step.run.pio == pio
    answers = [record.body for record in told(trace) if record.kind is Kind.ANSWER]
    assert answers == ([] if answer is None else [Reentry(0, answer)])
    assert [record.time is None for record in told(trace)] == [not with_times] * len(told(trace))


def test_mmio_of_qemu() -> None:
    log = [
        EXIT.format(0, 6),
        region("write", 0xFED0_0000, 0x1234, 2),
        EXIT.format(0, 6),
        region("read", 0xFED0_0008, 0x1122_3344_5566_7788, 8),
    ]
    trace = opened("\n".join(log))
    write, read = (step.run for step in steps(trace))
    assert write is not None
    assert read is not None
    assert write.values() == {
        "phys_addr": 0xFED0_0000,
        "data": [0x34, 0x12, *[None] * 6],
        "len": 2,
        "is_write": 1,
    }
    assert read.values() == {
        "phys_addr": 0xFED0_0008,
        "data": [None] * 8,
        "len": 8,
        "is_write": 0,
    }
    (answer,) = (record for record in told(trace) if record.kind is Kind.ANSWER)
    assert answer.body == Reentry(0, MmioAnswer(bytes.fromhex("8877665544332211")))
    assert (answer.row, answer.source) == (1, 4)


CONVERSION: Final = (
    EXIT.format(0, 39),
    "kvm_memory_fault start 0x7000 size 0x1000 flags 0x8",
    "kvm_convert_memory start 0x7000 size 0x1000 shared_to_private",
    EXIT.format(0, 3),
    "kvm_hc_map_gpa_range gpa 0x40000000 size 0x200000 attributes 0x10 flags 0x0",
    "kvm_convert_memory start 0x40000000 size 0x200000 shared_to_private",
    EXIT.format(0, 24),
    "kvm_run_exit_system_event cpu_index 0, system_even_type 7",
)


@pytest.mark.parametrize("with_times", [False, True])
def test_conversions_and_system_events_of_qemu(with_times: bool) -> None:
    log = list(CONVERSION)
    trace = opened(stamped(log, {0: 18569}) if with_times else "\n".join(log))
    assert trace.problems == []
    fault, hypercall, event = steps(trace)
    assert (fault.outcome, fault.errno) == (Outcome.KVM_ERROR, 14)
    runs = [step.run.values() if step.run else {} for step in (fault, hypercall, event)]
    assert runs[0] == {"flags": 8, "gpa": 0x7000, "size": 0x1000}
    assert runs[1] == {
        "nr": 12,
        "args": [0x4000_0000, 512, 0x10, None, None, None],
        "ret": None,
        "flags": 0,
    }
    assert runs[2] == {"type": 7, "ndata": None, "data": [None] * 16}
    changes = [record for record in told(trace) if record.kind is Kind.MEMORY_ATTRIBUTES]
    assert [(change.row, change.body) for change in changes] == [
        (0, SetMemoryAttributes(0x7000, 0x1000, True)),
        (1, SetMemoryAttributes(0x4000_0000, 0x20_0000, True)),
    ]


@pytest.mark.parametrize("with_times", [False, True])
def test_vcpus_of_qemu_are_told_apart(with_times: bool) -> None:
    log = [
        EXIT.format(0, 2),
        EXIT.format(1, 2),
        region("write", 0x3F8, 0x42, 1, cpu=1),
        region("write", 0x3F9, 0x41, 1, cpu=0),
    ]
    trace = opened(stamped(log, {0: 18569, 1: 18570}) if with_times else "\n".join(log))
    ports = {
        r.vcpu: r.body.run.get("port")
        for r in told(trace)
        if isinstance(r.body, Step) and r.body.run
    }
    assert ports == {0: 0x3F9, 1: 0x3F8}


@pytest.mark.parametrize(
    "bad",
    [
        "kvm_run_exit cpu_index 0, reason 4294967296",
        "kvm_run_exit cpu_index x",
        "kvm_memory_fault start 7000",
        "kvm_convert_memory start 0x7000 size 0x1000 both",
        "kvm_hc_map_gpa_range nothing",
        "kvm_run_exit_system_event cpu_index 0",
        "memory_region_ops_read cpu 0",
        "something else",
    ],
)
def test_lines_of_qemu_that_cannot_be_read(bad: str) -> None:
    trace = opened("\n".join((*CONVERSION, bad)))
    assert trace.unread == [(9, bad)]


def test_what_else_is_in_a_log_of_qemu() -> None:
    log = [
        "qemu-system-x86_64: warning: host doesn't support that",
        "kvm_io_window_exit ",
        "virtio_queue_notify vdev 0x1 n 0 vq 0x2",
        "",
        *CONVERSION[:1],
    ]
    trace = opened("\n".join(log))
    assert trace.problems == []
    assert trace.remarks == [
        "used for nothing: 1 kvm_io_window_exit, 1 messages of QEMU, 1 virtio_queue_notify"
    ]


def test_a_pid_picks_a_thread_of_qemu() -> None:
    log = stamped([EXIT.format(0, 2), EXIT.format(1, 8)], {0: 18569, 1: 18570})
    trace = qemu_log.read(io.BytesIO(log.encode()), "x", {18570})
    assert [step.run.exit_reason for step in steps(trace) if step.run] == [8]


# --- strace -------------------------------------------------------------------------------

CALL: Final = "ioctl(13<anon_inode:kvm-vcpu:2>, KVM_RUN, 0) = 0 (KVM_EXIT_IO)"
#: -xx.
_HEX_NAME: Final = "".join(f"\\x{byte:02x}" for byte in b"anon_inode:kvm-vcpu:2")
DAY: Final = 8 * 3600 + 35 * 60 + 47


@pytest.mark.parametrize(
    ("line", "vcpu", "time"),
    [
        (CALL, 2, None),
        (f"17892 {CALL}", 0, None),
        (f"[pid 17892] {CALL}", 0, None),
        (f"[pid   892] {CALL}", 0, None),
        (f"08:35:47 {CALL}", 2, DAY * 10**9),
        (f"17892 08:35:47.107178 {CALL}", 0, DAY * 10**9 + 107178000),
        (f"[pid 17892] 08:35:47.107178 {CALL}", 0, DAY * 10**9 + 107178000),
        (f"1795422947.587959 {CALL}", 2, 1795422947_587959000),
        (f"17892 1795422947.587959 {CALL}", 0, 1795422947_587959000),
        (f"17892 1795422947.587959123 {CALL}", 0, 1795422947_587959123),
        (f"[pid 17892] 1795422947 {CALL}", 0, 1795422947 * 10**9),
        (f"     0.000123 {CALL}", 2, 123000),
        (f"17892      0.000123 {CALL}", 0, 123000),
        (f"17892 1795422947.000000 {CALL} <0.000025>", 0, 1795422947_000025000),
        (f"17892 1795422947.000000 [00007f0f33] {CALL}", 0, 1795422947 * 10**9),
        (f"17892 1795422947.000000 [  16] {CALL}", 0, 1795422947 * 10**9),
        ("ioctl(13, KVM_RUN, 0)                 = 0 (KVM_EXIT_IO)", 0, None),
        (f"17892 08:35:47 (+     0.000035) {CALL}", 0, DAY * 10**9),
        (CALL.replace("anon_inode:kvm-vcpu:2", _HEX_NAME), 2, None),
        ("ioctl(13<anon_inode:[kvm-vcpu:2]>, KVM_RUN, 0) = 0 (KVM_EXIT_IO)", 2, None),
        ("ioctl(13<anon_inode:kvm-vcpu:2>, 0xae80 /* KVM_RUN */, 0) = 0 (KVM_EXIT_IO)", 2, None),
        (
            "ioctl(13<anon_inode:kvm-vcpu:2>, _IOC(_IOC_NONE, 0xae, 0x80, 0), 0) = 0 (KVM_EXIT_IO)",
            2,
            None,
        ),
    ],
)
def test_a_call_of_kvm_run(line: str, vcpu: int, time: int | None) -> None:
    if line.startswith(("17892", "[pid")):
        # A thread that is the first one still has the number of its vCPU.
        vcpu = 2
    trace = opened(line)
    (record,) = told(trace)
    assert (record.vcpu, record.time, record.known) == (vcpu, time, KNOWN_ERRNO)
    (step,) = steps(trace)
    assert (step.outcome, step.errno) == (Outcome.EXIT_TO_USERSPACE, 0)
    assert step.run is not None
    assert (step.run.exit_reason, step.run.valid) == (2, 0)


@pytest.mark.parametrize(
    ("result", "outcome", "errno", "reason"),
    [
        ("0 (KVM_EXIT_MMIO)", Outcome.EXIT_TO_USERSPACE, 0, 6),
        ("0 (KVM_EXIT_MEMORY_FAULT)", Outcome.EXIT_TO_USERSPACE, 0, 39),
        ("0 (KVM_EXIT_???)", Outcome.EXIT_TO_USERSPACE, 0, None),
        ("0", Outcome.EXIT_TO_USERSPACE, 0, None),
        ("-1 EINTR (Interrupted system call)", Outcome.KVM_ERROR, 4, None),
        ("-1 EFAULT (Bad address)", Outcome.KVM_ERROR, 14, None),
        ("-1 EAGAIN (Resource temporarily unavailable) <0.000012>", Outcome.KVM_ERROR, 11, None),
        ("? ERESTARTSYS (To be restarted if SA_RESTART is set)", Outcome.KVM_ERROR, None, None),
    ],
)
def test_results_of_kvm_run(
    result: str, outcome: Outcome, errno: int | None, reason: int | None
) -> None:
    trace = opened(f"7 ioctl(13<anon_inode:kvm-vcpu:0>, KVM_RUN, 0) = {result}")
    (record,) = told(trace)
    (step,) = steps(trace)
    assert (step.outcome, step.errno) == (outcome, errno or 0)
    assert bool(record.known & KNOWN_ERRNO) == (errno is not None)
    assert (None if step.run is None else step.run.exit_reason) == reason


def test_calls_that_wait_for_each_other() -> None:
    trace = opened(
        "\n".join(
            (
                "7 1795422947.000001 ioctl(13<anon_inode:kvm-vcpu:0>, KVM_RUN <unfinished ...>",
                "8 1795422947.000002 ioctl(14<anon_inode:kvm-vcpu:1>, KVM_RUN, 0 <unfinished ...>",
                "9 1795422947.000003 futex(0x1, FUTEX_WAIT, 0, NULL <unfinished ...>",
                "7 1795422947.000004 <... ioctl resumed>, 0) = 0 (KVM_EXIT_IO)",
                "9 1795422947.000005 <... futex resumed>) = 0",
                "8 1795422947.000006 <... ioctl resumed>) = 0 (KVM_EXIT_MMIO)",
                "8 1795422947.000007 ioctl(14<anon_inode:kvm-vcpu:1>, KVM_RUN <unfinished ...>",
                "8 1795422947.000008 <... ioctl resumed>) = ?",
                "8 1795422947.000009 +++ killed by SIGKILL +++",
            )
        )
    )
    assert trace.problems == []
    found = [(r.vcpu, r.time, r.source) for r in told(trace)]
    assert found == [(0, 1795422947_000004000, 4), (1, 1795422947_000006000, 6)]


def test_threads_without_names_are_told_apart_by_file_descriptor() -> None:
    trace = opened("\n".join(f"ioctl({fd}, KVM_RUN, 0) = 0 (KVM_EXIT_IO)" for fd in (13, 14, 13)))
    assert [record.vcpu for record in told(trace)] == [0, 1, 0]


def test_midnight_passes() -> None:
    trace = opened(f"23:59:59.900000 {CALL}\n00:00:00.100000 {CALL}")
    first, second = (record.time for record in told(trace))
    assert first is not None
    assert second is not None
    assert second - first == 200_000_000


def test_relative_times_add_up() -> None:
    trace = opened("\n".join(f"     0.000100 {line}" for line in ("read(3, 0, 0) = 0", CALL, CALL)))
    assert [record.time for record in told(trace)] == [200_000, 300_000]


def test_memory_attributes() -> None:
    trace = opened(
        "\n".join(
            (
                f"7 {CALL}",
                "7 ioctl(5<anon_inode:kvm-vm>, KVM_SET_MEMORY_ATTRIBUTES, {address=0x7000, "
                "size=0x1000, attributes=KVM_MEMORY_ATTRIBUTE_PRIVATE, flags=0}) = 0",
                "7 ioctl(5<anon_inode:kvm-vm>, KVM_SET_MEMORY_ATTRIBUTES, 0x7ffd) = 0",
            )
        )
    )
    (change,) = (record for record in told(trace) if record.kind is Kind.MEMORY_ATTRIBUTES)
    assert change.body == SetMemoryAttributes(0x7000, 0x1000, True)
    assert trace.remarks == ["used for nothing: 1 KVM_SET_MEMORY_ATTRIBUTES"]


def test_what_else_is_in_a_log_of_strace() -> None:
    trace = opened(
        "\n".join(
            (
                'execve("/usr/bin/qemu", ["qemu"], 0x7ffd /* 20 vars */) = 0',
                "clone(child_stack=NULL, flags=CLONE_CHILD_SETTIDstrace: Process 8 attached",
                ", child_tidptr=0x7f101bf46a10) = 8",
                " <unfinished ...>",
                " => {parent_tid=[26575]}, 88) = 26575",
                "--- SIGCHLD {si_signo=SIGCHLD} ---",
                " > /usr/lib/libc.so.6(ioctl+0xb) [0x11a]",
                CALL,
                "+++ exited with 0 +++",
            )
        )
    )
    assert (trace.problems, len(trace)) == ([], 1)


@pytest.mark.parametrize(
    "bad", ["ioctl(13<anon_inode:kvm-vcpu:2>, KVM_RUN, 0)", "ioctl(", "\x00\x01", "17892 08:3"]
)
def test_lines_of_strace_that_cannot_be_read(bad: str) -> None:
    data = f"{CALL}\n{bad}".encode()
    trace = strace.read(io.BytesIO(data), "x")
    assert [number for number, _ in trace.unread] == [2]


def test_a_pid_picks_a_thread_of_strace() -> None:
    trace = strace.read(io.BytesIO(f"7 {CALL}\n8 {CALL}".encode()), "x", {8})
    assert [record.source for record in told(trace)] == [2]


@pytest.mark.parametrize("line", [f"17892<qemu> {CALL}", f"[pid 17892<CPU 0/KVM>] {CALL}"])
def test_names_of_threads_in_strace(line: str) -> None:
    (record,) = told(strace.read(io.BytesIO(line.encode()), "x", {17892}))
    assert record.vcpu == 2
