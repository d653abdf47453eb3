"""What an intercepted instruction becomes (facts: ghci_and_guest 3.5).

An instruction is named by its VMX exit reason. Those that are not in the
table do not stop a TD: the CPU runs them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tdxdbg.abi import tdx_fields, vmx
from tdxdbg.abi import vmx_instructions as ins
from tdxdbg.module import control_registers, cpuid, inject, msr, stepping
from tdxdbg.module.results import NATIVE, Guest, Result
from tdxdbg.module.state import VcpuState

if TYPE_CHECKING:
    from tdxdbg.module.tdx_module import TdxModule

#: #VE with the exit reason, the raw qualification and instruction information.
GENERIC_VE: Final = frozenset(
    {
        vmx.HLT,
        ins.INVD,
        vmx.VMCALL,
        vmx.IO_INSTRUCTION,
        ins.MWAIT,
        ins.MONITOR,
        ins.WBINVD,
        ins.APIC_WRITE,
        ins.PCONFIG,
    }
)

#: #UD. Linux's documentation speaks of #GP for these; the module's source
#: injects #UD (facts: ghci_and_guest 9).
UNDEFINED: Final = frozenset(
    {
        ins.GETSEC,
        ins.RSM,
        ins.VMCLEAR,
        ins.VMLAUNCH,
        ins.VMPTRLD,
        ins.VMPTRST,
        ins.VMREAD,
        ins.VMRESUME,
        ins.VMWRITE,
        ins.VMXOFF,
        ins.VMXON,
        ins.INVEPT,
        ins.INVVPID,
        ins.VMFUNC,
        ins.ENCLS,
        ins.ENCLV,
        ins.ENQCMDS,
        ins.SEAMCALL,
    }
)

#: #GP at CPL above 0: the CPU checks that before it exits.
PRIVILEGED_GP: Final = frozenset(
    {
        vmx.HLT,
        ins.INVD,
        ins.WBINVD,
        ins.PCONFIG,
        ins.XSETBV,
        ins.CR_ACCESS,
        vmx.MSR_READ,
        vmx.MSR_WRITE,
    }
)
#: The same as #UD.
PRIVILEGED_UD: Final = frozenset({ins.MWAIT, ins.MONITOR})


def instruction(
    module: TdxModule,
    vcpu: VcpuState,
    guest: Guest,
    reason: int,
    qualification: int = 0,
    info: int = 0,
) -> Result:
    """The instruction at RIP, with its VM-exit qualification and instruction information.

    For TDCALL and for memory there are `tdcall` and `access`.
    """
    stepping.note_rip(vcpu, guest.rip)
    if guest.cpl:
        if reason in PRIVILEGED_GP:
            return inject.GP
        if reason in PRIVILEGED_UD:
            return inject.UD
    if reason in GENERIC_VE:
        return inject.instruction_ve(vcpu, guest, reason, qualification, info)
    if reason in UNDEFINED:
        return inject.UD
    handler = HANDLERS.get(reason)
    return NATIVE if handler is None else handler(module, vcpu, guest, qualification)


def _rdpmc(module: TdxModule, vcpu: VcpuState, guest: Guest, qualification: int) -> Result:
    """RDPMC exits only where the TD has no performance monitoring."""
    return NATIVE if module.params.attributes & tdx_fields.ATTRIBUTES_PERFMON else inject.GP


#: Exit reason -> handler; the qualification matters to a few of them.
HANDLERS: Final[dict[int, Callable[[TdxModule, VcpuState, Guest, int], Result]]] = {
    vmx.CPUID: lambda module, vcpu, guest, _: cpuid.cpuid(module, vcpu, guest),
    ins.RDPMC: _rdpmc,
    ins.CR_ACCESS: control_registers.cr_access,
    vmx.MSR_READ: lambda module, vcpu, guest, _: msr.rdmsr(module, vcpu, guest),
    vmx.MSR_WRITE: lambda module, vcpu, guest, _: msr.wrmsr(module, vcpu, guest),
    ins.XSETBV: lambda module, vcpu, guest, _: control_registers.xsetbv(module, vcpu, guest),
    ins.ENQCMD: lambda module, vcpu, guest, _: inject.GP,
}


# --- building qualifications ----------------------------------------------------------


def io_qualification(port: int, size: int, flags: int = 0) -> int:
    """The qualification of IN, OUT, INS, OUTS.

    `size` is 1, 2 or 4 bytes, `flags` of IO_IN, IO_STRING, IO_REP,
    IO_IMMEDIATE. Here 1 is IN; in Instruction.IO 1 is OUT.
    """
    return size - 1 | flags | (port & 0xFFFF) << ins.IO_PORT_SHIFT


def string_io_information(address_bits: int, segment: int = 0) -> int:
    """Instruction information of INS and OUTS.

    `address_bits` is 16, 32 or 64; `segment` counts ES CS SS DS FS GS and
    means something for OUTS.
    """
    size = {16: 0, 32: 1, 64: 2}[address_bits]
    return size << ins.INS_OUTS_ADDRESS_SIZE_SHIFT | segment << ins.INS_OUTS_SEGMENT_SHIFT


def cr_qualification(register: int, gpr: int, kind: int = ins.CR_MOV_TO) -> int:
    """The qualification of a MOV to or from a control register."""
    return register | kind << 4 | gpr << 8
