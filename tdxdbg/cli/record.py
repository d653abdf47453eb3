"""tdxdbg record."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from tdxdbg.cli.options import guest_options, output_option

if TYPE_CHECKING:
    from tdxdbg.session import Session, State

#: Seconds between two looks at a session that says nothing.
_PATIENCE: Final = 1.0


@click.command(epilog="Example: tdxdbg record mapgpa_retry -o td.tdxt --kernel 7.2")
@click.argument("guest")
@output_option("A new file for the recording; - is standard output, at the end.")
@guest_options
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N exits.")
def command(
    guest: str,
    output: str,
    vcpu: str,
    kernel: str | None,
    gpaw: str,
    vcpus: int | None,
    memory: int,
    policies: tuple[str, ...],
    limit: int | None,
) -> None:
    """Run a guest and write the recording, without the screen.

    GUEST is a sample guest's name, an ELF or a flat file. It runs to its end;
    Ctrl-C stops it and keeps what is recorded.
    """
    from tdxdbg.errors import BackendError, SessionError, TraceError
    from tdxdbg.session import Session, SessionDied
    from tdxdbg.session.state import RECORDING_FAILED

    try:
        with Session.open(
            guest,
            kernel=kernel or "",
            gpaw=int(gpaw),
            vcpus=vcpus or 0,
            memory=memory,
            policies=policies,
            record=None if output == "-" else output,
            exits=limit or 0,
        ) as session:
            state, interrupted = _run(session)
            if output == "-":
                _copy(session.trace_path)
    except SessionDied as error:
        raise BackendError(str(error)) from error
    except SessionError as error:
        raise click.UsageError(str(error)) from error
    if state.why == RECORDING_FAILED:
        raise TraceError(state.detail)
    _say(state)
    if interrupted:
        raise KeyboardInterrupt


def _run(session: Session) -> tuple[State, bool]:
    """To the end, or to an interrupt, with progress on a terminal."""
    request = session.send("cont")
    interrupted = False
    try:
        state = _to_end(session, request)
    except KeyboardInterrupt:
        interrupted = True
        session.send("interrupt")
        state = _to_end(session, request)
    finally:
        _end_line()
    return state, interrupted


def _to_end(session: Session, request: int) -> State:
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
            if event.kind == "done":
                return session.state
            _progress(session.state)


def _progress(state: State) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{_counts(state)}\x1b[K", nl=False, err=True)


def _end_line() -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)


def _counts(state: State) -> str:
    return f"{state.row + 1} exits, {state.instructions} instructions"


def _say(state: State) -> None:
    """What happened, in one line."""
    from tdxdbg.decode.text import safe

    why = state.detail if state.is_ended and state.detail else state.why
    click.echo(f"tdxdbg: {_counts(state)}: {safe(why)}", err=True)


def _copy(path: str) -> None:
    import shutil

    with open(path, "rb") as recording:
        shutil.copyfileobj(recording, sys.stdout.buffer)
