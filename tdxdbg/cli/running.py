"""A live run without the screen: to its end, or to an interrupt."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from tdxdbg.session import Session, State

#: Seconds between two looks at a session that says nothing.
_PATIENCE: Final = 1.0

#: Told of each progress of the run, and of its end.
Watch = Callable[["Session"], object]


def run(session: Session, watch: Watch | None = None, **wanted: Any) -> tuple[State, bool]:
    """Go on as `Session.cont(**wanted)`; the state at the end, and whether it was interrupted.

    Without a `watch`, counts are shown on a terminal. Raises SessionError and BackendError.
    """
    watch = watch or _progress
    request = session.send("cont", **wanted)
    interrupted = False
    try:
        state = _to_end(session, request, watch)
    except KeyboardInterrupt:
        interrupted = True
        session.send("interrupt")
        state = _to_end(session, request, watch)
    finally:
        if watch is _progress:
            _end_line()
    return state, interrupted


def _to_end(session: Session, request: int, watch: Watch) -> State:
    import select

    from tdxdbg.errors import BackendError, SessionError

    while True:
        select.select([session], [], [], _PATIENCE)
        for event in session.poll():
            if event.kind == "died":
                raise BackendError(event.value)
            if event.request != request:
                continue
            if event.kind == "failed":
                raise SessionError(event.value)
            watch(session)
            if event.kind == "done":
                return session.state


def _progress(session: Session) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{_counts(session.state)}\x1b[K", nl=False, err=True)


def _end_line() -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)


def _counts(state: State) -> str:
    return f"{state.row + 1} exits, {state.instructions} instructions"


def say(state: State) -> None:
    """What happened, in one line."""
    from tdxdbg.decode.text import safe

    click.echo(f"tdxdbg: {_counts(state)}: {safe(state.detail or state.why)}", err=True)
