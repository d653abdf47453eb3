"""tdxdbg generations."""

from __future__ import annotations

import textwrap
from typing import Final

import click

from tdxdbg.cli.options import GENERATION_NAMES

#: Width of wrapped text, in columns.
WIDTH: Final = 100


@click.command(epilog="Example: tdxdbg generations --diff 6.16 7.2")
@click.option(
    "--diff",
    nargs=2,
    metavar="GEN GEN",
    type=click.Choice(GENERATION_NAMES),
    help="Show the rules in which two generations differ.",
)
def command(diff: tuple[str, str] | None) -> None:
    """List the kernel generations, or show how two of them differ."""
    from tdxdbg.engine import BY_NAME, GENERATIONS

    if diff is None:
        for generation in GENERATIONS:
            click.echo(f"{generation.name:<9} {generation.kernels}")
            click.echo(f"{'':<9} {generation.source}")
        return
    from tdxdbg.analysis.generations import differing_rules

    first, second = (BY_NAME[name] for name in diff)
    rules = differing_rules(first, second)
    if not rules:
        click.echo(f"{first.name} and {second.name} handle TD exits alike")
    for rule in rules:
        click.echo(rule.name)
        for name, text in ((first.name, rule.first), (second.name, rule.second)):
            click.echo(
                textwrap.fill(
                    text, WIDTH, initial_indent=f"  {name:<9} ", subsequent_indent=" " * 12
                )
            )
