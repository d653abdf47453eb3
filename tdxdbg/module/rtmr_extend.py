"""TDG.MR.RTMR.EXTEND (facts: ghci_and_guest 1.2)."""

from __future__ import annotations

from hashlib import sha384
from typing import TYPE_CHECKING, Final

from tdxdbg.abi import tdx_status as status
from tdxdbg.abi.regs import RCX, RDX
from tdxdbg.module.done import Done
from tdxdbg.module.operand import gpa_is_valid, invalid, violation
from tdxdbg.module.results import Guest, Result
from tdxdbg.module.state import MEASUREMENT_SIZE, NUM_RTMRS, VcpuState

if TYPE_CHECKING:
    from tdxdbg.module.tdx_module import TdxModule

_ALIGNMENT: Final = 64


def rtmr_extend(module: TdxModule, vcpu: VcpuState, guest: Guest) -> Done | Result:
    """RTMR[RDX] becomes SHA-384 of itself and the 48 bytes at RCX."""
    gpa, index = guest.regs[RCX], guest.regs[RDX]
    if gpa % _ALIGNMENT or not gpa_is_valid(module.params, gpa, private_only=True):
        return Done(invalid(status.OPERAND_RCX), guest.regs)
    stopped = violation(module, vcpu, guest, gpa, write=False)
    if stopped is not None:
        return stopped
    if index >= NUM_RTMRS:
        return Done(invalid(status.OPERAND_RDX), guest.regs)
    td = module.td
    data = module.memory.read_gpa(gpa, MEASUREMENT_SIZE)
    rtmrs = list(td.rtmrs)
    rtmrs[index] = sha384(rtmrs[index] + data).digest()
    td.rtmrs = tuple(rtmrs)
    td.tee_info_valid = False
    return Done(status.SUCCESS, guest.regs)
