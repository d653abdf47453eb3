"""tdxdbg guests."""

from __future__ import annotations

import click


@click.command(epilog="Example: tdxdbg guests")
def command() -> None:
    """List the guests that are shipped: small TDs to run."""
    from tdxdbg.decode.text import safe
    from tdxdbg.guests import FOLDER, guests

    found = guests()
    width = max((len(guest.name) for guest in found), default=0)
    for guest in found:
        vcpus = "1 vCPU " if guest.vcpus == 1 else f"{guest.vcpus} vCPUs"
        click.echo(safe(f"{guest.name:<{width}}  {vcpus}  {guest.story}"))
    click.echo("run one with: tdxdbg live NAME", err=True)
    click.echo(f"sources, and how to write one: {FOLDER}/README.md", err=True)
