"""Every shipped sample, at every size, from its first step to its last."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdxdbg.engine import GENERATIONS
from tdxdbg.ui.panes import PANES
from tests.ui.screens import SAMPLES, SIZES, app_on, screen_text


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
async def test_a_sample_opens_at_every_size_and_every_step_can_be_seen(sample: Path) -> None:
    app = app_on(sample)
    async with app.run_test(size=SIZES[0]) as pilot:
        for size in SIZES:
            await pilot.resize_terminal(*size)
            await pilot.press("g")
            await pilot.pause()
            text = screen_text(app)
            assert [len(line) for line in text] == [size[0]] * size[1]
            assert "REPLAY" in text[0]
            assert "1 exits" in text[1]
            assert all(pane.count() for name, pane in app.panes.items() if pane.size.width)
            last = None
            while last != (app.cursor.row, app.cursor.step):
                last = app.cursor.row, app.cursor.step
                app.action_step(1)
            assert app.cursor.row == len(app.timeline) - 1
            while app.cursor.row or app.cursor.step:
                app.action_step(-1)
        assert app.crash is None


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
async def test_a_sample_under_every_kernel(sample: Path) -> None:
    app = app_on(sample)
    async with app.run_test(size=(120, 40)) as pilot:
        for generation in GENERATIONS:
            app.use_kernel(generation)
            app.go(0)
            last = None
            while last != (app.cursor.row, app.cursor.step):
                last = app.cursor.row, app.cursor.step
                app.action_step(1)
            await pilot.pause()
            assert f"kernel {generation.name} " in screen_text(app)[0]
            assert set(app.panes) == set(PANES)


def test_there_are_samples() -> None:
    assert len(SAMPLES) >= 20
