"""tdxdbg decode."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from tdxdbg.decode.node import Node

#: The registers that a TDVMCALL or an asynchronous TD exit can carry.
REGISTERS: Final = (
    "rcx", "r10", "r11", "r12", "r13", "r14", "r15", "rbx", "rdi", "rsi", "r8", "r9", "rdx",
)  # fmt: skip


class Number(click.ParamType[int]):
    """A 64-bit number in decimal, or in hex, octal or binary with its prefix."""

    name = "X"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            number = int(str(value).replace("_", ""), 0)
        except ValueError:
            self.fail(f"{value!r} is not a number; write 77 or 0x4d", param, ctx)
        if not 0 <= number < 1 << 64:
            self.fail(f"{value} does not fit into 64 bits", param, ctx)
        return number


def _register_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for name in reversed(REGISTERS):
        function = click.option(f"--{name}", type=Number(), help=f"{name.upper()} of the TD exit.")(
            function
        )
    return function


@click.command(
    epilog="Examples: tdxdbg decode --r11 0x10001 --r12 0x800040000000 --r13 0x200000; "
    "tdxdbg decode --status 0x8000020000000092"
)
@_register_options
@click.option("--vp-enter-ret", type=Number(), help="RAX of TDH.VP.ENTER. Default: 77, TDCALL.")
@click.option("--status", type=Number(), help="A status code of the TDX module.")
@click.option(
    "--gpaw",
    type=click.Choice(["48", "52"]),
    default="48",
    show_default=True,
    help="GPA width: where the shared bit is.",
)
def command(
    vp_enter_ret: int | None, status: int | None, gpaw: str, **registers: int | None
) -> None:
    """Decode one register set, or one status code.

    A register that is not given is unknown; R10 is 0 when R11 is given.
    """
    from tdxdbg.abi.vmx import TDCALL
    from tdxdbg.decode.tree import decode_registers, decode_status
    from tdxdbg.engine import Td

    given = {name: value for name, value in registers.items() if value is not None}
    if status is None and vp_enter_ret is None and not given:
        raise click.UsageError("nothing to decode; give --status, --vp-enter-ret or registers")
    if status is not None:
        _show(decode_status(status))
    if given or vp_enter_ret is not None:
        ret = TDCALL if vp_enter_ret is None else vp_enter_ret
        _show(decode_registers(given, ret, Td(gpaw=int(gpaw))))


def _show(node: Node, depth: int = 0) -> None:
    """A tree as indented lines; its text is safe already."""
    words = "  ".join(part for part in (node.name, node.raw, node.meaning) if part)
    click.echo("  " * depth + words)
    for child in node.children:
        _show(child, depth + 1)
