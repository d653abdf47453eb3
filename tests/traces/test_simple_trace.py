"""QEMU's simple trace: the same as its log, which has the same events."""

from __future__ import annotations

import io

import pytest

from tdxdbg.engine.state import Step
from tdxdbg.errors import TraceError
from tdxdbg.traces import FORMATS, Trace, qemu_log, simple_trace
from tdxdbg.traces.records import Record
from tests.traces.simple_trace_files import MAGIC, dropped, event, mapping, of_log

RUN_EXIT, REGION, FAULT, CONVERT, RANGE = range(5)
NAMES = b"".join(
    mapping(number, name)
    for number, name in enumerate(
        (
            b"kvm_run_exit",
            b"memory_region_ops_write",
            b"kvm_memory_fault",
            b"kvm_convert_memory",
            b"kvm_hc_map_gpa_range",
        )
    )
)


def opened(data: bytes) -> Trace:
    """By the one format that recognises it."""
    (form,) = (item for item in FORMATS if item.sniff(data))
    return form.read(io.BytesIO(data), "x.trace")


def records(trace: Trace) -> list[Record]:
    return [record for _, record in trace.records()]


def reasons(trace: Trace) -> list[int]:
    bodies = [record.body for record in records(trace)]
    return [body.run.exit_reason for body in bodies if isinstance(body, Step) and body.run]


def test_the_same_as_the_log_of_a_running_guest() -> None:
    data, lines = of_log("qemu_kvm_log_ts.txt")
    ours, theirs = opened(data), qemu_log.read(io.BytesIO(b"\n".join(lines)), "x.txt")
    assert len(ours) > 100
    assert [record._replace(source=0) for record in records(ours)] == [
        record._replace(source=0) for record in records(theirs)
    ]
    assert ours.problems == []
    assert ours.remarks == theirs.remarks
    for record in records(ours)[:50]:
        assert data[record.source : record.source + 8] == bytes([1]) + bytes(7)


def test_what_only_a_td_has() -> None:
    data = MAGIC + NAMES
    data += event(RUN_EXIT, 5, (1, 39)) + event(FAULT, 6, (0x1000, 0x2000, 8))
    data += event(CONVERT, 7, (0x1000, 0x2000, b"shared_to_private"))
    data += event(RUN_EXIT, 8, (0, 3)) + event(RANGE, 9, (0x4000, 0x3000, 16, 0))
    trace = opened(data)
    assert reasons(trace) == [39, 3]
    runs = [body.run for body in (item.body for item in records(trace)) if isinstance(body, Step)]
    assert runs[0] is not None
    assert runs[0].values() == {"flags": 8, "gpa": 0x1000, "size": 0x2000}
    assert runs[1] is not None
    assert runs[1].values()["args"] == [0x4000, 3, 16, None, None, None]
    assert {record.vcpu for record in records(trace)} == {0, 1}
    assert [record.time for record in records(trace)][:2] == [5, 7]


def test_dropped_events_are_said_and_not_joined_across() -> None:
    region = event(REGION, 6, (0, 0x5500, 0x80, 1, 1, b"x"))
    trace = opened(MAGIC + NAMES + event(RUN_EXIT, 5, (0, 2)) + dropped(7) + region)
    assert trace.problems == ["the kernel lost 7 events: exits around them may be missing"]


def test_events_of_other_processes_are_left_out() -> None:
    data = MAGIC + NAMES + event(RUN_EXIT, 5, (0, 2), 70) + event(RUN_EXIT, 5, (0, 5), 80)
    trace = simple_trace.read(io.BytesIO(data), "x", {80})
    assert reasons(trace) == [5]
    assert "1 events of other processes are left out" in trace.remarks


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ((RUN_EXIT, 6, (0,)), "1 events could not be read, the first at offset "),
        ((CONVERT, 6, (1, 2)), "1 events could not be read, the first at offset "),
        ((CONVERT, 6, (1, 2, b"to_nowhere")), "1 events could not be read, the first at offset "),
    ],
)
def test_arguments_that_do_not_fit(bad: tuple[int, int, tuple[int, ...]], message: str) -> None:
    data = MAGIC + NAMES + event(RUN_EXIT, 5, (0, 2))
    trace = opened(data + event(*bad))
    assert trace.problems[0] == message + hex(len(data))


def test_what_is_no_record_ends_it() -> None:
    good = MAGIC + NAMES + event(RUN_EXIT, 5, (0, 2))
    for bad in (b"\2" + bytes(7), b"\1" + bytes(7) + b"x" * 60, event(RUN_EXIT, 5, (0, 2))[:-1]):
        trace = opened(good + bad + bytes(100) if bad[:1] == b"\2" else good + bad)
        assert reasons(trace) == [2]
        assert trace.problems == [
            f"what stands at offset {len(good):#x} is no record: the rest is left out"
        ]


def test_other_versions_are_refused() -> None:
    with pytest.raises(TraceError, match=r"version 3 of QEMU's simple trace is not read, only 4"):
        opened(MAGIC[:16] + b"\3" + bytes(7))
    with pytest.raises(TraceError, match="no exits in 0 events"):
        opened(MAGIC)
