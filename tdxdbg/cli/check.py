"""tdxdbg check."""

from __future__ import annotations

import click

from tdxdbg.cli.options import generation, kernel_option, open_trace, pid_option, trace_argument


@click.command(epilog="Example: tdxdbg check td.tdxt --kernel 7.2")
@trace_argument
@kernel_option
@pid_option
def command(trace: str, kernel: str | None, pids: tuple[int, ...]) -> int:
    """Show where the recorded kernel and the engine differ.

    Each difference is one line: row, step, record, the field and both values.
    The exit status is 1 when there is one.
    """
    from tdxdbg.analysis.shadow import check, difference_text, summary_text
    from tdxdbg.cli.group import DOES_NOT_HOLD
    from tdxdbg.cli.progress import progress_bar

    with open_trace(trace, pids) as recording, progress_bar("checking") as report:
        run = check(recording, generation(kernel), report)
        try:
            for difference in run:
                click.echo(difference_text(difference))
        except KeyboardInterrupt:
            click.echo(f"so far: {summary_text(run)}")
            raise
        click.echo(summary_text(run))
        return DOES_NOT_HOLD if run.differing else 0
