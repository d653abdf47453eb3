"""tdxdbg linux."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from tdxdbg.cli.group import DOES_NOT_HOLD
from tdxdbg.cli.options import lasting_imports, machine_options
from tdxdbg.cli.running import run, say

if TYPE_CHECKING:
    from tdxdbg.session import LiveConfig, Session

#: What makes a distribution's kernel speak to the serial port from the start.
DEFAULT_COMMAND_LINE: Final = "console=ttyS0 earlyprintk=ttyS0"


@click.command(epilog="Example: tdxdbg linux vmlinuz --initrd initrd.img --headless")
@click.argument("image")
@machine_options(memory=512, least=128, most=2048, vcpus=8, default="1")
@click.option("--initrd", metavar="FILE", default="", help="An initial RAM disk.")
@click.option(
    "--append",
    metavar="TEXT",
    default=DEFAULT_COMMAND_LINE,
    help=f"The command line. Default: {DEFAULT_COMMAND_LINE}.",
)
@click.option(
    "--firmware",
    metavar="FILE",
    default="",
    help="A TDVF image (OVMF for TDX), which then boots the kernel, a bzImage.",
)
@click.option(
    "--keep-variables",
    is_flag=True,
    help="With --firmware: leave in what its variable store holds, such as Secure Boot's keys.",
)
@click.option("--record", metavar="FILE", help="Write the recording to a new file.")
@click.option("--headless", is_flag=True, help="No screen: the serial console on standard output.")
@click.option("--until", metavar="TEXT", help="With --headless: stop when the console says this.")
@click.option("--theme", metavar="NAME", help="A theme of the themes folder.")
@click.option("--ascii", "ascii_only", is_flag=True, help="Draw with ASCII characters only.")
def command(
    image: str, headless: bool, until: str | None, theme: str | None, ascii_only: bool, **td: Any
) -> int:
    """Boot a Linux kernel as a TD, on an emulated vCPU.

    IMAGE is a bzImage, as distributions ship it (vmlinuz), or a vmlinux, with
    TDX guest support. In the debugger it stands before its first instruction;
    --headless prints its serial console and ends with the guest, at --until, or
    at Ctrl-C. Exit status 1: the guest ended, and --until did not come.
    """
    from tdxdbg.errors import SessionError

    if until is not None and not headless:
        raise click.UsageError(
            "--until goes with --headless; in the debugger, type: t console TEXT"
        )
    if headless and td["record"] == "-":
        raise click.UsageError("--record -: standard output is the console's; give a file")
    if td["keep_variables"] and not td["firmware"]:
        raise click.UsageError("--keep-variables goes with --firmware")
    try:
        config = _config(image, **td)
        return _headless(config, until) if headless else _screen(config, theme, ascii_only)
    except SessionError as error:
        raise click.UsageError(str(error)) from error


def _config(
    image: str,
    vcpu: str,
    kernel: str | None,
    gpaw: str,
    vcpus: int | None,
    memory: int,
    policies: tuple[str, ...],
    initrd: str,
    append: str,
    firmware: str,
    keep_variables: bool,
    record: str | None,
) -> LiveConfig:
    from tdxdbg.session import LiveConfig

    return LiveConfig(
        guest=image,
        kernel=kernel or "",
        gpaw=int(gpaw),
        vcpus=vcpus or 0,
        memory=memory,
        policies=policies,
        record=record or "",
        linux=True,
        initrd=initrd,
        append=append,
        firmware=firmware,
        keep_variables=keep_variables,
    )


def _screen(config: LiveConfig, theme: str | None, ascii_only: bool) -> int:
    with lasting_imports():
        from tdxdbg.ui.live.run import run_live
        from tdxdbg.ui.themes import ThemeError

    try:
        return run_live(config, theme=theme, ascii_only=ascii_only)
    except ThemeError as error:
        raise click.UsageError(f"--theme: {error}") from error


def _headless(config: LiveConfig, until: str | None) -> int:
    from tdxdbg.errors import BackendError, TraceError
    from tdxdbg.session import Session, SessionDied
    from tdxdbg.session.state import RECORDING_FAILED

    console = _Console()
    try:
        with Session.start(config) as session:
            wanted = (until or "").encode(errors="surrogateescape")
            state, interrupted = run(session, console.show, serial=wanted)
    except SessionDied as error:
        raise BackendError(str(error)) from error
    finally:
        console.end()
    if state.why == RECORDING_FAILED:
        raise TraceError(state.detail)
    say(state)
    if interrupted:
        raise KeyboardInterrupt
    return DOES_NOT_HOLD if until and state.is_ended else 0


class _Console:
    """The guest's serial output, on standard output: a guest's text is escaped there too."""

    def __init__(self) -> None:
        from tdxdbg.cli.console import ConsoleText

        self._seen = 0
        self._text = ConsoleText()

    def show(self, session: Session) -> None:
        """What is new."""
        while self._seen < session.state.console:
            data, self._seen = session.console_since(self._seen)
            click.echo(self._text.feed(data), nl=False)

    def end(self) -> None:
        """Whatever comes next begins a line."""
        click.echo(self._text.end(), nl=False)
