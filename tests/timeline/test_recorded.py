"""A recording under its own generation: what is shown is what was recorded, at any place."""

from __future__ import annotations

import random

import pytest

from tdxdbg.abi.regs import KNOWN_ALL
from tdxdbg.engine import (
    BY_NAME,
    GENERATIONS,
    Engine,
    Generation,
    GpaMap,
    HypercallAnswer,
    Input,
    Outcome,
    Reentry,
    SetMemoryAttributes,
    Step,
    Td,
    TdExit,
)
from tdxdbg.timeline import Timeline, marks, recorded
from tdxdbg.timeline.shadow import conversion
from tdxdbg.traces.records import KNOWN_ANSWER, KNOWN_HAS_EVENTS, Kind, Record
from tests.timeline.journals import (
    DONE,
    MIB,
    MIXED,
    SHARED,
    make_trace,
    map_gpa,
    records_of,
    serial,
)

V7_2 = BY_NAME["7.2"]


def expected_maps(td: Td, generation: Generation) -> list[GpaMap]:
    """The map after each input of MIXED that is a step, in journal order."""
    engine = Engine(td, generation)
    maps = []
    for event in MIXED:
        if isinstance(event, TdExit):
            engine.force_into_td(event.vcpu)
        engine.feed(event)
        if isinstance(event, TdExit | Reentry):
            maps.append(engine.gpa_map)
    return maps


@pytest.mark.parametrize("generation", GENERATIONS[2:], ids=lambda item: item.name)
def test_moments_agree_with_what_was_recorded(generation: Generation) -> None:
    td = Td()
    line = Timeline(make_trace(records_of(MIXED, td, generation), td, generation))
    inputs = [event for event in MIXED if isinstance(event, TdExit | Reentry)]
    moments = [
        line.moment(row, step) for row in range(len(line)) for step in range(line.steps(row))
    ]
    in_order = sorted(moments, key=lambda moment: moment.record)
    assert [moment.input for moment in in_order] == inputs
    assert [moment.gpa_map for moment in in_order] == expected_maps(td, generation)
    for moment in moments:
        assert moment.differences == ()
        assert moment.computed is not None
        assert moment.recorded is not None
        assert moment.computed[:7] == moment.recorded[:7]
        assert moment.after_known == KNOWN_ALL


def test_random_access_equals_walking() -> None:
    td = Td()
    inputs = [event for _ in range(40) for event in MIXED]
    trace = make_trace(records_of(inputs, td, V7_2), td, V7_2)
    walked = Timeline(trace)
    places = [(row, step) for row in range(len(walked)) for step in range(walked.steps(row))]
    straight = {place: walked.moment(*place) for place in places}
    jumping = Timeline(trace)
    random.Random(7).shuffle(places)
    for place in places:
        assert jumping.moment(*place) == straight[place]


def test_a_step_says_what_it_converted_and_what_was_answered() -> None:
    td = Td()
    line = Timeline(make_trace(records_of(MIXED, td, V7_2), td, V7_2))
    first, second = line.moment(1, 0), line.moment(1, 1)
    assert first.changed is None
    assert first.answer == Reentry(0, DONE)
    assert first.answer_known
    assert second.changed == (0x4000_0000, 2 * MIB, False)
    assert line.moment(1, 3).changed == (0x4040_0000, MIB, False)
    assert line.moment(1, 3).answer is None
    # Half of what the last call made private was private already: [+1M, +2M) was shared.
    assert line.moment(6, 1).changed == (0x4010_0000, MIB, True)


def test_what_userspace_set_before_its_answer_belongs_to_the_answer() -> None:
    td = Td()
    inputs: list[Input] = [
        map_gpa(SHARED | 0x4000_0000, 4 * MIB),
        SetMemoryAttributes(0x4000_0000, 2 * MIB, private=False),
        Reentry(0, DONE),
        SetMemoryAttributes(0x4020_0000, 2 * MIB, private=False),
        Reentry(0, DONE),
    ]
    line = Timeline(make_trace(records_of(inputs, td, V7_2), td, V7_2))
    assert [line.moment(0, step).changed for step in range(3)] == [
        None,
        (0x4000_0000, 2 * MIB, False),
        (0x4020_0000, 2 * MIB, False),
    ]


def test_row_and_step_are_clamped() -> None:
    td = Td()
    line = Timeline(make_trace(records_of(MIXED, td, V7_2), td, V7_2))
    assert line.moment(-3, -1) == line.moment(0, 0)
    last = len(line) - 1
    assert line.moment(10**9, 10**9) == line.moment(last, line.steps(last) - 1)
    assert line.steps(1) == 4


def test_an_empty_trace_has_no_moments() -> None:
    line = Timeline(make_trace([], Td(), V7_2))
    assert len(line) == 0
    with pytest.raises(IndexError, match="no exits"):
        line.moment(0)


def test_a_wrong_recording_is_marked_and_the_engine_gets_back_into_step() -> None:
    td = Td()
    records = records_of(MIXED, td, V7_2)
    at = next(
        place
        for place, record in enumerate(records)
        if record.kind == Kind.USERSPACE_EXIT and record.row == 1
    )
    step = records[at].body
    assert isinstance(step, Step)
    entered = step._replace(outcome=Outcome.REENTER_TD, run=None)
    records[at] = records[at]._replace(kind=Kind.TD_ENTRY, body=entered)
    line = Timeline(make_trace(records, td, V7_2))
    assert [item.field for item in line.moment(1, 0).differences] == ["outcome"]
    later = line.moment(6, 0)
    assert later.differences == ()
    assert later.computed is not None


def test_unknown_registers_are_not_fed() -> None:
    td = Td()
    records = records_of(MIXED, td, V7_2)
    without_r13 = [
        record._replace(known=record.known & ~(1 << 13))
        if record.kind == Kind.TD_EXIT and record.row == 1
        else record
        for record in records
    ]
    line = Timeline(make_trace(without_r13, td, V7_2))
    moment = line.moment(1, 1)
    assert moment.computed is None
    assert not moment.before_known >> 13 & 1
    assert moment.before_known >> 12 & 1
    # What the recorded exits and answers say about the map counts all the same.
    assert line.moment(1, 3).gpa_map == Timeline(make_trace(records, td, V7_2)).moment(1, 3).gpa_map
    assert line.moment(2, 0).computed is not None


def test_an_unknown_answer_is_not_invented() -> None:
    td = Td()
    records = [
        record._replace(known=0) if record.kind == Kind.ANSWER else record
        for record in records_of(MIXED, td, V7_2)
    ]
    moment = Timeline(make_trace(records, td, V7_2)).moment(1, 1)
    assert moment.computed is None
    assert moment.gpa_map == GpaMap()
    assert not Timeline(make_trace(records, td, V7_2)).moment(1, 0).answer_known


def test_a_pending_event_is_seen_in_the_kernels_reply() -> None:
    td = Td()
    records = [
        record._replace(known=KNOWN_ANSWER, body=record.body._replace(has_events=False))
        if record.kind == Kind.ANSWER and isinstance(record.body, Reentry)
        else record
        for record in records_of(MIXED, td, V7_2)
    ]
    assert not any(
        record.known & KNOWN_HAS_EVENTS for record in records if record.kind == Kind.ANSWER
    )
    line = Timeline(make_trace(records, td, V7_2))
    retried = line.moment(3, 2)
    assert retried.differences == ()
    assert retried.after.r11 == SHARED | 0x8040_0000


@pytest.mark.parametrize("every", [7, 19])
def test_checkpoints_in_the_file_change_nothing_but_the_way_there(every: int) -> None:
    td = Td()
    inputs = [event for _ in range(12) for event in MIXED]
    plain = Timeline(make_trace(records_of(inputs, td, V7_2), td, V7_2))
    marked = Timeline(make_trace(records_of(inputs, td, V7_2, every), td, V7_2))
    for row in range(len(plain) - 1, -1, -5):
        for step in range(plain.steps(row)):
            ours, theirs = marked.moment(row, step), plain.moment(row, step)
            assert ours.gpa_map == theirs.gpa_map
            assert ours.computed == theirs.computed


def test_a_hostile_checkpoint_is_left_out_and_said() -> None:
    td = Td()
    records = records_of(MIXED, td, V7_2)
    bad = Record(Kind.CHECKPOINT, 0, 0, None, {"gpa_map": [5, 3], "vcpus": [], "dead": False}, 0)
    trace = make_trace([*records[:4], bad, *records[4:]], td, V7_2)
    line = Timeline(trace)
    assert line.moment(6, 1).gpa_map == expected_maps(td, V7_2)[-2]
    assert any("checkpoint" in problem for problem in trace.problems)


def test_far_places_say_that_history_is_unknown_until_caught_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(marks, "REACH", 50)
    monkeypatch.setattr(recorded, "_SPARSE", 32)
    td = Td()
    inputs = [event for _ in range(40) for event in MIXED]
    trace = make_trace(records_of(inputs, td, V7_2), td, V7_2)
    line = Timeline(trace)
    far = len(line) - 3
    assert line.moment(far).gpa_map is None
    assert line.moment(far).recorded is not None
    left = line.catch_up(30)
    assert 0 < left < trace.n_records
    assert line.moment(far).gpa_map is None
    for _ in range(trace.n_records):
        if not line.catch_up(30):
            break
    assert line.moment(far).gpa_map is not None


def test_catching_up_does_not_disturb_the_cursor() -> None:
    td = Td()
    inputs = [event for _ in range(10) for event in MIXED]
    trace = make_trace(records_of(inputs, td, V7_2), td, V7_2)
    line = Timeline(trace)
    before = line.moment(5, 0)
    while line.catch_up(25):
        assert line.moment(5, 0) == before
    assert line.moment(6, 0) == Timeline(trace).moment(6, 0)


def test_two_vcpus_keep_their_own_calls() -> None:
    td = Td()
    inputs: list[Input] = [
        map_gpa(SHARED, 4 * MIB, vcpu=0),
        map_gpa(SHARED | 1 << 30, 4 * MIB, vcpu=1),
        Reentry(0, DONE),
        Reentry(1, HypercallAnswer(11)),
        Reentry(0, DONE),
        serial(0x21, vcpu=1),
    ]
    line = Timeline(make_trace(records_of(inputs, td, V7_2), td, V7_2))
    assert line.moment(0, 2).after.r10 == 0
    assert line.moment(1, 1).after[10:12] == (1, SHARED | 1 << 30)
    assert line.moment(2, 0).vcpu == 1


CONVERSIONS = [
    pytest.param(GpaMap(), 0x1000, 0x3000, False, (0x1000, 0x3000, False), id="fresh"),
    pytest.param(GpaMap((1, 4)), 0x1000, 0x3000, False, None, id="nothing new"),
    pytest.param(GpaMap((1, 4)), 0x2000, 0x1000, True, (0x2000, 0x1000, True), id="hole"),
    pytest.param(GpaMap((1, 4)), 0x0, 0x8000, True, (0x1000, 0x3000, True), id="only what was"),
    pytest.param(GpaMap((1, 4)), 0x4000, 0x1000, False, (0x4000, 0x1000, False), id="grown"),
    pytest.param(
        GpaMap(), (1 << 52) - 4096, 4096, False, ((1 << 52) - 4096, 4096, False), id="top of space"
    ),
]


@pytest.mark.parametrize(("before", "gpa", "size", "private", "changed"), CONVERSIONS)
def test_conversion(
    before: GpaMap, gpa: int, size: int, private: bool, changed: tuple[int, int, bool] | None
) -> None:
    assert conversion(before, before.convert(gpa, size, private=private)) == changed
