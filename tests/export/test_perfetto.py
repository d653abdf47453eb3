"""Trace events: valid JSON, slices that nest, and times and values that are the recording's."""

from __future__ import annotations

import json
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tdxdbg.engine import BY_NAME, Td
from tdxdbg.export import FORMATS, Job, Selection, to_stream
from tdxdbg.filters import compile_filter
from tdxdbg.resources import samples_dir
from tdxdbg.timeline import Timeline
from tdxdbg.traces import open_trace
from tdxdbg.traces.native import Trace
from tests.export.outputs import written
from tests.index.journals import calls
from tests.timeline.journals import make_trace

SAMPLES = sorted(samples_dir().glob("*.tdxt"))
WRITE = FORMATS["perfetto"].write
RETRY = samples_dir() / "mapgpa_64mib_interrupted.tdxt"


def events(job: Job) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    text = written(WRITE, job).decode("ascii")
    made = json.loads(text, parse_float=Decimal)
    assert made["displayTimeUnit"] == "ns"
    return made["otherData"], made["traceEvents"]


def ns(value: Decimal | int) -> int:
    return int(Decimal(value) * 1000)


def check_nesting(found: list[dict[str, Any]]) -> None:
    """On a thread a slice lies in another one or beside it, never across."""
    threads = {event["tid"] for event in found}
    for thread in threads:
        mine = [(ns(event["ts"]), ns(event["ts"]) + ns(event["dur"])) for event in found
                if event["ph"] == "X" and event["tid"] == thread]  # fmt: skip
        open_until: list[int] = []
        for start, end in sorted(mine, key=lambda pair: (pair[0], -pair[1])):
            while open_until and open_until[-1] <= start:
                open_until.pop()
            assert not open_until or end <= open_until[-1]
            open_until.append(end)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample(path: Path) -> None:
    with open_trace(path) as trace:
        timeline = Timeline(trace)
        about, found = events(Job(timeline))
        assert about["generation"] == timeline.generation.name
        slices = [event for event in found if event["ph"] == "X" and "exit" in event["cat"]]
        assert [event["args"]["index"] for event in slices] == list(range(len(trace)))
        check_nesting(found)
        for event in slices:
            summary = timeline.summary(event["args"]["index"])
            assert ns(event["ts"]) == summary.time
            assert event["tid"] == (summary.vcpu or 0) + 1
            gpa = event["args"].get("gpa")
            assert (None if gpa is None else int(gpa, 16)) == summary.gpa
        names = {event["tid"]: event["args"]["name"] for event in found
                 if event["name"] == "thread_name"}  # fmt: skip
        assert {*names} == {event["tid"] for event in slices}
        counters = [event["args"]["bytes"] for event in found if event["ph"] == "C"]
        last = timeline.moment(len(trace) - 1, 1 << 20).gpa_map
        assert last is not None
        assert counters[-1] == last.shared_bytes


def test_where_a_vcpu_is() -> None:
    with open_trace(RETRY) as trace:
        _, found = events(Job(Timeline(trace)))
        first = next(event for event in found if event["name"] == "MapGPA")
        inside = [
            event
            for event in found
            if event["ph"] == "X"
            and event["cat"] == "userspace"
            and ns(first["ts"]) <= ns(event["ts"]) < ns(first["ts"]) + ns(first["dur"])
        ]
        assert {event["name"] for event in inside} == {"KVM_EXIT_HYPERCALL"}
        exits = first["args"]["exit"]
        assert exits == ["KVM_EXIT_HYPERCALL"] * len(inside)
    in_td = [event for event in found if event["name"] == "in TD"]
    assert len(in_td) > 10
    assert all(event["cat"] == "td" for event in in_td)


def test_a_part_says_nothing_of_the_time_between() -> None:
    with open_trace(RETRY) as trace:
        wanted = Selection(wanted=compile_filter("leaf == MapGPA"))
        about, found = events(Job(Timeline(trace), wanted))
    assert about["exits"] == "that match leaf == MapGPA"
    assert not [event for event in found if event["name"] == "in TD"]
    assert [event for event in found if event["ph"] == "C"]


def test_without_times_the_rows_are_counted_and_it_says_so() -> None:
    trace = make_trace(calls(50, 3, BY_NAME["6.16"]), Td(), BY_NAME["6.16"])
    bare = Trace.from_records(
        trace.meta, [record._replace(time=None) for _, record in trace.records()]
    )
    about, found = events(Job(Timeline(bare)))
    assert about["time"] == "the recording has no times: a microsecond stands for an exit"
    slices = [event for event in found if event["ph"] == "X"]
    assert [(ns(event["ts"]), ns(event["dur"])) for event in slices] == [
        (1000 * row, 1000) for row in range(50)
    ]
    with to_stream(BytesIO(), "memory") as out:
        done = WRITE(Job(Timeline(bare)), out)
    assert done.said == (about["time"],)


def test_exits_whose_time_is_missing_are_counted() -> None:
    trace = make_trace(calls(30, 2, BY_NAME["6.16"]), Td(), BY_NAME["6.16"])
    gap = Trace.from_records(
        trace.meta,
        [
            record._replace(time=None) if record.row in (3, 7) else record
            for _, record in trace.records()
        ],
    )
    _, found = events(Job(Timeline(gap)))
    slices = [event for event in found if event["ph"] == "X" and "exit" in event["cat"]]
    assert len(slices) == 28


def test_nothing_selected_is_valid_too() -> None:
    with open_trace(RETRY) as trace:
        _, found = events(Job(Timeline(trace), Selection(len(trace))))
    assert [event["name"] for event in found] == ["process_name"]


def test_hostile_text_is_escaped() -> None:
    with open_trace(samples_dir() / "fatal_error_hostile_text.tdxt") as trace:
        _, found = events(Job(Timeline(trace)))
    messages = [event["args"]["message"] for event in found if event["ph"] == "X"
                and "exit" in event["cat"]]  # fmt: skip
    assert messages[0].startswith("\\x1b[2J")
    assert all(" " <= letter <= "~" for text in messages for letter in text)
