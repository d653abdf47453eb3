"""A recording of another tool that is looked at while it is imported."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest
from textual.pilot import Pilot

from tdxdbg.traces import open_trace
from tdxdbg.traces.background import Background, Job
from tdxdbg.ui.run import in_background
from tests.ui.screens import app_on, screen_text
from tests.ui.test_filtering import SIZE

REAL = Path(__file__).parents[1] / "data/traces/demo3.ftrace.txt"


@pytest.fixture
def growing(tmp_path: Path) -> Path:
    path = tmp_path / "growing.txt"
    path.write_bytes(REAL.read_bytes())
    return path


async def until(pilot: Pilot[int], holds: Callable[[], bool]) -> None:
    for _ in range(2000):
        if holds():
            return
        await pilot.pause(0.01)
        await asyncio.sleep(0)
    raise AssertionError("it does not come to that")


async def test_it_grows_and_ends_where_one_says(growing: Path) -> None:
    with Background(Job(str(growing), "x", stream=True)) as background:
        app = app_on(background.open(60.0))
        app.come_from(background)
        async with app.run_test(size=SIZE) as pilot:
            await until(pilot, lambda: " IMPORTING " in screen_text(app)[0])
            before = len(app.trace)
            with growing.open("ab") as file:
                file.write(REAL.read_bytes())
            await until(pilot, lambda: len(app.trace) > before)
            assert app.cursor.row == 0, "who looks at the first exit stays there"
            await pilot.press("escape")
            assert "Esc again" in app.hints.message
            await pilot.press("j", "escape")
            assert "Esc again" in app.hints.message, "another key in between takes it back"
            await pilot.press("escape")
            await until(pilot, lambda: " IMPORTING " not in screen_text(app)[0])
            assert "imported: " in app.hints.message
            await pilot.press("G")
            assert app.cursor.row == len(app.trace) - 1
        app.trace.close()


async def test_the_filter_goes_first(growing: Path) -> None:
    with Background(Job(str(growing), "x", stream=True)) as background:
        app = app_on(background.open(60.0))
        app.come_from(background)
        async with app.run_test(size=SIZE) as pilot:
            app.action_filter("port == 0x3f8")
            await pilot.press("escape")
            assert app.matches is None
            assert not background.ended
        app.trace.close()


async def test_a_death_is_told(growing: Path) -> None:
    with Background(Job(str(growing), "x", stream=True)) as background:
        app = app_on(background.open(60.0))
        app.come_from(background)
        async with app.run_test(size=SIZE) as pilot:
            os.kill(background._process.pid, signal.SIGKILL)
            await until(pilot, lambda: "the process that imported it died" in app.hints.message)
            await pilot.press("j")
            assert app.cursor.row == 1
        app.trace.close()


def test_a_pipe_by_name(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = Thread(target=lambda: path.write_bytes(REAL.read_bytes()))
    writer.start()
    background = in_background(str(path), follow=False)
    assert background is not None
    with background, background.open(60.0) as trace, open_trace(REAL) as expected:
        writer.join()
        while not background.ended:
            background.read()
        trace.refresh()
        assert [*trace.records()] == [*expected.records()]


def test_what_is_worth_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    native = tmp_path / "x.tdxt"
    with open_trace(REAL) as trace:
        native.write_bytes(trace.data())
    assert in_background(str(native), follow=True) is None
    assert in_background(str(REAL), follow=False) is None
    assert in_background(str(tmp_path / "nowhere"), follow=True) is None
    monkeypatch.setattr("tdxdbg.ui.run._SHORT", 1000)
    for follow in (False, True):
        background = in_background(str(REAL), follow=follow)
        assert background is not None
        with background:
            assert background.job.stream == follow
