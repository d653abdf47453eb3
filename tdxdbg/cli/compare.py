"""tdxdbg compare."""

from __future__ import annotations

import json
from typing import Any, Final

import click

from tdxdbg.cli.options import GENERATION_NAMES, open_trace, trace_argument

#: What the marks in the text forms mean.
LEGEND: Final = (
    "* not as in the first; assumed: a VMM policy answered, because nobody recorded an answer;"
    " diverged: the guest had got another reply before, so it would have gone on differently"
)


class Generations(click.ParamType[tuple[str, ...]]):
    """A list of generation names, separated by commas."""

    name = "GEN,GEN,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        names = tuple(dict.fromkeys(name.strip() for name in str(value).split(",")))
        for name in names:
            if name not in GENERATION_NAMES:
                known = ", ".join(GENERATION_NAMES)
                self.fail(f"{name!r} is no kernel generation; known are {known}", param, ctx)
        return names


@click.command(epilog="Example: tdxdbg compare td.tdxt --kernels 6.16,7.2 --format mail")
@trace_argument
@click.option("--kernels", type=Generations(), required=True, help="The generations to compare.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "mail"]), default="text",
    show_default=True,
)  # fmt: skip
def command(trace: str, kernels: tuple[str, ...], form: str) -> None:
    """Show the same guest inputs under several kernel generations, side by side."""
    from tdxdbg.analysis import compare_text
    from tdxdbg.analysis.compare import compare
    from tdxdbg.engine import BY_NAME

    with open_trace(trace) as recording:
        for row in compare(recording, [BY_NAME[name] for name in kernels]):
            if form == "json":
                click.echo(json.dumps(compare_text.json_object(row)))
                continue
            lines = compare_text.mail_lines(row) if form == "mail" else compare_text.text_lines(row)
            click.echo("\n".join(lines))
        if form != "json":
            click.echo(LEGEND, err=True)
