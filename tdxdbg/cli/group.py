"""The command group, and how errors become one line and an exit status.

Exit status: 0 done; 1 the thing asked about does not hold; 2 wrong usage;
3 bad input file; 4 a missing machine or permission; 70 a bug in this program;
130 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final

import click

from tdxdbg import __version__
from tdxdbg.errors import BackendError, TraceError

DOES_NOT_HOLD: Final = 1
BAD_INPUT: Final = 3
NO_MACHINE: Final = 4
#: EX_SOFTWARE: none of the others, so that no script takes a bug for an answer.
BUG: Final = 70
INTERRUPTED: Final = 130

_STANDARD_OUTPUT: Final = 1
_PROGRAM: Final = "tdxdbg"
#: Set by the shell while it asks for completions.
_COMPLETE: Final = "_TDXDBG_COMPLETE"

#: Each command and the module that has it, as `command`.
COMMANDS: Final[dict[str, str]] = {
    "replay": "tdxdbg.cli.replay",
    "live": "tdxdbg.cli.live",
    "linux": "tdxdbg.cli.linux",
    "record": "tdxdbg.cli.record",
    "print": "tdxdbg.cli.print_",
    "import": "tdxdbg.cli.import_",
    "decode": "tdxdbg.cli.decode",
    "verify": "tdxdbg.cli.verify",
    "check": "tdxdbg.cli.check",
    "compare": "tdxdbg.cli.compare",
    "generations": "tdxdbg.cli.generations",
    "export": "tdxdbg.cli.export",
    "recipe": "tdxdbg.cli.recipe",
    "samples": "tdxdbg.cli.samples",
    "guests": "tdxdbg.cli.guests",
}


class Commands(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = import_module(module).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """A command that does not exist gets the nearest one offered."""
        import difflib

        if args and args[0] not in COMMANDS:
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(COMMANDS)}"
            ctx.fail(f"no command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)


def _print_completion(ctx: click.Context, _: click.Parameter, shell: str | None) -> None:
    if not shell or ctx.resilient_parsing:
        return
    from click.shell_completion import get_completion_class

    completion = get_completion_class(shell)
    if completion is not None:
        click.echo(completion(ctx.command, {}, _PROGRAM, _COMPLETE).source())
    ctx.exit()


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: tdxdbg replay sample_traces/mapgpa_64mib_interrupted.tdxt",
)
@click.version_option(__version__, prog_name="tdxdbg", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="On an error show a traceback, and keep it in a file.")
@click.option(
    "--completion",
    type=click.Choice(["bash", "zsh", "fish"]),
    expose_value=False,
    is_eager=True,
    callback=_print_completion,
    help="Print the shell completion script and stop.",
)
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> int:
    """The terminal debugger for Intel TDX guest exits.

    Opens a recording of what a TD asked of KVM, shows each exit decoded, what
    userspace saw in struct kvm_run and what the guest got back, and says what
    any of six kernel generations would have done. Without a command it shows
    what there is to open.
    """
    ctx.obj = debug
    if ctx.invoked_subcommand is not None:
        return 0
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        raise click.exceptions.NoArgsIsHelpError(ctx)
    from tdxdbg.cli.options import lasting_imports

    with lasting_imports():
        from tdxdbg.ui.start.run import run_start

    return run_start()


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit status."""
    sys.exit(run(args))


def run(args: Sequence[str] | None = None) -> int:
    """The exit status of a command line."""
    arguments = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in arguments
    if _COMPLETE in os.environ:
        cli.main(arguments, prog_name=_PROGRAM, complete_var=_COMPLETE)
    return _guarded(lambda: _invoke(arguments), debug)


def _invoke(arguments: list[str]) -> Any:
    """What `cli.main` does, but for a closed pipe, of which that makes status 1."""
    with cli.make_context(_PROGRAM, arguments) as context:
        return cli.invoke(context)


def _guarded(work: Callable[[], Any], debug: bool) -> int:
    """Errors are one line on standard error; a traceback only with --debug."""
    try:
        result = work()
        if sys.stdout is not None:
            # Everything must have reached its reader before the status says so.
            sys.stdout.flush()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        _show_usage(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("tdxdbg: interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        return _reader_left()
    except TraceError as error:
        return _fail(error, BAD_INPUT, debug)
    except BackendError as error:
        return _fail(error, NO_MACHINE, debug)
    except OSError as error:
        if error.filename is None:
            what = f"standard output: cannot be written: {error.strerror}; make room for it"
            return _fail(OSError(what), NO_MACHINE, debug)
        return _fail(error, NO_MACHINE, debug)
    except Exception as error:
        what = f"a bug in tdxdbg: {type(error).__name__}: {error}"
        hint = "" if debug else "; run it again with --debug and report what that prints"
        return _fail(RuntimeError(what + hint), BUG, debug)
    return result if isinstance(result, int) else 0


def _reader_left() -> int:
    """The reader has seen enough; keep the interpreter from writing on at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), _STANDARD_OUTPUT)
    return 0


def _show_usage(error: click.ClickException) -> None:
    """What is wrong in one line, and where to read on."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context is not None else "tdxdbg"
    message = error.format_message().rstrip(".")
    click.echo(f"tdxdbg: {message}; see {path} --help", err=True)


def _fail(error: Exception, status: int, debug: bool) -> int:
    from tdxdbg.decode.text import safe

    if debug:
        click.echo(traceback.format_exc(), err=True)
        click.echo(f"tdxdbg: the traceback is kept in {_keep_traceback()}", err=True)
    click.echo(f"tdxdbg: {safe(str(error))}", err=True)
    return status


def _keep_traceback() -> str:
    import tempfile

    with tempfile.NamedTemporaryFile(
        "w", prefix="tdxdbg-", suffix=".log", delete=False, encoding="utf-8", errors="replace"
    ) as log:
        log.write(traceback.format_exc())
        return log.name
