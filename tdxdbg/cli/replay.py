"""tdxdbg replay."""

from __future__ import annotations

import click

from tdxdbg.cli.options import (
    compiled_filter,
    filter_option,
    kernel_option,
    pid_option,
    trace_argument,
)


@click.command(epilog="Example: tdxdbg replay td.tdxt --kernel 7.2 --filter 'leaf == MapGPA'")
@trace_argument
@kernel_option
@click.option("--at", type=click.IntRange(min=0), metavar="N", help="Start at exit number N.")
@filter_option
@click.option("--follow", is_flag=True, help="Go with the end of a recording that grows.")
@pid_option
@click.option("--theme", metavar="NAME", help="A theme of the themes folder.")
@click.option("--ascii", "ascii_only", is_flag=True, help="Draw with ASCII characters only.")
def command(
    trace: str,
    kernel: str | None,
    at: int | None,
    filter_text: str | None,
    follow: bool,
    pids: tuple[int, ...],
    theme: str | None,
    ascii_only: bool,
) -> int:
    """Open the debugger on a recording of any known format."""
    compiled_filter(filter_text)
    from tdxdbg.ui.run import run_replay
    from tdxdbg.ui.themes import ThemeError

    try:
        return run_replay(
            trace,
            kernel=kernel,
            at=at,
            filter_text=filter_text,
            theme=theme,
            ascii_only=ascii_only,
            follow=follow,
            pids=pids,
        )
    except ThemeError as error:
        raise click.UsageError(f"--theme: {error}") from error
