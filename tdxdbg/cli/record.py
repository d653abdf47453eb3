"""tdxdbg record."""

from __future__ import annotations

import sys

import click

from tdxdbg.cli.options import guest_options, output_option
from tdxdbg.cli.running import run, say


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
            state, interrupted = run(session)
            if output == "-":
                _copy(session.trace_path)
    except SessionDied as error:
        raise BackendError(str(error)) from error
    except SessionError as error:
        raise click.UsageError(str(error)) from error
    if state.why == RECORDING_FAILED:
        raise TraceError(state.detail)
    say(state)
    if interrupted:
        raise KeyboardInterrupt


def _copy(path: str) -> None:
    import shutil

    with open(path, "rb") as recording:
        shutil.copyfileobj(recording, sys.stdout.buffer)
