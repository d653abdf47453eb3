"""MOV to CR0 and CR4, XSETBV (facts: ghci_and_guest 3.5, 3.6).

What is illegal for the CPU or for the TD's XFAM is a #GP; what is legal but
not compatible with TDX is a #VE with reason 28. Native: the CPU may do it.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from tdxdbg.abi import tdx_fields
from tdxdbg.abi import vmx_instructions as ins
from tdxdbg.abi.regs import RAX, RCX, RDX
from tdxdbg.module import inject
from tdxdbg.module.results import NATIVE, Guest, Result
from tdxdbg.module.state import TdParams, VcpuState

if TYPE_CHECKING:
    from tdxdbg.module.tdx_module import TdxModule

_REGISTER_MASK: Final = 0xF
_KIND_SHIFT: Final = 4
_GPR_SHIFT: Final = 8

_CR0_HIGH: Final = ~0xFFFF_FFFF


class _Verdict(Enum):
    """What a new value of a control register leads to."""

    FINE = 0
    GP = 1
    VE = 2


def cr_access(module: TdxModule, vcpu: VcpuState, guest: Guest, qualification: int) -> Result:
    """td_cr_access_exit; the value comes from the register that the qualification names."""
    kind = qualification >> _KIND_SHIFT & 3
    register = qualification & _REGISTER_MASK
    if kind != ins.CR_MOV_TO or register not in (0, 4):
        # LMSW reaches MP, EM and TS only, which are the guest's.
        return NATIVE
    value = guest.regs[qualification >> _GPR_SHIFT & 0xF]
    if not guest.is_64bit:
        value &= 0xFFFF_FFFF
    verdict = _cr0(guest, value) if register == 0 else _cr4(module.params, guest, value)
    if verdict is _Verdict.VE:
        return inject.instruction_ve(vcpu, guest, ins.CR_ACCESS, qualification)
    return NATIVE if verdict is _Verdict.FINE else inject.GP


def _cr0(guest: Guest, value: int) -> _Verdict:
    cache_off = value & ins.CR0_CD
    if value & _CR0_HIGH or (value & ins.CR0_NW and not cache_off):
        return _Verdict.GP
    if value & ins.CR0_PG and not value & ins.CR0_PE:
        return _Verdict.GP
    if guest.cr4 & ins.CR4_CET and not value & ins.CR0_WP:
        return _Verdict.GP
    wanted = ins.CR0_PE | ins.CR0_NE
    return _Verdict.VE if cache_off or value & wanted != wanted else _Verdict.FINE


def _cr4(params: TdParams, guest: Guest, value: int) -> _Verdict:
    if value & ~ins.CR4_DEFINED or value & _cr4_bits_that_the_td_lacks(params):
        return _Verdict.GP
    if value & ins.CR4_CET and not guest.cr0 & ins.CR0_WP:
        return _Verdict.GP
    compatible = value & ins.CR4_MCE and not value & (ins.CR4_VMXE | ins.CR4_SMXE)
    return _Verdict.FINE if compatible else _Verdict.VE


def _cr4_bits_that_the_td_lacks(params: TdParams) -> int:
    """Key Locker is in no TD; the others depend on XFAM and ATTRIBUTES."""
    bits = ins.CR4_KL
    if not params.xfam & tdx_fields.XFAM_PKRU:
        bits |= ins.CR4_PKE
    if not params.xfam & tdx_fields.XFAM_CET:
        bits |= ins.CR4_CET
    if not params.xfam & tdx_fields.XFAM_UINTR:
        bits |= ins.CR4_UINTR
    if not params.attributes & tdx_fields.ATTRIBUTES_PKS:
        bits |= ins.CR4_PKS
    return bits


def xsetbv(module: TdxModule, vcpu: VcpuState, guest: Guest) -> Result:
    """td_xsetbv_instruction_exit: XCR0 within XFAM, in a legal combination."""
    regs = guest.regs
    value = regs[RAX] & 0xFFFF_FFFF | (regs[RDX] & 0xFFFF_FFFF) << 32
    if regs[RCX] & 0xFFFF_FFFF or not _xcr0_is_legal(module.params.xfam, value):
        return inject.GP
    return NATIVE


def _xcr0_is_legal(xfam: int, value: int) -> bool:
    if value & ~(xfam & ~tdx_fields.XFAM_SUPERVISOR) or not value & 1:
        return False
    if value & tdx_fields.XFAM_AVX and not value & tdx_fields.XFAM_SSE:
        return False
    if value & tdx_fields.XFAM_AVX512 and not value & tdx_fields.XFAM_AVX:
        return False
    whole = (tdx_fields.XFAM_AVX512, tdx_fields.XFAM_AMX)
    return all(value & group in (0, group) for group in whole)
