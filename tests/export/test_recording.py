"""Whole recordings as recordings: the same bytes; foreign and damaged ones with what is said."""

from __future__ import annotations

from io import BytesIO, StringIO
from pathlib import Path

import pytest
from hypothesis import given, settings

from tdxdbg.export import FORMATS, Job, Selection
from tdxdbg.filters import compile_filter
from tdxdbg.resources import samples_dir
from tdxdbg.timeline import Timeline
from tdxdbg.traces import jsonl, open_trace
from tdxdbg.traces.meta import TraceMeta
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import Record
from tests.export.outputs import written
from tests.traces.journals import META, journal
from tests.traces.strategies import journals, metas

SAMPLES = sorted(samples_dir().glob("*.tdxt"))
DATA = Path(__file__).resolve().parents[1] / "data" / "traces"
FOREIGN = [
    DATA / f"{name}.txt"
    for name in ("demo3.ftrace", "ftrace_raw_latency", "ftrace_raw_mono", "ftrace_raw_tgid",
                 "ftrace_raw_trace", "ftrace_raw_x86tsc", "ftrace_trace_pipe",
                 "synthetic_td.ftrace")
]  # fmt: skip
NATIVE, LINES = FORMATS["tdxt"].write, FORMATS["jsonl"].write


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_whole_recording_is_the_same_bytes_and_the_same_lines(path: Path) -> None:
    with open_trace(path) as trace:
        job = Job(Timeline(trace), Selection(0, len(trace)))
        assert written(NATIVE, job) == path.read_bytes()
        lines = written(LINES, job)
        expected = StringIO()
        jsonl.write(trace, expected)
        assert lines == expected.getvalue().encode()
    assert jsonl.read(BytesIO(lines), "x").data() == path.read_bytes()


@given(metas, journals())
@settings(max_examples=40, deadline=None)
def test_any_journal_there_and_back(meta: TraceMeta, records: list[Record]) -> None:
    trace = Trace.from_records(meta, records)
    job = Job(Timeline(trace))
    data = written(NATIVE, job)
    assert data == trace.data()
    back = jsonl.read(BytesIO(written(LINES, job)), "x")
    assert back.data() == data
    assert written(LINES, Job(Timeline(back))) == written(LINES, job)


@pytest.mark.parametrize("form", ["tdxt", "jsonl"])
@pytest.mark.parametrize("path", FOREIGN, ids=lambda path: path.stem)
def test_a_foreign_recording_keeps_its_records_and_what_was_said(path: Path, form: str) -> None:
    with open_trace(path) as trace:
        data = written(FORMATS[form].write, Job(Timeline(trace)))
        back = Trace(data) if form == "tdxt" else jsonl.read(BytesIO(data), "x")
        assert [*back.records()] == [*trace.records()]
        assert back.problems == []
        assert back.remarks == [*trace.remarks, *trace.problems]
        # The second time there is nothing more to say.
        assert written(FORMATS[form].write, Job(Timeline(back))) == data


@pytest.mark.parametrize("path", FOREIGN, ids=lambda path: path.stem)
def test_a_part_of_a_foreign_recording(path: Path) -> None:
    with open_trace(path) as trace:
        timeline = Timeline(trace)
        wanted = compile_filter("not kernel")
        part = Trace(written(NATIVE, Job(timeline, Selection(1, 20, wanted))))
        matching = [row for row in range(len(trace)) if wanted.matches(timeline.summary(row))]
        rows = [row for row in matching if row][:20]
        assert len(part) == len(rows)
        for new, old in enumerate(rows):
            records = [record._replace(row=0) for _, record in part.row_records(new)]
            assert records == [record._replace(row=0) for _, record in trace.row_records(old)]
        assert set(trace.remarks) <= set(part.remarks)


def test_a_damaged_recording_says_so_in_what_is_made_of_it() -> None:
    data = bytearray(Trace.from_records(META, journal(40)).data())
    data[4096 + 256 * 33 + 90] ^= 1
    trace = Trace(bytes(data[:-100]), "damaged")
    list(trace.records())
    assert len(trace.problems) == 2
    part = Trace(written(NATIVE, Job(Timeline(trace), Selection(1))))
    assert part.problems == []
    assert [line for line in part.remarks if "damaged" in line or "cut off" in line]
    assert len(part) == 39


@pytest.mark.parametrize("form", ["tdxt", "jsonl", "csv", "perfetto"])
@pytest.mark.parametrize("text", ["index >= 0", "index > 10", "leaf == CPUID", "r12 == 1"])
def test_progress_is_said_also_where_nothing_matches(form: str, text: str) -> None:
    trace = Trace.from_records(META, journal(3000))
    said: list[int] = []
    job = Job(
        Timeline(trace),
        Selection(1, None, compile_filter(text)),
        progress=lambda row, count: said.append(row),
    )
    written(FORMATS[form].write, job)
    assert said
    assert max(said) <= len(trace)
