"""Live apps for the tests, over a fake session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual import events
from textual.pilot import Pilot

from tdxdbg.ui.live.app import LiveApp
from tdxdbg.ui.themes import choose, load_themes
from tests.ui.fake import FakeProgram, FakeSession
from tests.ui.screens import screen_text


def live_app(
    folder: Path,
    kind: type[LiveApp] = LiveApp,
    *,
    ascii_only: bool = False,
    program: FakeProgram | None = None,
    **options: Any,
) -> LiveApp:
    """The app on the scripted guest, which records into `folder`."""
    made = [0]

    def start() -> FakeSession:
        made[0] += 1
        return FakeSession(folder / f"run{made[0]}.tdxt", **options)

    return kind(
        start(),
        choose(load_themes(), None),
        program=program or FakeProgram(),
        start=start,
        ascii_only=ascii_only,
        title="mapgpa_retry",
    )


def session_of(app: LiveApp) -> FakeSession:
    """The present world's session."""
    session = app.world.wire.session
    assert isinstance(session, FakeSession)
    return session


async def until(pilot: Pilot[int], wanted: Callable[[], object], what: str = "") -> None:
    """Let the app work until this holds."""
    for _ in range(200):
        if wanted():
            return
        await pilot.pause(0.02)
    text = "\n".join(screen_text(pilot.app))  # type: ignore[arg-type]
    raise AssertionError(f"never came true: {what}; the screen:\n{text}")


async def fill(pilot: Pilot[int], text: str, *, enter: bool = True) -> None:
    """Text into a prompt, as a paste, and Enter."""
    assert pilot.app.focused is not None
    pilot.app.focused.post_message(events.Paste(text))
    await press(pilot, *(["enter"] if enter else []))
    await pilot.pause(0.02)


async def press(pilot: Pilot[int], *keys: str) -> None:
    """Keys, each after the session has answered what the one before asked."""
    for key in keys:
        await pilot.press(key)
        await pilot.pause(0.03)
