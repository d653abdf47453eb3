"""Probes that recorded all registers of the TD: dynamic events, and the bpftrace recipe."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Final

import pytest

from tdxdbg.abi.regs import Regs
from tdxdbg.engine.state import Outcome, Step, TdExit
from tdxdbg.traces import bpftrace, kvm_fields
from tdxdbg.traces.probes import ProbedEntry, ProbedExit
from tdxdbg.traces.records import (
    DERIVED_SHIFT,
    KNOWN_ERRNO,
    KNOWN_REASON,
    KNOWN_VP_ENTER_RET,
    Kind,
)
from tests.traces.texts import opened, told

#: The order of struct tdx_module_args.
NAMES: Final = (
    *("rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rbx", "rdi", "rsi"),
)
KNOWN: Final = 0xFFCE
MAP_GPA: Final = Regs(rcx=0xFFCC, r11=0x10001, r12=0x8000_4000_0000, r13=0x20_0000)
REPLY: Final = Regs(rcx=0xFFCC, r10=1, r11=0x8000_4010_0000, r12=0x8000_4000_0000)
TDCALL: Final = 77


def pairs(regs: Regs, ret: int = TDCALL, vcpu: int = 3) -> str:
    values = " ".join(f"{name}={getattr(regs, name):#x}" for name in NAMES)
    return f"vcpu={vcpu} ret={ret:#x} {values}"


def raw_pairs(regs: Regs, ret: int = TDCALL, vcpu: int = 3) -> str:
    """As options/fields prints them."""
    values = " ".join(f"{n}={getattr(regs, n):#x} ({getattr(regs, n)})" for n in NAMES)
    return (
        f"__probe_ip=0xffffffffc0a1b2c3 (1) vcpu={vcpu:#x} ({vcpu}) ret={ret:#x} ({ret}) {values}"
    )


Line = Callable[[int, str, str], str]
WHO: Final = "CPU 3/KVM-4100"
PRODUCERS: Final[dict[str, Line]] = {
    "tracefs": lambda at, name, text: f" {WHO} [001] d..1. 5000.{at:06}: {name}: {text}",
    "tracefs, no irq-info": lambda at, name, text: f" {WHO} [001] 5000.{at:06}: {name}: {text}",
    "trace-cmd": lambda at, name, text: f" {WHO} [001] 5000.{at:06}: {name + ':':22} {text}",
    "perf": lambda at, name, text: f" CPU 3/KVM 4100 [001]  5000.{at:06}:   tdx:{name}: {text}",
}
PLACES: Final = {
    "kprobe": ("(tdx_handle_exit+0x0/0x1a0 [kvm_intel])", "(tdx_vcpu_run+0x0/0x320 [kvm_intel])"),
    "address": ("(ffffffffc0a1b2c3)", "(ffffffffc0a1c2c3)"),
    "uprobe": ("(0x5603c6558129)", "(0x5603c6558229)"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("producer", PRODUCERS)
def test_registers_of_an_exit_and_of_its_reply_are_recorded(producer: str, place: str) -> None:
    line = PRODUCERS[producer]
    before, after = PLACES[place]
    trace = opened(
        "\n".join(
            (
                line(1, "exit", f"{before} {pairs(MAP_GPA)}"),
                line(2, "reply", f"{after} {pairs(REPLY)}"),
            )
        )
    )
    assert (trace.problems, trace.unread) == ([], [])
    exit_, entry = told(trace)
    assert (exit_.kind, exit_.row, exit_.vcpu, exit_.source) == (Kind.TD_EXIT, 0, 3, 1)
    assert exit_.body == TdExit(3, TDCALL, MAP_GPA, KNOWN)
    assert exit_.known == KNOWN | KNOWN_VP_ENTER_RET | KNOWN_REASON
    assert (entry.kind, entry.row, entry.vcpu, entry.source) == (Kind.TD_ENTRY, 0, 3, 2)
    assert entry.body == Step(Outcome.REENTER_TD, REPLY)
    assert entry.known == KNOWN
    assert (exit_.time, entry.time) == (5000_000001_000, 5000_000002_000)


def test_the_layout_of_options_fields() -> None:
    line = PRODUCERS["tracefs"]
    trace = opened(f"{line(1, 'exit', raw_pairs(MAP_GPA))}\n{line(2, 'reply', raw_pairs(REPLY))}")
    exit_, entry = told(trace)
    assert exit_.body == TdExit(3, TDCALL, MAP_GPA, KNOWN)
    assert entry.body == Step(Outcome.REENTER_TD, REPLY)


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("exit", "(1) rcx=0", ProbedExit),
        ("tdx_exit", "(1) rcx=0", ProbedExit),
        ("p_tdx_handle_exit_0", "(ffffffffc0) rcx=0", ProbedExit),
        ("p0", "(tdx_handle_exit+0x0/0x1 [kvm_intel]) rcx=0", ProbedExit),
        ("reply", "(1) rcx=0", ProbedEntry),
        ("tdx_entry", "(1) rcx=0", ProbedEntry),
        ("p1", "(tdx_vcpu_run+0x0/0x1 [kvm_intel]) rcx=0", ProbedEntry),
        ("exit", "(1) what=0", None),
        ("exit", "(1) rcx=zz", None),
        ("exit", "(1) vcpu=-1 rcx=1", None),
        ("exit", "no pairs", None),
    ],
)
def test_which_probe_it_is(name: str, text: str, kind: type | None) -> None:
    event = kvm_fields.dynamic(name.encode(), text.encode())
    assert (None if event is None else type(event)) == kind


@pytest.mark.parametrize(
    ("text", "value"),
    [("0x1e", 30), ("30", 30), ("1e", 30), ("-1", (1 << 64) - 1), ("(30)", 30), ("0x1e (30)", 30)],
)
def test_numbers_of_fields(text: str, value: int) -> None:
    event = kvm_fields.dynamic(b"exit", f"(1) r11={text} r12=0x5".encode())
    assert isinstance(event, ProbedExit)
    assert (event.regs.r11, event.regs.r12, event.known) == (value, 5, 0x1800)


def test_a_probe_tells_the_registers_of_the_kvm_exit_before() -> None:
    line = PRODUCERS["tracefs"]
    kvm_exit = (
        "vcpu 3 reason TDCALL rip 0x0 info1 0x000000000000ffcc info2 0x0000000000000000 "
        "intr_info 0x00000000 error_code 0x00000000"
    )
    trace = opened(
        "\n".join(
            (
                line(1, "kvm_exit", kvm_exit),
                line(2, "exit", f"(1) {pairs(MAP_GPA)}"),
                line(3, "kvm_userspace_exit", "reason KVM_EXIT_HYPERCALL (3)"),
                line(4, "reply", f"(1) {pairs(REPLY)}"),
                line(5, "kvm_entry", "vcpu 3, rip 0x0"),
                line(6, "kvm_exit", kvm_exit),
                line(7, "kvm_entry", "vcpu 3, rip 0x0"),
            )
        )
    )
    exit_, userspace, entry, second, _ = told(trace)
    assert exit_.body == TdExit(3, TDCALL, MAP_GPA, KNOWN)
    assert exit_.known == KNOWN | KNOWN_VP_ENTER_RET | KNOWN_REASON
    assert (userspace.kind, entry.body) == (
        Kind.USERSPACE_EXIT,
        Step(Outcome.REENTER_TD, REPLY),
    )
    # Where only kvm_exit was there, R10 follows from the reason.
    assert second.known >> DERIVED_SHIFT == 1 << 10
    assert trace.remarks == []


def test_what_is_found_before_an_entry_is_a_reply_only_after_a_tdvmcall() -> None:
    line = PRODUCERS["tracefs"]
    violation = Regs(rcx=0x184, r8=0x1000)
    trace = opened(
        "\n".join(
            (
                line(1, "reply", f"(1) {pairs(REPLY)}"),
                line(2, "exit", f"(1) {pairs(violation, ret=48)}"),
                line(3, "reply", f"(1) {pairs(violation, ret=48)}"),
            )
        )
    )
    exit_, entry = told(trace)
    assert exit_.body == TdExit(3, 48, violation, KNOWN)
    assert (entry.kind, entry.body, entry.known) == (
        Kind.TD_ENTRY,
        Step(Outcome.REENTER_TD, Regs()),
        0,
    )
    assert trace.remarks == ["used for nothing: 1 entries without an exit before"]


def test_registers_that_were_not_recorded_stay_unknown_and_follow_from_others() -> None:
    line = PRODUCERS["tracefs"]
    trace = opened(
        "\n".join(
            (
                line(1, "exit", "(1) ret=0x4d rcx=0xfc00 r10=0 r11=0x1e"),
                line(2, "kvm_pio", "pio_write at 0x3f8 size 1 count 1 val 0x41"),
            )
        )
    )
    (exit_,) = told(trace)
    assert isinstance(exit_.body, TdExit)
    assert exit_.body.regs[10:] == (0, 30, 1, 1, 0x3F8, 0x41)
    assert exit_.known & 0xFFFF == 0xFC02
    assert exit_.known >> DERIVED_SHIFT == 0xF000


# --- bpftrace -----------------------------------------------------------------------------


def recipe(kind: str, time: int, regs: Regs, ret: int = TDCALL, tid: int = 4100) -> str:
    return f"{kind} {time} 1 {tid} 3 {ret:x} " + " ".join(f"{getattr(regs, n):x}" for n in NAMES)


def returned(time: int, reason: int, ret: int, *words: int, tid: int = 4100) -> str:
    return " ".join(map(str, ("U", time, tid, 3, reason, ret, *(f"{word:x}" for word in words))))


RECIPE: Final = (
    recipe("X", 1000, MAP_GPA),
    returned(2000, 3, 0, 12, 0x4000_0000, 512, 0),
    returned(3000, 3, 0, 12, 0x4020_0000, 512, 0),
    recipe("R", 4000, REPLY),
)


def as_json(lines: tuple[str, ...]) -> str:
    head = {"type": "attached_probes", "data": {"probes": 3}}
    objects = [head, *({"type": "printf", "data": line + "\n"} for line in lines)]
    return "\n".join(json.dumps(item) for item in objects)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("\n".join(RECIPE), 1),
        ("Attaching 3 probes...\n" + "\n".join(RECIPE), 2),
        (as_json(RECIPE), 2),
        (as_json(RECIPE).replace('": "', '":"').replace('{"type', '{ "type'), 2),
    ],
    ids=["text", "with its first line", "json", "other json"],
)
def test_the_recipe(text: str, first: int) -> None:
    trace = opened(text)
    assert (trace.problems, trace.unread) == ([], [])
    exit_, one, two, entry = told(trace)
    assert [record.row for record in told(trace)] == [0] * 4
    assert [record.source for record in told(trace)] == [first + at for at in range(4)]
    assert [record.time for record in told(trace)] == [1000, 2000, 3000, 4000]
    assert exit_.body == TdExit(3, TDCALL, MAP_GPA, KNOWN)
    assert entry.body == Step(Outcome.REENTER_TD, REPLY)
    for record, gpa in ((one, 0x4000_0000), (two, 0x4020_0000)):
        assert isinstance(record.body, Step)
        assert record.known == KNOWN_ERRNO
        assert record.body.run is not None
        assert record.body.run.values() == {
            "nr": 12,
            "args": [gpa, 512, 0, None, None, None],
            "ret": None,
            "flags": None,
        }


@pytest.mark.parametrize(
    ("line", "outcome", "errno", "reason", "values"),
    [
        # direction 1, size 1, port 0x3f8, count 1; then the offset of the data.
        (
            returned(1, 2, 0, 0x1_03F8_0101, 0x1000, 0, 0),
            Outcome.EXIT_TO_USERSPACE,
            0,
            2,
            {"direction": 1, "size": 1, "port": 0x3F8, "count": 1, "data_offset": 0x1000},
        ),
        (
            returned(1, 6, 0, 0xFED0_0000, 0x1234, 0x1_0000_0002, 0),
            Outcome.EXIT_TO_USERSPACE,
            0,
            6,
            {"phys_addr": 0xFED0_0000, "len": 2, "is_write": 1, "data": 0x34},
        ),
        # The data of a read is what the last access left there.
        (
            returned(1, 6, 0, 0xFED0_0000, 0x1234, 0x0000_0004, 0),
            Outcome.EXIT_TO_USERSPACE,
            0,
            6,
            {"phys_addr": 0xFED0_0000, "len": 4, "is_write": 0, "data": None},
        ),
        (
            returned(1, 39, -14, 8, 0x1000, 0x1000, 0),
            Outcome.KVM_ERROR,
            14,
            39,
            {"flags": 8, "gpa": 0x1000, "size": 0x1000},
        ),
        (returned(1, 10, -4, 0, 0, 0, 0), Outcome.KVM_ERROR, 4, 10, {}),
        (returned(1, 2, -4, 0, 0, 0, 0), Outcome.KVM_ERROR, 4, None, {}),
        (
            returned(1, 40, 0, 0, 0x10002, 0, 0x7000_0000, 0x2000, 0, 0, 0),
            Outcome.EXIT_TO_USERSPACE,
            0,
            40,
            {"flags": 0, "nr": 0x10002, "ret": 0, "gpa": 0x7000_0000, "size": 0x2000},
        ),
        (returned(1, 8, 0), Outcome.EXIT_TO_USERSPACE, 0, 8, {}),
    ],
)
def test_what_a_return_to_userspace_tells(
    line: str, outcome: Outcome, errno: int, reason: int | None, values: dict[str, int | None]
) -> None:
    (record,) = told(opened(line))
    assert isinstance(record.body, Step)
    assert (record.body.outcome, record.body.errno) == (outcome, errno)
    run = record.body.run
    assert (None if run is None else run.exit_reason) == reason
    if run is not None:
        assert {name: run.get(name) for name in values} == values


def test_threads_of_several_vms() -> None:
    lines = (
        recipe("X", 1, MAP_GPA),
        recipe("X", 2, MAP_GPA, tid=5000),
        recipe("R", 3, REPLY, tid=5000),
        recipe("R", 4, REPLY),
    )
    assert [(r.vcpu, r.row, r.time) for r in told(opened("\n".join(lines)))] == [
        (3, 0, 1),
        (1, 1, 2),
        (1, 1, 3),
        (3, 0, 4),
    ]


@pytest.mark.parametrize(
    "bad",
    [
        "X 1 2 3",
        "R 1 1 4100 3 4d 0 0 0 0 0 0 0 0 0 0 0 0 zz",
        "U 5 4100 3 4294967296 0",
        "U 5 4100 3 2 0 1ffffffffffffffff",
        "2395972804356 1 19794 reason=zz errno=0",
        '{"type": "printf", "data": "X 1 2 3\\n"}',
        '{"type": "printf", "data": "cut',
    ],
)
def test_lines_that_cannot_be_read(bad: str) -> None:
    trace = opened("\n".join((*RECIPE, bad)))
    assert len(trace) == 1
    assert [number for number, _ in trace.unread] == [5]


@pytest.mark.parametrize(
    "line", ["Lost 12 events", '{"type": "lost_events", "data": {"events": 12}}']
)
def test_lost_events(line: str) -> None:
    trace = opened("\n".join((*RECIPE[:2], line, *RECIPE[2:])))
    assert trace.problems == ["the kernel lost 12 events: exits around them may be missing"]
    assert len(trace) == 2


def test_output_of_others_is_counted() -> None:
    trace = opened("\n".join(("hello", *RECIPE, "@count[3]: 17", "")))
    assert trace.problems == []
    assert trace.remarks == ["used for nothing: 2 lines of other output"]


def test_accesses_of_no_thread_are_used_while_there_is_but_one() -> None:
    out = "{} pio rw=1 port=3f8 size=1 val=41"
    exit_ = "{} 0 {} reason=2 errno=0"
    lines = [
        out.format(1000001),
        exit_.format(1000002, 7),
        out.format(1000003),
        exit_.format(1000004, 8),
        out.format(1000005),
        exit_.format(1000006, 8),
    ]
    trace = opened("\n".join(lines))
    shown = [r.body.run.get("port") for r in told(trace) if isinstance(r.body, Step) and r.body.run]
    assert shown == [0x3F8, None, None]
    assert "2 events that name no thread, of several" in trace.remarks[0]


def test_a_pid_picks_a_thread() -> None:
    lines = (recipe("X", 1, MAP_GPA), recipe("X", 2, MAP_GPA, tid=5000), *RECIPE[1:])
    trace = bpftrace.read(io.BytesIO("\n".join(lines).encode()), "x", {5000})
    assert len(trace) == 1
    assert trace.remarks == ["4 lines of other processes are left out"]
