"""TDG.SYS.RD: the module's own metadata (facts: ghci_and_guest 1.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdxdbg.abi import tdx_status as status
from tdxdbg.abi.regs import R8, RDX
from tdxdbg.abi.tdx_fields import NULL_FIELD_ID
from tdxdbg.module.done import Done, with_outputs
from tdxdbg.module.metadata import SYS, Found, is_null
from tdxdbg.module.results import Guest
from tdxdbg.module.state import VcpuState

if TYPE_CHECKING:
    from tdxdbg.module.tdx_module import TdxModule


def sys_rd(module: TdxModule, vcpu: VcpuState, guest: Guest) -> Done:
    """R8 = field RDX, RDX = the next field id; -1 asks for the first."""
    regs = guest.regs
    outputs = {R8: 0, RDX: NULL_FIELD_ID}
    if is_null(regs[RDX]):
        outputs[RDX] = SYS.first()
        return Done(status.METADATA_FIRST_FIELD_ID_IN_CONTEXT, with_outputs(regs, outputs))
    found = SYS.find(regs[RDX])
    if not isinstance(found, Found):
        return Done(found, with_outputs(regs, outputs))
    if not found.field.read_mask:
        return Done(status.METADATA_FIELD_NOT_READABLE, with_outputs(regs, outputs))
    outputs = {R8: SYS.value(module, found), RDX: SYS.after(found)}
    return Done(status.SUCCESS, with_outputs(regs, outputs))
