"""The form that a person writes by hand: lossless, and errors that say where and what to do."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdxdbg.abi.regs import KNOWN_ALL, Regs
from tdxdbg.engine.kvm_run import KvmRun, layout_of
from tdxdbg.engine.state import (
    Completer,
    HypercallAnswer,
    InKernel,
    Outcome,
    Reentry,
    SetMemoryAttributes,
    Step,
    TdExit,
    TdxAnswer,
)
from tdxdbg.errors import TraceError
from tdxdbg.traces import jsonl, open_trace
from tdxdbg.traces.json_records import record_from_json, record_to_json
from tdxdbg.traces.json_run import run_from_json, run_to_json
from tdxdbg.traces.meta import TraceMeta
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import (
    KNOWN_COMPLETER,
    KNOWN_ERRNO,
    KNOWN_REGS,
    KNOWN_VP_ENTER_RET,
    Kind,
    Record,
)
from tests.traces import strategies
from tests.traces.journals import META, journal

HEAD = '{"tdxt":1,"meta":{"title":"by hand"}}'


def load(*lines: str, head: str = HEAD) -> Trace:
    return jsonl.read(io.BytesIO("\n".join((head, *lines)).encode()), "x.jsonl")


def text_of(trace: Trace) -> str:
    file = io.StringIO()
    jsonl.write(trace, file)
    return file.getvalue()


@settings(max_examples=150, deadline=None)
@given(strategies.metas, strategies.journals(8))
def test_native_to_json_lines_and_back_is_byte_identical(
    meta: TraceMeta, records: list[Record]
) -> None:
    trace = Trace.from_records(meta, records)
    text = text_of(trace)
    again = jsonl.read(io.BytesIO(text.encode()), "x")
    assert again.problems == []
    assert again.data() == trace.data()
    assert text_of(again) == text


@settings(max_examples=300, deadline=None)
@given(strategies.runs())
def test_every_byte_of_kvm_run_comes_back(run: KvmRun) -> None:
    text = json.dumps(run_to_json(run))
    assert run_from_json(run.exit_reason, json.loads(text)) == run


def test_a_map_gpa_by_hand() -> None:
    trace = load(
        '{"kind":"td_exit","row":0,"vp_enter_ret":"0x4d","regs":{"rcx":"0xfc00","r11":65537}}',
        '{"kind":"userspace_exit","row":0,"exit":"KVM_EXIT_HYPERCALL",'
        '"run":{"nr":12,"args":["0x40000000",512,0],"ret":0,"flags":1},"completer":"map_gpa"}',
        '{"kind":"memory_attributes","row":0,"gpa":"0x40000000","size":"0x200000","private":false}',
        "",
        '{"kind":"answer","row":0,"type":"hypercall","ret":0,"has_events":true}',
        '{"kind":"td_entry","row":0,"regs":{"rcx":"0xfc00"}}',
    )
    assert trace.problems == []
    bodies = [record.body for _, record in trace.row_records(0)]
    assert bodies[0] == TdExit(0, 77, Regs(rcx=0xFC00, r11=0x10001))
    step = bodies[1]
    assert isinstance(step, Step)
    assert step.run is not None
    assert step.run.values() == {
        "nr": 12,
        "args": [1 << 30, 512, 0, None, None, None],
        "ret": 0,
        "flags": 1,
    }
    assert step.completer is Completer.MAP_GPA
    assert trace.record(1).known == KNOWN_ERRNO | KNOWN_COMPLETER
    assert bodies[2] == SetMemoryAttributes(1 << 30, 2 << 20, False)
    assert bodies[3] == Reentry(0, HypercallAnswer(0), has_events=True)
    assert bodies[4] == Step(Outcome.REENTER_TD, Regs(rcx=0xFC00))
    assert trace.record(4).known == KNOWN_ERRNO | KNOWN_REGS


@pytest.mark.parametrize(
    ("line", "record"),
    [
        (
            '{"kind":"td_exit","row":0,"vcpu":3,"time":5,"vp_enter_ret":77,"regs":{},'
            '"known":["rcx","vp_enter_ret"],"in_kernel":{"handled":true,"value":9},"source":8}',
            Record(
                Kind.TD_EXIT,
                0,
                3,
                5,
                TdExit(3, 77, Regs(), 2, InKernel(True, 9)),
                2 | KNOWN_VP_ENTER_RET,
                8,
            ),
        ),
        (
            '{"kind":"userspace_exit","row":0,"errno":4}',
            Record(
                Kind.USERSPACE_EXIT,
                0,
                0,
                None,
                Step(Outcome.KVM_ERROR, Regs(), errno=4),
                KNOWN_ERRNO,
            ),
        ),
        (
            '{"kind":"userspace_exit","row":0,"exit":"0x28","known":"0x1",'
            '"run":{"flags":0,"nr":65538,"ret":null,"gpa":"0x1000","size":4096}}',
            Record(
                Kind.USERSPACE_EXIT,
                0,
                0,
                None,
                Step(
                    Outcome.EXIT_TO_USERSPACE,
                    Regs(),
                    run_from_json(40, {"flags": 0, "nr": 0x10002, "gpa": 0x1000, "size": "0x1000"}),
                ),
                1,
            ),
        ),
        (
            '{"kind":"answer","row":0,"type":"tdx","ret":0,"r14":"0xffffffffffffffff"}',
            Record(
                Kind.ANSWER,
                0,
                0,
                None,
                Reentry(0, TdxAnswer(0, None, None, None, (1 << 64) - 1)),
                3 << 20,
            ),
        ),
        (
            '{"kind":"answer","row":0}',
            Record(Kind.ANSWER, 0, 0, None, Reentry(0), 3 << 20),
        ),
        (
            '{"kind":"checkpoint","state":{"a":[1,2.5]}}',
            Record(Kind.CHECKPOINT, 0, 0, None, {"a": [1, 2.5]}, 0),
        ),
    ],
)
def test_lines_by_hand(line: str, record: Record) -> None:
    assert record_from_json(json.loads(line)) == record
    assert record_from_json(record_to_json(record)) == record


def test_known_is_complete_when_nothing_says_otherwise() -> None:
    record = record_from_json({"kind": "td_exit", "row": 0, "vp_enter_ret": 77})
    assert record.known == KNOWN_ALL | KNOWN_VP_ENTER_RET


def test_stale_fields_and_other_bytes_have_their_place() -> None:
    union = b"".join(word.to_bytes(8, "little") for word in (12, 4096, 1, 0, 7, 8, 9, 5, 1, 77))
    union = union.ljust(256, b"\0")
    written = (1 << 32) - 1 | 0xFFFF << 56
    run = KvmRun(3, layout_of(3, union), union, written, (1 << 80) - 1)
    assert run_to_json(run) == {
        "nr": 12,
        "args": [4096, 1, 0, 7, 8, 9],
        "ret": 5,
        "flags": 1,
        "stale": ["args[3]", "args[4]", "args[5]"],
        "bytes": [[104, "4d00000000000000", "stale"]],
    }


EXIT = '{"kind":"userspace_exit","row":0,"exit":"KVM_EXIT_HYPERCALL","run":'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: Expecting property name"),
        ("[1]", "line 2: not a JSON object"),
        ('{"row":0}', "line 2, column 1: kind is missing; it is one of td_exit, userspace_exit"),
        ('{"kind":"exit","row":0}', "line 2, column 2: kind must be one of td_exit"),
        ('{"kind":"answer"}', "line 2, column 1: row is missing"),
        ('{"kind":"answer","row":-1}', "line 2, column 18: row must be a number from 0"),
        ('{"kind":"answer","row":0.5}', "line 2, column 18: row must be a number"),
        ('{"kind":"answer","row":true}', "line 2, column 18: row must be a number"),
        ('{"kind":"answer","row":NaN}', "line 2: NaN is not a number that a trace can hold"),
        ('{"kind":"answer","row":0,"vcpu":1000000000}', "vcpu must be a number from 0 to 0xffff"),
        ('{"kind":"answer","row":0,"time":"0x10000000000000000"}', "time must be a number"),
        ('{"kind":"answer","row":0,"ret":' + "9" * 5000 + "}", "line 2: "),
        ('{"kind":"answer","row":0,"has_events":1}', "has_events must be true or false"),
        ('{"kind":"answer","row":0,"type":"ioo"}', "type must be one of hypercall, io, mmio"),
        ('{"kind":"answer","row":0,"type":"io","data":"0"}', "data must be hex digits"),
        ('{"kind":"answer","row":0,"type":"io","data":5}', "data must be hex digits"),
        ('{"kind":"answer","row":0,"type":"io","ret":5}', "'ret' is not known here; known are"),
        ('{"kind":"answer","row":0,"known":["rax","rox"]}', "known lists names out of rax, rcx"),
        ('{"kind":"td_exit","row":0}', 'vp_enter_ret is missing; it is "0x4d" for a TDCALL'),
        ('{"kind":"td_exit","row":0,"vp_enter_ret":77,"regs":[]}', "regs must be an object"),
        (
            '{"kind":"td_exit","row":0,"vp_enter_ret":77,"regs":{"r99":1}}',
            "line 2, column 53: 'r99' is no register; registers are rax",
        ),
        ('{"kind":"userspace_exit","row":0,"run":{}}', "run needs exit"),
        ('{"kind":"userspace_exit","row":0,"exit":"KVM_EXIT_X"}', "'KVM_EXIT_X' is no KVM_EXIT_"),
        ('{"kind":"userspace_exit","row":0,"outcome":"x"}', "outcome must be one of reenter_td"),
        (EXIT + '{"nr":"0x1ffffffffffffffff"}}', "nr must be a number"),
        (EXIT + '{"args":[1,2,3,4,5,6,7]}}', "args must be a list of at most 6"),
        (EXIT + '{"args":5}}', "args must be a list of at most 6"),
        (EXIT + '{"port":5}}', "'port' is not known here; known are"),
        (EXIT + '{"stale":["ret"]}}', "stale names 'ret', which has no value here"),
        (EXIT + '{"stale":[1]}}', "stale must be a list"),
        (EXIT + '{"bytes":5}}', "bytes must be a list"),
        (EXIT + '{"bytes":[[32,"00","gone"]]}}', "states are written, stale"),
        (EXIT + '{"bytes":[[0,"00","stale"]]}}', "the union starts at offset 32"),
        (EXIT + '{"bytes":[[287,"0000","stale"]]}}', "bytes must be hex digits"),
        (
            '{"kind":"userspace_exit","row":0,"exit":"KVM_EXIT_TDX","run":{"type":2}}',
            "another kind of KVM_EXIT_TDX",
        ),
        ('{"kind":"memory_attributes","row":0,"gpa":0,"size":1}', "private is missing"),
        ('{"kind":"checkpoint"}', "state is missing"),
        ('{"kind":"checkpoint","state":' + "[" * 5000 + "}", "line 2: nested too deep"),
        ("[" + "1," * 1_100_000 + "1]", "line 2: more than 1048576 values in a line"),
    ],
)
def test_a_bad_line_is_named_and_the_rest_is_kept(line: str, message: str) -> None:
    good = '{"kind":"answer","row":0,"type":"hypercall","ret":0}'
    trace = load(line, good)
    (problem,) = trace.problems
    assert message in problem
    assert "\n" not in problem
    assert [record.body for _, record in trace.records()] == [Reentry(0, HypercallAnswer(0))]
    assert trace.unread == [(2, line[:200])]


def test_many_bad_lines_are_counted() -> None:
    trace = load(*["x"] * 5000)
    assert len(trace.problems) == 21
    assert trace.problems[-1] == "4980 more lines could not be read"
    assert len(trace.unread) == 1000


def test_a_line_that_is_not_text() -> None:
    data = HEAD.encode() + b'\n{"kind":"\xff"}\n'
    trace = jsonl.read(io.BytesIO(data), "x")
    assert trace.problems == ["line 2: column 10: not UTF-8"]


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("{}", "no trace; the first line is"),
        ('{"tdxt":0}', "no trace; the first line is"),
        ('{"tdxt":2}', "format version 2 is newer than 1, which this tdxdbg reads; update"),
        ('{"tdxt":1,"meta":{"td":{"gpaw":7}}}', "line 1: metadata: td.gpaw must be 48 or 52"),
        ('{"tdxt":1', "line 1: "),
        ('{"tdxt":1,"meta":[]}', "line 1: metadata must be a JSON object"),
    ],
)
def test_a_bad_header(head: str, message: str) -> None:
    with pytest.raises(TraceError, match=r"x\.jsonl: ") as caught:
        load(head=head)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "numbers", "problem"),
    [
        ((0, 0, 1), (0, 0, 1), False),
        ((0, 2, 1, 2), (0, 1, 2, 1), True),
        ((7, 7, 9), (0, 0, 1), True),
        ((0, 1, 5, 0, 5, 1 << 63), (0, 1, 2, 0, 2, 3), True),
    ],
)
def test_rows_with_gaps_are_numbered_anew(
    rows: tuple[int, ...], numbers: tuple[int, ...], problem: bool
) -> None:
    trace = load(*[f'{{"kind":"answer","row":{number}}}' for number in rows])
    assert tuple(record.row for _, record in trace.records()) == numbers
    assert bool(trace.problems) is problem
    assert len(trace) == max(numbers) + 1


def test_a_bad_line_does_not_take_its_row_away() -> None:
    trace = load('{"kind":"answer","row":0}', '{"kind":"bad","row":1}', '{"kind":"answer","row":2}')
    assert len(trace) == 2
    assert trace.problems[-1] == "row 1 is missing: the rows after it are numbered anew"


class _Endless(io.RawIOBase):
    """A header, and then one line of this many bytes that is never held in memory."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._head = HEAD.encode() + b"\n"

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if self._head:
            data = self._head[: len(buffer)]
            self._head = self._head[len(data) :]
        else:
            data = b"[" * min(self._left, len(buffer))
            self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)


def test_a_huge_line_takes_no_memory() -> None:
    file = cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, _Endless(100 << 20))))
    tracemalloc.start()
    try:
        trace = jsonl.read(file, "x")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert trace.problems == ["line 2: longer than 8 MiB; split it"]
    assert peak < 40 << 20


def test_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\xef\xbb\xbf" + HEAD.encode() + b'\r\n{"kind":"answer","row":0}\r\n')
    with open_trace(path) as trace:
        assert (len(trace), trace.problems) == (1, [])


def test_a_damaged_trace_writes_what_is_left() -> None:
    data = bytearray(Trace.from_records(META, journal(3)).data())
    data[4096 + 256 * 5 + 99] ^= 1
    trace = Trace(bytes(data))
    assert len(text_of(trace).splitlines()) == 1 + 14


@settings(max_examples=100, deadline=None)
@given(st.text(), st.text())
def test_any_text_in_metadata_stays_on_its_line(title: str, kernel: str) -> None:
    trace = Trace.from_records(TraceMeta(title=title, kernel=kernel), [])
    (line,) = text_of(trace).splitlines()
    assert line.isascii()
    assert load(head=line).meta == trace.meta
