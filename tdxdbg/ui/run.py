"""From the command line to the screen."""

from __future__ import annotations

import os
import sys

from tdxdbg.decode.text import safe
from tdxdbg.engine import BY_NAME
from tdxdbg.errors import BackendError
from tdxdbg.filters import compile_filter
from tdxdbg.traces import open_trace
from tdxdbg.ui.app import ReplayApp
from tdxdbg.ui.palette import Palette
from tdxdbg.ui.remembered import memory_of_trace
from tdxdbg.ui.settings import Settings, load_settings
from tdxdbg.ui.themes import ThemeError, Themes, all_themes, for_terminal, notice


def run_replay(
    path: str,
    *,
    kernel: str | None = None,
    at: int | None = None,
    filter_text: str | None = None,
    theme: str | None = None,
    ascii_only: bool = False,
    follow: bool = False,
    pids: tuple[int, ...] = (),
) -> int:
    """Open a recording on the screen until the user quits; returns the exit status.

    `kernel` is a generation's name, `at` a row; `follow`: it is still being
    written; `pids`: only of these processes or threads. Raises TraceError, FilterError,
    ThemeError, KeyError for an unknown kernel, and BackendError without a
    terminal; an error inside the screen is raised when the terminal is restored.
    """
    generation = BY_NAME[kernel] if kernel is not None else None
    wanted = compile_filter(filter_text) if filter_text else None
    themes = all_themes()
    settings, problems = load_settings()
    palette, problems = choose_palette(themes, theme, settings, problems)
    said = notice(themes)
    with open_trace(path, pid=pids) as trace:
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
            ascii_only=ascii_only or settings.ascii,
            title=os.path.basename(path),
            notice=said,
        )
        app.use_settings(settings, problems)
        given = {"kernel": kernel, "cursor": at, "filter": filter_text}
        app.remember(
            memory_of_trace(trace, path), {name for name in given if given[name] is not None}
        )
        if follow:
            app.follow_from_start()
        app.run()
        if app.crash is not None:
            raise app.crash
        say_afterwards(app.unremembered)
        return app.return_code or 0


def choose_palette(
    themes: Themes, wanted: str | None, settings: Settings, problems: tuple[str, ...]
) -> tuple[Palette, tuple[str, ...]]:
    """The theme of the command line, else of the settings; and what is wrong with those.

    Raises ThemeError for the command line's.
    """
    try:
        return for_terminal(themes, wanted or settings.theme or None, os.environ), problems
    except ThemeError as error:
        if wanted:
            raise
        return for_terminal(themes, None, os.environ), (*problems, f"settings.toml: {error}")


def say_afterwards(text: str) -> None:
    """One line when the terminal is restored, where there is something to say."""
    if text:
        sys.stderr.write(f"tdxdbg: {safe(text)}\n")
