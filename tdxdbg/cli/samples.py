"""tdxdbg samples."""

from __future__ import annotations

import click


@click.command(epilog="Example: tdxdbg samples")
def command() -> None:
    """List the sample traces that are shipped."""
    from tdxdbg.decode.text import safe
    from tdxdbg.resources import samples_dir
    from tdxdbg.traces import open_trace

    folder = samples_dir()
    paths = sorted(folder.glob("*.tdxt"))
    width = max((len(path.stem) for path in paths), default=0)
    for path in paths:
        with open_trace(path) as trace:
            meta = trace.meta
            generation = meta.generation or "-"
            click.echo(safe(f"{path.stem:<{width}}  {generation:<9} {meta.title}"))
    click.echo(f"open one with: tdxdbg replay {folder}/NAME.tdxt", err=True)
