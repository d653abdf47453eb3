"""Another theme while the screen runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdxdbg.resources import samples_dir
from tdxdbg.ui.themes import load_themes
from tdxdbg.ui.theming import theme_list
from tdxdbg.ui.widgets.lines_widget import LinesWidget
from tests.ui.screens import app_on

RETRY = samples_dir() / "mapgpa_64mib_interrupted.tdxt"


@pytest.fixture(autouse=True)
def themes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty folder of a user's themes."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("NO_COLOR", raising=False)
    folder = tmp_path / "tdxdbg" / "themes"
    folder.mkdir(parents=True)
    return folder


def mine(shared: str) -> str:
    return f'name = "mine"\nbase = "tdx-light"\ndark = false\n[colors]\nshared = "{shared}"\n'


async def test_everything_is_dressed_anew_also_under_a_dialog() -> None:
    app = app_on(RETRY, at=9)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("question_mark")
        app.action_theme("tdx-light")
        await pilot.pause()
        widgets = [widget for screen in app.screen_stack for widget in screen.query(LinesWidget)]
        assert len(widgets) >= 8
        assert {widget.palette.name for widget in widgets} == {"tdx-light"}
        svg = app.export_screenshot()
        assert "#fafaf7" in svg
        assert "#101418" not in svg
        await pilot.press("escape", "question_mark")
        assert "#101418" not in app.export_screenshot()


async def test_a_theme_can_be_tried_while_it_is_written(themes: Path) -> None:
    app = app_on(RETRY, at=9)
    async with app.run_test(size=(120, 40)) as pilot:
        for colour in ("#123456", "#654321"):
            (themes / "mine.toml").write_text(mine(colour), "utf-8")
            app.action_theme("mine")
            await pilot.pause()
            assert colour in app.export_screenshot()
        (themes / "mine.toml").write_text(mine("blueish"), "utf-8")
        app.action_theme("mine")
        assert app.hints.message.startswith("mine.toml: colors.shared: 'blueish' is not a colour")
        assert app.palette.colours["shared"] == "#654321"


async def test_an_unknown_theme_is_said() -> None:
    app = app_on(RETRY)
    async with app.run_test(size=(80, 24)):
        app.action_theme("[/nope]\x1b[31m")
        assert app.hints.message.startswith("there is no theme '[/nope]")
        assert "\x1b" not in app.hints.message


async def test_no_colour_stays_without_colour() -> None:
    app = app_on(RETRY)
    app.palette = app.palette.without_colour()
    async with app.run_test(size=(80, 24)):
        app.action_theme("tdx-light")
        assert (app.palette.name, app.palette.plain) == ("tdx-light", True)


def test_the_list_has_titles(themes: Path) -> None:
    (themes / "mine.toml").write_text(mine("#123456"), "utf-8")
    assert [name for name, _ in theme_list()] == ["mine", *sorted(load_themes().palettes)]
    assert dict(theme_list())["tdx-light"].startswith("Light")
