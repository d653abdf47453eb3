"""TDG.VP.VEINFO.GET (facts: ghci_and_guest 1.2, 3.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tdxdbg.abi.regs import R8, R9, R10, RCX, RDX
from tdxdbg.abi.tdx_status import NO_VALID_VE_INFO, SUCCESS
from tdxdbg.module.done import Done, with_outputs
from tdxdbg.module.results import Guest, VeInfo
from tdxdbg.module.state import VcpuState

if TYPE_CHECKING:
    from tdxdbg.module.tdx_module import TdxModule

_NOTHING: Final = VeInfo(0)


def veinfo_get(module: TdxModule, vcpu: VcpuState, guest: Guest) -> Done:
    """Hand out VE_INFO once; with nothing in it the output registers become 0."""
    info = vcpu.ve_info or _NOTHING
    status = SUCCESS if vcpu.ve_info is not None else NO_VALID_VE_INFO
    vcpu.ve_info = None
    outputs = {
        RCX: info.reason,
        RDX: info.qualification,
        R8: info.gla,
        R9: info.gpa,
        R10: info.length | info.info << 32,
    }
    return Done(status, with_outputs(guest.regs, outputs))
