"""Pictures of every pane and of whole screens; `--snapshot-update` makes them anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tdxdbg.resources import samples_dir
from tdxdbg.ui.app import ReplayApp
from tdxdbg.ui.layout import CODE
from tdxdbg.ui.live.app import LinuxApp, LiveApp
from tdxdbg.ui.panes.code import CodePane
from tests.ui.fake import BASE
from tests.ui.live import fill, live_app, press, session_of, until
from tests.ui.screens import app_on

RETRY = samples_dir() / "mapgpa_64mib_interrupted.tdxt"
Compare = Callable[..., bool]


LOOKS = ["dark", "light", "ascii"]


def looking(look: str, at: int) -> ReplayApp:
    """The sample in one of the looks."""
    if look == "ascii":
        return app_on(RETRY, at=at, ascii_only=True)
    return app_on(RETRY, at=at, theme=f"tdx-{look}")


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("pane", ["1", "2", "3", "4", "5", "6", "7", "8", "9"])
def test_pane(snap_compare: Compare, pane: str, look: str) -> None:
    """One pane alone, in the middle of the first MapGPA."""
    app = looking(look, 9)
    assert snap_compare(app, press=["s", pane, "escape", "z"], terminal_size=(80, 24))


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)], ids=["80", "120", "200"])
def test_screen(snap_compare: Compare, size: tuple[int, int], look: str) -> None:
    """The TD entry that says RETRY."""
    assert snap_compare(looking(look, 10), press=["S"], terminal_size=size)


@pytest.mark.parametrize("theme", ["tdx-high-contrast", "tdx-16", "tdx-colorblind"])
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


# --- a live run ---------------------------------------------------------------------------


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveApp]:
    monkeypatch.setenv("TDXDBG_FAKE", str(tmp_path))
    app = live_app(tmp_path)
    yield app
    app.close()


def stop_at_second_chunk(app: LiveApp) -> None:
    """Before the screen opens: the second chunk of the MapGPA is held."""
    session = session_of(app)
    while not (
        session.state.where == "held" and (session.state.row, session.state.step) == (13, 1)
    ):
        session._advance()
    session.breakpoints.add_exit("leaf == MapGPA")
    session.breakpoints.add_code(BASE + 0x40, "map_gpa")
    app.world.wire.state = session.state
    app.trace.refresh()


async def at_rest(pilot: Pilot[int]) -> None:
    """The session has answered, and nothing blinks."""
    app = pilot.app
    assert isinstance(app, LiveApp)
    await until(pilot, lambda: app.pane(CODE, CodePane).sight)
    await pilot.pause(0.2)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_live_screen(snap_compare: Compare, live: LiveApp, size: tuple[int, int]) -> None:
    """The second chunk of a MapGPA waits for userspace's answer."""
    stop_at_second_chunk(live)
    assert snap_compare(live, run_before=at_rest, terminal_size=size)


def test_live_edit(snap_compare: Compare, live: LiveApp) -> None:
    stop_at_second_chunk(live)

    async def edit(pilot: Pilot[int]) -> None:
        await at_rest(pilot)
        await press(pilot, "e", *"EAGI")

    assert snap_compare(live, run_before=edit, terminal_size=(120, 40))


def test_live_past(snap_compare: Compare, live: LiveApp) -> None:
    stop_at_second_chunk(live)

    async def back(pilot: Pilot[int]) -> None:
        await at_rest(pilot)
        await press(pilot, "S", "S", "S")
        await until(pilot, lambda: live.past.state)
        await at_rest(pilot)

    assert snap_compare(live, run_before=back, terminal_size=(80, 24))


@pytest.mark.parametrize("pane", ["9", "at", "0"])
def test_live_pane(snap_compare: Compare, live: LiveApp, pane: str) -> None:
    """One of the panes of a live run alone."""
    stop_at_second_chunk(live)

    async def zoom(pilot: Pilot[int]) -> None:
        await at_rest(pilot)
        await press(pilot, "at")
        await fill(pilot, "rip")
        await press(pilot, pane, "escape", "z", "i")
        await at_rest(pilot)

    assert snap_compare(live, run_before=zoom, terminal_size=(100, 24))


@pytest.mark.parametrize("key", ["B", "b", "c", "o", "question_mark"])
def test_live_dialog(snap_compare: Compare, live: LiveApp, key: str) -> None:
    stop_at_second_chunk(live)

    async def dialog(pilot: Pilot[int]) -> None:
        await at_rest(pilot)
        if key == "c":
            await press(pilot, "g")
        await press(pilot, key)
        if key == "b":
            await fill(pilot, "leaf == MapGP", enter=False)
        await pilot.pause(0.2)

    assert snap_compare(live, run_before=dialog, terminal_size=(80, 24))


@pytest.mark.parametrize("look", ["dark", "ascii"])
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)], ids=["80", "120", "200"])
def test_typing(
    snap_compare: Compare,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    look: str,
) -> None:
    """Into a shell of Linux that edits its line."""
    monkeypatch.setenv("TDXDBG_FAKE", str(tmp_path))
    app = live_app(tmp_path, LinuxApp, ascii_only=look == "ascii")
    stop_at_second_chunk(app)

    async def typing(pilot: Pilot[int]) -> None:
        await at_rest(pilot)
        await press(pilot, "A")
        app.world.console.feed(b"\x1b[1;32mok\x1b[0m\r\n~ # ls /tmx\b\x1b[Jp -l\b\b")
        app.serial_pane.update_text()
        await pilot.pause(0.1)

    assert snap_compare(app, run_before=typing, terminal_size=size)
    app.close()
