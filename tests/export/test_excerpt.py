"""An excerpt shows of its exits what the whole recording shows of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdxdbg.analysis.chains import Chains
from tdxdbg.analysis.shadow import check
from tdxdbg.engine import BY_NAME, GENERATIONS, Generation, Td
from tdxdbg.engine.snapshot import dump
from tdxdbg.export import Job, Selection
from tdxdbg.export.recording import write_lines, write_native
from tdxdbg.filters import compile_filter
from tdxdbg.resources import samples_dir
from tdxdbg.timeline import Moment, Timeline
from tdxdbg.timeline.gaps import BASE, GAP
from tdxdbg.timeline.shadow import Shadow
from tdxdbg.traces import jsonl, open_trace
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import (
    KNOWN_ANSWER,
    KNOWN_HAS_EVENTS,
    Kind,
    Record,
    TraceMeta,
    checkpoint,
)
from tests.export.outputs import written
from tests.index.journals import calls
from tests.timeline.journals import MIXED, make_trace, records_of

SAMPLES = sorted(samples_dir().glob("*.tdxt"))


def native(job: Job) -> Trace:
    return Trace(written(write_native, job), "excerpt")


def lines(job: Job) -> Trace:
    return jsonl.read(BytesIO(written(write_lines, job)), "excerpt")


def filter_of(rows: Iterable[int]) -> Selection:
    members = ", ".join(map(str, sorted(rows)))
    return Selection(wanted=compile_filter(f"index in {{{members}}}"))


def seen(moment: Moment) -> tuple[object, ...]:
    """Of a moment everything but where it stands in the file."""
    skip = {"row", "record", "changed"}
    values = zip(Moment._fields, moment, strict=True)
    return tuple((name, value) for name, value in values if name not in skip)


def moments(timeline: Timeline, row: int) -> list[tuple[object, ...]]:
    return [seen(timeline.moment(row, step)) for step in range(timeline.steps(row))]


def compare(whole: Trace, part: Trace, rows: Sequence[int], random: Random) -> None:
    assert not part.problems
    assert len(part) == len(rows)
    ours, theirs = Timeline(part), Timeline(whole)
    order = [*range(len(rows))]
    for _ in range(2):
        for new in order:
            assert moments(ours, new) == moments(theirs, rows[new]), (new, rows[new])
        random.shuffle(order)
    found = {(rows[item.row], item.step, item.field) for item in check(part)}
    every = {(item.row, item.step, item.field) for item in check(whole)}
    assert found == {item for item in every if item[0] in rows}


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_with_every_third_row(path: Path) -> None:
    with open_trace(path) as trace:
        for start in range(3):
            rows = list(range(start, len(trace), 3))
            if rows:
                job = Job(Timeline(trace), filter_of(rows))
                compare(trace, native(job), rows, Random(start))


def with_checkpoints(
    records: Sequence[Record], generation: Generation, every: int
) -> Iterator[Record]:
    shadow = Shadow(Td(), generation)
    for at, record in enumerate(records):
        if every and at and at % every == 0 and record.kind is Kind.TD_EXIT:
            yield checkpoint(dump(shadow.engine.checkpoint()))
        shadow.feed(record)
        yield record


def forgotten(records: Sequence[Record], random: Random, share: float) -> Iterator[Record]:
    """As tools record it: here and there registers, answers and events were not seen."""
    for record in records:
        known = record.known
        if random.random() < share:
            if record.kind is Kind.TD_EXIT:
                known &= ~(1 << random.randrange(10, 16))
            elif record.kind is Kind.ANSWER:
                known &= ~random.choice((KNOWN_ANSWER, KNOWN_HAS_EVENTS))
        yield record._replace(known=known)


@given(
    seed=st.integers(0, 1 << 20),
    vcpus=st.integers(1, 5),
    generation=st.sampled_from(GENERATIONS),
    every=st.sampled_from((0, 0, 7, 40)),
    share=st.sampled_from((0.0, 0.0, 0.1, 0.4)),
    keep=st.sampled_from((0.05, 0.5, 0.9)),
)
@settings(max_examples=120, deadline=None)
def test_any_rows_of_any_journal(
    seed: int, vcpus: int, generation: Generation, every: int, share: float, keep: float
) -> None:
    random = Random(seed)
    plain = calls(40, vcpus, generation, random)
    # Who writes checkpoints knows everything.
    records = [*forgotten(plain, random, share)] if share else [
        *with_checkpoints(plain, generation, every)
    ]  # fmt: skip
    trace = make_trace(records, Td(), generation)
    rows = [row for row in range(len(trace)) if random.random() < keep] or [len(trace) - 1]
    for made in (native, lines):
        compare(trace, made(Job(Timeline(trace), filter_of(rows))), rows, random)


@given(st.integers(0, 1 << 20))
@settings(max_examples=30, deadline=None)
def test_an_excerpt_of_an_excerpt(seed: int) -> None:
    random = Random(seed)
    trace = make_trace(calls(40, 3, BY_NAME["6.16"], random), Td(), BY_NAME["6.16"])
    rows = sorted(random.sample(range(40), 25))
    part = native(Job(Timeline(trace), filter_of(rows)))
    again = sorted(random.sample(range(25), 8))
    third = native(Job(Timeline(part), filter_of(again)))
    compare(trace, third, [rows[row] for row in again], random)


def test_a_long_way_is_jumped_and_long_excerpts_can_be_started_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generation = BY_NAME["6.16"]
    records = calls(9000, 2, generation, Random(5))
    trace = make_trace([*with_checkpoints(records, generation, 2000)], Td(), generation)
    read: set[int] = set()
    real = Trace.records

    def counted(self: Trace, *between: int) -> Iterator[tuple[int, Record]]:
        for index, record in real(self, *between):
            if self is trace:
                read.add(index)
            yield index, record

    monkeypatch.setattr(Trace, "records", counted)
    few = native(Job(Timeline(trace), filter_of([3, 8000])))
    assert len(read) < 6000 < trace.n_records
    monkeypatch.undo()
    compare(trace, few, [3, 8000], Random(1))
    many = native(Job(Timeline(trace), Selection(100)))
    places = [record.body for _, record in many.records() if record.kind is Kind.CHECKPOINT]
    assert len(places) > 3
    assert all(isinstance(body, dict) and BASE not in body for body in places)
    last = len(many) - 1
    fresh = Timeline(many)
    assert moments(fresh, last) == moments(Timeline(trace), len(trace) - 1)


def test_what_does_not_matter_makes_no_gap() -> None:
    """CPUID exits between port I/O change nothing that anybody reads later."""
    with open_trace(samples_dir() / "cpuid_hlt_msr.tdxt") as trace:
        part = native(Job(Timeline(trace), Selection(0, None, compile_filter("leaf == CPUID"))))
        gaps = [record for _, record in part.records() if record.kind is Kind.CHECKPOINT]
    assert len(part) > 1
    assert len(gaps) <= 1


def test_gaps_hold_only_what_changed() -> None:
    generation = BY_NAME["6.16"]
    trace = make_trace(calls(200, 8, generation, Random(2)), Td(), generation)
    wanted = Selection(wanted=compile_filter("leaf == IO"))
    part = native(Job(Timeline(trace), wanted))
    bodies = [record.body for _, record in part.records() if record.kind is Kind.CHECKPOINT]
    full = [body for body in bodies if isinstance(body, dict) and BASE not in body]
    small = [body for body in bodies if isinstance(body, dict) and BASE in body]
    assert len(full) == 1
    assert small
    assert all(len(body["vcpus"]) == 1 for body in small)
    assert all(isinstance(body[GAP], dict) for body in (*full, *small))


# --- what it says of itself -----------------------------------------------------------------


def test_the_metadata_say_of_what_it_is_a_part() -> None:
    with open_trace(samples_dir() / "mapgpa_64mib_interrupted.tdxt") as trace:
        selection = Selection(2, 3, compile_filter("leaf == MapGPA"))
        part = native(Job(Timeline(trace), selection))
        assert part.meta.extra["excerpt"] == {
            "of": "mapgpa_64mib_interrupted.tdxt",
            "exits": len(trace),
            "from": 2,
            "count": 3,
            "filter": "leaf == MapGPA",
        }
        assert part.meta.generation == trace.meta.generation
    assert part.remarks[0] == (
        "an excerpt of mapgpa_64mib_interrupted.tdxt, which has 22 exits; selected: "
        "that match leaf == MapGPA, from 2 on, at most 3"
    )
    assert "exits between are missing" in part.remarks[1]
    assert part.meta.is_excerpt


def test_rows_have_no_gaps_and_nothing_selected_is_an_empty_recording() -> None:
    with open_trace(SAMPLES[0]) as trace:
        part = native(Job(Timeline(trace), Selection(len(trace))))
        assert len(part) == 0
        assert part.meta.is_excerpt
        assert not part.problems


def test_another_kernel_starts_from_what_the_recorded_one_did() -> None:
    generation = BY_NAME["6.16"]
    records = records_of(MIXED, Td(), generation)
    trace = make_trace(records, Td(), generation)
    rows = [4, 5, 6]
    part = native(Job(Timeline(trace), filter_of(rows)))
    for name in ("v19", "7.3"):
        other = Timeline(part, BY_NAME[name])
        before = Timeline(trace).moment(4).gpa_map
        found = other.moment(0).gpa_map
        assert before is not None
        assert found is not None
        assert found.edges == before.edges
        assert found.edges


def test_nobody_is_blamed_for_what_an_excerpt_left_out() -> None:
    """Of three requests of a chain the middle one is missing, then what comes after the first."""
    with open_trace(samples_dir() / "mapgpa_64mib_interrupted.tdxt") as trace:
        for rows in ([9, 14], [9, 10], [9, 12, 13], [9, 14, 15]):
            part = native(Job(Timeline(trace), filter_of(rows)))
            assert mistakes(Timeline(part), 0) == set()


def mistakes(timeline: Timeline, row: int) -> set[str]:
    chains = Chains(timeline)
    for _ in chains.search(row):
        pass
    found = chains.known(row)
    assert found is not None
    assert found.chain is not None
    return {fault.text for fault in found.chain.faults if fault.is_error}


def test_a_gap_that_is_none_is_passed_over() -> None:
    generation = BY_NAME["6.16"]
    records = records_of(MIXED, Td(), generation)
    for body in (
        {GAP: 1},
        {GAP: {}, BASE: "x", "vcpus": [], "dead": False},
        {GAP: {}, BASE: 3, "vcpus": [{}], "dead": False, "converted": []},
        {GAP: {}, BASE: 99, "vcpus": [], "dead": False, "converted": [[1, 2, 3]]},
        {GAP: {}, "vcpus": [], "gpa_map": [3, 1], "dead": False},
    ):
        meta = TraceMeta(generation="6.16", extra={"excerpt": {}})
        trace = Trace.from_records(meta, [*records[:9], checkpoint(body), *records[9:]])
        plain = make_trace(records, Td(), generation)
        for name in (None, "7.3"):
            ours, theirs = (
                Timeline(each, None if name is None else BY_NAME[name]) for each in (trace, plain)
            )
            for row in range(len(trace)):
                assert moments(ours, row) == moments(theirs, row)
        assert list(check(trace)) == []
