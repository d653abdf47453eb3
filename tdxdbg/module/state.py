"""What a TD is (`TdParams`) and what the module remembers of it.

`TdParams` never changes; the others are mutable, and every field of them is
an immutable value, so a checkpoint is a copy of their slots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from tdxdbg.abi import cpuid as leaves
from tdxdbg.abi import tdx_fields
from tdxdbg.abi.regs import NO_REGS
from tdxdbg.module.results import VeInfo
from tdxdbg.module.runs import RunMap
from tdxdbg.module.sept import Sept

MEASUREMENT_SIZE: Final = 48
NO_MEASUREMENT: Final = bytes(MEASUREMENT_SIZE)
NUM_RTMRS: Final = 4

#: IA32_MISC_ENABLE: fast strings, neither BTS nor PEBS.
MISC_ENABLE: Final = 0x1801
TSC_FREQUENCY_UNIT_HZ: Final = 25_000_000
#: Default of HP_LOCK_TIMEOUT, in microseconds (facts: ghci_and_guest 1.1).
HP_LOCK_TIMEOUT_USEC: Final = 1_000_000


def _default_cpuid() -> Mapping[tuple[int, int], leaves.Values]:
    return leaves.DEFAULT


def _no_msrs() -> Mapping[int, int]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class TdParams:
    """TD_PARAMS and what TDH.MNG.INIT made of them.

    `config_flags` are CONFIG_FLAGS without GPAW, which follows from `gpaw`;
    KVM always asks for NO_RBP_MOD. `cpuid` maps (leaf, sub-leaf) to EAX, EBX,
    ECX, EDX; sub-leaf 0 where it does not matter. `tsc_frequency` is in units
    of 25 MHz. `x2apic_ids`, one per vCPU, let the guest turn on
    ENUM_TOPOLOGY. `msrs` are values of MSRs that the module emulates (others
    read 0). Raises ValueError for what TDH.MNG.INIT would refuse.
    """

    gpaw: int = 48
    attributes: int = tdx_fields.ATTRIBUTES_SEPT_VE_DISABLE
    xfam: int = tdx_fields.XFAM_FIXED1
    config_flags: int = tdx_fields.CONFIG_FLAGS_NO_RBP_MOD
    num_vcpus: int = 1
    max_vcpus: int = 1
    cpuid: Mapping[tuple[int, int], leaves.Values] = field(default_factory=_default_cpuid)
    tsc_frequency: int = 40
    x2apic_ids: tuple[int, ...] = ()
    msrs: Mapping[int, int] = field(default_factory=_no_msrs)
    td_uuid: bytes = bytes(32)
    mrtd: bytes = NO_MEASUREMENT
    mrconfigid: bytes = NO_MEASUREMENT
    mrowner: bytes = NO_MEASUREMENT
    mrownerconfig: bytes = NO_MEASUREMENT
    hp_lock_timeout_usec: int = HP_LOCK_TIMEOUT_USEC
    #: The bit of a GPA that says shared: bit 47 or 51.
    shared_mask: int = field(init=False, compare=False)
    #: The registers that TDG.VP.VMCALL may select in RCX[15:0].
    exposable: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        _check(self)
        object.__setattr__(self, "shared_mask", 1 << (self.gpaw - 1))
        no_rbp = self.config_flags & tdx_fields.CONFIG_FLAGS_NO_RBP_MOD
        object.__setattr__(self, "exposable", 0xFFCC if no_rbp else 0xFFEC)

    @property
    def all_config_flags(self) -> int:
        """CONFIG_FLAGS with its GPAW bit."""
        return self.config_flags | (tdx_fields.CONFIG_FLAGS_GPAW if self.gpaw == 52 else 0)

    @property
    def topology_configured(self) -> bool:
        """Every vCPU has an x2APIC id of its own."""
        return len(set(self.x2apic_ids)) == len(self.x2apic_ids) == self.num_vcpus

    @property
    def hp_lock_timeout_ticks(self) -> int:
        """HP_LOCK_TIMEOUT in TSC ticks."""
        return self.hp_lock_timeout_usec * self.tsc_frequency * TSC_FREQUENCY_UNIT_HZ // 1_000_000


def _check(params: TdParams) -> None:
    """What TDH.MNG.INIT refuses (facts: ghci_and_guest 3.1 to 3.4)."""
    if params.gpaw not in (48, 52):
        raise ValueError(f"gpaw is {params.gpaw}, must be 48 or 52")
    if params.attributes & ~tdx_fields.ATTRIBUTES_FIXED0:
        raise ValueError(f"attributes {params.attributes:#x}: bits that a TD cannot have")
    if not _xfam_is_legal(params.xfam):
        raise ValueError(f"xfam {params.xfam:#x}: bits missing, unknown or in no legal combination")
    settable = tdx_fields.CONFIG_FLAGS_KNOWN & ~tdx_fields.CONFIG_FLAGS_GPAW
    if params.config_flags & ~settable:
        raise ValueError(f"config_flags {params.config_flags:#x}: unknown bits")
    if not 1 <= params.num_vcpus <= params.max_vcpus:
        raise ValueError(f"num_vcpus is {params.num_vcpus}, must be 1..{params.max_vcpus}")
    if not 4 <= params.tsc_frequency <= 400:
        raise ValueError(f"tsc_frequency is {params.tsc_frequency}, must be 4..400 (25 MHz)")
    for name in ("mrtd", "mrconfigid", "mrowner", "mrownerconfig"):
        if len(getattr(params, name)) != MEASUREMENT_SIZE:
            raise ValueError(f"{name} must have {MEASUREMENT_SIZE} bytes")
    if len(params.td_uuid) != 32:
        raise ValueError("td_uuid must have 32 bytes")
    if not {(0x0, 0), (0x1, 0), (leaves.FIRST_EXTENDED_LEAF, 0)} <= params.cpuid.keys():
        raise ValueError("cpuid must have leaves 0, 1 and 0x80000000")


def _xfam_is_legal(xfam: int) -> bool:
    if xfam & ~tdx_fields.XFAM_FIXED0 or ~xfam & tdx_fields.XFAM_FIXED1:
        return False
    whole = (tdx_fields.XFAM_AVX512, tdx_fields.XFAM_CET, tdx_fields.XFAM_AMX)
    if any(xfam & group not in (0, group) for group in whole):
        return False
    return not xfam & tdx_fields.XFAM_AVX512 or bool(xfam & tdx_fields.XFAM_AVX)


class LastExit(IntEnum):
    """How the vCPU left the TD last; NONE while it is in it."""

    NONE = 0
    TDVMCALL = 1
    ASYNC_FAULT = 2
    ASYNC_TRAP = 3


class TdState:
    """TDR and TDCS: what the module remembers of the TD.

    `finalized`: TDH.MR.FINALIZE was done, so vCPUs may run. `fatal`: the TD
    is dead. `host_locked` are GPAs (bytes) of SEPT entries that a SEAMCALL
    holds; `accepting` counts how many 4 KiB pages of an interrupted 2 MiB
    TDG.MEM.PAGE.ACCEPT are done, by GPA.
    """

    __slots__ = (
        "accepting",
        "fatal",
        "finalized",
        "host_locked",
        "notify_enables",
        "rtmrs",
        "sept",
        "shared_ept",
        "td_ctls",
        "tee_info_valid",
    )

    def __init__(self, params: TdParams) -> None:
        self.sept = Sept(4 if params.gpaw == 52 else 3)
        self.shared_ept = RunMap()
        self.rtmrs: tuple[bytes, ...] = (NO_MEASUREMENT,) * NUM_RTMRS
        disabled = params.attributes & tdx_fields.ATTRIBUTES_SEPT_VE_DISABLE
        self.td_ctls = tdx_fields.TD_CTLS_PENDING_VE_DISABLE if disabled else 0
        self.notify_enables = 0
        self.finalized = False
        self.fatal = False
        self.host_locked: frozenset[int] = frozenset()
        self.accepting: tuple[tuple[int, int], ...] = ()
        self.tee_info_valid = False

    def copy(self) -> TdState:
        new = TdState.__new__(TdState)
        for name in TdState.__slots__:
            setattr(new, name, getattr(self, name))
        return new


class VcpuState:
    """TDVPS: what the module remembers of a vCPU.

    `regs` are the guest's registers as the last TD exit saved them, `rip`
    where it goes on. `expose` is the RCX of the last TDG.VP.VMCALL.
    `epf_count` and `epf_gpas`: private EPT violations at one RIP (facts:
    ghci_and_guest 6.5). `hp_lock_since`: TSC at which a TDCALL first found a
    host-priority lock, or None.
    """

    __slots__ = (
        "bus_lock",
        "cpuid_supervisor_ve",
        "cpuid_user_ve",
        "debugctl",
        "disabled",
        "epf_count",
        "epf_gpas",
        "expose",
        "hp_lock_since",
        "index",
        "last_exit",
        "last_exit_tsc",
        "pend_nmi",
        "regs",
        "rip",
        "rip_on_entry",
        "ve_info",
    )

    def __init__(self, index: int) -> None:
        self.index = index
        self.disabled = False
        self.ve_info: VeInfo | None = None
        self.last_exit = LastExit.NONE
        self.last_exit_tsc = 0
        self.expose = 0
        self.regs = NO_REGS
        self.rip = 0
        self.rip_on_entry = 0
        self.epf_count = 0
        self.epf_gpas: tuple[int, ...] = ()
        self.pend_nmi = False
        self.cpuid_supervisor_ve = False
        self.cpuid_user_ve = False
        self.hp_lock_since: int | None = None
        self.bus_lock = False
        self.debugctl = 0

    def copy(self) -> VcpuState:
        new = VcpuState.__new__(VcpuState)
        for name in VcpuState.__slots__:
            setattr(new, name, getattr(self, name))
        return new
