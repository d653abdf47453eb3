"""Memory operands of TDCALLs: the checks before the module touches a guest page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tdxdbg.abi import tdx_fields, vmx
from tdxdbg.abi.tdx_status import OPERAND_INVALID
from tdxdbg.module import exits, inject
from tdxdbg.module.results import Guest, Result, VeInfo
from tdxdbg.module.runs import PAGE_SHIFT
from tdxdbg.module.sept import SeptState
from tdxdbg.module.state import TdParams, VcpuState

if TYPE_CHECKING:
    from tdxdbg.module.tdx_module import TdxModule

# What the host's shared EPT says of a page.
SHARED_ABSENT: Final = 0
SHARED_RAM: Final = 1
#: An entry that turns an access into a #VE: device memory.
SHARED_MMIO: Final = 2
#: An entry that the CPU refuses: a bug of the host.
SHARED_MISCONFIGURED: Final = 3


def gpa_is_valid(params: TdParams, gpa: int, *, private_only: bool) -> bool:
    """check_gpa_validity (facts: ghci_and_guest 3.1)."""
    if gpa >> params.gpaw:
        return False
    return not (private_only and gpa & params.shared_mask)


def violation(
    module: TdxModule, vcpu: VcpuState, guest: Guest, gpa: int, *, write: bool
) -> Result | None:
    """What becomes of the TDCALL when the page cannot be reached, or None.

    check_walk_and_map_guest_side_gpa: a violation is the guest's own, so the
    TDCALL is executed again afterwards. There is no linear address, and these
    violations do not count for the zero-step detection.
    """
    access = vmx.EPT_VIOLATION_ACC_READ | (vmx.EPT_VIOLATION_ACC_WRITE if write else 0)
    td = module.td
    if gpa & module.params.shared_mask:
        mapped = td.shared_ept.at((gpa & ~module.params.shared_mask) >> PAGE_SHIFT)
        if mapped == SHARED_MMIO:
            return inject.ve(vcpu, VeInfo(vmx.EPT_VIOLATION, access, gpa=gpa))
        if mapped == SHARED_ABSENT:
            return exits.ept_violation(vcpu, guest, gpa, access)
        if mapped == SHARED_MISCONFIGURED:
            return exits.ept_misconfiguration(vcpu, guest, gpa)
        return None
    state = td.sept.state(gpa)
    if state is SeptState.MAPPED:
        return None
    if state is not SeptState.PENDING:
        return exits.ept_violation(vcpu, guest, gpa, access)
    if td.td_ctls & tdx_fields.TD_CTLS_PENDING_VE_DISABLE:
        return exits.ept_violation(vcpu, guest, gpa, access, exits.EEQ_PENDING)
    return inject.ve(vcpu, VeInfo(vmx.EPT_VIOLATION, access, gpa=gpa))


def invalid(operand: int) -> int:
    """TDX_OPERAND_INVALID for this operand id."""
    return OPERAND_INVALID | operand
