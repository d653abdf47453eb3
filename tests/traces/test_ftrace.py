"""tracefs text: what the kernel recorded, no more and no less."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pytest

from tdxdbg.abi.regs import Regs
from tdxdbg.engine.state import (
    InKernel,
    IoAnswer,
    MmioAnswer,
    Outcome,
    Reentry,
    Step,
    TdExit,
)
from tdxdbg.traces import ftrace, open_trace
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import (
    DERIVED_SHIFT,
    KNOWN_ANSWER,
    KNOWN_ERRNO,
    KNOWN_REASON,
    KNOWN_VP_ENTER_RET,
    Kind,
    Record,
)

DATA = Path(__file__).parents[1] / "data" / "traces"


def load(*lines: str) -> Trace:
    return ftrace.read(io.BytesIO("\n".join(lines).encode()), "x.txt")


def line(at: int, text: str, thread: str = "CPU 0/KVM-4100", flags: str = "..... ") -> str:
    return f"   {thread}  [000] {flags} 5000.{at:06}: {text} "


def records(trace: Trace) -> list[Record]:
    return [record for _, record in trace.records()]


def steps(trace: Trace) -> list[Step]:
    return [record.body for record in records(trace) if isinstance(record.body, Step)]


def exits(trace: Trace) -> Counter[int]:
    return Counter(step.run.exit_reason for step in steps(trace) if step.run is not None)


@pytest.mark.parametrize(
    ("name", "counts", "span"),
    [
        (
            "demo3.ftrace.txt",
            {2: 25, 6: 15, 17: 3},
            (1721_725167_000, 1721_731971_000),
        ),
        ("ftrace_raw_trace.txt", {2: 32, 6: 21, 17: 3}, None),
        ("ftrace_raw_tgid.txt", {2: 9, 6: 5, 17: 1}, None),
        ("ftrace_raw_latency.txt", {2: 9, 6: 5, 17: 1}, None),
        ("ftrace_raw_x86tsc.txt", {2: 9, 6: 5, 17: 1}, None),
        ("ftrace_raw_mono.txt", {2: 9, 6: 5, 17: 1}, None),
        ("ftrace_trace_pipe.txt", {2: 9, 6: 5, 17: 1}, None),
    ],
)
def test_recordings_of_a_running_kernel(
    name: str, counts: dict[int, int], span: tuple[int, int] | None
) -> None:
    with open_trace(DATA / name) as trace:
        assert exits(trace) == counts
        assert len(trace) == sum(counts.values())
        assert trace.problems == []
        assert trace.unread == []
        assert trace.meta.origin == "imported"
        times = [record.time for record in records(trace)]
        if span is not None:
            assert (times[0], times[-1]) == span
        lines = (DATA / name).read_text().splitlines()
        for record in records(trace):
            text = lines[record.source - 1]
            expected = {Kind.USERSPACE_EXIT: "kvm_userspace_exit", Kind.ANSWER: "read"}
            assert expected[record.kind] in text
        for index in range(len(trace)):
            assert trace.row_records(index)[0][1].row == index


def test_each_exit_of_the_recording_in_full() -> None:
    with open_trace(DATA / "demo3.ftrace.txt") as trace:
        shown = [step.run.values() for step in steps(trace) if step.run is not None]
        answers = [record.body for record in records(trace) if record.kind is Kind.ANSWER]
    first = [
        {"direction": 1, "size": 1, "port": 0x3F8, "count": 1, "data_offset": None, "data": "54"},
        {
            "direction": 1,
            "size": 4,
            "port": 0xCF8,
            "count": 1,
            "data_offset": None,
            "data": "efbeadde",
        },
        {"direction": 0, "size": 4, "port": 0xCFC, "count": 1, "data_offset": None, "data": ""},
    ]
    assert shown[:3] == first
    assert shown[4] == {
        "phys_addr": 0xFEC10000,
        "data": [0x34, 0x12, 0, 0, None, None, None, None],
        "len": 4,
        "is_write": 1,
    }
    assert shown[5] == {
        "phys_addr": 0xFEC10004,
        "data": [None] * 8,
        "len": 4,
        "is_write": 0,
    }
    assert shown[13] == {"suberror": None, "ndata": None, "data": [None] * 16}
    assert shown[14:28] == shown[:14]
    assert (
        answers
        == [
            Reentry(0, IoAnswer(bytes.fromhex("efbeadde"))),
            Reentry(0, MmioAnswer(bytes.fromhex("88776655"))),
            Reentry(0, MmioAnswer(b"\x88")),
        ]
        * 3
    )
    assert "198 kvm_fpu" not in trace.remarks[0]
    assert trace.remarks[0].startswith("used for nothing: 202 kvm_emulate_insn, 86 kvm_fpu, ")


def test_a_guest_with_two_threads_has_two_vcpus() -> None:
    with open_trace(DATA / "ftrace_raw_trace.txt") as trace:
        assert {record.vcpu for record in records(trace)} == {0, 1}


def test_the_option_raw_leaves_nothing_to_see() -> None:
    """Types by number, which differ from kernel to kernel: it opens, and says why it is empty."""
    with open_trace(DATA / "ftrace_raw_optraw.txt") as trace:
        assert len(trace) == 0
        assert trace.unread == []
        assert trace.problems == [
            "it was read with the option raw, which leaves out what happened: "
            "echo 0 > options/raw, and read the trace again"
        ]
        assert trace.imported is not None
        assert trace.imported.unread == 0
        assert trace.remarks[0].startswith("used for nothing: 76 events of type: 85, 30 events of")


def test_without_times_in_ns_there_are_none() -> None:
    with open_trace(DATA / "ftrace_raw_x86tsc.txt") as trace:
        assert {record.time for record in records(trace)} == {None}
        assert "counter in no known unit" in trace.remarks[-1]


def test_the_latency_header_names_the_kernel() -> None:
    with open_trace(DATA / "ftrace_raw_latency.txt") as trace:
        assert trace.meta.kernel == "6.18.44-generic"
        assert records(trace)[0].time == 206_690_000


EXIT = "kvm_exit: vcpu {} reason {} rip 0x0 info1 0x{:016x} info2 0x{:016x} intr_info 0x{:08x} "
TAIL = "error_code 0x00000000 requests 0x0000000000000000"
ENTRY = "kvm_entry: vcpu 0, rip 0x0 intr_info 0x00000000 error_code 0x00000000"
R10_R11 = 1 << 10 | 1 << 11
DERIVED = R10_R11 << DERIVED_SHIFT


def kvm_exit(reason: str, info1: int = 0xFC00, info2: int = 0, intr: int = 0, vcpu: int = 0) -> str:
    return EXIT.format(vcpu, reason, info1, info2, intr) + TAIL


def derived(*numbers: int) -> int:
    mask = sum(1 << number for number in numbers)
    return mask | mask << DERIVED_SHIFT


@pytest.mark.parametrize(
    ("text", "body", "known"),
    [
        (
            kvm_exit("TDCALL", info2=5),
            TdExit(0, 77, Regs(rcx=0xFC00, rdx=5)),
            KNOWN_VP_ENTER_RET | 0b110 | derived(10),
        ),
        (
            kvm_exit("HLT"),
            TdExit(0, 77, Regs(rcx=0xFC00, r11=12)),
            KNOWN_VP_ENTER_RET | 0b110 | derived(10, 11),
        ),
        (
            kvm_exit("EPT_MISCONFIG"),
            TdExit(0, 77, Regs(rcx=0xFC00, r11=48)),
            KNOWN_VP_ENTER_RET | 0b110 | derived(10, 11),
        ),
        (
            kvm_exit("VMCALL"),
            TdExit(0, 77, Regs(rcx=0xFC00)),
            KNOWN_VP_ENTER_RET | 0b110,
        ),
        # A port I/O of a VM that is no TD: its qualification has no bit 10 or 11.
        (kvm_exit("IO_INSTRUCTION", 0x3F80000), TdExit(0, 30, Regs(rcx=0x3F80000)), 0b110),
        (
            kvm_exit("EPT_VIOLATION", 0x184, 1, 0x80000B0E),
            TdExit(0, 48, Regs(rcx=0x184, rdx=1, r9=0x80000B0E)),
            0b110,
        ),
        (
            kvm_exit("0x8000004d FAILED_VMENTRY", 1),
            TdExit(0, 0x8000004D, Regs(rcx=1)),
            0b110,
        ),
        (
            "kvm_exit: reason EPT_VIOLATION rip 0x10 info 184 0",
            TdExit(0, 48, Regs(rcx=0x184)),
            0b110,
        ),
        (
            "kvm_exit: vcpu 0 reason UNKNOWN (77) rip 0x0 info fc00 0",
            TdExit(0, 77, Regs(rcx=0xFC00)),
            KNOWN_VP_ENTER_RET | 0b110 | derived(10),
        ),
        (kvm_exit("0xffffffff", 0), TdExit(0, 0, Regs()), -1),
        (kvm_exit("npf", 0x14), TdExit(0, 0, Regs()), -1),
    ],
)
def test_what_a_kvm_exit_tells(text: str, body: TdExit, known: int) -> None:
    trace = load(line(1, text), line(2, ENTRY))
    exit_, entry = records(trace)
    assert exit_.body == body._replace(known=max(known, 0) & 0xFFFF)
    assert exit_.known == (known | KNOWN_REASON if known >= 0 else 0)
    assert entry.kind is Kind.TD_ENTRY
    assert entry.known == 0
    assert (exit_.time, entry.time) == (5_000_000_001_000, 5_000_000_002_000)
    assert (exit_.source, entry.source) == (1, 2)


@pytest.mark.parametrize(
    ("reason", "text", "regs", "in_kernel"),
    [
        (
            "IO_INSTRUCTION",
            "kvm_pio: pio_write at 0x20 size 1 count 1 val 0x11",
            {11: 30, 12: 1, 13: 1, 14: 0x20, 15: 0x11},
            InKernel(True, 0),
        ),
        (
            "IO_INSTRUCTION",
            "kvm_pio: pio_read at 0x71 size 1 count 1 val 0x26",
            {11: 30, 12: 1, 13: 0, 14: 0x71},
            InKernel(True, 0x26),
        ),
        (
            "EPT_MISCONFIG",
            "kvm_mmio: mmio write len 4 gpa 0xfec00000 val 0x1",
            {11: 48, 12: 4, 13: 1, 15: 1},
            InKernel(True, 0),
        ),
        (
            "EPT_MISCONFIG",
            "kvm_mmio: mmio read len 4 gpa 0xfec00000 val 0x9",
            {11: 48, 12: 4, 13: 0},
            InKernel(True, 9),
        ),
        ("MSR_READ", "kvm_msr: msr_read 1b = 0xfee00900", {11: 31, 12: 0x1B}, None),
        ("MSR_WRITE", "kvm_msr: msr_write dead = 0x8 (#GP)", {11: 32, 12: 0xDEAD, 13: 8}, None),
    ],
)
def test_what_later_events_tell_of_a_tdvmcall(
    reason: str, text: str, regs: dict[int, int], in_kernel: InKernel | None
) -> None:
    trace = load(line(1, kvm_exit(reason)), line(2, text), line(3, ENTRY))
    record = records(trace)[0]
    assert isinstance(record.body, TdExit)
    assert record.body.in_kernel == in_kernel
    for number, value in regs.items():
        assert record.body.regs[number] == value
    assert record.known & ~KNOWN_REASON == KNOWN_VP_ENTER_RET | 0b110 | derived(10, *regs)


def test_a_hypercall_and_a_page_fault_show_registers() -> None:
    trace = load(
        line(1, kvm_exit("VMCALL")),
        line(2, "kvm_hypercall: nr 0xc a0 0x40000000 a1 0x200 a2 0x10 a3 0x0"),
        line(3, "kvm_userspace_exit: reason KVM_EXIT_HYPERCALL (3)"),
        line(4, ENTRY),
        line(5, kvm_exit("EPT_VIOLATION", 1)),
        line(6, "kvm_page_fault: vcpu 0 rip 0x0 address 0x0000800012345000 error_code 0x181"),
        line(7, "kvm_userspace_exit: reason error (14)"),
    )
    call, userspace, _, fault, error = records(trace)
    assert isinstance(call.body, TdExit)
    assert isinstance(userspace.body, Step)
    assert isinstance(fault.body, TdExit)
    assert call.body.regs[10:15] == (12, 1 << 30, 512, 16, 0)
    assert userspace.body.run is not None
    assert userspace.body.run.values() == {
        "nr": 12,
        "args": [1 << 30, 512, 16, None, None, None],
        "ret": None,
        "flags": None,
    }
    assert fault.body.gpa == 0x8000_1234_5000
    assert fault.known >> 8 & 1
    assert error.body == Step(Outcome.KVM_ERROR, Regs(), errno=14)
    assert error.known == KNOWN_ERRNO


def test_the_chunks_of_a_map_gpa_are_one_row() -> None:
    hypercall = "kvm_userspace_exit: reason KVM_EXIT_HYPERCALL (3)"
    trace = load(
        line(1, kvm_exit("TDCALL")),
        *[line(at, hypercall) for at in (2, 3, 4)],
        line(5, ENTRY),
        line(6, kvm_exit("TDCALL")),
        line(7, hypercall),
    )
    assert [record.row for record in records(trace)] == [0] * 5 + [1] * 2
    body = steps(trace)[0]
    assert body.run is not None
    assert body.run.valid == 0


def test_a_read_by_a_td_joins_its_answer() -> None:
    trace = load(
        line(1, kvm_exit("EPT_MISCONFIG")),
        line(2, "kvm_mmio: mmio unsatisfied-read len 8 gpa 0xfed00000 val 0x0"),
        line(3, "kvm_userspace_exit: reason KVM_EXIT_MMIO (6)"),
        line(4, "kvm_mmio: mmio read len 8 gpa 0xfed00000 val 0x1122334455667788"),
        line(5, ENTRY),
        line(6, kvm_exit("IO_INSTRUCTION")),
        line(7, "kvm_userspace_exit: reason KVM_EXIT_IO (2)"),
        line(8, "kvm_pio: pio_read at 0x3fd size 1 count 1 val 0x60"),
        line(9, ENTRY),
    )
    kinds = [record.kind for record in records(trace)]
    assert kinds == [Kind.TD_EXIT, Kind.USERSPACE_EXIT, Kind.ANSWER, Kind.TD_ENTRY] * 2
    mmio, io_exit = (trace.row_records(number)[0][1].body for number in range(2))
    assert isinstance(mmio, TdExit)
    assert isinstance(io_exit, TdExit)
    assert mmio.in_kernel is None
    assert io_exit.in_kernel is None
    assert io_exit.regs[11:15] == (30, 1, 0, 0x3FD)
    answer = trace.row_records(0)[2][1]
    assert answer.body == Reentry(0, MmioAnswer(bytes.fromhex("8877665544332211")))
    assert answer.known == KNOWN_ANSWER


def test_what_is_not_shown_stays_unknown() -> None:
    trace = load(
        line(1, "kvm_userspace_exit: reason KVM_EXIT_IO (2)"),
        line(2, "kvm_userspace_exit: reason KVM_EXIT_MMIO (6)"),
        line(3, "kvm_userspace_exit: reason 0x28 (40)"),
        line(4, "kvm_userspace_exit: reason restart (4)"),
    )
    io_exit, mmio, tdx, intr = steps(trace)
    for step, reason in ((io_exit, 2), (mmio, 6), (tdx, 40)):
        assert step.run is not None
        assert (step.run.exit_reason, step.run.valid, step.run.pio) == (reason, 0, b"")
    assert intr == Step(Outcome.KVM_ERROR, Regs(), errno=4)
    assert len(trace) == 4


def test_an_access_that_the_kernel_served_is_not_the_exit_of_the_next_instruction() -> None:
    trace = load(
        line(1, "kvm_pio: pio_write at 0x21 size 1 count 1 val 0x4"),
        line(2, "kvm_emulate_insn: 0:1003f:ed (prot64)"),
        line(3, "kvm_userspace_exit: reason KVM_EXIT_IO (2)"),
        line(4, "kvm_pio: pio_read at 0xcfc size 4 count 1 val 0xdeadbeef"),
    )
    (step,) = steps(trace)
    assert step.run is not None
    assert step.run.get("port") == 0xCFC
    assert trace.remarks == ["used for nothing: 1 kvm_emulate_insn, 1 kvm_pio"]


def test_threads_do_not_mix() -> None:
    trace = load(
        line(1, "kvm_pio: pio_write at 0x80 size 1 count 1 val 0x1", "a-1"),
        line(2, "kvm_userspace_exit: reason KVM_EXIT_IO (2)", "a b-c-2"),
        line(3, "kvm_userspace_exit: reason KVM_EXIT_IO (2)", "<...>-1"),
        line(4, kvm_exit("HLT", vcpu=7), "CPU 7/KVM-3"),
        line(5, kvm_exit("HLT", vcpu=7), "CPU 7/KVM-4"),
    )
    first, second, *others = records(trace)
    assert (first.vcpu, second.vcpu) == (1, 0)
    assert isinstance(second.body, Step)
    assert second.body.run is not None
    assert second.body.run.get("port") == 0x80
    # Two VMs may use the same number.
    assert [record.vcpu for record in others] == [7, 3]


@pytest.mark.parametrize("flags", ["..... ", "d..1. ", "DBZff ", ".... ", "", ".N..1 "])
def test_flags_of_old_and_new_kernels(flags: str) -> None:
    trace = load(line(1, "kvm_userspace_exit: reason KVM_EXIT_IO (2)", flags=flags))
    assert records(trace)[0].time == 5_000_000_001_000


def test_lost_events_are_said_and_not_joined_across() -> None:
    trace = load(
        line(1, "kvm_pio: pio_write at 0x80 size 1 count 1 val 0x1"),
        "CPU:1 [LOST 77 EVENTS]",
        line(2, "kvm_userspace_exit: reason KVM_EXIT_IO (2)"),
    )
    (step,) = steps(trace)
    assert step.run is not None
    assert step.run.valid == 0
    assert trace.problems == ["the kernel lost 77 events: exits around them may be missing"]


@pytest.mark.parametrize(
    "bad",
    [
        "what is this",
        line(1, "kvm_userspace_exit: reason KVM_EXIT_IO"),
        line(1, "kvm_userspace_exit: reason KVM_EXIT_IO (99999999999)"),
        line(1, "kvm_userspace_exit: reason KVM_EXIT_IO (4294967296)"),
        line(1, "kvm_pio: pio_write at 0x20 size 9 count 1 val 0x11"),
        line(1, "kvm_pio: rw=0x1 (1) port=0x20 (32)"),
        line(1, "kvm_mmio: mmio write len 99 gpa 0x0 val 0x0"),
        line(1, "kvm_mmio: mmio write len 4 gpa 0x00000000000000000 val 0x0"),
        line(1, "kvm_exit: nothing"),
        "x" * 100_000,
    ],
)
def test_unreadable_lines_are_counted_and_kept(bad: str) -> None:
    good = line(2, "kvm_userspace_exit: reason KVM_EXIT_IO (2)")
    trace = load(good, bad, good)
    assert len(trace) == 2
    assert trace.unread == [(2, bad[:200])]
    assert trace.problems == ["1 lines could not be read, the first is line 2"]


def test_a_thread_that_stays_open_does_not_hold_up_the_others() -> None:
    idle = line(1, kvm_exit("HLT"), "idle-1")
    busy = [line(2, "kvm_userspace_exit: reason KVM_EXIT_IO (2)", "busy-2")] * 70_000
    trace = load(idle, *busy)
    assert len(trace) == 70_001
    assert records(trace)[0].kind is Kind.TD_EXIT


def test_more_threads_than_vcpu_numbers() -> None:
    text = "kvm_userspace_exit: reason KVM_EXIT_IO (2)"
    trace = load(*[line(1, text, f"x-{thread}") for thread in range(65_540)])
    assert len(trace) == 65_536
    assert trace.problems == ["4 lines could not be read, the first is line 65537"]
