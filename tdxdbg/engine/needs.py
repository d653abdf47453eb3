"""Which registers the engine would read for a TD exit.

A recording may not have seen all registers; the engine is fed only when those
that decide the outcome are known.
"""

from __future__ import annotations

from typing import Final

from tdxdbg.abi import vmx
from tdxdbg.abi.ghci import ARGUMENTS, SubFunction
from tdxdbg.abi.regs import EXPOSABLE, R8, R9, R10, R11, RCX, RDX, REG_NAMES
from tdxdbg.engine.generations import Generation
from tdxdbg.engine.state import TdExit

_CALL: Final = 1 << RCX | 1 << R10 | 1 << R11
_VENDOR: Final = _CALL | 0xF << R11

#: What a sub-function reads beside RCX, R10 and R11.
_OPERANDS: Final[dict[int, int]] = {
    leaf: sum(1 << REG_NAMES.index(name) for name, _ in operands)
    for leaf, operands in ARGUMENTS.items()
}

_ASYNCHRONOUS: Final[dict[int, int]] = {
    vmx.EXCEPTION_NMI: 1 << R9,
    vmx.EPT_VIOLATION: 1 << RCX | 1 << RDX | 1 << R8,
    vmx.NOTIFY: 1 << RCX,
}


def registers_read(event: TdExit, generation: Generation) -> int:
    """A mask of registers (bit = register number) that must be known."""
    reason = event.vp_enter_ret & vmx.BASIC_MASK
    if reason != vmx.TDCALL:
        return _ASYNCHRONOUS.get(reason, 0)
    if not event.known >> R10 & 1:
        return _CALL
    leaf = event.regs.r11
    if event.regs.r10:
        # Up to 7.2 a bus lock lets R11 decide (facts: kernel_exits 5, B1).
        bus_lock = event.vp_enter_ret & vmx.BUS_LOCK_DETECTED
        return _VENDOR | _OPERANDS.get(leaf, 0) if bus_lock else _VENDOR
    if SubFunction.MAP_GPA not in generation.tdvmcalls and leaf not in generation.tdvmcalls:
        # v19 hands every register to userspace.
        return EXPOSABLE | _CALL
    return _CALL | _OPERANDS.get(leaf, 0)
