"""Another generation over the same guest: reused answers, assumed rows, diverged exits."""

from __future__ import annotations

import pytest

from tdxdbg.abi.ghci import Status, SubFunction
from tdxdbg.abi.kvm import Exit
from tdxdbg.engine import BY_NAME, HypercallAnswer, Input, Reentry, Td, TdExit
from tdxdbg.timeline import Moment, Timeline, marks, rerun
from tests.timeline.journals import (
    DONE,
    MIB,
    MIXED,
    SHARED,
    call,
    make_trace,
    map_gpa,
    records_of,
    serial,
)

EAGAIN = HypercallAnswer(11)


def under(name: str, recorded: str, *inputs: Input) -> Timeline:
    """The journal as `recorded` made it, seen under generation `name`."""
    td, generation = Td(), BY_NAME[recorded]
    trace = make_trace(records_of(inputs, td, generation), td, generation)
    return Timeline(trace, BY_NAME[name])


def last(line: Timeline, row: int) -> Moment:
    return line.moment(row, line.steps(row) - 1)


def test_eagain_is_retry_in_7_2_and_an_error_before() -> None:
    line = under("6.16", "7.2", map_gpa(SHARED, MIB), Reentry(0, EAGAIN), serial(65), Reentry(0))
    end = last(line, 0)
    assert end.after[10:12] == (Status.INVALID_OPERAND, SHARED)
    assert not end.assumed
    assert not end.diverged
    assert last(line, 1).diverged


def test_the_same_reply_does_not_diverge() -> None:
    line = under("6.16", "7.2", *MIXED)
    ends = [last(line, row) for row in range(len(line))]
    assert not any(end.assumed or end.diverged for end in ends)
    same = Timeline(line.trace)
    assert [end.after for end in ends] == [last(same, row).after for row in range(len(same))]
    assert ends[-1].gpa_map == last(same, len(same) - 1).gpa_map


def test_an_interrupted_call_is_interrupted_again() -> None:
    line = under("exits-v1", "7.3", map_gpa(SHARED, 4 * MIB), Reentry(0, DONE, has_events=True))
    assert last(line, 0).after[10:12] == (Status.RETRY, SHARED | 2 * MIB)


def test_an_exit_that_was_not_recorded_is_answered_by_the_policy() -> None:
    line = under("v19", "7.2", map_gpa(SHARED, 4 * MIB), Reentry(0, DONE), Reentry(0, DONE))
    first = line.moment(0, 0)
    assert first.shown is not None
    assert first.shown.run is not None
    assert first.shown.run.exit_reason == Exit.TDX
    end = last(line, 0)
    assert end.assumed
    assert end.after.r10 == Status.SUCCESS
    assert end.changed == (0, 4 * MIB, False)


def test_a_vmm_that_stops_leaves_later_exits_diverged() -> None:
    line = under("6.16", "7.3", TdExit(0, 75, call(0)), serial(65), Reentry(0), serial(66, vcpu=1))
    stopped = last(line, 0)
    assert stopped.shown is not None
    assert stopped.shown.run is not None
    assert stopped.shown.run.exit_reason == Exit.INTERNAL_ERROR
    assert last(line, 1).diverged
    assert not last(line, 2).diverged


def test_unknown_sub_functions_get_each_kernels_status() -> None:
    exit_ = TdExit(0, 77, call(SubFunction.WBINVD))
    assert last(under("6.16-rc1", "7.3", exit_), 0).after.r10 == Status.INVALID_OPERAND
    assert last(under("6.16", "7.3", exit_), 0).after.r10 == Status.SUBFUNC_UNSUPPORTED


def test_random_access_equals_walking() -> None:
    line = under("6.16", "7.2", *(event for _ in range(30) for event in MIXED))
    straight = [last(line, row) for row in range(len(line))]
    jumping = line.with_generation(line.generation)
    for row in [*range(len(line) - 1, -1, -7), *range(0, len(line), 5)]:
        assert last(jumping, row) == straight[row]


def test_a_row_that_cannot_be_fed_shows_the_recording() -> None:
    td, generation = Td(), BY_NAME["7.2"]
    records = [
        record._replace(known=0) if isinstance(record.body, TdExit) else record
        for record in records_of(MIXED[:2], td, generation)
    ]
    line = Timeline(make_trace(records, td, generation), BY_NAME["6.16"])
    moment = line.moment(0)
    assert moment.computed is None
    assert moment.before_known == 0
    assert moment.vcpu == 0


@pytest.mark.parametrize("size", [1 << 40, 1 << 46])
def test_a_row_without_end_is_cut(size: int) -> None:
    td = Td(gpaw=52)
    generation = BY_NAME["7.2"]
    shared = 1 << 51
    trace = make_trace(records_of([map_gpa(shared, size)], td, generation), td, generation)
    line = Timeline(trace, BY_NAME["6.16"])
    assert line.steps(0) < 5_000


@pytest.mark.parametrize("name", ["6.16", "7.2"])
def test_of_a_row_that_is_longer_than_is_read_nothing_is_claimed(name: str) -> None:
    td, recorded = Td(), BY_NAME["7.2"]
    long: list[Input] = [
        map_gpa(SHARED, 8 << 30),
        *[Reentry(0, DONE)] * 4096,
        serial(65),
        Reentry(0),
    ]
    trace = make_trace(records_of(long, td, recorded), td, recorded)
    line = Timeline(trace, BY_NAME[name])
    end = last(line, 0)
    assert end.more
    assert not end.assumed
    assert line.steps(0) > 1_000
    assert not last(line, 1).diverged
    assert not last(line, 1).more


def test_far_rows_get_their_history_by_catching_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "REACH", 20)
    monkeypatch.setattr(rerun, "_SPARSE", 16)
    line = under("6.16", "7.2", *(event for _ in range(40) for event in MIXED))
    far = len(line) - 3
    assert line.moment(far).gpa_map is None
    assert line.summary(far).index == far
    assert line.catch_up(8) == len(line) - 1
    assert 0 < line.passed < 0.1
    near = line.moment(1)
    while line.catch_up(40):
        assert line.moment(1) == near
    assert line.passed == 1
    monkeypatch.undo()
    assert line.moment(far) == under(
        "6.16", "7.2", *(event for _ in range(40) for event in MIXED)
    ).moment(far)
