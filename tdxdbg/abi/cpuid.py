"""How the TDX module (1.5.01) virtualises CPUID, and values for an emulated TD.

Source: facts ghci_and_guest 3.7. Values are (EAX, EBX, ECX, EDX).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

Values = tuple[int, int, int, int]

#: Leaves that the module answers itself: the number of sub-leaves in its
#: table, or None where every sub-leaf gets the same answer.
EMULATED: Final[dict[int, int | None]] = {
    0x0: None,
    0x1: None,
    0x3: None,
    0x4: 5,
    0x5: None,
    0x7: 3,
    0x8: None,
    0xA: None,
    0xD: 0x13,
    0xE: None,
    0x11: None,
    0x12: None,
    0x13: None,
    0x14: 2,
    0x15: None,
    0x19: None,
    0x1C: None,
    0x1D: 2,
    0x1E: None,
    0x20: None,
    0x21: 1,
    0x22: None,
    0x23: 4,
    0x8000_0000: None,
    0x8000_0001: None,
    0x8000_0007: None,
    0x8000_0008: None,
}

#: Answered by the module once the guest has set a bit of TD_CTLS: leaf 2 by
#: VIRT_CPUID2, the topology leaves by ENUM_TOPOLOGY.
EMULATED_BY_VIRT_CPUID2: Final = 0x2
EMULATED_BY_ENUM_TOPOLOGY: Final = frozenset({0xB, 0x1F})

#: The range of hypervisors: always a #VE, whatever else is set.
HYPERVISOR_FIRST: Final = 0x4000_0000
HYPERVISOR_LAST: Final = 0x4FFF_FFFF

FIRST_EXTENDED_LEAF: Final = 0x8000_0000
TDX_LEAF: Final = 0x21
#: Leaves 0xB and 0x1F, ECX[15:8]: what a level of the topology consists of.
_THREADS: Final = 1 << 8
_CORES: Final = 2 << 8
#: "IntelTDX    " in EBX, EDX, ECX.
TDX_SIGNATURE: Final[Values] = (0, 0x6574_6E49, 0x2020_2020, 0x5844_546C)

# Bits that a rule asks for, or that follow the guest's state.
LEAF1_ECX_DCA: Final = 1 << 18
LEAF1_ECX_TSC_DEADLINE: Final = 1 << 24
LEAF1_ECX_OSXSAVE: Final = 1 << 27
LEAF1_EDX_HTT: Final = 1 << 28
LEAF7_EBX_RTM: Final = 1 << 11
LEAF7_ECX_OSPKE: Final = 1 << 4
LEAF7_ECX_WAITPKG: Final = 1 << 5
LEAF7_ECX_TME: Final = 1 << 13
LEAF7_EDX_PCONFIG: Final = 1 << 18
LEAFD1_EAX_XFD: Final = 1 << 4
#: CPUID(0xD, n) ECX for n >= 2: where the component lies in a compacted area.
LEAFD_ECX_SUPERVISOR: Final = 1 << 0
LEAFD_ECX_ALIGN_64: Final = 1 << 1
EXT1_EDX_SYSCALL: Final = 1 << 11

#: What an emulated TD shows when nobody configures it: a CPU that has no more
#: than the TCG core behind the emulated vCPU does. Leaves that are not here
#: read as 0. Leaf 1 ECX: SSE3 SSSE3 CX16 PCID SSE4.1 SSE4.2 x2APIC MOVBE POPCNT
#: TSC_DEADLINE RDRAND HYPERVISOR.
DEFAULT: Final[Mapping[tuple[int, int], Values]] = MappingProxyType(
    {
        (0x0, 0): (0x23, 0x756E_6547, 0x6C65_746E, 0x4965_6E69),
        (0x1, 0): (0x0008_06F8, 0x0001_0800, 0xC1FA_2201, 0x078B_FBFF),
        (0x15, 0): (1, 40, 25_000_000, 0),
        (0x8000_0000, 0): (0x8000_0008, 0, 0, 0),
        (0x8000_0001, 0): (0, 0, 1, 0x2810_0800),
        (0x8000_0007, 0): (0, 0, 0, 0x100),
        (0x8000_0008, 0): (0x3034, 0, 0, 0),
    }
)


def with_topology(
    values: Mapping[tuple[int, int], Values], vcpus: int
) -> Mapping[tuple[int, int], Values]:
    """The leaves of a TD with so many vCPUs: one package of cores without threads.

    Intel SDM, CPUID leaves 1, 0xB and 0x1F; x2APIC ids are 0 to `vcpus` - 1.
    """
    table = dict(values)
    eax, ebx, ecx, edx = table[0x1, 0]
    many = LEAF1_EDX_HTT if vcpus > 1 else 0
    table[0x1, 0] = (eax, ebx & ~0xFF_0000 | (vcpus & 0xFF) << 16, ecx, edx & ~LEAF1_EDX_HTT | many)
    bits = (vcpus - 1).bit_length()
    for leaf in EMULATED_BY_ENUM_TOPOLOGY:
        table[leaf, 0] = (0, 1, _THREADS, 0)
        table[leaf, 1] = (bits, vcpus, _CORES | 1, 0)
    return MappingProxyType(table)
