"""Options and arguments that several commands share."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from tdxdbg.engine import Generation
    from tdxdbg.filters import Filter
    from tdxdbg.traces import Trace

Function = TypeVar("Function", bound=Callable[..., Any])

#: The generations by name; written out so that --help imports no engine (a test compares).
GENERATION_NAMES: Final = ("v19", "exits-v1", "6.16-rc1", "6.16", "7.2", "7.3")

#: The keys of the formats, likewise.
FORMAT_NAMES: Final = (
    *("tdxt", "jsonl", "tracefs", "trace-cmd", "perf", "strace", "qemu", "bpftrace"),
    *("trace-dat", "simple", "perf-data"),
)


@contextmanager
def lasting_imports() -> Iterator[None]:
    """What is imported here stays to the end: the collector does not walk over it.

    A screen imports so much that a sixth of it was the collector's time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def trace_argument(function: Function) -> Function:
    """TRACE: a recording of any known format, - for standard input."""
    return click.argument("trace", metavar="TRACE", type=click.Path(allow_dash=True))(function)


def kernel_option(function: Function) -> Function:
    """--kernel GEN."""
    return _kernel_option("the trace's own")(function)


def _kernel_option(default: str) -> Callable[[Function], Function]:
    return click.option(
        "--kernel",
        metavar="GEN",
        type=click.Choice(GENERATION_NAMES),
        help=f"Kernel generation: {', '.join(GENERATION_NAMES)}. Default: {default}.",
    )


def pid_option(function: Function) -> Function:
    """--pid N, which may be given again."""
    return click.option(
        "--pid",
        "pids",
        type=click.IntRange(min=1),
        multiple=True,
        metavar="N",
        help="Of a foreign recording, only what this process or thread did; may be given again.",
    )(function)


def filter_option(function: Function) -> Function:
    """--filter EXPR."""
    return click.option(
        "--filter", "filter_text", metavar="EXPR", help="Only exits that match a display filter."
    )(function)


def exits_options(function: Function) -> Function:
    """Which exits of TRACE, and how seen: --filter, --from, --count, --kernel, --pid."""
    options = (
        filter_option,
        click.option(
            "--from",
            "first",
            type=click.IntRange(min=0),
            default=0,
            metavar="N",
            help="First exit.",
        ),
        click.option("--count", type=click.IntRange(min=0), metavar="N", help="At most N exits."),
        kernel_option,
        pid_option,
    )
    return _with(options, function)


def output_option(text: str) -> Callable[[Function], Function]:
    """-o FILE, which has to be given; `text` is its help."""
    return click.option(
        "-o",
        "--output",
        metavar="FILE",
        required=True,
        type=click.Path(allow_dash=True),
        help=text,
    )


def machine_options(
    memory: int, least: int, most: int, vcpus: int = 32, default: str = "what the guest is made for"
) -> Callable[[Function], Function]:
    """A TD's surroundings: --vcpu, --kernel, --gpaw, --vcpus, --memory (MiB), --policy."""
    options = (
        click.option(
            "--vcpu", type=click.Choice(["emulated"]), default="emulated", help="What runs it."
        ),
        _kernel_option("the newest"),
        click.option(
            "--gpaw", type=click.Choice(["48", "52"]), default="48", help="Bits of a GPA."
        ),
        click.option(
            "--vcpus",
            type=click.IntRange(1, vcpus),
            metavar="N",
            help=f"Default: {default}.",
        ),
        click.option(
            "--memory",
            type=click.IntRange(least, most),
            default=memory,
            metavar="MIB",
            help=f"In steps of 2; default: {memory}.",
        ),
        click.option(
            "--policy",
            "policies",
            multiple=True,
            metavar="NAME",
            help="How the VMM answers: a name, as eagain:2, or FILE.py:CLASS of your own; may be"
            " given again.",
        ),
    )
    return partial(_with, options)


def _with(options: Sequence[Callable[[Function], Function]], function: Function) -> Function:
    """The function with these options, which --help lists in this order."""
    for option in reversed(options):
        function = option(function)
    return function


#: What a guest of one's own gets.
guest_options = machine_options(memory=64, least=4, most=3072)


def generation(name: str | None) -> Generation | None:
    """The record of a generation's name."""
    if name is None:
        return None
    from tdxdbg.engine import BY_NAME

    return BY_NAME[name]


def open_trace(
    path: str,
    pids: tuple[int, ...] = (),
    *,
    progress: Callable[[int, int], None] | None = None,
    form: str = "",
) -> Trace:
    """Open a recording; what is missing in it is said on standard error."""
    from tdxdbg.decode.text import safe
    from tdxdbg.traces import open_trace as open_any

    trace = open_any(path, pid=pids, progress=progress, form=form)
    for problem in trace.problems:
        click.echo(f"tdxdbg: {safe(problem)}", err=True)
    return trace


def compiled_filter(text: str | None) -> Filter | None:
    """The filter, or a usage error that points at the place."""
    if not text:
        return None
    from tdxdbg.filters import FilterError, compile_filter

    try:
        return compile_filter(text)
    except FilterError as error:
        for line in error.pretty().splitlines()[:2]:
            click.echo(line, err=True)
        raise click.UsageError(f"--filter: {error}") from error
