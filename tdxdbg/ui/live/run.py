"""From the command line to the live screen."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from tdxdbg.errors import BackendError
from tdxdbg.session import LiveConfig, Session
from tdxdbg.session.config import locate
from tdxdbg.ui.live.app import LinuxApp, LiveApp
from tdxdbg.ui.live.image import Image
from tdxdbg.ui.remembered import memory_of_guest
from tdxdbg.ui.run import choose_palette, status_of
from tdxdbg.ui.settings import load_settings
from tdxdbg.ui.start.run import choose_guest
from tdxdbg.ui.themes import all_themes, notice

#: Seconds that the first screen waits for the names in an image.
_PATIENCE: Final = 0.5


def run_live(config: LiveConfig, *, theme: str | None = None, ascii_only: bool = False) -> int:
    """Run a guest on the screen until the user quits; returns the exit status.

    It stands before its first instruction. Without a guest the user chooses
    among the samples. Raises SessionError, BackendError,
    TraceError and ThemeError; an error inside the screen is raised when the
    terminal is restored.
    """
    themes = all_themes()
    settings, problems = load_settings()
    palette, problems = choose_palette(themes, theme, settings, problems)
    ascii_only = ascii_only or settings.ascii
    terminal = sys.stdin.isatty() and sys.stderr.isatty()
    if not terminal:
        instead = "tdxdbg linux --headless" if config.linux else "tdxdbg record"
        raise BackendError(f"live needs a terminal; without one use: {instead}")
    if not config.guest:
        guest, status = choose_guest(palette, ascii_only)
        if guest is None:
            return status
        config = replace(config, guest=guest)
    path = Path(config.guest) if config.linux else locate(config.guest)[0]
    image = Image.read(path)
    with Session.start(config) as session:
        # The names were read meanwhile; those of a large or hostile image come later.
        image.wait(_PATIENCE)
        again = _again(session.config)
        kind = LinuxApp if config.linux else LiveApp
        app = kind(
            session,
            palette,
            program=image,
            start=lambda: Session.start(again),
            ascii_only=ascii_only,
            title=os.path.basename(config.guest),
            notice=notice(themes),
        )
        app.use_settings(settings, problems)
        app.remember(memory_of_guest(path))
        try:
            app.run()
        finally:
            app.close()
        return status_of(app)


def _again(config: LiveConfig) -> LiveConfig:
    """The same run, in a recording of its own."""
    return replace(config, record="")
