"""Pictures of the GPA map; `--snapshot-update` makes them anew."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.pilot import Pilot

from tdxdbg.engine import GpaMap, Td
from tdxdbg.resources import samples_dir
from tdxdbg.ui.app import ReplayApp
from tests.ui.screens import app_on

RETRY = samples_dir() / "mapgpa_64mib_interrupted.tdxt"
Compare = Callable[..., bool]

SMALL, LARGE = (80, 24), (120, 40)
PAGE = 4096


async def busy(pilot: Pilot[int]) -> None:
    """A map with everything in it, and the cursor in the middle of it."""
    app = pilot.app
    assert isinstance(app, ReplayApp)
    gpa_map = GpaMap()
    for number in range(24):
        size = (number * 7 % 11 + 1) << (17 if number % 2 else 23)
        gpa_map = gpa_map.convert(0x7000_0000 + (number << 25), size, private=False)
    await pilot.press("s", "5", "escape", "z")
    await pilot.pause()
    pane = app.gpa_map
    assert pane.moment is not None
    td = Td(gpaw=52, memslots=((0, 0x80000), (0x88000, 0x9C000)))
    pane.show(pane.moment._replace(gpa_map=gpa_map, td=td))
    pane.zoom(-1)
    pane.go_to(0x7900_0000)
    await pilot.pause()


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("theme", ["tdx-dark", "tdx-light"])
def test_gpa_map(snap_compare: Compare, theme: str, size: tuple[int, int]) -> None:
    app = app_on(RETRY, at=9, theme=theme)
    assert snap_compare(app, run_before=busy, terminal_size=size)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_gpa_map_in_ascii(snap_compare: Compare, size: tuple[int, int]) -> None:
    app = app_on(RETRY, at=9, ascii_only=True)
    assert snap_compare(app, run_before=busy, terminal_size=size)


@pytest.mark.parametrize(
    "keys", [("home",), ("plus", "plus"), ("enter",)], ids=["whole", "closer", "list"]
)
def test_gpa_map_in_a_corner(snap_compare: Compare, keys: tuple[str, ...]) -> None:
    """One of three panes, after the retry."""
    app = app_on(RETRY, at=10)
    assert snap_compare(app, press=["S", "5", "escape", *keys], terminal_size=SMALL)
