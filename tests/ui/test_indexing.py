"""Filters whose rows come from the process that keeps columns."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tdxdbg.engine import GENERATIONS
from tdxdbg.errors import TraceError
from tdxdbg.filters import compile_filter
from tdxdbg.traces import Trace, open_trace
from tdxdbg.traces.layout import RECORD_SIZE
from tdxdbg.ui import indexing, surveying
from tdxdbg.ui.app import ReplayApp
from tests.index.files import write_trace
from tests.ui.screens import app_on, screen_text

SIZE = (120, 40)
ROWS = 600


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (indexing, surveying):
        monkeypatch.setattr(module, "FEWEST", 100)
    return write_trace(tmp_path / "some.tdxt", ROWS, GENERATIONS[-1])


def expected(app: ReplayApp, text: str) -> list[int]:
    wanted, timeline = compile_filter(text), app.timeline
    return [row for row in range(len(timeline)) if wanted.matches(timeline.summary(row))]


async def until(pilot: Pilot[Any], true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        await pilot.pause(0.02)
    raise AssertionError("it never came")


async def test_filter_find_and_breakpoints_by_the_process(path: Path) -> None:
    app = app_on(path)
    async with app.run_test(size=SIZE) as pilot:
        assert app.indexed
        app.action_filter("leaf == MapGPA")
        app.action_breakpoint("leaf == CPUID")
        await until(pilot, lambda: app.matches is not None and app.matches.complete)
        assert app.matches is not None
        assert list(app.matches.rows) == expected(app, "leaf == MapGPA")
        await until(pilot, lambda: not app.stops.listing()[0]["more"])
        assert app.stops.listing()[0]["hits"] == len(expected(app, "leaf == CPUID"))
        rows = expected(app, "leaf == MapGPA")
        await pilot.press("G")
        assert app.cursor.row == rows[-1]
        await pilot.press("k")
        assert app.cursor.row == rows[-2]
        assert f"{len(rows)} matches" in "\n".join(screen_text(app))
        await until(pilot, lambda: all(m.complete for m in app._surveyed.values()))
        marks = app.marks()
        assert [list(each) for each in marks["error"]] == [expected(app, "error")]
    assert not app.indexed


async def test_a_filter_of_the_command_line_is_asked_for_when_the_process_is_there(
    path: Path,
) -> None:
    app = app_on(path, wanted="leaf == MapGPA")
    assert app.indexed
    async with app.run_test(size=SIZE) as pilot:
        matches = app.matches
        assert matches is not None
        await until(pilot, lambda: app._index is not None)
        assert matches in app._asked
        await until(pilot, lambda: matches.complete)
        assert list(matches.rows) == expected(app, "leaf == MapGPA")


async def test_without_a_process_the_screen_counts_itself(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(trace: Trace) -> None:
        raise TraceError("no process for the columns: no memory")

    monkeypatch.setattr(indexing, "Index", none)
    app = app_on(path, wanted="leaf == MapGPA")
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: not app.indexed)
        await until(pilot, lambda: app.matches is not None and app.matches.complete)
        assert app.matches is not None
        assert list(app.matches.rows) == expected(app, "leaf == MapGPA")


async def test_the_count_of_a_prompt_comes_from_it(path: Path) -> None:
    app = app_on(path)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("slash", *"retry")
        wanted = f"{len(expected(app, 'retry'))} of {ROWS} exits match"
        await until(pilot, lambda: any(wanted in line for line in screen_text(app)))


async def test_the_screen_counts_itself_where_the_process_died(path: Path) -> None:
    app = app_on(path)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app._index is not None)
        index = app._index
        assert index is not None
        os.kill(index._process.pid, signal.SIGKILL)
        app.action_filter("leaf == MapGPA")
        await until(pilot, lambda: app.matches is not None and app.matches.complete)
        assert app.matches is not None
        assert list(app.matches.rows) == expected(app, "leaf == MapGPA")
        assert not app.indexed
        app.action_filter("retry")
        await until(pilot, lambda: app.matches is not None and app.matches.complete)
        assert list(app.matches.rows) == expected(app, "retry")


async def test_a_recording_that_grows(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 // RECORD_SIZE * RECORD_SIZE])
    app = app_on(open_trace(path))
    async with app.run_test(size=SIZE) as pilot:
        app.action_filter("leaf == MapGPA")
        await until(pilot, lambda: app.matches is not None and app.matches.complete)
        before = app.matches.count if app.matches is not None else 0
        with path.open("ab") as file:
            file.write(data[len(data) // 2 // RECORD_SIZE * RECORD_SIZE :])
        assert app.take_in()
        await until(pilot, lambda: app.matches is not None and app.matches.complete)
        assert app.matches is not None
        assert app.matches.count > before
        assert list(app.matches.rows) == expected(app, "leaf == MapGPA")


async def test_another_kernel_is_counted_by_the_screen(path: Path) -> None:
    app = app_on(path)
    async with app.run_test(size=SIZE):
        app.use_kernel(GENERATIONS[0])
        app.action_filter("vcpu == 1")
        assert app.timeline.what_if
        assert app.matches is not None
        assert app.matches.to_count


async def test_short_recordings_start_no_process(tmp_path: Path) -> None:
    app = app_on(write_trace(tmp_path / "short.tdxt", 50, GENERATIONS[-1]))
    async with app.run_test(size=SIZE):
        assert not app.indexed
