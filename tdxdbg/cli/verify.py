"""tdxdbg verify."""

from __future__ import annotations

from pathlib import Path

import click

#: How many failing vectors are named.
NAMED = 10


@click.command(epilog="Example: tdxdbg verify tests/vectors/*.jsonl.gz")
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
def command(files: tuple[Path, ...]) -> int:
    """Run the engine on test vectors (JSON Lines, also gzip)."""
    from tdxdbg.cli.group import DOES_NOT_HOLD
    from tdxdbg.cli.progress import progress
    from tdxdbg.decode.text import safe
    from tdxdbg.verify import read_vectors, verify

    passed = 0
    failed = 0
    try:
        for path in progress(files, "verifying"):
            tally = verify(read_vectors(path))
            passed += tally.passed
            for failure in tally.failures[: max(0, NAMED - failed)]:
                click.echo(safe(f"{path.name}: {failure.vector}: {failure.what}"))
            failed += len(tally.failures)
    except KeyboardInterrupt:
        click.echo(f"so far, of whole files: {passed} passed, {failed} failed")
        raise
    if failed > NAMED:
        click.echo(f"... and {failed - NAMED} more")
    click.echo(f"{passed} passed, {failed} failed")
    return DOES_NOT_HOLD if failed else 0
