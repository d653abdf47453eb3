"""TDG.VM.RD and TDG.VM.WR: the TD's metadata (facts: ghci_and_guest 1.2, 3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tdxdbg.abi import tdx_fields
from tdxdbg.abi import tdx_status as status
from tdxdbg.abi.regs import R8, R9, RAX, RCX, RDX, Regs
from tdxdbg.module.done import Done, with_outputs
from tdxdbg.module.metadata import TD, Found, is_null
from tdxdbg.module.operand import invalid
from tdxdbg.module.results import Guest
from tdxdbg.module.state import VcpuState

if TYPE_CHECKING:
    from tdxdbg.module.tdx_module import TdxModule

_MAX_VERSION: Final = 1


def vm_rd(module: TdxModule, vcpu: VcpuState, guest: Guest) -> Done:
    """R8 = field RDX; from version 1 on RDX = the next field id, -1 asks for the first."""
    regs = guest.regs
    version = regs[RAX] >> 16 & 0xFF
    outputs = {R8: 0, RDX: tdx_fields.NULL_FIELD_ID if version else regs[RDX]}
    if version > _MAX_VERSION:
        return Done(invalid(status.OPERAND_RAX), with_outputs(regs, outputs))
    if regs[RCX]:
        return Done(invalid(status.OPERAND_RCX), with_outputs(regs, outputs))
    if version and is_null(regs[RDX]):
        outputs[RDX] = TD.first()
        return Done(status.METADATA_FIRST_FIELD_ID_IN_CONTEXT, with_outputs(regs, outputs))
    found = TD.find(regs[RDX])
    if not isinstance(found, Found):
        return Done(found, with_outputs(regs, outputs))
    if not found.field.read_mask:
        return Done(status.METADATA_FIELD_NOT_READABLE, with_outputs(regs, outputs))
    outputs[R8] = TD.value(module, found)
    if version:
        outputs[RDX] = TD.after(found)
    return Done(status.SUCCESS, with_outputs(regs, outputs))


def vm_wr(module: TdxModule, vcpu: VcpuState, guest: Guest) -> Done:
    """Field RDX = R8, in the bits of the mask R9; R8 = the old value."""
    regs = guest.regs
    if regs[RCX]:
        return _failed(regs, invalid(status.OPERAND_RCX))
    found = TD.find(regs[RDX])
    if not isinstance(found, Found):
        return _failed(regs, found)
    mask = found.field.write_mask & regs[R9]
    if not mask:
        return _failed(regs, status.METADATA_FIELD_NOT_WRITABLE)
    old = TD.value(module, found)
    forbidden = regs[R9] & ~found.field.write_mask
    if (old ^ regs[R8]) & forbidden:
        return _failed(regs, status.METADATA_FIELD_VALUE_NOT_VALID)
    if not _write(module, found.field.name, old, old & ~mask | regs[R8] & mask):
        return _failed(regs, status.METADATA_FIELD_VALUE_NOT_VALID)
    return Done(status.SUCCESS, with_outputs(regs, {R8: old}))


def _failed(regs: Regs, code: int) -> Done:
    return Done(code, with_outputs(regs, {R8: 0}))


def _write(module: TdxModule, name: str, old: int, new: int) -> bool:
    """False when the value is not valid; NOTIFY_ENABLES and TD_CTLS are the writable fields."""
    if name == "NOTIFY_ENABLES":
        module.td.notify_enables = new
        return True
    changed = old ^ new
    flexible = module.params.config_flags & tdx_fields.CONFIG_FLAGS_FLEXIBLE_PENDING_VE
    if changed & tdx_fields.TD_CTLS_PENDING_VE_DISABLE and not flexible:
        return False
    if new & tdx_fields.TD_CTLS_ENUM_TOPOLOGY and not module.params.topology_configured:
        return False
    module.td.td_ctls = new
    return True
