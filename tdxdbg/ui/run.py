"""From the command line to the screen."""

from __future__ import annotations

import os
import select
import stat
import sys
from contextlib import suppress
from typing import Final

from tdxdbg.decode.text import safe
from tdxdbg.engine import BY_NAME
from tdxdbg.errors import BackendError
from tdxdbg.filters import compile_filter
from tdxdbg.traces import HEAD_SIZE, open_trace
from tdxdbg.traces.background import Background, Job
from tdxdbg.traces.layout import MAGIC
from tdxdbg.traces.reader import EVERYBODY, Pids
from tdxdbg.ui.app import ReplayApp
from tdxdbg.ui.palette import Palette
from tdxdbg.ui.remembered import memory_of_trace
from tdxdbg.ui.settings import Settings, load_settings
from tdxdbg.ui.themes import ThemeError, Themes, all_themes, for_terminal, notice

#: Recordings of other tools up to this size, in bytes, are imported before they are shown.
_SHORT: Final = 1 << 20
#: Seconds until the screen opens on an import that has found no exit yet.
_FIRST: Final = 2.0


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
    background = in_background(path, pids, follow=follow)
    with background.open(_FIRST) if background is not None else open_trace(path, pid=pids) as trace:
        if path == "-":
            _keys_from_terminal()
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
            title="" if path == "-" else os.path.basename(path),
            notice=said,
        )
        app.use_settings(settings, problems)
        given = {"kernel": kernel, "cursor": at, "filter": filter_text}
        app.remember(
            memory_of_trace(trace, path), {name for name in given if given[name] is not None}
        )
        if background is not None:
            app.come_from(background)
        if follow:
            app.follow_from_start()
        app.run()
        return status_of(app)


def in_background(path: str, pids: Pids = EVERYBODY, *, follow: bool) -> Background | None:
    """An import that goes on while its first exits are looked at.

    None where it is not worth it, or where nothing is to be imported; what
    cannot be opened is for `open_trace` to tell.
    """
    try:
        if path == "-":
            return Background(Job(path, "standard input", tuple(pids), stream=True))
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                # A pipe, by name: nothing of it is taken here.
                return Background(Job("-", path, tuple(pids), stream=True), file)
            size = status.st_size
            waits = not size and _would_wait(file.fileno())
            head = b"" if waits else file.read(HEAD_SIZE)
    except (OSError, ValueError):
        return None
    if not waits and (not head or head.startswith(MAGIC) or (size < _SHORT and not follow)):
        return None
    return Background(Job(path, path, tuple(pids), stream=follow or waits))


def _would_wait(fd: int) -> bool:
    """Whether reading a file of no size waits for something to come, as with trace_pipe."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return not poll.poll(0)


def _keys_from_terminal() -> None:
    """The recording came by standard input: keys come from the terminal, if there is one."""
    with suppress(OSError):
        terminal = os.open("/dev/tty", os.O_RDWR)
        os.dup2(terminal, 0)
        os.close(terminal)


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


def status_of(app: ReplayApp) -> int:
    """The exit status of a screen that was left; raises the error that ended it.

    One line is said, now that the terminal is restored, if what was to be
    remembered could not be.
    """
    if app.crash is not None:
        raise app.crash
    if app.unremembered:
        sys.stderr.write(f"tdxdbg: {safe(app.unremembered)}\n")
    return app.return_code or 0
