"""SYSCALL, SYSENTER and SYSEXIT as an Intel CPU does them.

Unicorn's SYSCALL is an empty helper, and its CPU model is AMD's, which has no
SYSENTER in long mode (facts: emulated_vcpu 0).
"""

from __future__ import annotations

from typing import Final

from tdxdbg.abi.regs import R11, RCX, RDX, RSP
from tdxdbg.abi.vmx_instructions import EFER_SCE, GP_VECTOR, UD_VECTOR
from tdxdbg.backends.emulated import context as ctx
from tdxdbg.backends.emulated.context import Context, Segment
from tdxdbg.backends.emulated.vcpu import Event

_UD: Final = Event(UD_VECTOR)
_GP: Final = Event(GP_VECTOR, 0)
#: Flat 32-bit code of DPL 3.
_CODE32_USER: Final = 0x00CF_FB00
_USER: Final = 3 << 13


def _stack(context: Context, selector: int, flags: int) -> None:
    context.set_segment(ctx.SS, Segment(selector, 0, 0xFFFF_FFFF, flags))


def syscall(context: Context, length: int) -> Event | None:
    """SYSCALL; an exception instead where it is not possible."""
    if not context.is_64bit or not context.q[ctx.EFER] & EFER_SCE:
        return _UD
    q = context.q
    rflags = context.rflags
    selector = q[ctx.STAR] >> 32 & 0xFFFC
    q[ctx.GPRS + RCX] = context.rip + length
    q[ctx.GPRS + R11] = rflags & ~ctx.RFLAGS_RF
    context.rflags = rflags & ~(q[ctx.FMASK] & 0xFFFF_FFFF) & ~ctx.RFLAGS_RF
    context.set_flat_code(selector, 0)
    _stack(context, selector + 8, ctx.DATA)
    context.rip = q[ctx.LSTAR]
    return None


def sysenter(context: Context) -> Event | None:
    """SYSENTER in long mode."""
    q = context.q
    selector = q[ctx.SYSENTER_CS] & 0xFFFC
    if not selector:
        return _GP
    context.rflags = context.rflags & ~(ctx.RFLAGS_VM | ctx.RFLAGS_IF | ctx.RFLAGS_RF)
    context.set_flat_code(selector, 0)
    _stack(context, selector + 8, ctx.DATA)
    q[ctx.GPRS + RSP] = q[ctx.SYSENTER_ESP]
    context.rip = q[ctx.SYSENTER_EIP]
    return None


def sysexit(context: Context, bits: int) -> Event | None:
    """SYSEXIT in 64-bit mode, to 64-bit code (REX.W) or to compatibility mode."""
    q = context.q
    selector = q[ctx.SYSENTER_CS] & 0xFFFC
    if context.cpl or not selector:
        return _GP
    rip, rsp = q[ctx.GPRS + RDX], q[ctx.GPRS + RCX]
    if bits == 64:
        context.set_flat_code(selector + 32 | 3, 3)
        _stack(context, selector + 40 | 3, ctx.DATA | _USER)
    else:
        rip, rsp = rip & 0xFFFF_FFFF, rsp & 0xFFFF_FFFF
        code = Segment(selector + 16 | 3, 0, 0xFFFF_FFFF, _CODE32_USER)
        context.set_segment(ctx.CS, code)
        hflags = context.d[ctx.HFLAGS] & ~(ctx.HF_CS64 | ctx.HF_ADDSEG)
        context.d[ctx.HFLAGS] = hflags | 3 | ctx.HF_CS32 | ctx.HF_SS32
        _stack(context, selector + 24 | 3, ctx.DATA | _USER)
    q[ctx.GPRS + RSP] = rsp
    context.rip = rip
    return None
