"""Breakpoints over a recording: what they stop at, against a reference that asks every row."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdxdbg.abi.regs import REG_NAMES
from tdxdbg.engine import BY_NAME, GpaMap
from tdxdbg.filters import compile_filter
from tdxdbg.timeline import Timeline
from tdxdbg.ui.row_stops import RowStops
from tests.ui import demo

MIB = 1 << 20
BASE = 0x4000_0000
TRACE = demo.mapgpa()
CONDITIONS = [
    "leaf == MapGPA",
    "retry",
    "vcpu == 1",
    "error",
    "status == 77",
    "exit == KVM_EXIT_IO",
]
WATCHES = [
    "gpa == 0x40000000",
    "gpa in 0x40200000..0x405fffff",
    "40700000 +1M",
    "gpa in 2G..3G",
    "r10 == 1",
    "r11 == 0x10001",
    "r12 == 0x8000040400000",
    "r11 == 0x8000040400000 and vcpu == 0",
    "r14 == 0x3f8",
]
STOPS = st.lists(st.tuples(st.sampled_from(CONDITIONS + WATCHES), st.booleans()), max_size=4)


def added(stops: RowStops, text: str) -> int:
    point = stops.add(text) if text in CONDITIONS else stops.add_watch(text)
    return point.number


def converts(timeline: Timeline, row: int, first: int, last: int) -> bool:
    """Whether a row converts a page of a range: by the maps it makes from two opposite ones."""
    found = timeline.conversions(row)
    for start in (GpaMap(), GpaMap((0,))):
        made = start
        for each in found:
            made = made.convert(each.gpa, each.size, private=each.private)
        before = [(item.start, item.end, item.shared) for item in start.ranges(first, last + 1)]
        after = [(item.start, item.end, item.shared) for item in made.ranges(first, last + 1)]
        if before != after:
            return True
    return False


def after(timeline: Timeline, row: int, name: str) -> int | None:
    """A register as the guest gets it."""
    moment = timeline.moment(row, timeline.steps(row) - 1)
    at = REG_NAMES.index(name)
    entered = moment.shown is not None and moment.shown.run is None
    return moment.after[at] if entered and moment.after_known >> at & 1 else None


def slow(timeline: Timeline, row: int, text: str) -> bool:
    """The same without breakpoints."""
    summary = timeline.summary(row)
    if text in CONDITIONS:
        return compile_filter(text).matches(summary)
    ranges = {
        "gpa == 0x40000000": (BASE, BASE),
        "gpa in 0x40200000..0x405fffff": (BASE + 2 * MIB, BASE + 6 * MIB - 1),
        "40700000 +1M": (BASE + 7 * MIB, BASE + 8 * MIB - 1),
        "gpa in 2G..3G": (2 << 30, 3 << 30),
    }
    if text in ranges:
        return converts(timeline, row, *ranges[text])
    if compile_filter(text).matches(summary):
        return True
    name, _, value = text.partition(" and ")[0].split()
    vcpu_fits = "vcpu" not in text or summary.vcpu == 0
    return vcpu_fits and after(timeline, row, name) == int(value, 0)


def expected(timeline: Timeline, stops: list[tuple[str, bool]]) -> list[int]:
    rows = range(len(timeline))
    return [row for row in rows if any(on and slow(timeline, row, text) for text, on in stops)]


def visited(stops: RowStops, start: int, direction: int) -> list[int]:
    """Continue until nothing stops."""
    rows: list[int] = []
    at = start
    while True:
        found = next((row for row in stops.search(at, direction) if row is not None), None)
        if found is None:
            return rows
        rows.append(found)
        at = found


@pytest.mark.parametrize("kernel", ["7.2", "v19"])
@given(stops=STOPS, start=st.integers(-1, 11), counted=st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_continue_visits_exactly_the_rows_that_match_both_ways(
    stops: list[tuple[str, bool]], start: int, counted: int, kernel: str
) -> None:
    timeline = Timeline(TRACE, BY_NAME[kernel])
    made = RowStops(timeline)
    for text, enabled in stops:
        number = added(made, text)
        if not enabled:
            made.switch(number)
    for each in made.counted():
        each.scan(counted)
    rows = expected(timeline, stops)
    assert visited(made, start, 1) == [row for row in rows if row > start]
    assert visited(made, start, -1) == [row for row in rows if row < start][::-1]
    assert [row for row in range(len(timeline)) if made.stops_at(row)] == rows


@pytest.mark.parametrize("text", [*CONDITIONS, *WATCHES])
def test_hits_are_counted_in_slices(text: str) -> None:
    timeline = Timeline(TRACE)
    stops = RowStops(timeline)
    number = added(stops, text)
    assert stops.listing()[0]["more"]
    while (counted := stops.uncounted()) is not None:
        counted.scan(3)
    rows = expected(timeline, [(text, True)])
    listed = stops.listing()[0]
    assert (listed["hits"], listed["more"]) == (len(rows), False)
    assert [list(each) for each in stops.hits()] == [rows]
    for row in rows:
        words, step = stops.why(row)
        assert words == f"{number} {listed['text']}"
        assert 0 <= step < timeline.steps(row)


@pytest.mark.parametrize(
    ("text", "row", "step"),
    [
        ("leaf == MapGPA", 1, 0),
        # The chunk that converts it, the TD entry that says so.
        ("gpa == 0x40000000", 1, 1),
        ("gpa in 0x40200000..0x405fffff", 1, 2),
        ("retry", 1, 2),
        ("r10 == 1", 1, 2),
        ("r12 == 0x8000040400000", 3, 0),
        ("r11 == 0x8000040400000 and vcpu == 0", 1, 2),
    ],
)
def test_the_step_that_shows_why(text: str, row: int, step: int) -> None:
    stops = RowStops(Timeline(TRACE))
    added(stops, text)
    assert stops.why(row)[1] == step


def test_what_only_the_whole_row_says_stops_at_its_beginning() -> None:
    stops = RowStops(Timeline(TRACE))
    stops.add("exit == KVM_EXIT_HYPERCALL and status == RETRY")
    assert stops.why(1) == ("1 exit == KVM_EXIT_HYPERCALL and status == RETRY", 0)


def test_what_is_remembered_comes_back() -> None:
    made, other = RowStops(Timeline(TRACE)), RowStops(Timeline(TRACE))
    for text in [*CONDITIONS, *WATCHES]:
        added(made, text)
    made.switch(2)
    made.remove(3)
    assert other.restore(made.state()) == []
    assert other.state() == made.state()
    assert [other.stops_at(row) for row in range(11)] == [made.stops_at(row) for row in range(11)]


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ([{"kind": "exit", "text": "leef == 3"}], "leef"),
        ([{"kind": "mapping", "text": "leaf == 3"}], "watch gpa in"),
        ([{"kind": "registers", "text": "\x1b[31m"}], "unexpected character"),
        ([{"kind": "exit"}], "no text"),
        ([7], "no text"),
        (["leaf == IO"], "no text"),
    ],
)
def test_what_cannot_come_back_is_said(state: object, says: str) -> None:
    stops = RowStops(Timeline(TRACE))
    problems = stops.restore(state)
    assert len(problems) == 1
    assert says in problems[0]
    assert len(stops) == 0


@pytest.mark.parametrize("state", [None, 7, {}, {"kind": "exit"}, "exit"])
def test_no_list_is_no_breakpoint(state: object) -> None:
    stops = RowStops(Timeline(TRACE))
    stops.restore(state)
    assert len(stops) == 0


def test_a_list_has_an_end() -> None:
    stops = RowStops(Timeline(TRACE))
    problems = stops.restore([{"kind": "exit", "text": "retry"}] * 300)
    assert len(stops) == 256
    assert len(problems) == 44


def test_rows_that_grow_are_asked_again() -> None:
    timeline = Timeline(TRACE)
    stops = RowStops(timeline)
    stops.add("retry")
    for each in stops.counted():
        each.scan(99)
        each.grown([1])
    assert stops.uncounted() is not None
    assert visited(stops, -1, 1) == [1, 3]
