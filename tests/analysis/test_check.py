"""The shadow check: it names what differs, and accuses nobody where the recording has a gap."""

from __future__ import annotations

import pytest

from tdxdbg.analysis.shadow import RecordedDifference, check, difference_text, summary_text
from tdxdbg.engine import BY_NAME, Outcome, Reentry, Step, TdExit
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import (
    KNOWN_ANSWER,
    KNOWN_HAS_EVENTS,
    KNOWN_REGS,
    KNOWN_VP_ENTER_RET,
    Kind,
)
from tests.analysis.samples import NAMES, load, rebuilt

#: What KVM does there depends on what a missing exit left: an MSR, a stale ret.
REMEMBERING = ("cpuid_hlt_msr", "v1_stale_hypercall_ret")
R12 = 1 << 12


def fields(trace: Trace, generation: str | None = None) -> list[tuple[int, int, str]]:
    done = check(trace, BY_NAME[generation] if generation else None)
    return [(item.row, item.step, item.field) for item in done]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in REMEMBERING])
def test_a_missing_record_is_no_difference(name: str) -> None:
    meta, records = load(name)
    for place in range(len(records)):
        trace = rebuilt(meta, records[:place] + records[place + 1 :])
        assert fields(trace) == []


@pytest.mark.parametrize("first", range(1, 40, 3))
def test_a_recording_may_begin_anywhere(first: int) -> None:
    meta, records = load("two_vcpus_converting")
    assert fields(rebuilt(meta, records[first:])) == []


def test_a_gap_ends_with_the_next_td_exit() -> None:
    meta, records = load("mapgpa_5mib_3_chunks")
    assert records[3].kind == Kind.ANSWER
    done = check(rebuilt(meta, records[:3] + records[4:]))
    assert list(done) == []
    # The rest of row 0 is left out, row 1 is compared again.
    assert (done.compared, done.left_out) == (1 + 3, 3)


def test_an_exit_whose_registers_were_not_seen_is_left_out() -> None:
    meta, records = load("mapgpa_5mib_3_chunks")
    first = records[0]
    records[0] = first._replace(known=first.known & ~R12)
    done = check(rebuilt(meta, records))
    assert list(done) == []
    assert (done.compared, done.left_out) == (3, 4)


def test_a_register_that_does_not_matter_need_not_be_seen() -> None:
    meta, records = load("serial_hello")
    rbx = 1 << 3
    seen = [record._replace(known=record.known & ~rbx) for record in records]
    done = check(rebuilt(meta, seen))
    assert list(done) == []
    assert done.left_out == 0


def test_an_unknown_answer_leaves_out_what_follows_from_it() -> None:
    meta, records = load("mapgpa_5mib_3_chunks")
    records[3] = records[3]._replace(known=records[3].known & ~KNOWN_ANSWER)
    done = check(rebuilt(meta, records))
    assert list(done) == []
    assert (done.compared, done.left_out) == (1 + 3, 3)


@pytest.mark.parametrize("name", ["mapgpa_64mib_interrupted", "two_vcpus_converting"])
def test_pending_events_are_read_off_the_reply_where_nobody_saw_them(name: str) -> None:
    meta, records = load(name)
    blind = [
        record._replace(
            known=record.known & ~KNOWN_HAS_EVENTS, body=record.body._replace(has_events=False)
        )
        if isinstance(record.body, Reentry)
        else record
        for record in records
    ]
    done = check(rebuilt(meta, blind))
    assert list(done) == []
    assert done.left_out == 0


@pytest.mark.parametrize("known", [KNOWN_REGS, 0], ids=["seen", "not seen"])
def test_a_value_that_was_not_seen_does_not_differ(known: int) -> None:
    meta, records = load("mapgpa_empty")
    entry = records[1]
    assert isinstance(entry.body, Step)
    wrong = entry.body._replace(regs=entry.body.regs._replace(r11=0x123))
    records[1] = entry._replace(body=wrong, known=known)
    expected = [(0, 0, "r11")] if known else []
    assert fields(rebuilt(meta, records)) == expected


def test_another_outcome_is_named() -> None:
    meta, records = load("mapgpa_empty")
    entry = records[1]
    assert isinstance(entry.body, Step)
    failed = entry.body._replace(outcome=Outcome.KVM_ERROR, errno=5)
    records[1] = entry._replace(kind=Kind.USERSPACE_EXIT, body=failed)
    assert fields(rebuilt(meta, records)) == [(0, 0, "outcome"), (0, 0, "errno")]


@pytest.mark.parametrize(
    ("name", "generation", "first"),
    [
        ("mapgpa_eagain_before_7_2", "7.2", (0, 2, "r10")),
        ("mapgpa_eagain", "6.16", (0, 2, "r10")),
        ("mapgpa_capability_missing", "6.16-rc1", (0, 0, "r10")),
        ("bus_lock_before_7_3", "7.3", (1, 0, "outcome")),
        ("fatal_error_v1", "6.16", (0, 0, "system_event.ndata")),
        ("mapgpa_one_page", "v19", (0, 0, "completer")),
        ("unknown_sub_function", "exits-v1", (0, 0, "r10")),
    ],
)
def test_another_generation_than_the_recorded_one(
    name: str, generation: str, first: tuple[int, int, str]
) -> None:
    assert fields(rebuilt(*load(name)), generation)[0] == first


def test_a_trace_without_vp_enter_ret_is_left_out() -> None:
    meta, records = load("triple_fault")
    blind = [
        record._replace(known=record.known & ~KNOWN_VP_ENTER_RET)
        if isinstance(record.body, TdExit)
        else record
        for record in records
    ]
    done = check(rebuilt(meta, blind))
    assert list(done) == []
    assert done.compared == 0


def test_progress_is_told_and_the_work_can_be_stopped() -> None:
    meta, records = load("mapgpa_eagain_before_7_2")
    told: list[tuple[int, int]] = []
    trace = rebuilt(meta, records)
    assert list(check(trace, progress=lambda done, total: told.append((done, total)))) == []
    assert told == [(0, len(records)), (len(records), len(records))]
    stopped = check(trace, BY_NAME["7.2"])
    assert next(iter(stopped)).field == "r10"
    assert stopped.differing == 1
    assert stopped.compared == 3


def test_a_difference_as_text() -> None:
    item = RecordedDifference(3, 1, 0, 14, 0, "hypercall.ret", 0, 16)
    assert difference_text(item) == (
        "row 3 step 1 vCPU 0, record 14: hypercall.ret: recorded 0x0, engine 0x10"
    )
    imported = item._replace(source=77, field="outcome", recorded="REENTER_TD", computed=None)
    assert difference_text(imported) == (
        "row 3 step 1 vCPU 0, record 14, line 77: outcome: recorded REENTER_TD, engine ?"
    )


def test_the_summary_counts() -> None:
    done = check(rebuilt(*load("mapgpa_5mib_3_chunks")))
    list(done)
    assert summary_text(done) == "2 rows, 7 steps compared with 6.16: no difference"
    other = check(rebuilt(*load("mapgpa_empty")), BY_NAME["v19"])
    list(other)
    assert summary_text(other) == "3 rows, 3 steps compared with v19: 3 differ"
    meta, records = load("mapgpa_one_page")
    records[0] = records[0]._replace(known=0)
    gap = check(rebuilt(meta, records))
    list(gap)
    assert summary_text(gap).endswith("no difference, 2 not known well enough to compare")
