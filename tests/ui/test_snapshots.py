"""Pictures of every pane and of whole screens; `--snapshot-update` makes them anew."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tdxdbg.resources import samples_dir
from tests.ui.screens import app_on

RETRY = samples_dir() / "mapgpa_64mib_interrupted.tdxt"
Compare = Callable[..., bool]


@pytest.mark.parametrize("pane", ["1", "2", "3", "4", "5"])
def test_pane(snap_compare: Compare, pane: str) -> None:
    """One pane alone, in the middle of the first MapGPA."""
    app = app_on(RETRY, at=9)
    assert snap_compare(app, press=["s", pane, "escape", "z"], terminal_size=(80, 24))


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_screen(snap_compare: Compare, size: tuple[int, int]) -> None:
    """The TD entry that says RETRY."""
    app = app_on(RETRY, at=10)
    assert snap_compare(app, press=["S"], terminal_size=size)


@pytest.mark.parametrize("theme", ["tdx-light", "tdx-colorblind"])
def test_theme(snap_compare: Compare, theme: str) -> None:
    app = app_on(RETRY, at=10, theme=theme)
    assert snap_compare(app, press=["S"], terminal_size=(80, 24))


def test_ascii(snap_compare: Compare) -> None:
    app = app_on(RETRY, at=10, ascii_only=True, wanted="retry")
    assert snap_compare(app, press=["S"], terminal_size=(80, 24))


@pytest.mark.parametrize("key", ["question_mark", "K", "a"])
def test_dialog(snap_compare: Compare, key: str) -> None:
    app = app_on(RETRY, at=9)
    assert snap_compare(app, press=[key], terminal_size=(80, 24))


def test_small(snap_compare: Compare) -> None:
    """Below 60x15 there is one pane."""
    assert snap_compare(app_on(RETRY, at=9), terminal_size=(50, 12))
