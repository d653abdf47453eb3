"""tdxdbg import."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from tdxdbg.cli.options import FORMAT_NAMES, open_trace, output_option, pid_option

if TYPE_CHECKING:
    from tdxdbg.traces import Trace

#: Of what is unread, so much is shown.
_SHOWN: Final = 5


@click.command("import", epilog="Example: tdxdbg import trace.txt -o td.tdxt")
@click.argument("recording", metavar="INPUT", type=click.Path(allow_dash=True))
@output_option("A new .tdxt file; - is standard output.")
@click.option(
    "--format",
    "form",
    metavar="NAME",
    type=click.Choice(FORMAT_NAMES),
    help=f"What INPUT is: {', '.join(FORMAT_NAMES)}. Default: its content tells.",
)
@pid_option
def command(recording: str, output: str, form: str | None, pids: tuple[int, ...]) -> None:
    """Convert a recording of another tool, and say what was in it.

    INPUT is a recording of any known format, - for standard input. FILE is
    complete or not there at all: an interrupt leaves nothing behind.
    """
    from tdxdbg.cli.progress import progress_bar
    from tdxdbg.traces.output import to_stream
    from tdxdbg.traces.save import refuse_existing, save, write

    if output != "-":
        refuse_existing(output)
    with progress_bar("reading") as report:
        trace = open_trace(recording, pids, progress=report, form=form or "")
    with trace:
        if output == "-":
            with to_stream(sys.stdout.buffer, "standard output") as out:
                write(trace, out)
        else:
            with progress_bar("writing") as report:
                save(trace, output, report)
        _say(recording, trace)


def _say(recording: str, trace: Trace) -> None:
    """What was read, used and left, each a line."""
    from tdxdbg.decode.text import safe
    from tdxdbg.traces.unread import unread_texts

    lines = [_counts(trace)]
    lines += unread_texts(trace)[:_SHOWN]
    lines += trace.remarks
    for text in lines:
        click.echo(f"tdxdbg: {safe(recording)}: {safe(text)}", err=True)


def _counts(trace: Trace) -> str:
    exits = f"{len(trace)} exits"
    imported = trace.imported
    if imported is None:
        return exits
    return (
        f"{imported.source}: {imported.lines} {imported.unit} read, {imported.used} used, "
        f"{imported.unread} could not be read: {exits}"
    )
