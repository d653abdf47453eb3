"""tdxdbg recipe."""

from __future__ import annotations

import click


@click.command(epilog="Example: tdxdbg recipe kprobe > record.sh && sudo sh record.sh td.txt")
@click.argument("name", type=click.Choice(("kprobe", "bpftrace", "qemu")))
@click.option(
    "--btf",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="Take offsets from these vmlinux and kvm_intel, in place of this host's.",
)
def command(name: str, btf: str | None) -> int:
    """Print what to run on a TDX host to record its exits.

    kprobe and bpftrace record all registers that the guest exposed; qemu needs
    no root and records none. The text says what it costs and what it leaves
    out. On a host whose kernel has TDX, kprobe takes the offsets from its BTF.
    """
    from tdxdbg.errors import BackendError
    from tdxdbg.recipes import RECIPES
    from tdxdbg.recipes.host import BTF_FOLDER, read_offsets

    offsets = None
    if name == "kprobe":
        try:
            offsets = read_offsets(btf or BTF_FOLDER)
        except BackendError:
            # The script then looks for itself, where it is run.
            if btf is not None:
                raise
    click.echo(RECIPES[name](offsets), nl=False)
    return 0
