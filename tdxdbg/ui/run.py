"""From the command line to the screen."""

from __future__ import annotations

import os
import sys

from tdxdbg.engine import BY_NAME
from tdxdbg.errors import BackendError
from tdxdbg.filters import compile_filter
from tdxdbg.traces import open_trace
from tdxdbg.ui.app import ReplayApp
from tdxdbg.ui.themes import choose, load_themes


def run_replay(
    path: str,
    *,
    kernel: str | None = None,
    at: int | None = None,
    filter_text: str | None = None,
    theme: str | None = None,
    ascii_only: bool = False,
    follow: bool = False,
) -> int:
    """Open a recording on the screen until the user quits; returns the exit status.

    `kernel` is a generation's name, `at` a row; `follow`: it is still being
    written. Raises TraceError, FilterError,
    ThemeError, KeyError for an unknown kernel, and BackendError without a
    terminal; an error inside the screen is raised when the terminal is restored.
    """
    generation = BY_NAME[kernel] if kernel is not None else None
    wanted = compile_filter(filter_text) if filter_text else None
    themes = load_themes()
    palette = choose(themes, theme)
    notice = themes.problems[0] if themes.problems else ""
    with open_trace(path) as trace:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise BackendError("replay needs a terminal; to a file or pipe use: tdxdbg print")
        if at is not None and at >= len(trace):
            notice = f"there is no exit {at}: the recording has {len(trace)}"
        app = ReplayApp(
            trace,
            palette,
            generation=generation,
            at=at or 0,
            wanted=wanted,
            ascii_only=ascii_only,
            title=os.path.basename(path),
            notice=notice,
        )
        if follow:
            app.follow_from_start()
        app.run()
        if app.crash is not None:
            raise app.crash
        return app.return_code or 0
