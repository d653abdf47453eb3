"""tdxdbg samples."""

from __future__ import annotations

import click


@click.command(epilog="Example: tdxdbg samples")
def command() -> None:
    """List the sample traces that are shipped."""
    from tdxdbg.decode.text import safe
    from tdxdbg.resources import sample_name, sample_paths, samples_dir
    from tdxdbg.traces import open_trace

    paths = sample_paths()
    width = max((len(sample_name(path)) for path in paths), default=0)
    for path in paths:
        with open_trace(path) as trace:
            meta = trace.meta
            generation = meta.generation or "-"
            click.echo(safe(f"{sample_name(path):<{width}}  {generation:<9} {meta.title}"))
    archives = ", ".join(sample_name(path) for path in paths if path.suffix == ".zst")
    click.echo(f"open one with: tdxdbg replay {samples_dir()}/NAME.tdxt", err=True)
    click.echo(f"archives, NAME.tdxt.zst: {archives or 'none'}", err=True)
