"""tdxdbg print."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from tdxdbg.cli.options import (
    compiled_filter,
    exits_options,
    generation,
    open_trace,
    trace_argument,
)

if TYPE_CHECKING:
    from tdxdbg.decode.summary import RowSummary
    from tdxdbg.timeline import Timeline


@click.command(
    "print", epilog="Example: tdxdbg print td.tdxt --filter 'retry || error' --format mail"
)
@trace_argument
@exits_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "mail"]),
    default="text",
    show_default=True,
    help="mail is 72 columns wide, for a reply on a mailing list; json is one object a line.",
)
def command(
    trace: str,
    filter_text: str | None,
    first: int,
    count: int | None,
    kernel: str | None,
    pids: tuple[int, ...],
    form: str,
) -> None:
    """Print the decoded exits of a recording."""
    from tdxdbg import report
    from tdxdbg.timeline import Timeline

    wanted = compiled_filter(filter_text)
    with open_trace(trace, pids) as recording:
        timeline = Timeline(recording, generation(kernel))
        printed = 0
        for summary in _summaries(timeline, first):
            if count is not None and printed >= count:
                break
            if wanted is not None and not wanted.matches(summary):
                continue
            printed += 1
            moments = report.row_moments(timeline, summary.index)
            if form == "json":
                click.echo(json.dumps(report.json_object(summary, moments)))
            elif form == "mail":
                click.echo("\n".join(report.mail_lines(summary, moments)))
            else:
                click.echo("\n".join(report.text_lines(summary, moments)))


def _summaries(timeline: Timeline, first: int) -> Iterator[RowSummary]:
    return (timeline.summary(row) for row in range(first, len(timeline)))
