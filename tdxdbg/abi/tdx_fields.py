"""TD configuration bits and the metadata fields of TDG.VM.RD/WR and TDG.SYS.RD.

Bits: facts ghci_and_guest 3.2 to 3.4. A field id holds [23:0] field code,
[33:32] log2 of the element size, [37:34] and [46:38] element and field counts
of a sequence (0 here), [54:52] context, [61:56] class, [63] not architectural
(ignored on input; facts: ghci_and_guest 9). Masks are those of a guest.
"""

from __future__ import annotations

from typing import Final, NamedTuple

ATTRIBUTES_DEBUG: Final = 1 << 0
ATTRIBUTES_SEPT_VE_DISABLE: Final = 1 << 28
ATTRIBUTES_MIGRATABLE: Final = 1 << 29
ATTRIBUTES_PKS: Final = 1 << 30
ATTRIBUTES_PERFMON: Final = 1 << 63
#: What a TD may have; nothing is forced (1.5.01).
ATTRIBUTES_FIXED0: Final = (
    ATTRIBUTES_DEBUG
    | ATTRIBUTES_SEPT_VE_DISABLE
    | ATTRIBUTES_MIGRATABLE
    | ATTRIBUTES_PKS
    | ATTRIBUTES_PERFMON
)

#: What a TD may have in XFAM, and what it must have (1.5.01).
XFAM_FIXED0: Final = 0x6_DBE7
XFAM_FIXED1: Final = 0x3
XFAM_SSE: Final = 1 << 1
XFAM_AVX: Final = 1 << 2
XFAM_AVX512: Final = 7 << 5
XFAM_PT: Final = 1 << 8
XFAM_PKRU: Final = 1 << 9
XFAM_CET: Final = 3 << 11
XFAM_UINTR: Final = 1 << 14
XFAM_LBR: Final = 1 << 15
XFAM_AMX: Final = 3 << 17
#: The components that IA32_XSS holds; the others are XCR0's.
XFAM_SUPERVISOR: Final = XFAM_PT | XFAM_CET | XFAM_UINTR | XFAM_LBR

CONFIG_FLAGS_GPAW: Final = 1 << 0
CONFIG_FLAGS_FLEXIBLE_PENDING_VE: Final = 1 << 1
CONFIG_FLAGS_NO_RBP_MOD: Final = 1 << 2
CONFIG_FLAGS_KNOWN: Final = 7

TD_CTLS_PENDING_VE_DISABLE: Final = 1 << 0
TD_CTLS_ENUM_TOPOLOGY: Final = 1 << 1
TD_CTLS_VIRT_CPUID2: Final = 1 << 2

NOTIFY_ENABLES_ZERO_STEP: Final = 1 << 0

CONTEXT_SYS: Final = 0
CONTEXT_TD: Final = 1

#: Bits of a field id that a single-element access must leave 0: the counts
#: and the reserved ones.
FIELD_ID_MUST_BE_ZERO: Final = 0x4083_FFFC_FF00_0000
CONTEXT_MASK: Final = 7 << 52
#: "No field id", with any context.
NULL_FIELD_ID: Final = (1 << 64) - 1


class Field(NamedTuple):
    """One or more fields of `elements` elements each, with consecutive codes."""

    name: str
    id: int
    fields: int = 1
    elements: int = 1
    read_mask: int = 0
    write_mask: int = 0

    @property
    def key(self) -> tuple[int, int]:
        """Class code and first field code."""
        return class_and_code(self.id)

    @property
    def span(self) -> int:
        """How many element ids this entry covers."""
        return self.fields * self.elements


def class_and_code(field_id: int) -> tuple[int, int]:
    """What identifies a field inside its context."""
    return field_id >> 56 & 0x3F, field_id & 0xFF_FFFF


_U8: Final = 0xFF
_U16: Final = 0xFFFF
_U32: Final = 0xFFFF_FFFF
_U64: Final = 0xFFFF_FFFF_FFFF_FFFF

#: TDR and TDCS, by class and code. A read mask of 0: the host's alone.
TD_FIELDS: Final[tuple[Field, ...]] = (
    Field("FATAL", 0x8010_0000_0000_0001),
    Field("NUM_TDCX", 0x8010_0002_0000_0002),
    Field("CHLDCNT", 0x8010_0003_0000_0004),
    Field("LIFECYCLE_STATE", 0x8010_0002_0000_0005),
    Field("TDCX_PA", 0x8010_0003_0000_0010, fields=9),
    Field("TD_UUID", 0x8010_0003_0000_0020, elements=4, read_mask=_U64),
    Field("HKID", 0x8110_0001_0000_0001),
    Field("PKG_CONFIG_BITMAP", 0x8110_0003_0000_0002),
    Field("HANDOFF_VERSION", 0x8210_0001_0000_0000),
    Field("SEAMDB_INDEX", 0x8210_0003_0000_0001),
    Field("SEAMDB_NONCE", 0x8210_0003_0000_0002, elements=4),
    Field("NUM_VCPUS", 0x9010_0002_0000_0001, read_mask=_U32),
    Field("NUM_ASSOC_VCPUS", 0x9010_0002_0000_0002),
    Field("OP_STATE", 0x9010_0002_0000_0004),
    Field("NUM_L2_VMS", 0x9010_0001_0000_0005, read_mask=_U16),
    Field("ATTRIBUTES", 0x1110_0003_0000_0000, read_mask=_U64),
    Field("XFAM", 0x1110_0003_0000_0001, read_mask=_U64),
    Field("MAX_VCPUS", 0x1110_0002_0000_0002, read_mask=_U32),
    Field("GPAW", 0x1110_0000_0000_0003, read_mask=_U8),
    Field("EPTP", 0x1110_0003_0000_0004),
    Field("TSC_OFFSET", 0x1110_0003_0000_000A),
    Field("TSC_MULTIPLIER", 0x1110_0003_0000_000B),
    Field("TSC_FREQUENCY", 0x1110_0001_0000_000C, read_mask=_U16),
    Field("VIRTUAL_TSC", 0x1110_0003_0000_000D),
    Field("NUM_CPUID_VALUES", 0x9110_0001_0000_000E),
    Field("XBUFF_SIZE", 0x9110_0002_0000_000F),
    Field("NOTIFY_ENABLES", 0x9110_0003_0000_0010, read_mask=1, write_mask=1),
    Field("HP_LOCK_TIMEOUT", 0x9110_0003_0000_0011),
    Field("VM_CTLS", 0x9110_0003_0000_0012, fields=4),
    Field("CONFIG_FLAGS", 0x9110_0003_0000_0016, read_mask=_U64),
    Field("TD_CTLS", 0x9110_0003_0000_0017, read_mask=_U64, write_mask=7),
    Field("VIRT_MAXPA", 0x9110_0000_0000_0018),
    Field("TOPOLOGY_ENUM_CONFIGURED", 0x9110_0000_0000_0019, read_mask=_U8),
    Field("CPUID_VALID", 0x9110_0000_0000_0080, fields=80),
    Field("XBUFF_OFFSETS", 0x9110_0002_0000_0800, fields=19),
    Field("TD_EPOCH", 0x9210_0003_0000_0000),
    Field("REFCOUNT", 0x9210_0001_0000_0001, fields=2),
    Field("MRTD", 0x1310_0003_0000_0000, elements=6, read_mask=_U64),
    Field("MRCONFIGID", 0x1310_0003_0000_0010, elements=6, read_mask=_U64),
    Field("MROWNER", 0x1310_0003_0000_0018, elements=6, read_mask=_U64),
    Field("MROWNERCONFIG", 0x1310_0003_0000_0020, elements=6, read_mask=_U64),
    Field("RTMR", 0x1310_0003_0000_0040, fields=4, elements=6, read_mask=_U64),
)

#: The module's own fields, by class and code.
SYS_FIELDS: Final[tuple[Field, ...]] = (
    Field("NUM_PKGS", 0x0000_0002_0000_0000),
    Field("PKG_FMS", 0x0000_0002_0000_0001, fields=8),
    Field("VENDOR_ID", 0x0800_0002_0000_0000, read_mask=_U32),
    Field("BUILD_DATE", 0x8800_0002_0000_0001),
    Field("BUILD_NUM", 0x8800_0001_0000_0002),
    Field("MINOR_VERSION", 0x0800_0001_0000_0003, read_mask=_U16),
    Field("MAJOR_VERSION", 0x0800_0001_0000_0004, read_mask=_U16),
    Field("UPDATE_VERSION", 0x0800_0001_0000_0005),
    Field("INTERNAL_VERSION", 0x0800_0001_0000_0006),
    Field("SYS_ATTRIBUTES", 0x0A00_0002_0000_0000, read_mask=_U32),
    Field("NUM_TDX_FEATURES", 0x0A00_0000_0000_0001, read_mask=_U8),
    Field("TDX_FEATURES0", 0x0A00_0003_0000_0008, read_mask=_U64),
    Field("NUM_CMRS", 0x9000_0001_0000_0000),
    Field("CMR_BASE", 0x9000_0003_0000_0080, fields=32),
    Field("CMR_SIZE", 0x9000_0003_0000_0100, fields=32),
    Field("ATTRIBUTES_FIXED0", 0x1900_0003_0000_0000),
    Field("ATTRIBUTES_FIXED1", 0x1900_0003_0000_0001),
    Field("XFAM_FIXED0", 0x1900_0003_0000_0002),
    Field("XFAM_FIXED1", 0x1900_0003_0000_0003),
)

SYS_VENDOR_INTEL: Final = 0x8086
#: TDX_FEATURES0 bit 18, which KVM insists on.
TDX_FEATURES0_NO_RBP_MOD: Final = 1 << 18
