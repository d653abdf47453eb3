"""What a debugger shows of a vCPU: the guest's own registers."""

from __future__ import annotations

from typing import NamedTuple

from tdxdbg.abi.regs import Regs
from tdxdbg.backends.emulated import context as ctx
from tdxdbg.backends.emulated.context import Context


class GuestRegisters(NamedTuple):
    """The guest's view of a vCPU, between two instructions.

    While the host has the vCPU it is what the guest had at its last
    instruction; a TDG.VP.VMCALL is done, so `rip` is behind it, and its
    outputs are not loaded yet. `cs` and `ss` are selectors.
    """

    regs: Regs
    rip: int
    rflags: int
    cs: int
    ss: int
    cpl: int
    is_64bit: bool
    cr0: int
    cr2: int
    cr3: int
    cr4: int
    efer: int
    fs_base: int
    gs_base: int


def registers_of(context: Context) -> GuestRegisters:
    """The registers in a context that is up to date."""
    q = context.q
    return GuestRegisters(
        context.regs,
        context.rip,
        context.rflags,
        context.segment(ctx.CS).selector,
        context.segment(ctx.SS).selector,
        context.cpl,
        context.is_64bit,
        q[ctx.CR0],
        q[ctx.CR2],
        q[ctx.CR3],
        q[ctx.CR4],
        q[ctx.EFER],
        context.segment_base(ctx.FS),
        context.segment_base(ctx.GS),
    )
