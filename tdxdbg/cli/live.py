"""tdxdbg live."""

from __future__ import annotations

import click

from tdxdbg.cli.options import guest_options, lasting_imports


@click.command(epilog="Example: tdxdbg live mapgpa_retry --kernel 7.2 --policy eagain:2")
@click.argument("guest", required=False)
@guest_options
@click.option("--record", metavar="FILE", help="Write the recording to a new file.")
@click.option("--theme", metavar="NAME", help="A theme of the themes folder.")
@click.option("--ascii", "ascii_only", is_flag=True, help="Draw with ASCII characters only.")
def command(
    guest: str | None,
    vcpu: str,
    kernel: str | None,
    gpaw: str,
    vcpus: int | None,
    memory: int,
    policies: tuple[str, ...],
    record: str | None,
    theme: str | None,
    ascii_only: bool,
) -> int:
    """Run a guest in the debugger, on an emulated vCPU.

    GUEST is a sample guest's name, an ELF or a flat file; without it you choose
    among the samples. It stands before its first instruction.
    """
    from tdxdbg.errors import SessionError

    with lasting_imports():
        from tdxdbg.session import LiveConfig
        from tdxdbg.ui.live.run import run_live
        from tdxdbg.ui.themes import ThemeError

    try:
        config = LiveConfig(
            guest=guest or "",
            kernel=kernel or "",
            gpaw=int(gpaw),
            vcpus=vcpus or 0,
            memory=memory,
            policies=policies,
            record=record or "",
        )
        return run_live(config, theme=theme, ascii_only=ascii_only)
    except ThemeError as error:
        raise click.UsageError(f"--theme: {error}") from error
    except SessionError as error:
        raise click.UsageError(str(error)) from error
