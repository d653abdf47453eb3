"""Damaged, cut off, foreign and absurd files: one clear line, and never the good part lost."""

from __future__ import annotations

import io
import os
import random
import struct
import time
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdxdbg.errors import TraceError
from tdxdbg.traces import open_trace
from tdxdbg.traces.layout import HEADER, MAGIC, RECORD_SIZE
from tdxdbg.traces.native import Trace
from tdxdbg.traces.pack import checksum
from tests.traces.journals import META, journal, row

HEADER_SIZE = 4096
GOOD = Trace.from_records(META, journal(4, every=2)).data()
GOOD_RECORDS = [record for _, record in Trace(GOOD).records()]


def seal(data: bytearray, index: int) -> None:
    """Gives a slot that was altered on purpose a right checksum."""
    at = HEADER_SIZE + index * RECORD_SIZE
    struct.pack_into("<I", data, at + 4, checksum(data, at))


def seal_header(data: bytearray) -> None:
    data[28:32] = bytes(4)
    length = struct.unpack_from("<I", data, 12)[0]
    struct.pack_into("<I", data, 28, crc32(data[: min(length, len(data))]))


def opened(data: bytes) -> tuple[Trace | None, str]:
    """The trace, or what is wrong with it."""
    try:
        return Trace(data), ""
    except TraceError as problem:
        return None, str(problem)


def one_line(problem: BaseException | str) -> bool:
    return "\n" not in str(problem) and 10 < len(str(problem)) <= 400


def test_cut_off_anywhere() -> None:
    ends = {HEADER_SIZE + index * RECORD_SIZE for index in range(len(GOOD) // RECORD_SIZE)}
    for size in range(len(GOOD)):
        if size < HEADER_SIZE:
            with pytest.raises(TraceError) as caught:
                Trace(GOOD[:size])
            assert one_line(caught.value)
            continue
        trace = Trace(GOOD[:size])
        records = [record for _, record in trace.records()]
        assert records == GOOD_RECORDS[: len(records)]
        # At most the record at the cut is lost, and a checkpoint has three parts.
        assert size - (HEADER_SIZE + trace.n_records * RECORD_SIZE) < 4 * RECORD_SIZE
        if size not in ends:
            assert any("cut off" in line for line in trace.problems)
        for number in range(len(trace)):
            assert trace.row_records(number)


def test_each_bit_of_the_header_matters() -> None:
    for at in range(HEADER_SIZE):
        data = bytearray(GOOD)
        data[at] ^= 1 << (at % 8)
        trace, problem = opened(bytes(data))
        if trace is None:
            assert one_line(problem)
        else:
            assert any("header" in line for line in trace.problems), at
            assert len(list(trace.records())) > 0


@settings(max_examples=300, deadline=None)
@given(st.integers(HEADER_SIZE, len(GOOD) - 1), st.integers(1, 255))
def test_each_byte_of_a_record_matters(at: int, change: int) -> None:
    data = bytearray(GOOD)
    data[at] ^= change
    trace = Trace(bytes(data))
    records = [record for _, record in trace.records()]
    assert len(records) == len(GOOD_RECORDS) - 1
    assert all(record in GOOD_RECORDS for record in records)
    (line,) = trace.problems
    assert f"{at - at % RECORD_SIZE:#x}" in line or "checkpoint" in line or "part" in line


def test_a_damaged_record_says_so_when_it_is_asked_for() -> None:
    data = bytearray(GOOD)
    data[HEADER_SIZE + 100] ^= 1
    trace = Trace(bytes(data))
    with pytest.raises(TraceError, match=r"record 0 at offset 0x1000 is damaged \(wrong checksum"):
        trace.record(0)
    assert [record for _, record in trace.row_records(0)] == row(0)[1:]


@pytest.mark.parametrize(
    ("at", "code", "value", "message"),
    [
        (8, "H", 2, "format version 2.0 is newer than 1.0"),
        (8, "H", 0, "format version 0 does not exist"),
        (10, "H", 7, ""),
        (12, "I", 0xFFFF_F000, "impossible header length"),
        (12, "I", 0, "impossible header length"),
        (12, "I", 4097, "impossible header length"),
        (12, "I", 1 << 20, "the header is cut off"),
        (16, "I", 128, "records of 128 bytes"),
        (16, "I", 0, "records of 0 bytes"),
        (20, "I", 0x0D0C0B0A, "wrong byte order"),
        (24, "I", 0xFFFF_FFFF, "impossible metadata length"),
        (24, "I", 10, "metadata is not JSON"),
    ],
)
def test_absurd_headers(at: int, code: str, value: int, message: str) -> None:
    data = bytearray(GOOD)
    struct.pack_into("<" + code, data, at, value)
    seal_header(data)
    if message:
        with pytest.raises(TraceError, match=message) as caught:
            Trace(bytes(data), "x.tdxt")
        assert one_line(caught.value)
        assert str(caught.value).startswith("x.tdxt: ")
    else:
        assert Trace(bytes(data)).problems == [
            "written in format 1.7, newer than 1.0: what is new in it is left out"
        ]


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 3000,
        b'{"td":' + b"[" * 3000,
        b'{"td":{"gpaw":1e400}}',
        b'{"td":{"gpaw":' + b"9" * 3000 + b"}}",
        b'{"vcpus":1000000000,"td":{"vcpus":1000000000}}',
        b'{"td":{"gpaw":1000000000}}',
        b'{"x":NaN}',
        b"\xff\xfe",
        b"",
        b"7",
    ],
)
def test_absurd_metadata(text: bytes) -> None:
    data = bytearray(GOOD)
    data[HEADER.size : HEADER_SIZE] = text.ljust(HEADER_SIZE - HEADER.size, b"\0")
    struct.pack_into("<I", data, 24, len(text))
    seal_header(data)
    with pytest.raises(TraceError, match="metadata") as caught:
        Trace(bytes(data))
    assert one_line(caught.value)
    # A header that is damaged in the same way must not keep the records away.
    data[28] ^= 1
    trace = Trace(bytes(data))
    assert [record for _, record in trace.records()] == GOOD_RECORDS
    assert len(trace.problems) == 2


#: Offset in the first record, struct code, value.
ABSURD_RECORDS = [
    (0, "B", 0),
    (0, "B", 7),
    (0, "B", 8),
    (0, "B", 255),
    (8, "Q", (1 << 64) - 1),
    (8, "Q", 1 << 40),
    (16, "Q", (1 << 64) - 1),
    (16, "Q", 0),
    (48, "Q", (1 << 64) - 1),
    (48, "Q", 1),
    (56, "I", 0xFFFF_FFFF),
    (60, "I", 0xFFFF_FFFF),
    (60, "I", 1),
]


@pytest.mark.parametrize("index", [0, 1, 7, 22])
@pytest.mark.parametrize(("at", "code", "value"), ABSURD_RECORDS)
def test_absurd_records_with_a_right_checksum(index: int, at: int, code: str, value: int) -> None:
    data = bytearray(GOOD)
    struct.pack_into("<" + code, data, HEADER_SIZE + index * RECORD_SIZE + at, value)
    seal(data, index)
    trace = Trace(bytes(data))
    assert len(trace) <= trace.n_records
    assert len(list(trace.records())) <= trace.n_records
    for number in range(len(trace)):
        assert len(trace.row_records(number)) <= trace.n_records
        trace.checkpoint_before(trace.first_record(number))
    assert all("\n" not in line for line in trace.problems)


@pytest.mark.parametrize(
    ("at", "code", "value"),
    [
        (64, "i", 9),
        (68, "H", 999),
        (84, "H", 0xFFFF),
        (86, "H", 0xFFFF),
        (88, "H", 0xFFFF),
        (90, "B", 255),
        (91, "B", 254),
    ],
)
def test_absurd_steps_with_a_right_checksum(at: int, code: str, value: int) -> None:
    data = bytearray(GOOD)
    struct.pack_into("<" + code, data, HEADER_SIZE + RECORD_SIZE + at, value)
    seal(data, 1)
    trace = Trace(bytes(data))
    assert [record for _, record in trace.records()] == GOOD_RECORDS[:1] + GOOD_RECORDS[2:]
    assert "1 damaged records skipped, the first at offset 0x1100" in trace.problems[0]


def test_a_mask_that_runs_past_the_union() -> None:
    data = bytearray(GOOD)
    at = HEADER_SIZE + RECORD_SIZE + 96 + struct.unpack_from("<H", data, 4096 + 256 + 86)[0]
    data[at : at + 2] = b"\xff\xff"
    seal(data, 1)
    trace = Trace(bytes(data))
    list(trace.records())
    assert "a byte mask runs past the union" in trace.problems[0]


@pytest.mark.parametrize("body", [b"{]", b"[]", b"\xff", b'{"a":' + b"[" * 100, b"NaN"])
def test_a_checkpoint_that_is_no_json(body: bytes) -> None:
    data = bytearray(GOOD)
    first = next(index for index, record in Trace(GOOD).records() if record.kind == 6)
    at = HEADER_SIZE + first * RECORD_SIZE + 64
    data[at : at + 192] = body.ljust(192, b" ")
    seal(data, first)
    trace = Trace(bytes(data))
    assert len(list(trace.records())) == len(GOOD_RECORDS) - 1
    assert trace.checkpoint_before(trace.n_records - 1) is None
    assert "bad checkpoint" in trace.problems[0]


def test_a_damaged_checkpoint_gives_way_to_the_one_before() -> None:
    good = Trace.from_records(META, journal(30, every=10))
    data = bytearray(good.data())
    found = good.checkpoint_before(good.n_records - 1)
    assert found is not None
    data[HEADER_SIZE + found[0] * RECORD_SIZE + 80] ^= 1
    before = Trace(bytes(data)).checkpoint_before(good.n_records - 1)
    assert before is not None
    assert before[1]["row"] == 10


@pytest.mark.parametrize("zeros", [1, 255, 256, 4096, 3 << 20])
def test_zeros_at_the_end_after_a_power_cut(zeros: int) -> None:
    trace = Trace(GOOD + bytes(zeros))
    assert [record for _, record in trace.records()] == GOOD_RECORDS
    assert len(trace) == 4
    assert trace.problems
    assert all("zero" in line or "cut off" in line for line in trace.problems)


def test_zeros_and_noise_in_the_middle() -> None:
    good = Trace.from_records(META, journal(2000)).data()
    noise = random.Random(1).randbytes(200 * RECORD_SIZE)
    for hole in (bytes(200 * RECORD_SIZE), noise):
        at = HEADER_SIZE + 4000 * RECORD_SIZE
        data = good[:at] + hole + good[at + len(hole) :]
        trace = Trace(data)
        assert len(trace) == 2000
        for number in (0, 799, 840, 1999):
            assert [record for _, record in trace.row_records(number)] == row(number)
        assert trace.row_records(810) == []
        assert len(list(trace.records())) == 9800
        assert "200 damaged records skipped" in trace.problems[0]


def test_noise_at_the_end() -> None:
    noise = random.Random(2).randbytes(100 * RECORD_SIZE)
    trace = Trace(GOOD + noise)
    assert [record for _, record in trace.records()] == GOOD_RECORDS
    assert "incomplete: 25600 bytes dropped" in trace.problems[0]
    long = Trace.from_records(META, journal(2000)).data() + noise * 60
    assert len(Trace(long)) > 0


def test_nothing_but_noise_after_the_header() -> None:
    trace = Trace(GOOD[:HEADER_SIZE] + random.Random(3).randbytes(100 * RECORD_SIZE))
    assert len(trace) == 0
    assert list(trace.records()) == []
    assert "none of the last 100 records can be read" in trace.problems[0]
    assert trace.checkpoint_before(99) is None


def test_the_parts_of_the_last_record_are_missing() -> None:
    records = [*journal(2), *journal(4, every=2)[10:11]]
    data = Trace.from_records(META, records).data()
    for cut in (1, 2):
        trace = Trace(data[: -cut * RECORD_SIZE])
        assert [record for _, record in trace.records()] == records[:-1]
        assert "incomplete" in trace.problems[0]


def test_gigabytes_of_zeros_are_dropped_at_once(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tdxt"
    with path.open("wb") as file:
        file.write(GOOD)
        file.truncate(1 << 40)
    start = time.perf_counter()
    trace = open_trace(path)
    assert time.perf_counter() - start < 2
    assert len(trace) == 4
    assert "zero bytes at the end dropped" in trace.problems[0]
    trace.close()


@pytest.mark.parametrize("left", [0, 100, HEADER_SIZE, HEADER_SIZE + 4999 * RECORD_SIZE])
def test_a_file_that_is_overwritten_while_it_is_open(left: int, tmp_path: Path) -> None:
    """To read a map beyond the end of its file would kill the process."""
    path = tmp_path / "cut.tdxt"
    path.write_bytes(Trace.from_records(META, journal(1000)).data())
    trace = open_trace(path)
    slots = trace.n_records
    assert trace.cut == ""
    assert trace.row_records(0)
    os.truncate(path, left)
    assert trace.row_records(999) == []
    assert [*trace.records()] == []
    assert len(trace) == 1000
    assert trace.n_records == slots
    assert trace.checkpoint_before(slots - 1) is None
    assert trace.newest_checkpoint(slots - 1) == -1
    assert not any(trace.data())
    assert sum(map(len, trace.pieces())) == slots * RECORD_SIZE
    assert "overwritten or cut while it was open" in trace.cut
    assert trace.cut == trace.problems[0]
    path.write_bytes(GOOD * 1000)
    assert trace.refresh() == 0, "it may be another recording by now"
    trace.close()


def test_rows_that_fall_do_not_hang() -> None:
    data = bytearray(Trace.from_records(META, journal(1000)).data())
    chance = random.Random(4)
    for index in range(5000):
        at = HEADER_SIZE + index * RECORD_SIZE
        rows = chance.randrange(1, 1 << 62)
        struct.pack_into("<QQ", data, at + 8, chance.randrange(rows), rows)
        struct.pack_into("<Q", data, at + 48, chance.randrange(1 << 13))
        seal(data, index)
    trace = Trace(bytes(data))
    assert len(trace) == 5000
    start = time.perf_counter()
    for number in range(0, 5000, 500):
        trace.row_records(number)
        trace.checkpoint_before(number)
    assert time.perf_counter() - start < 10


def test_other_magic() -> None:
    with pytest.raises(TraceError, match=r"not a \.tdxt file"):
        Trace(b"X" + GOOD[1:])
    assert GOOD.startswith(MAGIC)
    assert io.BytesIO(GOOD).read(2) == b"\x89T"
