"""The process and its client: what comes is what the filter says, whatever happens."""

from __future__ import annotations

import gc
import os
import select
import signal
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from tdxdbg.decode.summary import RowSummary
from tdxdbg.engine import GENERATIONS
from tdxdbg.filters import compile_filter
from tdxdbg.index.client import Answer, Index
from tdxdbg.timeline import Timeline
from tdxdbg.traces import open_trace
from tdxdbg.traces.layout import RECORD_SIZE
from tdxdbg.traces.native import Trace
from tests.index.files import write_trace

FILTERS = (
    "leaf == MapGPA",
    "vcpu == 1 and status == RETRY",
    "exit == KVM_EXIT_IO or error",
    "not (leaf == IO)",
    "gpa in 1G..2G",
    "leaf == MapGPA and size > 2M",
    "index in 100..120",
    "message contains 'x'",
)
ROWS = 1200


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_trace(tmp_path_factory.mktemp("traces") / "some.tdxt", ROWS, GENERATIONS[-1])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "tdxdbg" / "columns"


@pytest.fixture
def trace(path: Path) -> Iterator[Trace]:
    with open_trace(path) as opened:
        yield opened


def wait(index: Index, answer: Answer, total: int) -> list[int]:
    while answer.seen < total:
        assert select.select([index], [], [], 60)[0]
        assert index.read()
    return list(answer.rows)


def expected(trace: Trace, text: str) -> list[int]:
    wanted = compile_filter(text)
    return [summary.index for summary in summaries(trace, len(trace)) if wanted.matches(summary)]


@lru_cache(8)
def summaries(trace: Trace, total: int) -> list[RowSummary]:
    timeline = Timeline(trace)
    return [timeline.summary(row) for row in range(total)]


def test_answers_are_what_the_filter_says(trace: Trace, cache: Path) -> None:
    for _ in ("the columns are built", "they come from the cache"):
        index = Index(trace)
        answers = {text: index.ask(text, len(trace)) for text in FILTERS}
        found = {text: wait(index, answer, len(trace)) for text, answer in answers.items()}
        index.close()
        assert found == {text: expected(trace, text) for text in FILTERS}
        assert len(list(cache.glob("*/*"))) == 1
    assert all(found[text] for text in FILTERS[:-1] if "RETRY" not in text)


def test_a_file_in_the_cache_that_is_wrong_is_built_again(trace: Trace, cache: Path) -> None:
    for damage in (lambda data: b"", lambda data: bytes(5000), lambda data: data[:-1] + b"\xee"):
        index = Index(trace)
        assert wait(index, index.ask("error", ROWS), ROWS) == expected(trace, "error")
        index.close()
        (file,) = cache.glob("*/*")
        file.write_bytes(damage(file.read_bytes()))
    index = Index(trace)
    assert wait(index, index.ask("error", ROWS), ROWS) == expected(trace, "error")
    index.close()


def test_a_recording_that_grows(path: Path, tmp_path: Path, cache: Path) -> None:
    data, grows = path.read_bytes(), tmp_path / "grows.tdxt"
    cuts = [len(data) // 3, len(data) // 2, len(data)]
    grows.write_bytes(data[: cuts[0] // RECORD_SIZE * RECORD_SIZE])
    with open_trace(grows) as trace:
        index = Index(trace)
        answers = {text: index.ask(text, len(trace)) for text in FILTERS[:5]}
        for cut in cuts:
            with grows.open("r+b") as file:
                file.seek(0, 2)
                file.write(data[file.tell() : cut // RECORD_SIZE * RECORD_SIZE])
            trace.refresh()
            for text, answer in answers.items():
                start = min(answer.seen, answer.firm)
                answer.go_on(start, sum(row < start for row in answer.rows), len(trace))
                assert wait(index, answer, len(trace)) == expected(trace, text)
        index.close()


def test_it_ends_with_the_screen_and_the_screen_goes_on_without_it(
    trace: Trace, cache: Path
) -> None:
    index = Index(trace)
    answer = index.ask("error", len(trace))
    wait(index, answer, len(trace))
    process = index._process
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    assert not index.read()
    index.close()
    assert not answer.comes
    assert list(answer.rows) == expected(trace, "error")
    other = Index(trace)
    other.close()
    assert other._process.returncode is not None


def test_it_stands_behind_the_screen(trace: Trace, cache: Path) -> None:
    index = Index(trace)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, index._process.pid) == max(own, 10)
    index.close()


def test_a_filter_that_nobody_holds_is_forgotten(trace: Trace, cache: Path) -> None:
    index = Index(trace)
    answer = index.ask("error", len(trace))
    wait(index, answer, len(trace))
    before = len(os.listdir(f"/proc/{index._process.pid}/fd"))
    del answer
    gc.collect()
    other = index.ask("retry", len(trace))
    wait(index, other, len(trace))
    assert len(os.listdir(f"/proc/{index._process.pid}/fd")) == before
    index.close()


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"turn": 1},
        {"turn": 1, "seen": 5, "count": 9, "firm": 0},
        {"turn": 1, "seen": 9, "count": 5, "firm": 0},
        {"turn": 1, "seen": "x", "count": 0, "firm": 0},
    ],
)
def test_what_the_process_never_says(message: dict[str, object], trace: Trace, cache: Path) -> None:
    index = Index(trace)
    answer = index.ask("error", len(trace))
    brought = os.memfd_create("short")
    with pytest.raises((ValueError, KeyError)):
        answer.take(message, brought)
    index.close()
