"""TDG.VP.INFO (facts: ghci_and_guest 1.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tdxdbg.abi.regs import R8, R9, R10, R11, RCX, RDX
from tdxdbg.abi.tdx_status import SUCCESS
from tdxdbg.module.done import Done, with_outputs
from tdxdbg.module.results import Guest
from tdxdbg.module.state import VcpuState

if TYPE_CHECKING:
    from tdxdbg.module.tdx_module import TdxModule

_SYS_RD_AVAILABLE: Final = 1


def vp_info(module: TdxModule, vcpu: VcpuState, guest: Guest) -> Done:
    """Width of a GPA, attributes, numbers of vCPUs, this vCPU's index."""
    params = module.params
    outputs = {
        RCX: params.gpaw,
        RDX: params.attributes,
        R8: params.num_vcpus | params.max_vcpus << 32,
        R9: vcpu.index,
        R10: _SYS_RD_AVAILABLE,
        R11: 0,
    }
    return Done(SUCCESS, with_outputs(guest.regs, outputs))
