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
from tdxdbg.module.results import Guest, Kind, ModuleExit, Result
from tdxdbg.module.state import LastExit, VcpuState

if TYPE_CHECKING:
    from tdxdbg.module.tdx_module import TdxModule

_new: Final = tuple.__new__
# An Enum's members are slow to look up.
_TDVMCALL: Final = LastExit.TDVMCALL
_MODULE_EXIT: Final = Kind.MODULE_EXIT

#: XMM registers, which cross by the bitmap too; the module does not hold them.
_XMM_SELECT: Final = 0xFFFF_0000


def vmcall(module: TdxModule, vcpu: VcpuState, guest: Guest) -> Done | Result:
    """Check the bitmap in RCX, hide what it does not select, exit."""
    regs = guest.regs
    expose = regs[RCX]
    if expose & ~(module.params.exposable | _XMM_SELECT):
        return Done(invalid(OPERAND_RCX), regs)
    vcpu.expose = expose
    leave(vcpu, guest, _TDVMCALL)
    ret = vmx.TDCALL
    if vcpu.bus_lock:
        vcpu.bus_lock = False
        ret |= vmx.BUS_LOCK_DETECTED
    return _new(ModuleExit, (ret, selected(regs, expose), True, _MODULE_EXIT))


def selected(regs: Regs, expose: int) -> Regs:
    """What the host sees: RCX is the bitmap, a register outside it is 0."""
    seen = list(regs)
    for number in _hidden(expose & 0xFFFF):
        seen[number] = 0
    seen[RCX] = expose
    return _new(Regs, seen)


def loaded(guest: Regs, host: Regs, expose: int) -> Regs:
    """What the guest gets from the host: RAX 0, and the registers of the bitmap."""
    values = list(host)
    for number in _hidden(expose & 0xFFFF):
        values[number] = guest[number]
    values[RAX] = 0
    return _new(Regs, values)


@lru_cache(maxsize=64)
def _hidden(expose: int) -> tuple[int, ...]:
    """The registers outside of a bitmap; a guest uses very few different ones."""
    return tuple(number for number in range(16) if not expose >> number & 1)
