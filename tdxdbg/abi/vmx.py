"""VMX exit reasons and qualification bits.

Names are the kernel's (EXIT_REASON_ dropped); numbers that the kernel does not
name have the TDX module's. Source: facts kernel_exits 1.3, 4.9,
ghci_and_guest 6.3, facts/data/vmx_exit_reasons.csv.
"""

from __future__ import annotations

from typing import Final

EXCEPTION_NMI: Final = 0
EXTERNAL_INTERRUPT: Final = 1
TRIPLE_FAULT: Final = 2
OTHER_SMI: Final = 6
CPUID: Final = 10
HLT: Final = 12
VMCALL: Final = 18
IO_INSTRUCTION: Final = 30
MSR_READ: Final = 31
MSR_WRITE: Final = 32
EPT_VIOLATION: Final = 48
EPT_MISCONFIG: Final = 49
BUS_LOCK: Final = 74
NOTIFY: Final = 75
TDCALL: Final = 77

BASIC_MASK: Final = 0xFFFF
BUS_LOCK_DETECTED: Final = 1 << 26
FAILED_VMENTRY: Final = 1 << 31

#: KVM's "no exit reason" up to 7.2, and from 7.3 on (facts: kernel_exits 1.3).
NO_EXIT_REASON: Final = 0xFFFF_FFFF
NO_EXIT_REASON_7_3: Final = 0xDEAD

INTR_INFO_VECTOR_MASK: Final = 0xFF
INTR_INFO_TYPE_MASK: Final = 0x700
INTR_INFO_VALID: Final = 1 << 31
INTR_TYPE_NMI: Final = 2 << 8
INTR_TYPE_HARD_EXCEPTION: Final = 3 << 8
MC_VECTOR: Final = 18
PF_VECTOR: Final = 14

EPT_VIOLATION_ACC_READ: Final = 1 << 0
EPT_VIOLATION_ACC_WRITE: Final = 1 << 1
EPT_VIOLATION_ACC_INSTR: Final = 1 << 2
EPT_VIOLATION_PROT_MASK: Final = 7 << 3
EPT_VIOLATION_EXEC_FOR_RING3_LIN: Final = 1 << 6
EPT_VIOLATION_GVA_IS_VALID: Final = 1 << 7
EPT_VIOLATION_GVA_TRANSLATED: Final = 1 << 8

NOTIFY_VM_CONTEXT_INVALID: Final = 1 << 0

EXIT_REASON_NAMES: Final[dict[int, str]] = {
    0: "EXCEPTION_NMI",
    1: "EXTERNAL_INTERRUPT",
    2: "TRIPLE_FAULT",
    3: "INIT_SIGNAL",
    4: "SIPI_SIGNAL",
    5: "SMI_IO_EVENT",
    6: "OTHER_SMI",
    7: "INTERRUPT_WINDOW",
    8: "NMI_WINDOW",
    9: "TASK_SWITCH",
    10: "CPUID",
    11: "GETSEC_INSTRUCTION",
    12: "HLT",
    13: "INVD",
    14: "INVLPG",
    15: "RDPMC",
    16: "RDTSC",
    17: "RSM_INSTRUCTION",
    18: "VMCALL",
    19: "VMCLEAR",
    20: "VMLAUNCH",
    21: "VMPTRLD",
    22: "VMPTRST",
    23: "VMREAD",
    24: "VMRESUME",
    25: "VMWRITE",
    26: "VMOFF",
    27: "VMON",
    28: "CR_ACCESS",
    29: "DR_ACCESS",
    30: "IO_INSTRUCTION",
    31: "MSR_READ",
    32: "MSR_WRITE",
    33: "INVALID_STATE",
    34: "MSR_LOAD_FAIL",
    35: "VMEXIT_FAILURE",
    36: "MWAIT_INSTRUCTION",
    37: "MONITOR_TRAP_FLAG",
    39: "MONITOR_INSTRUCTION",
    40: "PAUSE_INSTRUCTION",
    41: "MCE_DURING_VMENTRY",
    42: "C_STATE_SMI",
    43: "TPR_BELOW_THRESHOLD",
    44: "APIC_ACCESS",
    45: "EOI_INDUCED",
    46: "GDTR_IDTR",
    47: "LDTR_TR",
    48: "EPT_VIOLATION",
    49: "EPT_MISCONFIG",
    50: "INVEPT",
    51: "RDTSCP",
    52: "PREEMPTION_TIMER",
    53: "INVVPID",
    54: "WBINVD",
    55: "XSETBV",
    56: "APIC_WRITE",
    57: "RDRAND",
    58: "INVPCID",
    59: "VMFUNC",
    60: "ENCLS",
    61: "RDSEED",
    62: "PML_FULL",
    63: "XSAVES",
    64: "XRSTORS",
    65: "PCONFIG",
    66: "SPP_INDUCED",
    67: "UMWAIT",
    68: "TPAUSE",
    69: "LOADIWK_INSTRUCTION",
    70: "ENCLV_INSTRUCTION",
    71: "SGX_CONFLICT",
    72: "ENQCMD_PASID_TRANSLATION_FAILURE",
    73: "ENQCMDS_PASID_TRANSLATION_FAILURE",
    74: "BUS_LOCK",
    75: "NOTIFY",
    76: "SEAMCALL",
    77: "TDCALL",
}
