"""perf.data: samples sorted from round to round, and every number in it doubted."""

from __future__ import annotations

import io
import struct

import pytest

from tdxdbg.engine.state import Step
from tdxdbg.errors import TraceError
from tdxdbg.traces import open_trace, perf_data
from tdxdbg.traces import perf_data_layout as perf
from tdxdbg.traces.native import Trace
from tests.traces import perf_data_files as files
from tests.traces.perf_data_files import finished_round, lost, piped, sample
from tests.traces.test_trace_dat import DEMO, HLT, IO, exits, reasons, records, unused
from tests.traces.trace_dat_files import DATA, event

START = 5_000_000_000_000


def load(data: bytes) -> Trace:
    return perf_data.read(io.BytesIO(data), "x.data")


def built(*parts: bytes) -> Trace:
    return load(files.perf_data(*parts))


def times(trace: Trace) -> list[int]:
    return [record.time or 0 for record in records(trace)]


def test_the_recording_of_a_running_kernel() -> None:
    with open_trace(DATA / "demo3.perf.data") as trace:
        assert exits(trace) == DEMO
        assert len(trace) == 43
        assert trace.problems == []
        assert trace.unread == []
        assert trace.meta.kernel == "6.18.44-generic"
        assert (times(trace)[0], times(trace)[-1]) == (1786_707_366_325, 1786_713_103_788)
        assert times(trace) == sorted(times(trace))
        data = files.recording()
        assert {struct.unpack_from("<H", data, record.source)[0] for record in records(trace)} <= {
            0x2A, 0x6E, 0x26,
        }  # fmt: skip


def test_the_same_as_the_text_of_the_same_recording() -> None:
    ours, text = (open_trace(DATA / f"demo3.{end}") for end in ("perf.data", "perf-script.txt"))
    with ours, text:
        # perf cuts times to microseconds.
        mine = [
            record._replace(source=0, time=(record.time or 0) // 1000 * 1000)
            for record in records(ours)
        ]
        assert mine == [record._replace(source=0) for record in records(text)]
        assert unused(ours) == unused(text)


def test_what_came_through_a_pipe() -> None:
    trace = load(piped(sample(IO, START), sample(HLT, START + 1), finished_round()))
    assert reasons(trace) == [2, 5]
    assert trace.meta.kernel == "6.18.44-generic"
    assert trace.problems == []


def test_the_real_samples_through_a_pipe() -> None:
    data = files.recording()
    start, size = struct.unpack_from("<QQ", data, 40)
    ours, theirs = load(piped(data[start : start + size])), load(data)
    assert [record._replace(source=0) for record in records(ours)] == [
        record._replace(source=0) for record in records(theirs)
    ]


def test_cpus_are_sorted_from_round_to_round() -> None:
    parts = []
    for number in range(0, 40, 4):
        # Each round has what two CPUs had, the second one partly older than the first.
        parts += [sample(IO, START + at) for at in (number + 1, number + 3)]
        parts += [sample(HLT, START + at) for at in (number, number + 2)]
        parts.append(finished_round())
    trace = built(*parts)
    assert times(trace) == [START + at for at in range(40)]
    assert reasons(trace) == [5, 2] * 20


@pytest.mark.parametrize("rounds", [True, False])
def test_many_samples_are_sorted_over_pieces_of_the_file(rounds: bool) -> None:
    parts = []
    for number in range(0, 200_000, 1000):
        parts += [sample(IO, START + number + at) for at in range(0, 1000, 50)]
        parts += [sample(HLT, START + number + at) for at in range(25, 1000, 50)]
        parts += [sample(event("kvm_fpu", 7).ljust(2000), START + number)] * 25
        if rounds:
            parts.append(finished_round())
    data = files.perf_data(*parts)
    assert len(data) > 8 << 20
    trace = load(data)
    assert times(trace) == sorted(times(trace))
    assert exits(trace) == {(2, 0): 4000, (5, 0): 4000}
    assert trace.remarks == ["used for nothing: 5000 kvm_fpu"]


@pytest.mark.parametrize(
    ("kind", "chain"),
    [
        (files.USUAL, ()),
        (perf.TID | perf.TIME | perf.RAW, ()),
        (files.USUAL | perf.CALLCHAIN, (1, 2, 3)),
        (files.USUAL | perf.CALLCHAIN, ()),
        (files.USUAL | perf.IDENTIFIER | perf.ADDR | perf.STREAM_ID, ()),
        (files.USUAL | perf.READ, ()),
        (perf.TID | perf.RAW, ()),
        (perf.TIME | perf.RAW, ()),
    ],
)
def test_samples_have_the_fields_that_were_asked_for(kind: int, chain: tuple[int, ...]) -> None:
    attrs = [(files.attr(kind, 1 << 2), (1,))]
    parts = [sample(data, START, kind=kind, chain=chain) for data in (IO, HLT)]
    trace = load(files.perf_data(*parts, attrs=attrs))
    assert reasons(trace) == [2, 5]
    assert {record.time for record in records(trace)} == {START if kind & perf.TIME else None}
    assert {record.vcpu for record in records(trace)} == {0}


def test_samples_of_a_group_of_counters() -> None:
    kind = files.USUAL | perf.READ
    read = struct.pack("<QQ", 2, 99) + bytes(2 * 16)
    attrs = [(files.attr(kind, 1 << 3 | 1 << 2 | 1), (1,))]
    data = files.perf_data(sample(IO, START, kind=kind, read=read), attrs=attrs)
    assert reasons(load(data)) == [2]


def test_events_that_were_recorded_in_different_ways() -> None:
    first = files.USUAL | perf.IDENTIFIER
    second = perf.IDENTIFIER | perf.TID | perf.TIME | perf.RAW
    third = perf.IDENTIFIER | perf.TIME
    attrs = [
        (files.attr(first), (5, 6)),
        (files.attr(second), (1, 9)),
        (files.attr(third), (7,)),
    ]
    parts = [
        sample(IO, START, kind=first, number=6),
        sample(HLT, START + 1, kind=second, number=9),
        sample(b"", START + 2, kind=third, number=7),
        sample(HLT, START + 3, kind=first, number=5),
    ]
    trace = load(files.perf_data(*parts, attrs=attrs))
    assert reasons(trace) == [2, 5, 5]
    with pytest.raises(TraceError, match="nothing tells which is which"):
        load(files.perf_data(*parts, attrs=[(files.attr(), (1,)), (files.attr(second), (2,))]))


def test_lost_events_are_said_and_not_joined_across() -> None:
    write = event("kvm_pio", 7, rw=1, port=0x80, size=1, count=1, val=1)
    for between in (
        lost(77, START + 5),
        files.record(13, struct.pack("<QQQQQ", 77, 0, START + 5, 1, 0)),
    ):
        trace = built(sample(write, START), between, sample(IO, START + 9))
        (step,) = [record.body for record in records(trace)]
        assert isinstance(step, Step)
        assert step.run is not None
        assert step.run.valid == 0
        assert trace.problems == ["the kernel lost 77 events: exits around them may be missing"]


def test_a_loss_is_where_its_time_is() -> None:
    write = event("kvm_pio", 7, rw=1, port=0x80, size=1, count=1, val=1)
    trace = built(sample(write, START), sample(IO, START + 9), lost(1, START + 10))
    (step,) = [record.body for record in records(trace)]
    assert isinstance(step, Step)
    assert step.run is not None
    assert step.run.get("port") == 0x80


def test_threads_are_those_of_the_samples() -> None:
    trace = built(sample(IO, START, tid=70), sample(IO, START, tid=80))
    assert [record.vcpu for record in records(trace)] == [0, 1]


def test_threads_have_their_newest_names() -> None:
    def named(tid: int, name: bytes) -> bytes:
        return files.record(perf.COMM, struct.pack("<II", 1, tid) + name.ljust(16, b"\0"))

    trace = built(
        named(70, b"perf-exec"),
        sample(IO, START, tid=70),
        named(70, b"CPU 0/KVM"),
        sample(IO, START, tid=80),
        named(80, b"CPU 1/KVM"),
    )
    assert trace.remarks == ["vCPU 0 is CPU 0/KVM-70, vCPU 1 is CPU 1/KVM-80"]


def test_events_of_other_processes_are_left_out() -> None:
    parts = [sample(data, START, tid=tid) for data, tid in ((IO, 70), (HLT, 80), (IO, 90))]
    for pid in (80, 79):
        trace = perf_data.read(io.BytesIO(files.perf_data(*parts)), "x.data", {pid})
        assert reasons(trace) == [5]
        assert trace.remarks == ["2 events of other processes are left out"]


def test_what_no_event_can_say_is_counted_and_kept() -> None:
    bad = sample(event("kvm_pio", 7, rw=1, port=0x80, size=3, count=1, val=1), START)
    short = sample(IO[:8], START)[:-8] + bytes(8)
    data = files.perf_data(sample(IO, START), bad, short)
    trace = load(data)
    assert [data[at : at + len(bad)] for at, _ in trace.unread[:1]] == [bad]
    assert trace.problems[0].startswith("2 events could not be read, the first at offset ")


def test_a_recording_that_perf_did_not_finish() -> None:
    data = bytearray(files.perf_data(sample(IO, START), sample(HLT, START + 1)))
    start, size = struct.unpack_from("<QQ", data, 40)
    data[48:56] = bytes(8)
    with pytest.raises(TraceError, match="was not finished"):
        load(bytes(data[: start + size]))


IMPOSSIBLE = {
    "big-endian": (b"2ELIFREP" + bytes(100), "big-endian machine, which has no TDX"),
    "cut header": (b"PERFILE2" + struct.pack("<QQ", 104, 3), "cut off or damaged"),
    "size of an attribute": (
        b"PERFILE2" + struct.pack("<QQ", 104, 3) + bytes(80),
        "impossible size of an attribute 3",
    ),
    "empty pipe": (b"PERFILE2" + struct.pack("<Q", 16), "describes no events"),
    "compressed": (files.perf_data(files.record(81, bytes(8))), "its samples are compressed"),
    "nothing in it": (files.perf_data(finished_round()), "no exits in 0 events"),
    "no raw data": (
        files.perf_data(finished_round(), attrs=[(files.attr(perf.TID), ())]),
        "has no raw data of events",
    ),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_what_cannot_be_read_says_why(case: str) -> None:
    data, message = IMPOSSIBLE[case]
    with pytest.raises(TraceError, match=r"^x\.data: ") as caught:
        load(data)
    assert message in str(caught.value)


def test_records_that_make_no_sense_end_it() -> None:
    for bad in (bytes(8), struct.pack("<IHH", 9, 0, 7), struct.pack("<IHH", 1 << 16, 0, 8)):
        trace = built(sample(IO, START), bad, sample(IO, START))
        assert len(trace) == 1
        assert "are no records" in trace.problems[0]


def test_cut_off_anywhere() -> None:
    data = files.recording()
    said = []
    for size in range(8, len(data), 1999):
        try:
            trace = load(data[:size])
        except TraceError as problem:
            said.append(str(problem))
            continue
        assert set(exits(trace)) <= set(DEMO)
    assert said
    assert not [line for line in said if "\n" in line]
