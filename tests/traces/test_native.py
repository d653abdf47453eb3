"""Reading and writing: every value comes back, and a row is found by its number."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdxdbg.abi.regs import Regs
from tdxdbg.engine.kvm_run import recorded_run
from tdxdbg.engine.state import (
    HypercallAnswer,
    IoAnswer,
    Outcome,
    Reentry,
    SetMemoryAttributes,
    Step,
    TdExit,
)
from tdxdbg.errors import TraceError
from tdxdbg.traces import open_trace
from tdxdbg.traces.builder import Builder
from tdxdbg.traces.header import pack_header
from tdxdbg.traces.layout import RECORD_SIZE
from tdxdbg.traces.meta import TraceMeta
from tdxdbg.traces.native import Trace
from tdxdbg.traces.pack import Packer, mask_runs
from tdxdbg.traces.records import (
    Kind,
    Record,
    answer,
    checkpoint,
    memory_attributes,
    step_record,
    td_exit,
)
from tdxdbg.traces.unpack import runs_mask
from tdxdbg.traces.writer import Writer
from tests.traces import strategies
from tests.traces.journals import META, journal, map_gpa_run, row


@settings(max_examples=150, deadline=None)
@given(strategies.journals())
def test_every_record_comes_back(records: list[Record]) -> None:
    trace = Trace.from_records(META, records)
    assert [record for _, record in trace.records()] == records
    assert trace.problems == []
    assert len(trace) == max(
        (record.row + 1 for record in records if record.kind is not Kind.CHECKPOINT), default=0
    )


@settings(max_examples=100, deadline=None)
@given(strategies.metas, strategies.journals(4))
def test_writing_again_gives_the_same_bytes(meta: TraceMeta, records: list[Record]) -> None:
    trace = Trace.from_records(meta, records)
    assert trace.meta == meta
    again = Trace.from_records(trace.meta, (record for _, record in trace.records()))
    assert again.data() == trace.data()


@settings(max_examples=200, deadline=None)
@given(strategies.masks())
def test_masks_come_back_from_their_runs(mask: int) -> None:
    assert runs_mask(mask_runs(mask)) == mask


MANY = Trace.from_records(META, journal(300)).data()
FULL = Regs(*range(1, 17))


@pytest.mark.parametrize(
    ("record", "slots"),
    [
        (td_exit(0, TdExit(0, 77, FULL)), 1),
        (step_record(0, 0, Step(Outcome.EXIT_TO_USERSPACE, FULL, map_gpa_run(1 << 30))), 2),
        (row(0)[1], 1),
        (
            step_record(
                0,
                0,
                Step(
                    Outcome.EXIT_TO_USERSPACE,
                    Regs(rcx=0xFFCC, r11=30, r12=1, r13=1, r14=0x3F8, r15=65),
                    recorded_run(2, b"\1\1\xf8\3\1\0\0\0\0\x10", 0xFFFF, b"A"),
                ),
            ),
            1,
        ),
        (
            # A fatal error: type, ndata and 16 words, and all registers again.
            step_record(
                0, 0, Step(Outcome.EXIT_TO_USERSPACE, FULL, recorded_run(24, b"\7" * 136, 255))
            ),
            2,
        ),
        (
            # v19's union of 208 bytes.
            step_record(
                0, 0, Step(Outcome.EXIT_TO_USERSPACE, FULL, recorded_run(40, b"\1" * 208, 255))
            ),
            2,
        ),
        (answer(0, Reentry(0, HypercallAnswer(11), has_events=True)), 1),
        (answer(0, Reentry(0, IoAnswer(bytes(4096)))), 22),
        (memory_attributes(0, 0, SetMemoryAttributes(1 << 40, 2 << 20, True)), 1),
        (step_record(0, 0, Step(Outcome.REENTER_TD, FULL)), 1),
        (checkpoint({}), 1),
    ],
    ids=lambda value: value.kind.name.lower() if isinstance(value, Record) else str(value),
)
def test_how_many_slots_a_record_takes(record: Record, slots: int) -> None:
    assert len(Packer().pack(record)) == slots * RECORD_SIZE


def test_rows_are_found_by_number() -> None:
    trace = Trace.from_records(META, journal(500, every=7))
    for number in (0, 1, 6, 7, 8, 250, 499):
        found = trace.row_records(number)
        assert [record for _, record in found] == row(number)
        assert trace.first_record(number) == found[0][0]
        assert trace.record(found[0][0]) == found[0][1]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 299), min_size=1, max_size=12), st.integers(0, 1499))
def test_where_the_last_row_was_does_not_matter(numbers: list[int], damaged: int) -> None:
    data = bytearray(MANY)
    data[4096 + damaged * 256 + 99] ^= 1
    trace = Trace(bytes(data))
    for number in numbers:
        found = trace.row_records(number)
        assert found == Trace(bytes(data)).row_records(number)
        assert len(found) >= 4


@pytest.mark.parametrize("number", [-1, 500, 1 << 70])
def test_a_row_that_is_not_there(number: int) -> None:
    with pytest.raises(IndexError):
        Trace.from_records(META, journal(500)).row_records(number)


def test_vcpus_interleave() -> None:
    lists = [[row(2 * step + vcpu, vcpu) for step in range(20)] for vcpu in range(2)]
    records = [
        record
        for first, second in zip(*lists, strict=True)
        for pair in zip(first, second, strict=True)
        for record in pair
    ]
    trace = Trace.from_records(META, records)
    for number in range(40):
        assert [record for _, record in trace.row_records(number)] == row(number, number % 2)


def test_a_row_of_many_records_is_bounded() -> None:
    exit_, *_ = row(0)
    chunk = row(0)[1]
    trace = Trace.from_records(META, [exit_, *[chunk] * 10_000])
    assert len(trace.row_records(0)) == 4096
    assert len(trace.row_records(0, limit=5)) == 5


def test_a_row_without_a_td_entry_ends_with_the_next_of_its_vcpu() -> None:
    records = [record for number in range(3) for record in row(number)[:2]]
    trace = Trace.from_records(META, records)
    assert [record for _, record in trace.row_records(1)] == row(1)[:2]


def test_the_newest_checkpoint_before_a_record() -> None:
    trace = Trace.from_records(META, journal(100, every=10))
    assert trace.checkpoint_before(trace.first_record(9)) is None
    for number in (10, 55, 99):
        at = trace.first_record(number)
        found = trace.checkpoint_before(at)
        assert found is not None
        index, state = found
        assert index < at
        assert trace.record(index).kind is Kind.CHECKPOINT
        assert state["row"] == number - number % 10
        assert trace.checkpoint_before(index) == found


def test_a_writer_makes_the_same_file_as_memory(tmp_path: Path) -> None:
    records = journal(20, every=6)
    for buffered in (False, True):
        path = tmp_path / f"{buffered}.tdxt"
        with Writer(path, META, buffered=buffered) as writer:
            for record in records:
                index = writer.write(record)
            assert writer.rows == 20
        trace = open_trace(path)
        assert trace.record(index) == records[-1]
        assert path.read_bytes() == Trace.from_records(META, records).data()
        trace.close()


def test_a_writer_refuses_an_existing_file(tmp_path: Path) -> None:
    path = tmp_path / "x.tdxt"
    path.write_bytes(b"mine")
    with pytest.raises(TraceError, match="already exists"):
        Writer(path, META)
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (row(5)[0], "row 5 comes before row 0"),
        (row(0)[0]._replace(vcpu=1 << 16), "TD_EXIT of row 0"),
        (row(0)[0]._replace(time=-1), "TD_EXIT of row 0"),
        (row(0)[0]._replace(body=TdExit(0, 1 << 64, Regs())), "TD_EXIT"),
        (row(0)[0]._replace(body=None), "is a TdExit"),
        (row(0)[1]._replace(body=None), "is a Step"),
        (row(0)[2]._replace(body=None), "is a SetMemoryAttributes"),
        (row(0)[2]._replace(body=SetMemoryAttributes(-1, 0, True)), "MEMORY_ATTRIBUTES of"),
        (row(0)[3]._replace(body=None), "is a Reentry"),
        (row(0)[3]._replace(body=Reentry(0, HypercallAnswer(-1))), "answer"),
        (row(0)[4]._replace(body=Step(Outcome.REENTER_TD, Regs(), errno=-1)), "TD_ENTRY of row 0"),
        (checkpoint({})._replace(body=None), "JSON object"),
        (checkpoint({"x": float("nan")}), "JSON"),
        (checkpoint({"x": "y" * (65 << 20)}), "too many"),
        (row(0)[0]._replace(kind=Kind.CONTINUATION), "CONTINUATION"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(record: Record, message: str) -> None:
    packer = Packer()
    with pytest.raises(ValueError, match=message):
        packer.pack(record)
    assert (packer.records, packer.rows) == (0, 0)


def test_a_recording_that_grows(tmp_path: Path) -> None:
    path = tmp_path / "x.tdxt"
    with Writer(path, META) as writer:
        for record in row(0):
            writer.write(record)
        trace = open_trace(path)
        assert (len(trace), trace.refresh()) == (1, 0)
        for record in row(1)[:3]:
            writer.write(record)
        assert (trace.refresh(), len(trace)) == (3, 2)
        assert [record for _, record in trace.row_records(1)] == row(1)[:3]
    trace.close()


def test_a_large_journal_goes_to_a_file() -> None:
    big = answer(0, Reentry(0, IoAnswer(bytes(60_000))))
    with Builder(META) as builder:
        for _ in range(700):
            builder.add(big)
        trace = builder.finish(["a problem"])
    assert trace.n_records * RECORD_SIZE > 32 << 20
    assert trace.problems == ["a problem"]
    assert next(trace.records(trace.n_records // 2, None))[1] == big
    trace.close()


def test_metadata_keeps_what_it_does_not_know() -> None:
    data = {"origin": "hardware", "td": {"gpaw": 52}, "tsc_hz": 2.5e9, "who": {"a": [1]}}
    meta = TraceMeta.from_json(json.loads(json.dumps(data)))
    assert meta.td.shared_mask == 1 << 51
    assert meta.to_json().items() >= {"tsc_hz": 2.5e9, "who": {"a": [1]}}.items()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "metadata must be a JSON object"),
        ({"title": 5}, "title must be a text"),
        ({"origin": "rumour"}, "origin 'rumour' is unknown"),
        ({"td": 7}, "td must be a JSON object"),
        ({"td": {"gpaw": 1_000_000_000}}, "td.gpaw must be 48 or 52"),
        ({"td": {"gpaw": True}}, "td.gpaw must be 48 or 52"),
        ({"td": {"maxphyaddr": 1 << 40}}, "td.maxphyaddr"),
        ({"td": {"attributes": "0xzz"}}, "td.attributes must be a 64-bit number"),
        ({"td": {"attributes": 1 << 64}}, "td.attributes must be a 64-bit number"),
        ({"td": {"exit_hypercall": 1}}, "td.exit_hypercall must be true or false"),
        ({"td": {"vcpus": 4}}, "td has no 'vcpus'"),
        ({"td": {"cpuid": {}}}, "td.cpuid must be a list"),
        ({"td": {"cpuid": [[1, 2]]}}, "each entry of td.cpuid must be 6 numbers"),
        ({"td": {"memslots": [[0, -1]]}}, "td.memslots must be a 64-bit number"),
        ({"td": {"msrs": 1}}, "td.msrs must be a list"),
        ({"td": {"msrs": [{}]}}, "index must be a 64-bit number"),
        ({"td": {"msrs": [1]}}, "must be a JSON object"),
        ({"td": {"fast_mmio": 1}}, "td.fast_mmio must be a list"),
    ],
)
def test_bad_metadata_is_named(data: object, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        TraceMeta.from_json(data)


def test_an_origin_that_is_none() -> None:
    with pytest.raises(ValueError, match="origin 'x'"):
        TraceMeta(origin="x")


def test_metadata_that_is_too_large() -> None:
    with pytest.raises(ValueError, match="too large"):
        pack_header(TraceMeta(title="x" * (5 << 20)))


def test_a_long_title_makes_a_longer_header() -> None:
    meta = TraceMeta(title="x" * 10_000)
    trace = Trace.from_records(meta, journal(2))
    assert trace.header.length == 3 * 4096
    assert trace.meta == meta
    assert sum(map(len, trace.pieces())) == trace.n_records * RECORD_SIZE


def test_a_record_of_no_index() -> None:
    trace = Trace.from_records(META, journal(1))
    with pytest.raises(IndexError, match="record 5 of 5"):
        trace.record(5)


def test_a_trace_from_a_file_object_of_bytes() -> None:
    data = Trace.from_records(META, journal(3)).data()
    assert len(Trace(io.BytesIO(data).read())) == 3
