"""VMX exit reasons of instructions, exception vectors, qualification layouts.

Source: facts ghci_and_guest 3.5, 3.6 and facts/data/vmx_exit_reasons.csv;
vectors and error codes are the architecture's.
"""

from __future__ import annotations

from typing import Final

INIT_SIGNAL: Final = 3
TASK_SWITCH: Final = 9
GETSEC: Final = 11
INVD: Final = 13
RDPMC: Final = 15
RSM: Final = 17
VMCLEAR: Final = 19
VMLAUNCH: Final = 20
VMPTRLD: Final = 21
VMPTRST: Final = 22
VMREAD: Final = 23
VMRESUME: Final = 24
VMWRITE: Final = 25
VMXOFF: Final = 26
VMXON: Final = 27
CR_ACCESS: Final = 28
MWAIT: Final = 36
MONITOR: Final = 39
MCE_DURING_VMENTRY: Final = 41
C_STATE_SMI: Final = 42
INVEPT: Final = 50
INVVPID: Final = 53
WBINVD: Final = 54
XSETBV: Final = 55
APIC_WRITE: Final = 56
VMFUNC: Final = 59
ENCLS: Final = 60
PCONFIG: Final = 65
ENCLV: Final = 70
ENQCMD: Final = 72
ENQCMDS: Final = 73
SEAMCALL: Final = 76

UD_VECTOR: Final = 6
DF_VECTOR: Final = 8
GP_VECTOR: Final = 13
VE_VECTOR: Final = 20

PFEC_P: Final = 1 << 0
PFEC_W: Final = 1 << 1
PFEC_U: Final = 1 << 2
PFEC_RSVD: Final = 1 << 3
PFEC_I: Final = 1 << 4

# I/O qualification: [2:0] size - 1, then flags, [31:16] port.
IO_IN: Final = 1 << 3
IO_STRING: Final = 1 << 4
IO_REP: Final = 1 << 5
IO_IMMEDIATE: Final = 1 << 6
IO_PORT_SHIFT: Final = 16

# Instruction information of INS and OUTS: [9:7] address size (0: 16, 1: 32,
# 2: 64 bit), [17:15] segment of an OUTS (ES CS SS DS FS GS).
INS_OUTS_ADDRESS_SIZE_SHIFT: Final = 7
INS_OUTS_SEGMENT_SHIFT: Final = 15

# CR access qualification: [3:0] register, [5:4] kind, [11:8] GPR, [31:16] LMSW data.
CR_MOV_TO: Final = 0
CR_MOV_FROM: Final = 1
CR_CLTS: Final = 2
CR_LMSW: Final = 3

CR0_PE: Final = 1 << 0
CR0_NE: Final = 1 << 5
CR0_WP: Final = 1 << 16
CR0_NW: Final = 1 << 29
CR0_CD: Final = 1 << 30
CR0_PG: Final = 1 << 31

CR4_MCE: Final = 1 << 6
CR4_VMXE: Final = 1 << 13
CR4_SMXE: Final = 1 << 14
CR4_PCIDE: Final = 1 << 17
CR4_OSXSAVE: Final = 1 << 18
CR4_KL: Final = 1 << 19
CR4_PKE: Final = 1 << 22
CR4_CET: Final = 1 << 23
CR4_PKS: Final = 1 << 24
CR4_UINTR: Final = 1 << 25
#: Bits that exist: VME..UMIP, LA57, VMXE, SMXE, FSGSBASE, PCIDE, OSXSAVE, KL,
#: SMEP, SMAP, PKE, CET, PKS, UINTR.
CR4_DEFINED: Final = 0x03FF_7FFF

EFER_SCE: Final = 1 << 0
EFER_LMA: Final = 1 << 10

DEBUGCTL_TR: Final = 1 << 6
DEBUGCTL_BTS: Final = 1 << 7
DEBUGCTL_ENABLE_UNCORE_PMI: Final = 1 << 13
DEBUGCTL_FREEZE_WHILE_SMM: Final = 1 << 14
DEBUGCTL_RTM: Final = 1 << 15
#: LBR BTF BLD TR BTS BTINT BTS_OFF_OS BTS_OFF_USR FRZ_LBR FRZ_PERFMON PMI SMM RTM.
DEBUGCTL_DEFINED: Final = 0xFFC7

#: Bits 12:7 of an EPT violation's qualification never reach the host.
EPT_QUALIFICATION_HIDDEN: Final = 0x1F80

#: #VE information and qualification of an access whose linear address is
#: valid and which was no page walk.
EPT_QUALIFICATION_LINEAR: Final = 0x180

INTR_INFO_NMI: Final = 0x8000_0202
INTR_INFO_MC: Final = 0x8000_0312
#: Exit qualification bit 0 of an SMI exit: a machine-check SMI.
SMI_MSMI: Final = 1 << 0
