"""Memory accesses of the guest: Secure EPT for private GPAs, the host's EPT for shared ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tdxdbg.abi import tdx_fields, vmx
from tdxdbg.abi import vmx_instructions as ins
from tdxdbg.module import exits, inject, stepping
from tdxdbg.module.operand import SHARED_ABSENT, SHARED_MISCONFIGURED, SHARED_MMIO
from tdxdbg.module.results import NATIVE, Guest, InjectFault, Result, VeInfo
from tdxdbg.module.runs import PAGE_SHIFT
from tdxdbg.module.sept import SeptState

if TYPE_CHECKING:
    from tdxdbg.module.state import VcpuState
    from tdxdbg.module.tdx_module import TdxModule

READ: Final = vmx.EPT_VIOLATION_ACC_READ
WRITE: Final = vmx.EPT_VIOLATION_ACC_WRITE
FETCH: Final = vmx.EPT_VIOLATION_ACC_INSTR

#: A shared page of RAM can be read and written, never executed.
_SHARED_RAM_RIGHTS: Final = 3 << 3


def access(
    module: TdxModule, vcpu: VcpuState, guest: Guest, gpa: int, kind: int, gla: int
) -> Result:
    """An access (READ, WRITE, FETCH or several) at `gla`, which translates to `gpa`.

    `gpa` has the shared bit. Native: the page is there, go ahead.
    """
    stepping.note_rip(vcpu, guest.rip)
    params = module.params
    if gpa >> params.gpaw:
        return _reserved_bits(guest, kind, gla)
    if gpa & params.shared_mask:
        return _shared(module, vcpu, guest, gpa, kind, gla)
    return _private(module, vcpu, guest, gpa, kind, gla)


def _reserved_bits(guest: Guest, kind: int, gla: int) -> Result:
    """GPA bits above the shared one: #PF with RSVD (facts: ghci_and_guest 3.1)."""
    code = ins.PFEC_P | ins.PFEC_RSVD
    if kind & WRITE:
        code |= ins.PFEC_W
    if kind & FETCH:
        code |= ins.PFEC_I
    if guest.cpl == 3:
        code |= ins.PFEC_U
    return InjectFault(vmx.PF_VECTOR, code, cr2=gla)


def _shared(
    module: TdxModule, vcpu: VcpuState, guest: Guest, gpa: int, kind: int, gla: int
) -> Result:
    """Shared: the host decides, in its own EPT (facts: ghci_and_guest 3.5)."""
    mapped = module.td.shared_ept.at((gpa & ~module.params.shared_mask) >> PAGE_SHIFT)
    qualification = kind | ins.EPT_QUALIFICATION_LINEAR
    if mapped == SHARED_MMIO:
        return inject.ve(vcpu, VeInfo(vmx.EPT_VIOLATION, qualification, gla, gpa))
    if mapped == SHARED_ABSENT:
        return exits.ept_violation(vcpu, guest, gpa, qualification)
    if mapped == SHARED_MISCONFIGURED:
        return exits.ept_misconfiguration(vcpu, guest, gpa)
    if kind & FETCH:
        return exits.ept_violation(vcpu, guest, gpa, qualification | _SHARED_RAM_RIGHTS)
    return NATIVE


def _private(
    module: TdxModule, vcpu: VcpuState, guest: Guest, gpa: int, kind: int, gla: int
) -> Result:
    """td_ept_violation_exit for a private GPA: pending pages first."""
    td = module.td
    state = td.sept.state(gpa)
    if state is SeptState.MAPPED:
        return NATIVE
    qualification = kind | ins.EPT_QUALIFICATION_LINEAR
    ext_qualification = exits.EEQ_NONE
    if state is SeptState.PENDING:
        if not td.td_ctls & tdx_fields.TD_CTLS_PENDING_VE_DISABLE:
            return inject.ve(vcpu, VeInfo(vmx.EPT_VIOLATION, qualification, gla, gpa))
        ext_qualification = exits.EEQ_PENDING
    stepping.log_epf(vcpu, gpa & ~0xFFF)
    return exits.ept_violation(vcpu, guest, gpa, qualification, ext_qualification)
