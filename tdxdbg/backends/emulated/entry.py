"""What VMRUN does not do for a vCPU that enters the guest, and whether it did the rest."""

from __future__ import annotations

from typing import Final

from tdxdbg.backends.emulated import context as ctx
from tdxdbg.backends.emulated.context import Context
from tdxdbg.backends.emulated.vmcb import StartState
from tdxdbg.errors import BackendError

EFER_SVME: Final = 1 << 12

# DR7: breakpoint 0, global, I/O, one byte; DR0 holds a port only while an IN
# or OUT is under way (facts: emulated_vcpu 2).
_DR7_IO: Final = 0x2_0402
NO_PORT: Final = 0xFFFF_FFFF
#: Always 1.
_CR0_ET: Final = 1 << 4


def check(context: Context, start: StartState, control_block: int, nested_cr3: int) -> None:
    """Raise BackendError unless the vCPU is in the guest."""
    if (
        context.rip != start.rip
        or not context.d[ctx.HFLAGS] & ctx.HF_GUEST
        or context.q[ctx.CR0] != start.cr0 | _CR0_ET
        or context.q[ctx.VMCB] != control_block
        or context.q[ctx.NESTED_CR3] != nested_cr3
        or context.d[ctx.CR_INTERCEPTS] != 0x0111_0100
    ):
        raise BackendError("unicorn's VMRUN did not enter the guest: not the build of 2.1.4")


def settle(context: Context, start: StartState) -> None:
    """What VMRUN does not load, and what the guest must not see of SVM."""
    context.regs = start.regs
    q, d = context.q, context.d
    q[ctx.EFER] &= ~EFER_SVME
    d[ctx.HFLAGS] = (d[ctx.HFLAGS] | ctx.HF_IOBPT) & ~ctx.HF_SVME
    q[ctx.DR0], q[ctx.DR7] = NO_PORT, _DR7_IO
    data = ctx.Segment(start.data_selector, 0, 0xFFFF_FFFF, ctx.DATA)
    for number in (ctx.FS, ctx.GS):
        context.set_segment(number, data)
    context.set_segment(ctx.LDTR, ctx.Segment(0, 0, 0xFFFF, 0x8200))
    context.set_segment(ctx.TR, ctx.Segment(0, 0, 0xFFFF, 0x8B00))
