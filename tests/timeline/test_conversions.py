"""What a row converts by its own records: the same as the map of the whole recording shows."""

from __future__ import annotations

import pytest

from tdxdbg.engine import BY_NAME, GpaMap, Td
from tdxdbg.resources import samples_dir
from tdxdbg.timeline import Timeline
from tdxdbg.timeline.conversions import Conversion
from tdxdbg.traces import Trace, TraceMeta, open_trace
from tdxdbg.traces.records import Record
from tests.timeline.journals import MIB, MIXED, make_trace, records_of
from tests.ui import demo

SAMPLES = sorted(samples_dir().glob("*.tdxt"))
MIXED_TRACE = make_trace(records_of(MIXED, Td(gpaw=48), BY_NAME["7.2"]), Td(gpaw=48),
                         BY_NAME["7.2"])  # fmt: skip


def last_map(timeline: Timeline) -> GpaMap | None:
    row = len(timeline) - 1
    return timeline.moment(row, timeline.steps(row) - 1).gpa_map


def folded(timeline: Timeline) -> GpaMap:
    """All conversions of all rows, one after the other."""
    found = GpaMap()
    for row in range(len(timeline)):
        for each in timeline.conversions(row):
            found = found.convert(each.gpa, each.size, private=each.private)
    return found


@pytest.mark.parametrize("kernel", [None, "7.2", "6.16-rc1", "v19"])
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_the_rows_together_make_the_map(path: str, kernel: str | None) -> None:
    with open_trace(path) as trace:
        timeline = Timeline(trace, BY_NAME[kernel] if kernel else None)
        if len(timeline):
            assert folded(timeline) == last_map(timeline)


def test_the_rows_of_two_vcpus_at_once() -> None:
    timeline = Timeline(MIXED_TRACE)
    assert folded(timeline) == last_map(timeline)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_change_of_the_map_is_a_conversion_of_its_step(path: str) -> None:
    with open_trace(path) as trace:
        timeline = Timeline(trace)
        vcpus = {timeline.summary(row).vcpu for row in range(len(timeline))}
        # Between several vCPUs, a moment shows what was set since the last input of any.
        for row in range(len(timeline) if len(vcpus) == 1 else 0):
            converted = timeline.conversions(row)
            for step in range(timeline.steps(row)):
                changed = timeline.moment(row, step).changed
                if changed is not None:
                    gpa, size, _ = changed
                    found = [each for each in converted if each.step == step]
                    assert any(each.touches(gpa, gpa + size - 1) for each in found)


def test_pages_that_had_the_state_are_converted_too() -> None:
    made = demo.Recorder()
    again = demo.tdvmcall(0x10001, r12=demo.SHARED | 0x4000_0000, r13=2 * MIB)
    for _ in range(2):
        made.exit(again)
    timeline = Timeline(made.trace())
    first, second = timeline.conversions(0), timeline.conversions(1)
    assert timeline.moment(1, 1).changed is None
    assert {each[1:] for each in first} == {(0x4000_0000, 2 * MIB, False)}
    assert second == first
    assert {each.step for each in second} == {1}


def without(kinds: set[int], records: list[Record]) -> Trace:
    kept = [record for record in records if record.kind not in kinds]
    return Trace.from_records(TraceMeta(generation="7.2", td=demo.TD), kept)


def test_without_its_td_exit_a_row_is_what_was_recorded_of_it() -> None:
    made = demo.Recorder()
    made.exit(demo.tdvmcall(0x10001, r12=demo.SHARED | 0x4000_0000, r13=2 * MIB))
    timeline = Timeline(without({1, 5}, made.records))
    assert [each[1:] for each in timeline.conversions(0)] == [(0x4000_0000, 2 * MIB, False)]


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (0x1000, 0x1FFF, True),
        (0x0, 0xFFF, False),
        (0x0, 0x1000, True),
        (0x2FFF, 0x2FFF, True),
        (0x3000, 0x3000, False),
        # The rest of a page that is converted is converted too.
        (0x1800, 0x1800, True),
    ],
)
def test_touching(first: int, last: int, expected: bool) -> None:
    assert Conversion(0, 0x1000, 0x1001, True).touches(first, last) is expected
