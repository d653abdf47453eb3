"""TDG.VP.CPUIDVE.SET (facts: ghci_and_guest 1.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tdxdbg.abi.regs import RCX
from tdxdbg.abi.tdx_status import OPERAND_RCX, SUCCESS
from tdxdbg.module.done import Done
from tdxdbg.module.operand import invalid
from tdxdbg.module.results import Guest
from tdxdbg.module.state import VcpuState

if TYPE_CHECKING:
    from tdxdbg.module.tdx_module import TdxModule

_SUPERVISOR: Final = 1
_USER: Final = 2


def cpuidve_set(module: TdxModule, vcpu: VcpuState, guest: Guest) -> Done:
    """#VE on every CPUID, at CPL 0 and above it."""
    control = guest.regs[RCX]
    if control & ~(_SUPERVISOR | _USER):
        return Done(invalid(OPERAND_RCX), guest.regs)
    vcpu.cpuid_supervisor_ve = bool(control & _SUPERVISOR)
    vcpu.cpuid_user_ve = bool(control & _USER)
    return Done(SUCCESS, guest.regs)
