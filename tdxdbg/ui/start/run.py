"""From the start page to what was chosen, and back to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from tdxdbg.errors import TdxdbgError
from tdxdbg.guests import guests
from tdxdbg.ui.palette import Palette
from tdxdbg.ui.remembered import recent_traces
from tdxdbg.ui.run import choose_palette
from tdxdbg.ui.settings import load_settings
from tdxdbg.ui.start.app import StartApp
from tdxdbg.ui.start.entries import Entry, guest_entries, recent_entries, sample_entries
from tdxdbg.ui.themes import all_themes, notice

#: Exit statuses from here on say that a person, or a signal, wants the program to end.
_INTERRUPTED: Final = 128


def entries() -> list[Entry]:
    """Everything that the start page offers."""
    return [
        *recent_entries(recent_traces(8), time.time()),
        *sample_entries(),
        *guest_entries(guests()),
    ]


def run_start() -> int:
    """The start page until the user leaves it; returns the exit status.

    What is chosen is opened; when that is left, the page is there again, and
    says in one line if it could not be opened.
    """
    themes = all_themes()
    settings, problems = load_settings()
    palette, problems = choose_palette(themes, None, settings, problems)
    said = notice(themes) or (problems[0] if problems else "")
    chosen: Entry | None = None
    while True:
        offered = entries()
        app = StartApp(offered, palette, settings.ascii, at=_place(offered, chosen), said=said)
        chosen = app.run()
        if app.crash is not None:
            raise app.crash
        if chosen is None:
            return app.return_code or 0
        status, said = _opened(_live if chosen.live else _replay, chosen)
        if status >= _INTERRUPTED:
            return status


def _place(offered: list[Entry], chosen: Entry | None) -> int:
    """Where that is now: what was opened is the latest of the recent ones, if it is remembered."""
    places = [at for at, entry in enumerate(offered) if _same(entry, chosen)]
    return places[0] if places else 0


def _same(entry: Entry, chosen: Entry | None) -> bool:
    return chosen is not None and (entry.group, entry.target) == (chosen.group, chosen.target)


def _opened(run: Callable[[Entry], int], chosen: Entry) -> tuple[int, str]:
    try:
        return run(chosen), ""
    except (TdxdbgError, OSError) as error:
        return 0, str(error)


def _replay(chosen: Entry) -> int:
    from tdxdbg.ui.run import run_replay

    return run_replay(chosen.target)


def _live(chosen: Entry) -> int:
    from tdxdbg.session import LiveConfig
    from tdxdbg.ui.live.run import run_live

    return run_live(LiveConfig(chosen.target))


def choose_guest(palette: Palette, ascii_only: bool) -> tuple[str | None, int]:
    """The guest that the user chooses, None for none; and the exit status."""
    app = StartApp(guest_entries(guests()), palette, ascii_only)
    chosen = app.run()
    if app.crash is not None:
        raise app.crash
    return (chosen.target if chosen is not None else None), app.return_code or 0
