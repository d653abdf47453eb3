"""What KVM and a VMM like QEMU give a TD: MSRs that KVM emulates, and CPUID.

These answer the guest's TDG.VP.VMCALL<Instruction.RDMSR, WRMSR, CPUID>. What
a vCPU finds in hardware or in the TDX module never gets there. MSRs:
tdx_has_emulated_msr, tdx_is_read_only_msr, tdx_get_msr and what
kvm_get_msr_common starts with (Linux 6.16; facts: kernel_exits 4.6).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tdxdbg.abi import cpuid as leaves
from tdxdbg.backends.emulated import apic
from tdxdbg.engine.state import Msr

#: MCG_CTL_P and MCG_SER_P and ten banks, as QEMU sets up; neither CMCI nor LMCE.
_BANKS: Final = 10
_MCG_CAP: Final = 1 << 24 | 1 << 8 | _BANKS
_ALL_ONES: Final = (1 << 64) - 1

#: KVM_FEATURE_NOP_IO_DELAY, POLL_CONTROL, MSI_EXT_DEST_ID: those of a TD
#: (QEMU's TDX_SUPPORTED_KVM_FEATURES) that need nothing from KVM's scheduler.
PV_FEATURES: Final = 1 << 1 | 1 << 12 | 1 << 15

_READ_ONLY: Final[dict[int, int]] = {
    0x1B: 0xFEE0_0D00,  # APIC_BASE: x2APIC, first vCPU
    0x3A: 1,  # FEAT_CTL: locked
    0xCE: 1 << 31,  # PLATFORM_INFO: CPUID faulting
    0xFE: 0x508,  # MTRRCAP
    0x179: _MCG_CAP,
    0xC000_0080: 0xD01,  # EFER
}

_READ_WRITE: Final[dict[int, int]] = {
    0x8B: 1 << 32,  # UCODE_REV
    0x10A: 0,  # ARCH_CAPABILITIES
    0x140: 0,  # MISC_FEATURES_ENABLES
    0x17A: 0,  # MCG_STATUS
    0x17B: _ALL_ONES,  # MCG_CTL
    0x1A0: 0x1800,  # MISC_ENABLE: neither BTS nor PEBS
    0x1FC: 0,  # POWER_CTL
    0x277: 0x0007_0406_0007_0406,  # PAT
    0x2FF: 0,  # MTRR_DEF_TYPE
    0x4B56_4D05: 1,  # MSR_KVM_POLL_CONTROL
    apic.TSC_DEADLINE: 0,
    **dict.fromkeys(range(0x200, 0x210), 0),  # variable MTRRs
    **dict.fromkeys((0x250, 0x258, 0x259, *range(0x268, 0x270)), 0),  # fixed MTRRs
    **{
        0x400 + 4 * bank + register: 0 if register else _ALL_ONES
        for bank in range(_BANKS)
        for register in range(4)
    },
}

#: x2APIC registers that KVM itself has; TPR, PPR, EOI, ISR, TMR and IRR are
#: in the virtual APIC page, which is the TDX module's.
_APIC_READ_WRITE: Final = (
    apic.SVR,
    apic.ESR,
    apic.ICR,
    *range(apic.LVT_TIMER, apic.LVT_ERROR + 1),
    apic.INITIAL_COUNT,
    apic.DIVIDE,
)
_APIC_READ_ONLY: Final = (apic.ID, apic.VERSION, apic.LDR, apic.CURRENT_COUNT)


def _all_msrs() -> dict[int, Msr]:
    msrs = {index: Msr(value, writable=False) for index, value in _READ_ONLY.items()}
    msrs.update((index, Msr(value)) for index, value in _READ_WRITE.items())
    msrs.update((index, Msr()) for index in _APIC_READ_WRITE)
    msrs.update((index, Msr(writable=False)) for index in _APIC_READ_ONLY)
    msrs[apic.SELF_IPI] = Msr(readable=False)
    return msrs


#: Td.msrs; the local APIC's values come from the machine (`InKernel`).
MSRS: Final[Mapping[int, Msr]] = MappingProxyType(_all_msrs())

#: "KVMKVMKVM" in EBX, ECX, EDX, and the last leaf of the range.
_SIGNATURE: Final[leaves.Values] = (0x4000_0001, 0x4B4D_564B, 0x564B_4D56, 0x4D)


def cpuid(
    module: Mapping[tuple[int, int], leaves.Values],
) -> Mapping[tuple[int, int], leaves.Values]:
    """KVM_SET_CPUID2: what the TDX module has, and the leaves of the hypervisor."""
    table = dict(module)
    table[0x4000_0000, 0] = _SIGNATURE
    table[0x4000_0001, 0] = (PV_FEATURES, 0, 0, 0)
    return MappingProxyType(table)
