"""tdxdbg export."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

import click

from tdxdbg.cli.options import (
    compiled_filter,
    exits_options,
    generation,
    open_trace,
    output_option,
    trace_argument,
)

if TYPE_CHECKING:
    from tdxdbg.export import Done, Format, Job, Output

#: Written out, so that --help loads nothing (a test compares).
FORMAT_NAMES: Final = ("tdxt", "tdxt.zst", "jsonl", "csv", "parquet", "perfetto")


def _print_columns(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from tdxdbg.export.columns import COLUMNS

    for column in COLUMNS:
        click.echo(f"{column.name:<12} {column.type.value}: {column.doc}")
    ctx.exit()


@click.command(
    epilog="Example: tdxdbg export td.tdxt -o report.tdxt --filter 'retry || error' --redact text"
)
@trace_argument
@output_option("The file to write; - is standard output.")
@click.option(
    "--to",
    "form",
    type=click.Choice(FORMAT_NAMES),
    help="The form; default: what the file's name ends with.",
)
@exits_options
@click.option(
    "--redact",
    type=click.Choice(["registers", "text"]),
    help="Take out register values and all that follows from them (GPAs, ports), or only what"
    " guest and devices write as data (messages, port and MMIO bytes).",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option(
    "--columns",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_columns,
    help="Say what the columns of csv and parquet are, and stop.",
)
def command(
    trace: str,
    output: str,
    form: str | None,
    filter_text: str | None,
    first: int,
    count: int | None,
    kernel: str | None,
    pids: tuple[int, ...],
    redact: str | None,
    force: bool,
) -> None:
    """Write a recording, or a part of it, in another form."""
    from tdxdbg.cli.progress import progress_bar
    from tdxdbg.export import LEVELS, Job, Selection
    from tdxdbg.timeline import Timeline

    chosen = _format(form, output)
    wanted = compiled_filter(filter_text)
    with open_trace(trace, pids) as recording:
        timeline = Timeline(recording, generation(kernel))
        if timeline.what_if and not chosen.can_compute:
            raise click.UsageError(
                f"--kernel {kernel}: {chosen.name} keeps what {timeline.own_generation.name} did;"
                " csv, parquet and perfetto can have another kernel"
            )
        selection = Selection(first, count, wanted)
        level = None if redact is None else LEVELS[redact]
        with progress_bar("exporting") as report:
            furthest = 0

            def progress(row: int, _: int) -> None:
                # What selects the exits looks ahead.
                nonlocal furthest
                furthest = max(furthest, row)
                if report is not None:
                    report(furthest, len(recording))

            done = _write(chosen, Job(timeline, selection, level, progress), output, force=force)
    for line in done.said:
        click.echo(f"tdxdbg: {line}", err=True)


def _format(name: str | None, output: str) -> Format:
    from tdxdbg.export import FORMATS, format_of

    if name is not None:
        return FORMATS[name]
    found = format_of(output)
    if found is None:
        raise click.UsageError(
            f"{output}: its name does not say which form; give --to {'|'.join(FORMAT_NAMES)}"
        )
    return found


def _write(form: Format, job: Job, output: str, *, force: bool) -> Done:
    try:
        with _output(form, output, force=force) as out:
            return form.write(job, out)
    except FileExistsError:
        raise click.UsageError(f"{output}: already exists; give another name, or --force") from None


def _output(form: Format, output: str, *, force: bool) -> AbstractContextManager[Output]:
    from tdxdbg.errors import BackendError
    from tdxdbg.export import to_file, to_stream

    if output != "-":
        return to_file(output, force=force)
    if sys.stdout is None:
        raise BackendError("standard output: is closed; give a file, or send it on")
    if not form.is_text and sys.stdout.isatty():
        raise click.UsageError(f"{form.name} is not for a terminal; give a file, or send it on")
    return to_stream(sys.stdout.buffer, "standard output")
