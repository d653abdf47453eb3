"""Process-context identifiers, for a CPU that tags no translation with one.

Without tags every load of CR3 drops all translations, which a CPU may always
do (SDM, volume 3, 4.10.4). What is left are the rules of CR4.PCIDE (volume 3,
4.10.1; volume 2, "MOV - Move to/from Control Registers"), and bit 63 of a
value for CR3, which is never kept: such loads are intercepted.
"""

from __future__ import annotations

from typing import Final

from tdxdbg.abi import vmx_instructions as ins
from tdxdbg.backends.emulated import context as ctx
from tdxdbg.backends.emulated.context import Context

_PCID: Final = 0xFFF
_NO_FLUSH: Final = 1 << 63
_WRITE_CR3: Final = 1 << 16 + 3


def is_refused(context: Context, number: int, value: int) -> bool:
    """Whether a new value of CR0 or CR4 is a #GP because of PCIDE."""
    cr4 = context.q[ctx.CR4]
    if number == 0:
        return bool(cr4 & ins.CR4_PCIDE) and not value & ins.CR0_PG
    if not value & ~cr4 & ins.CR4_PCIDE:
        return False
    return bool(context.q[ctx.CR3] & _PCID) or not context.q[ctx.EFER] & ins.EFER_LMA


def follow(context: Context) -> None:
    """CR4 is written: loads of CR3 are intercepted as long as PCIDE is set."""
    if context.q[ctx.CR4] & ins.CR4_PCIDE:
        context.d[ctx.CR_INTERCEPTS] |= _WRITE_CR3
    else:
        context.d[ctx.CR_INTERCEPTS] &= ~_WRITE_CR3


def load_cr3(context: Context, value: int) -> None:
    """MOV to CR3 with PCIDE; flush the TLB after it."""
    context.q[ctx.CR3] = value & (~_NO_FLUSH if context.is_64bit else 0xFFFF_FFFF)
