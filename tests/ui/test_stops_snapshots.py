"""Pictures of what filters, breakpoints and bookmarks look like; `--snapshot-update` makes them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.pilot import Pilot

from tdxdbg.resources import samples_dir
from tdxdbg.ui.app import ReplayApp
from tests.ui.screens import app_on

RETRY = samples_dir() / "mapgpa_64mib_interrupted.tdxt"
Compare = Callable[..., bool]
SIZE = (80, 24)
COLUMNS = ("index", "delta", "name", "gpa", "size", "exit", "result")


@pytest.mark.parametrize(
    "keys",
    [
        ("slash",),
        ("b",),
        ("w",),
        ("vertical_line", "j", "j"),
        ("B", "j"),
        ("M",),
    ],
    ids=["filter", "breakpoint", "watch", "columns", "breakpoints", "bookmarks"],
)
def test_dialog_of(snap_compare: Compare, keys: tuple[str, ...]) -> None:
    async def set_up(pilot: Pilot[int]) -> None:
        app = pilot.app
        assert isinstance(app, ReplayApp)
        app.action_breakpoint("leaf == MapGPA and retry")
        app.action_watch("gpa in 0x74000000..0x741fffff")
        app.action_watch("r11 == 0x10001")
        app.stops.switch(3)
        app.action_mark("a", "where it is told RETRY")
        app.stop_hunting()
        await pilot.pause(0.2)
        await pilot.press("escape", *keys)

    assert snap_compare(app_on(RETRY, at=9), run_before=set_up, terminal_size=SIZE)


@pytest.mark.parametrize("hides", [True, False], ids=["hidden", "dim"])
@pytest.mark.parametrize("ascii_only", [False, True], ids=["glyphs", "ascii"])
def test_queue_with(snap_compare: Compare, hides: bool, ascii_only: bool) -> None:
    async def set_up(pilot: Pilot[int]) -> None:
        app = pilot.app
        assert isinstance(app, ReplayApp)
        app.restore({
            "filter": "leaf == MapGPA or error",
            "hides": hides,
            "breakpoints": [{"kind": "exit", "text": "retry"}],
            "bookmarks": {"a": [10, ""], "b": [14, ""]},
            "columns": COLUMNS,
        })  # fmt: skip
        await pilot.pause(0.2)
        await pilot.press("z")

    app = app_on(RETRY, at=10, ascii_only=ascii_only)
    assert snap_compare(app, run_before=set_up, terminal_size=SIZE)
