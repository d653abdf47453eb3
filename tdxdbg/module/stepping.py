"""Zero-step detection: private EPT violations without progress.

Facts: ghci_and_guest 6.5. The defence against single-stepping is not modelled:
it exists to hide from a host that sends interrupts at chosen moments how far
the guest got, and it is random by design.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tdxdbg.abi.tdx_fields import TD_CTLS_PENDING_VE_DISABLE
from tdxdbg.module.sept import SeptState

if TYPE_CHECKING:
    from tdxdbg.module.state import TdState, VcpuState

#: Violations that are only counted; the next one is remembered.
EPF_THRESHOLD: Final = 6
EPF_GPA_LIST_SIZE: Final = 32


def note_rip(vcpu: VcpuState, rip: int) -> None:
    """The vCPU stopped at `rip`: elsewhere than it was entered is progress."""
    if rip != vcpu.rip_on_entry and vcpu.epf_count:
        vcpu.epf_count = 0
        vcpu.epf_gpas = ()


def log_epf(vcpu: VcpuState, gpa: int) -> None:
    """td_exit_epf_stepping_log: a private EPT violation is about to reach the host."""
    if vcpu.epf_count < EPF_THRESHOLD:
        vcpu.epf_count += 1
    elif len(vcpu.epf_gpas) < EPF_GPA_LIST_SIZE and gpa not in vcpu.epf_gpas:
        vcpu.epf_gpas += (gpa,)


def still_faulting(td: TdState, vcpu: VcpuState) -> int | None:
    """A remembered GPA (bytes) that would violate again, or None.

    A PENDING page that gives a #VE does not count: no exit would follow.
    """
    for gpa in vcpu.epf_gpas:
        state = td.sept.state(gpa)
        if state is SeptState.MAPPED:
            continue
        if state is not SeptState.PENDING or td.td_ctls & TD_CTLS_PENDING_VE_DISABLE:
            return gpa
    return None
