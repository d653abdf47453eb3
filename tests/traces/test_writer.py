"""A writer that dies, and a disk that is full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tdxdbg.errors import TraceError
from tdxdbg.traces import open_trace
from tdxdbg.traces.native import Trace
from tdxdbg.traces.writer import Writer
from tests.traces.journals import META, journal, row

#: Writers that are killed at random moments, each a process of its own.
_KILLED = """
import os, random, signal, sys, time
from tdxdbg.traces.writer import Writer
from tests.traces.journals import META, row

def write(path, buffered):
    with Writer(path, META, buffered=buffered) as writer:
        os.write(ready[1], b"!")
        number = 0
        while True:
            if number % 50 == 49:
                writer.checkpoint({"row": number, "filler": "x" * 500})
            for record in row(number):
                writer.write(record)
            number += 1

chance = random.Random(5)
for attempt in range(int(sys.argv[2])):
    ready = os.pipe()
    child = os.fork()
    if not child:
        write(f"{sys.argv[1]}/{attempt}.tdxt", attempt % 2 == 1)
    os.read(ready[0], 1)
    time.sleep(chance.choice((0, chance.uniform(0, 0.002), chance.uniform(0.002, 0.02))))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ready[0])
    os.close(ready[1])
"""
_ATTEMPTS = 200


def test_a_killed_writer_loses_at_most_its_last_record(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _KILLED, str(tmp_path), str(_ATTEMPTS)]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True, timeout=150)
    written = 0
    for attempt in range(_ATTEMPTS):
        path = tmp_path / f"{attempt}.tdxt"
        size = path.stat().st_size
        with open_trace(path) as trace:
            rows = len(trace)
            assert size - (4096 + trace.n_records * 256) < 4 * 256
            for number in range(max(rows - 3, 0), rows - 1):
                assert [record for _, record in trace.row_records(number)] == row(number)
            if rows:
                last = [record for _, record in trace.row_records(rows - 1)]
                assert last == row(rows - 1)[: len(last)]
            written += rows
    assert written > _ATTEMPTS


_LIMITED = """
import resource, sys
from tdxdbg.errors import TraceError
from tdxdbg.traces.writer import Writer
from tests.traces.journals import META, journal
path, limit, buffered = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "True"
# In a process of its own: the limit cannot be raised again.
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    with Writer(path, META, buffered=buffered) as writer:
        for record in journal(100, every=3):
            writer.write(record)
except TraceError as problem:
    print(problem)
"""


def write_limited(path: Path, limit: int, *, buffered: bool) -> str:
    """What a writer says that may write so many bytes."""
    return subprocess.run(
        [sys.executable, "-c", _LIMITED, str(path), str(limit), str(buffered)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    ).stdout


@pytest.mark.parametrize("buffered", [False, True])
@pytest.mark.parametrize("limit", [4096, 6000, 4096 + 256 * 7, 20_001, 70_000])
def test_a_full_disk_keeps_what_was_written(tmp_path: Path, limit: int, buffered: bool) -> None:
    path = tmp_path / "full.tdxt"
    said = write_limited(path, limit, buffered=buffered)
    size = path.stat().st_size
    assert f"File too large; the first {size} bytes are safe in the file" in said
    with open_trace(path) as trace:
        assert trace.problems == []
        records = [record for _, record in trace.records()]
        whole = Trace.from_records(META, journal(100, every=3)).records()
        assert records == [record for _, record in whole][: len(records)]
        # A checkpoint of four slots may be what did not fit.
        assert limit - size < 4 * 256


def test_a_disk_too_full_for_the_header(tmp_path: Path) -> None:
    said = write_limited(tmp_path / "x.tdxt", 100, buffered=False)
    assert "cannot be written: File too large" in said
    assert not (tmp_path / "x.tdxt").exists()


def test_after_a_failure_a_writer_says_the_same_again(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "x.tdxt", META)
    good, writer._fd = writer._fd, os.open("/dev/full", os.O_WRONLY)
    for _ in range(2):
        with pytest.raises(TraceError, match="No space left on device; the first 4096 bytes are"):
            writer.write(row(0)[0])
    writer.close()
    os.close(good)


def test_a_closed_writer_refuses(tmp_path: Path) -> None:
    with Writer(tmp_path / "x.tdxt", META) as writer:
        writer.close()
        with pytest.raises(TraceError, match="the trace is closed"):
            writer.write(row(0)[0])


def test_a_place_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot be created: No such file"):
        Writer(tmp_path / "no" / "x.tdxt", META)


def test_what_is_not_flushed_is_not_yet_there(tmp_path: Path) -> None:
    path = tmp_path / "x.tdxt"
    with Writer(path, META, buffered=True) as writer:
        writer.write(row(0)[0])
        assert path.stat().st_size == 4096
        writer.flush()
        assert path.stat().st_size == 4096 + 256
        for record in journal(100)[1:]:
            writer.write(record)
        assert path.stat().st_size > 4096 + 256
    with open_trace(path) as trace:
        assert len(trace) == 100
