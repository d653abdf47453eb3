"""TDG.VP.VMCALL: the only leaf that the host sees (facts: ghci_and_guest 1.3)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from tdxdbg.abi import vmx
from tdxdbg.abi.regs import RAX, RCX, Regs
from tdxdbg.abi.tdx_status import OPERAND_RCX
from tdxdbg.module.done import Done
from tdxdbg.module.exits import leave
from tdxdbg.module.operand import invalid
from tdxdbg.module.results import Guest, ModuleExit, Result
from tdxdbg.module.state import LastExit, VcpuState

if TYPE_CHECKING:
    from tdxdbg.module.tdx_module import TdxModule

#: XMM registers, which cross by the bitmap too; the module does not hold them.
_XMM_SELECT: Final = 0xFFFF_0000


def vmcall(module: TdxModule, vcpu: VcpuState, guest: Guest) -> Done | Result:
    """Check the bitmap in RCX, hide what it does not select, exit."""
    regs = guest.regs
    expose = regs[RCX]
    if expose & ~(module.params.exposable | _XMM_SELECT):
        return Done(invalid(OPERAND_RCX), regs)
    vcpu.expose = expose
    leave(vcpu, guest, LastExit.TDVMCALL)
    ret = vmx.TDCALL
    if vcpu.bus_lock:
        vcpu.bus_lock = False
        ret |= vmx.BUS_LOCK_DETECTED
    return ModuleExit(ret, selected(regs, expose), advance=True)


def selected(regs: Regs, expose: int) -> Regs:
    """What the host sees: RCX is the bitmap, a register outside it is 0."""
    seen = [0] * 16
    seen[RCX] = expose
    for number in _numbers(expose & 0xFFFF):
        seen[number] = regs[number]
    return tuple.__new__(Regs, seen)


def loaded(guest: Regs, host: Regs, expose: int) -> Regs:
    """What the guest gets from the host: RAX 0, and the registers of the bitmap."""
    values = list(guest)
    values[RAX] = 0
    for number in _numbers(expose & 0xFFFF):
        values[number] = host[number]
    return tuple.__new__(Regs, values)


@lru_cache(maxsize=64)
def _numbers(expose: int) -> tuple[int, ...]:
    """The register numbers of a bitmap; a guest uses very few different ones."""
    return tuple(number for number in range(16) if expose >> number & 1)
