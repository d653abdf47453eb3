"""trace.dat: the same exits as its text has, and every number in it doubted."""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import zstandard

from tdxdbg.engine.state import Outcome, Step
from tdxdbg.errors import TraceError
from tdxdbg.traces import open_trace, trace_dat
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import Kind, Record
from tests.traces import trace_dat_files as files
from tests.traces.trace_dat_files import DATA, event, long, padding, page, short, version_6

START = 5_000_000_000_000
IO = event("kvm_userspace_exit", 7, reason=2)
HLT = event("kvm_userspace_exit", 7, reason=5)


def load(
    *cpus: Sequence[bytes], clock: str = "local", options: Sequence[tuple[int, bytes]] = ()
) -> Trace:
    data = version_6([b"".join(pages) for pages in cpus], clock=clock, options=options)
    return trace_dat.read(io.BytesIO(data), "x.dat")


def records(trace: Trace) -> list[Record]:
    return [record for _, record in trace.records()]


def exits(trace: Trace) -> Counter[tuple[int, int]]:
    """KVM_EXIT_* and errno of each return to userspace."""
    return Counter(
        (step.run.exit_reason if step.run is not None else 0, step.errno)
        for step in (record.body for record in records(trace))
        if isinstance(step, Step) and step.outcome is not Outcome.REENTER_TD
    )


def reasons(trace: Trace) -> list[int]:
    bodies = [record.body for record in records(trace)]
    return [body.run.exit_reason for body in bodies if isinstance(body, Step) and body.run]


DEMO = {(2, 0): 25, (6, 0): 15, (17, 0): 3}
DEMO_SPAN = (1721_725_167_397, 1721_731_970_856)
TD = {(2, 0): 40, (3, 0): 40, (6, 0): 80, (40, 0): 4, (39, 14): 4, (10, 4): 4}
TD_SPAN = (5_000_000_003_000, 5_000_001_113_700)


@pytest.mark.parametrize(
    ("name", "counts", "rows", "span"),
    [
        ("demo3.trace.dat", DEMO, 43, DEMO_SPAN),
        ("demo3.zstd.trace.dat", DEMO, 43, DEMO_SPAN),
        ("demo3.v6.trace.dat.xz", DEMO, 43, DEMO_SPAN),
        ("synthetic_td.trace.dat", TD, 456, TD_SPAN),
    ],
)
def test_recordings(
    name: str,
    counts: dict[tuple[int, int], int],
    rows: int,
    span: tuple[int, int],
    tmp_path: Path,
) -> None:
    path = DATA / name
    if name.endswith(".xz"):
        path = tmp_path / "trace.dat"
        path.write_bytes(lzma.decompress((DATA / name).read_bytes()))
    with open_trace(path) as trace:
        assert exits(trace) == counts
        assert len(trace) == rows
        assert trace.problems == []
        assert trace.unread == []
        assert trace.meta.origin == "imported"
        times = [record.time for record in records(trace)]
        assert (times[0], times[-1]) == span
        assert times == sorted(times, key=lambda time: time or 0)
        for index in range(len(trace)):
            assert trace.row_records(index)[0][1].row == index


def test_an_exit_comes_from_where_its_event_lies() -> None:
    data = (DATA / "synthetic_td.trace.dat").read_bytes()
    kinds = {Kind.TD_EXIT: "kvm_exit", Kind.TD_ENTRY: "kvm_entry"}
    with open_trace(DATA / "synthetic_td.trace.dat") as trace:
        for record in records(trace):
            name = kinds.get(record.kind)
            if name is not None:
                number = struct.unpack_from("<H", data, record.source)[0]
                assert number == files.formats()[name].number


def in_text(record: Record) -> Record:
    """As text has it: microseconds, rounded, and another place in another file."""
    assert record.time is not None
    return record._replace(source=0, time=(record.time + 500) // 1000 * 1000)


def unused(trace: Trace) -> list[str]:
    counts = trace.remarks[0].removeprefix("used for nothing: ").split(", ")
    return sorted({*counts} - {"1 header lines"})


@pytest.mark.parametrize("end", ["ftrace.txt", "tracecmd-report-N.txt", "tracecmd-report-R.txt"])
def test_the_same_as_the_text_of_the_same_recording(end: str) -> None:
    ours, text = (open_trace(DATA / f"demo3.{end}") for end in ("trace.dat", end))
    with ours, text:
        assert list(map(in_text, records(ours))) == [
            record._replace(source=0) for record in records(text)
        ]
        assert unused(ours) == unused(text)


def test_the_same_as_the_raw_text_of_a_td() -> None:
    ours, text = (
        open_trace(DATA / f"synthetic_td.{end}") for end in ("trace.dat", "tracecmd-report-R.txt")
    )
    with ours, text:
        assert list(map(in_text, records(ours))) == [
            record._replace(source=0) for record in records(text)
        ]
        assert unused(ours) == unused(text)


def test_times_in_all_the_ways_that_a_page_has() -> None:
    far = START + (3 << 27) + 5
    trace = load(
        [
            page(
                START,
                short(IO, 10),
                files.time_extend((1 << 30) + 7),
                short(HLT, 3),
                padding(24, 100),
                short(IO),
                files.time_stamp(far),
                long(HLT, 2),
                head_padding(),
                b"\xff" * 32,
            ),
            page(far + 100, short(IO, 1)),
        ]
    )
    shown = [(record.time or 0) - START for record in records(trace)]
    second = 10 + (1 << 30) + 7 + 3
    behind = far - START
    assert shown == [10, second, second + 100, behind + 2, behind + 101]
    assert reasons(trace) == [2, 5, 2, 5, 2]
    assert trace.problems == []


def head_padding() -> bytes:
    """The rest of the page is of no use."""
    return files.head(29, 0)


def test_cpus_are_merged_by_time_and_each_keeps_its_order() -> None:
    first = [page(START, *[short(IO, 10)] * 50), page(START + 501, *[short(IO, 10)] * 50)]
    other = event("kvm_userspace_exit", 8, reason=6)
    second = [page(START + 5, *[short(other, 20)] * 50)]
    trace = load(first, second)
    times = [record.time or 0 for record in records(trace)]
    assert times == sorted(times)
    assert len(times) == 150
    assert [record.vcpu for record in records(trace)][:6] == [0, 0, 1, 0, 0, 1]


def test_a_cpu_with_few_events_holds_nobody_up() -> None:
    busy = [page(START + at * 1000, *[short(IO, 1)] * 20) for at in range(300)]
    idle = [page(START + at * 1_000_000_000, short(HLT)) for at in range(3)]
    trace = load(busy, idle)
    times = [record.time or 0 for record in records(trace)]
    assert times == sorted(times)
    assert exits(trace) == {(2, 0): 6_000, (5, 0): 3}


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (77, "the kernel lost 77 events: exits around them may be missing"),
        (0, "the kernel lost events 1 times: exits around them may be missing"),
    ],
)
def test_lost_events_are_said_and_not_joined_across(lost: int, said: str) -> None:
    write = event("kvm_pio", 7, rw=1, port=0x80, size=1, count=1, val=1)
    trace = load([page(START, short(write)), page(START + 5, short(IO), lost=lost)])
    (step,) = [record.body for record in records(trace)]
    assert isinstance(step, Step)
    assert step.run is not None
    assert step.run.valid == 0
    assert trace.problems == [said]


def test_without_a_loss_they_are_joined_across_pages() -> None:
    write = event("kvm_pio", 7, rw=1, port=0x80, size=1, count=1, val=1)
    trace = load([page(START, short(write)), page(START + 5, short(IO))])
    (step,) = [record.body for record in records(trace)]
    assert isinstance(step, Step)
    assert step.run is not None
    assert step.run.get("port") == 0x80


@pytest.mark.parametrize(
    "bad",
    [
        event("kvm_pio", 7, rw=1, port=0x80, size=3, count=1, val=1),
        event("kvm_pio", 7, rw=1, port=0x10000, size=1, count=1, val=1),
        event("kvm_mmio", 7, type=3, len=4),
        event("kvm_mmio", 7, type=0, len=9),
        IO[:12],
        b"\0" * 4,
    ],
)
def test_what_no_event_can_say_is_counted_and_kept(bad: bytes) -> None:
    data = version_6([page(START, short(IO), short(bad), short(IO))])
    trace = trace_dat.read(io.BytesIO(data), "x.dat")
    if bad == b"\0" * 4:
        assert trace.remarks == ["used for nothing: 1 events of number 0"]
        return
    assert len(trace) == 2
    ((offset, _),) = trace.unread
    assert data[offset : offset + len(bad)] == bad
    assert trace.problems == [f"1 events could not be read, the first at offset {offset:#x}"]


@pytest.mark.parametrize(
    "events",
    [
        [files.head(0, 0) + struct.pack("<I", 3)],
        [files.head(0, 0) + struct.pack("<I", 0xFFFF_FFFF)],
        [files.head(28, 0)],
        [files.head(29, 1) + struct.pack("<I", 0x8000_0000)],
        [files.head(30, 1)],
    ],
)
def test_a_page_that_does_not_add_up_is_used_as_far_as_it_does(events: list[bytes]) -> None:
    trace = load([page(START, short(IO), *events), page(START + 9, short(HLT))])
    assert reasons(trace) == [2, 5]
    assert len(trace.unread) == 1


def test_clocks_that_do_not_count_ns_have_no_times() -> None:
    trace = load([page(START, short(IO))], clock="x86-tsc")
    assert [record.time for record in records(trace)] == [None]
    assert trace.remarks == ["times are of the clock x86-tsc, in no known unit: left out"]


def test_options_tell_the_kernel_and_when_it_was() -> None:
    options = [
        (5, b"Linux host-1 6.18.44-generic #1 SMP\0"),
        (1, b"0x1234\0"),
        (7, b"-5\0"),
        (99, b"what is this"),
    ]
    trace = load([page(START, short(IO))], options=options)
    assert trace.meta.kernel == "6.18.44-generic"
    assert records(trace)[0].time == START + 0x1234 * 1000 - 5


def test_two_exits_come_with_an_errno_and_other_errors_with_nothing_else() -> None:
    fault = event("kvm_userspace_exit", 7, reason=39, errno=-14)
    interrupted = event("kvm_userspace_exit", 7, reason=10, errno=-4)
    other = event("kvm_userspace_exit", 7, reason=2, errno=-14)
    trace = load([page(START, short(fault), short(interrupted), short(other))])
    assert exits(trace) == {(39, 14): 1, (10, 4): 1, (0, 14): 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((0, b"\x17\x08\x44tracing9"), "trace.dat version '9' is not read, only 6 and 7"),
        ((12, b"\x01"), "big-endian machine, which has no TDX"),
        ((13, b"\x05"), "impossible size of a long 5"),
        ((14, b"\x01\0\0\0"), "impossible page size 1"),
        ((30, b"\xff\xff\xff\xff\xff\xff\xff\xff"), "the file is cut off or damaged"),
    ],
)
def test_headers_that_cannot_be(change: tuple[int, bytes], message: str) -> None:
    data = bytearray(version_6([page(START, short(IO))]))
    at, new = change
    data[at : at + len(new)] = new
    with pytest.raises(TraceError, match=r"^x\.dat: ") as caught:
        trace_dat.read(io.BytesIO(bytes(data)), "x.dat")
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["demo3.trace.dat", "demo3.zstd.trace.dat"])
def test_cut_off_anywhere(name: str) -> None:
    """Where the pages begin, what is there is shown; before, it says what is missing."""
    data = (DATA / name).read_bytes()
    said: list[str] = []
    for size in range(1, len(data), 997):
        try:
            trace = trace_dat.read(io.BytesIO(data[:size]), "x.dat")
        except TraceError as problem:
            said.append(str(problem))
            continue
        assert set(exits(trace)) <= set(DEMO)
    assert not [line for line in said if "\n" in line]


def test_a_version_6_file_that_is_cut_off_shows_what_is_there() -> None:
    data = version_6([page(START, short(IO)) + page(START + 5, short(HLT))])
    trace = trace_dat.read(io.BytesIO(data[:-10]), "x.dat")
    assert reasons(trace) == [2]
    assert trace.problems == ["events of CPU 0 are missing: 10 bytes are missing"]


def test_recordings_without_exits_say_what_to_record() -> None:
    with pytest.raises(TraceError, match=r"no exits in 1 events .* record kvm:kvm_userspace_exit"):
        load([page(START, short(event("kvm_fpu", 7)))])
    with pytest.raises(TraceError, match="has no pages of any CPU"):
        load([])


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


@pytest.mark.parametrize(
    ("name", "pack"), [("none", None), ("zlib", zlib.compress), ("zstd", zstd)]
)
def test_compressed_files_have_the_same_exits(
    name: str, pack: Callable[[bytes], bytes] | None
) -> None:
    pages = [page(START + at * 100, short(IO, 1), short(HLT, 1)) for at in range(9)]
    data = files.version_7({"": [b"".join(pages)]}, name=name, pack=pack)
    trace = trace_dat.read(io.BytesIO(data), "x.dat")
    assert reasons(trace) == [2, 5] * 9
    assert trace.problems == []


def test_a_piece_that_expands_without_end_is_refused() -> None:
    bomb = zlib.compress(bytes(80 << 20))

    def pack(data: bytes) -> bytes:
        return bomb if len(data) == 2 * files.PAGE else zlib.compress(data)

    pages = [page(START + at * 100, short(IO, 1)) for at in range(3)]
    data = files.version_7({"": [b"".join(pages)], "x": [pages[0]]}, name="zlib", pack=pack)
    trace = trace_dat.read(io.BytesIO(data), "x.dat")
    # The main instance has nothing that can be read, and the other one has.
    assert len(trace) == 1
    data = files.version_7({"": [b"".join(pages)]}, name="zlib", pack=pack)
    with pytest.raises(TraceError, match="has not the 8192 bytes that it should have"):
        trace_dat.read(io.BytesIO(data), "x.dat")


def test_another_compression_is_refused_by_name() -> None:
    data = files.version_7({"": [page(START, short(IO))]}, name="lzo", pack=zlib.compress)
    with pytest.raises(TraceError, match="compressed with 'lzo', which is not read; convert it"):
        trace_dat.read(io.BytesIO(data), "x.dat")


def test_of_several_instances_the_one_with_exits_is_read() -> None:
    nothing = page(START, short(event("kvm_fpu", 7)))
    data = files.version_7({"": [nothing], "td": [page(START, short(IO))]})
    trace = trace_dat.read(io.BytesIO(data), "x.dat")
    assert reasons(trace) == [2]
    assert trace.remarks == ["trace instances left out: 1"]


@pytest.mark.parametrize("name", ["synthetic_td.trace.dat", "synthetic_td.tracecmd-report.txt"])
def test_threads_have_their_names(name: str) -> None:
    with open_trace(DATA / name) as trace:
        assert "vCPU 0 is CPU 0/KVM-4100, vCPU 1 is CPU 1/KVM-4101" in trace.remarks


def test_events_of_other_threads_are_left_out() -> None:
    with open_trace(DATA / "synthetic_td.trace.dat", pid=4101) as trace:
        assert {record.vcpu for record in records(trace)} == {1}
        assert len(trace) == 228
        assert "742 events of other processes are left out" in trace.remarks
