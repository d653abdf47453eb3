"""Another answer in a recording, against an engine that is fed directly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tdxdbg.abi.ghci import Status, SubFunction
from tdxdbg.abi.regs import R12
from tdxdbg.engine import (
    BY_NAME,
    GENERATIONS,
    Answer,
    Engine,
    HypercallAnswer,
    Input,
    IoAnswer,
    MmioAnswer,
    MsrAnswer,
    Outcome,
    Reentry,
    Td,
    TdExit,
    TdxAnswer,
    TdxRawAnswer,
)
from tdxdbg.engine.kvm_run import TDX_RAW
from tdxdbg.timeline import Moment, Timeline
from tdxdbg.timeline.answered import Course, WhatIfAnswer, what_if_answer
from tdxdbg.timeline.whatif import RowEnd
from tdxdbg.traces.records import KNOWN_ANSWER, Record
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

EAGAIN, EINVAL = HypercallAnswer(11), HypercallAnswer(22)
#: Reads a port, an MMIO address, an MSR, the quote: what userspace answers with more than ret.
PORT = TdExit(0, 77, call(SubFunction.IO, 2, 0, 0x60))
MMIO = TdExit(0, 77, call(SubFunction.MMIO, 4, 0, SHARED | 0xFEC0_0000))
RDMSR = TdExit(0, 77, call(SubFunction.RDMSR, 0x1234))
WRMSR = TdExit(0, 77, call(SubFunction.WRMSR, 0x1234, 5))
QUOTE = TdExit(0, 77, call(SubFunction.GET_QUOTE, SHARED | 0x1000, 4096))
INFO = TdExit(0, 77, call(SubFunction.GET_TD_VM_CALL_INFO, 1))
USERSPACE_MSRS = Td(user_space_msr_mask=7)


def line_of(
    *inputs: Input, generation: str = "7.2", td: Td | None = None, unknown: int = 0
) -> Timeline:
    """A recording; of `unknown` bits nothing was seen."""
    td = td or Td()
    records = records_of(inputs, td, BY_NAME[generation])
    if unknown:
        records = [record._replace(known=record.known & ~unknown) for record in records]
    return Timeline(make_trace(records, td, BY_NAME[generation]))


def fed(generation: str, td: Td, *inputs: Input) -> Engine:
    """An engine after these inputs."""
    engine = Engine(td, BY_NAME[generation])
    engine.force_into_td(0)
    for event in inputs:
        if isinstance(event, TdExit):
            engine.force_into_td(event.vcpu)
        engine.feed(event)
    return engine


def other(found: WhatIfAnswer) -> Course:
    assert found.problem == ""
    assert found.other is not None
    return found.other


def ends(course: Course) -> Moment:
    assert course.last is not None
    return course.last


# --- against the engine -----------------------------------------------------------------


CASES: dict[str, tuple[TdExit, Td, Answer]] = {
    "mapgpa EAGAIN": (map_gpa(SHARED, MIB), Td(), EAGAIN),
    "mapgpa EINVAL": (map_gpa(SHARED, MIB), Td(), EINVAL),
    "port": (PORT, Td(), IoAnswer(b"\x34\x12")),
    "mmio": (MMIO, Td(), MmioAnswer(b"\x01\x02\x03\x04")),
    "rdmsr": (RDMSR, USERSPACE_MSRS, MsrAnswer(0, 0x1122)),
    "rdmsr fails": (RDMSR, USERSPACE_MSRS, MsrAnswer(1, None)),
    "wrmsr fails": (WRMSR, USERSPACE_MSRS, MsrAnswer(1, None)),
    "quote": (QUOTE, Td(), TdxAnswer(ret=Status.RETRY)),
    "info": (INFO, Td(), TdxAnswer(0, 1, 2, 3, 4)),
}
RAW = TdxRawAnswer(r10=Status.INVALID_OPERAND, r11=0x77)
#: What these kernels do without userspace.
IN_KERNEL = {
    "exits-v1": {"rdmsr", "rdmsr fails", "wrmsr fails", "quote", "info"},
    "6.16-rc1": {"quote", "info"},
    "v19": {"rdmsr", "rdmsr fails", "wrmsr fails", "info"},
}


@pytest.mark.parametrize(
    ("generation", "case"),
    [
        (item.name, case)
        for item in GENERATIONS
        for case in CASES
        if case not in IN_KERNEL.get(item.name, ())
    ],
)
def test_the_guest_gets_what_an_engine_gives(generation: str, case: str) -> None:
    event, td, answer = CASES[case]
    line = line_of(event, Reentry(0), generation=generation, td=td)
    shown = line.moment(0, 0).shown
    assert shown is not None
    assert shown.run is not None
    if shown.run.layout is TDX_RAW:
        answer = RAW
    course = other(what_if_answer(line, 0, 0, answer))
    expected = fed(generation, td, event).feed(Reentry(0, answer))
    assert course.next is not None
    assert course.next.computed == expected
    assert course.assumed == 0
    assert expected.outcome is Outcome.REENTER_TD
    assert course.end is RowEnd.ENTERED


def test_the_recorded_answer_gives_the_recorded_course() -> None:
    line = line_of(*MIXED)
    places = [(row, step) for row in range(len(line)) for step in range(line.steps(row) - 1)]
    assert len(places) > 10
    for row, step in places:
        moment = line.moment(row, step)
        assert moment.answer is not None
        found = what_if_answer(line, row, step, moment.answer.answer)
        course = other(found)
        assert ends(course).after == ends(found.recorded).after
        assert course.changed == found.recorded.changed
        assert course.more == found.recorded.more
        assert course.assumed == 0


def test_an_error_ends_the_call_and_converts_nothing() -> None:
    line = line_of(map_gpa(SHARED, 4 * MIB), Reentry(0, DONE), Reentry(0, DONE))
    found = what_if_answer(line, 0, 1, EINVAL)
    assert found.recorded.changed == (2 * MIB, 2 * MIB, False)
    assert other(found).changed is None
    assert ends(other(found)).after[10:12] == (Status.INVALID_OPERAND, SHARED | 2 * MIB)
    assert ends(found.recorded).after.r10 == Status.SUCCESS


def test_answers_of_what_is_asked_again_are_the_recorded_ones() -> None:
    long: list[Input] = [map_gpa(SHARED, 8 * MIB), *[Reentry(0, DONE)] * 4]
    found = what_if_answer(line_of(*long), 0, 0, HypercallAnswer(None))
    assert other(found).assumed == 0
    assert other(found).more == 3
    assert ends(other(found)).after.r10 == Status.SUCCESS


def test_what_was_never_asked_is_answered_by_the_policy_and_marked() -> None:
    line = line_of(map_gpa(SHARED, 6 * MIB), Reentry(0, EINVAL))
    found = what_if_answer(line, 0, 0, DONE)
    course = other(found)
    assert course.assumed == 2
    assert course.next is not None
    assert course.next.assumed
    assert course.changed == (0, 6 * MIB, False)
    assert ends(course).after.r10 == Status.SUCCESS
    assert ends(found.recorded).after.r10 == Status.INVALID_OPERAND


def test_a_pending_event_is_found_where_it_was_found() -> None:
    line = line_of(map_gpa(SHARED, 8 * MIB), Reentry(0, DONE), Reentry(0, DONE, has_events=True))
    found = what_if_answer(line, 0, 1, DONE)
    assert ends(other(found)).after[10:12] == (Status.RETRY, SHARED | 4 * MIB)
    assert ends(other(what_if_answer(line, 0, 1, EINVAL))).after.r10 == Status.INVALID_OPERAND


def test_the_timeline_shows_what_it_showed() -> None:
    line = line_of(*MIXED)
    before = [line.moment(row, 0) for row in range(len(line))]
    for row in range(len(line)):
        what_if_answer(line, row, 0, EAGAIN)
    assert [line.moment(row, 0) for row in range(len(line))] == before


def test_a_recording_with_its_ioctls_converts_as_answered() -> None:
    td = replace(Td(), implicit_conversions=False)
    line = line_of(map_gpa(SHARED, MIB), Reentry(0, EINVAL), td=td)
    assert other(what_if_answer(line, 0, 0, DONE)).changed == (0, MIB, False)


def test_under_another_kernel_the_answer_is_given_to_that_kernel() -> None:
    line = line_of(map_gpa(SHARED, MIB), Reentry(0, DONE), serial(65), Reentry(0))
    older = line.with_generation(BY_NAME["6.16"])
    assert ends(other(what_if_answer(line, 0, 0, EAGAIN))).after.r10 == Status.RETRY
    found = what_if_answer(older, 0, 0, EAGAIN)
    assert ends(other(found)).after.r10 == Status.INVALID_OPERAND
    assert ends(found.recorded).after.r10 == Status.SUCCESS
    assert ends(other(what_if_answer(older, 1, 0, None))).after.r10 == Status.SUCCESS


def test_far_from_any_known_state_the_map_is_not_claimed() -> None:
    line = line_of(*(event for _ in range(40) for event in MIXED))
    line.reach = 8
    row = len(line) - 7
    assert line.moment(row, 0).gpa_map is None
    found = what_if_answer(line, row, 0, EAGAIN)
    assert other(found).last is not None
    assert ends(other(found)).gpa_map is None
    assert found.recorded.changed is None


# --- what is not recorded ---------------------------------------------------------------


def test_registers_that_decide_have_to_be_recorded() -> None:
    line = line_of(map_gpa(SHARED, MIB), Reentry(0, DONE), unknown=1 << R12)
    found = what_if_answer(line, 0, 0, EAGAIN)
    assert found.other is None
    assert found.problem == "R12 at the TD exit was not recorded"


def test_an_answer_before_it_has_to_be_recorded() -> None:
    line = line_of(
        map_gpa(SHARED, 4 * MIB), Reentry(0, DONE), Reentry(0, DONE), unknown=KNOWN_ANSWER
    )
    assert other(what_if_answer(line, 0, 0, EAGAIN)).next is not None
    found = what_if_answer(line, 0, 1, EAGAIN)
    assert found.problem == "what userspace answered to step 0 was not recorded"


def test_an_answer_to_another_exit_is_refused_in_words() -> None:
    line = line_of(map_gpa(SHARED, MIB), Reentry(0, DONE))
    assert "MmioAnswer does not answer" in what_if_answer(line, 0, 0, MmioAnswer(b"a")).problem


def test_a_row_that_ends_in_userspace_can_be_answered() -> None:
    line = line_of(map_gpa(SHARED, MIB), TdExit(0, 77, call(0x99)))
    assert "there is no answer to give" in what_if_answer(line, 1, 0, DONE).problem
    found = what_if_answer(line, 0, 0, DONE)
    assert found.recorded.next is None
    assert found.recorded.end is RowEnd.UNRECORDED
    assert ends(other(found)).after.r10 == Status.SUCCESS


def test_a_kernel_that_did_something_else_is_said() -> None:
    records: Sequence[Record] = records_of((map_gpa(SHARED, MIB),), Td(), BY_NAME["7.2"])
    wrong = records_of((PORT,), Td(), BY_NAME["7.2"])
    line = Timeline(make_trace([records[0], wrong[1]], Td(), BY_NAME["7.2"]))
    assert "does not come to this exit" in what_if_answer(line, 0, 0, DONE).problem
    damaged = Timeline(make_trace([wrong[1]], Td(), BY_NAME["7.2"]))
    assert "TD exit of this row" in what_if_answer(damaged, 0, 0, DONE).problem


def test_a_row_of_many_chunks_is_run_to_its_cut() -> None:
    line = line_of(map_gpa(SHARED, 8 << 30), Reentry(0, EINVAL))
    course = other(what_if_answer(line, 0, 0, DONE))
    assert course.end is RowEnd.CUT
    assert course.more > 1000
