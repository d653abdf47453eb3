"""From the command line to the screen."""

from __future__ import annotations

import os
import sys

from tdxdbg.engine import BY_NAME
from tdxdbg.errors import BackendError
from tdxdbg.filters import compile_filter
from tdxdbg.traces import open_trace
from tdxdbg.ui.app import ReplayApp
from tdxdbg.ui.themes import all_themes, for_terminal, notice


def run_replay(
    path: str,
    *,
    kernel: str | None = None,
    at: int | None = None,
    filter_text: str | None = None,
    theme: str | None = None,
    ascii_only: bool = False,
) -> int:
    """Open a recording on the screen until the user quits; returns the exit status.

    `kernel` is a generation's name, `at` a row. Raises TraceError, FilterError,
    ThemeError, KeyError for an unknown kernel, and BackendError without a
    terminal; an error inside the screen is raised when the terminal is restored.
    """
    generation = BY_NAME[kernel] if kernel is not None else None
    wanted = compile_filter(filter_text) if filter_text else None
    themes = all_themes()
    palette = for_terminal(themes, theme, os.environ)
    said = notice(themes)
    with open_trace(path) as trace:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise BackendError("replay needs a terminal; to a file or pipe use: tdxdbg print")
        if at is not None and at >= len(trace):
            said = f"there is no exit {at}: the recording has {len(trace)}"
        app = ReplayApp(
            trace,
            palette,
            generation=generation,
            at=at or 0,
            wanted=wanted,
            ascii_only=ascii_only,
            title=os.path.basename(path),
            notice=said,
        )
        app.run()
        if app.crash is not None:
            raise app.crash
        return app.return_code or 0
