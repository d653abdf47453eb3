"""Exceptions that the module injects."""

from __future__ import annotations

from typing import Final

from tdxdbg.abi.vmx_instructions import DF_VECTOR, GP_VECTOR, UD_VECTOR
from tdxdbg.module.results import Guest, InjectFault, Injection, InjectVe, VeInfo
from tdxdbg.module.state import VcpuState

GP: Final = InjectFault(GP_VECTOR, 0)
UD: Final = InjectFault(UD_VECTOR)
#: A second #VE before VE_INFO was read: #DF, not the #GP that a comment in
#: the module speaks of (facts: ghci_and_guest 3.5, 9).
DF: Final = InjectFault(DF_VECTOR, 0)


def ve(vcpu: VcpuState, info: VeInfo) -> Injection:
    """tdx_inject_ve: #VE, or #DF while VE_INFO still holds an unread one."""
    if vcpu.ve_info is not None:
        return DF
    vcpu.ve_info = info
    return InjectVe(info)


def instruction_ve(
    vcpu: VcpuState, guest: Guest, reason: int, qualification: int = 0, info: int = 0
) -> Injection:
    """#VE of an instruction: no GLA, no GPA, the length is good (facts: ghci_and_guest 3.6)."""
    return ve(vcpu, VeInfo(reason, qualification, length=guest.length, info=info))
