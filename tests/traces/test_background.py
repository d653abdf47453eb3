"""Imports in a process of their own, of files that lie there, grow, or come through a pipe."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tdxdbg.errors import TraceError
from tdxdbg.traces import open_trace
from tdxdbg.traces.background import Background, Job
from tdxdbg.traces.native import Trace

REAL = Path(__file__).parents[1] / "data/traces/demo3.ftrace.txt"
#: Seconds that anything may take here.
LONG = 60.0


def job(path: Path, *, stream: bool = False) -> Job:
    return Job(str(path), path.name, stream=stream)


def wait(background: Background, until: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG
    while not until():
        background.read()
        assert time.monotonic() < end, "nothing happens"
        time.sleep(0.01)


def whole(background: Background) -> Trace:
    trace = background.open(LONG)
    wait(background, lambda: background.ended)
    trace.refresh()
    return trace


@pytest.fixture
def long(tmp_path: Path) -> Path:
    path = tmp_path / "long.txt"
    path.write_bytes(REAL.read_bytes() * 1200)
    return path


def test_it_gives_what_the_import_gives(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(REAL.read_bytes() + b"no line of a trace\n")
    with (
        Background(job(path)) as background,
        whole(background) as trace,
        open_trace(path) as expected,
    ):
        assert trace.data() == expected.data()
        assert trace.problems == expected.problems
        assert trace.remarks == expected.remarks
        assert trace.unread == expected.unread
        assert trace.imported == expected.imported
        assert trace.unread[0][1] == "no line of a trace"


def test_the_first_exits_are_there_before_the_last(long: Path) -> None:
    with Background(job(long)) as background, background.open(LONG) as trace:
        first = len(trace)
        assert first
        assert trace.row_records(0)
        seen = set()
        while not background.ended:
            background.read()
            seen.add((background.done, background.total))
            trace.refresh()
            time.sleep(0.01)
        trace.refresh()
        assert len(trace) > first
        assert all(done <= total for done, total in seen)
        assert len(seen) > 1


def test_stopped_it_keeps_what_it_has(long: Path) -> None:
    with Background(job(long)) as background, background.open(LONG) as trace:
        background.stop()
        wait(background, lambda: background.ended)
        assert any("the import was stopped" in line for line in trace.problems)
        rows = len(trace)
        assert rows
        with open_trace(long) as expected:
            assert rows < len(expected)
            for row in range(rows - 1):
                assert trace.row_records(row) == expected.row_records(row)


def test_a_process_that_dies_is_told_and_what_it_had_stays(long: Path) -> None:
    with Background(job(long)) as background, background.open(LONG) as trace:
        os.kill(background._process.pid, signal.SIGKILL)
        wait(background, lambda: background.ended)
        assert "the process that imported it died" in background.failure
        assert background.failure in trace.problems
        assert trace.row_records(0)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"a letter\n", "not a recording"), (b"", "the file is empty"), (None, "no such file")],
)
def test_what_is_no_recording(content: bytes | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    if content is not None:
        path.write_bytes(content)
    with Background(job(path)) as background, pytest.raises(TraceError, match=says):
        background.open(LONG)


def test_a_file_that_grows(tmp_path: Path) -> None:
    lines = REAL.read_bytes().splitlines(keepends=True)
    middle = len(lines) // 2
    path = tmp_path / "growing.txt"
    path.write_bytes(b"")
    with (
        Background(job(path, stream=True)) as background,
        path.open("ab", buffering=0) as file,
    ):
        file.write(lines[0][:5])
        file.write(lines[0][5:] + b"".join(lines[1:middle]))
        with background.open(LONG) as trace:
            before = len(trace)
            assert before
            # A line that is not whole yet is none.
            file.write(lines[middle][:30])
            time.sleep(0.3)
            file.write(lines[middle][30:] + b"".join(lines[middle + 1 :]))
            wait(background, lambda: trace.refresh() > 0 and len(trace) > before)
            background.stop()
            wait(background, lambda: background.ended)
            with open_trace(REAL) as expected:
                assert trace.data() == expected.data()
            assert trace.problems == []


def test_a_pipe_is_read_as_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    data = REAL.read_bytes()
    with Background(job(path, stream=True)) as background, path.open("wb", buffering=0) as file:
        file.write(data[: len(data) // 2])
        with background.open(LONG) as trace:
            before = len(trace)
            assert before
            file.write(data[len(data) // 2 :])
            wait(background, lambda: trace.refresh() > 0 and len(trace) > before)
            background.stop()
            wait(background, lambda: background.ended)
            with open_trace(REAL) as expected:
                assert [*trace.records()] == [*expected.records()]
