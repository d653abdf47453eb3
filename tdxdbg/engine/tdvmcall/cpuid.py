"""Instruction.CPUID: R12 EAX, R13 ECX; never exits (facts: kernel_exits 4.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tdxdbg.abi.regs import R12, R13, Regs
from tdxdbg.engine import notes
from tdxdbg.engine.state import Input, Outcome, Td, Vcpu

if TYPE_CHECKING:
    from tdxdbg.engine.engine import Engine


#: EDX is the vCPU's x2APIC id, whatever the sub-leaf.
_TOPOLOGY: Final = (0xB, 0x1F)
_NOTHING: Final = (0, 0, 0, 0)


def handle(kvm: Engine, vcpu: Vcpu, event: Input) -> Outcome:
    """tdx_emulate_cpuid: an entry that userspace did not set reads as zeros."""
    regs = vcpu.regs
    leaf, sub_leaf = regs[R12] & 0xFFFF_FFFF, regs[R13] & 0xFFFF_FFFF
    if leaf in _TOPOLOGY:
        values = _topology(kvm.td, leaf, sub_leaf, vcpu.index)
    else:
        values = kvm.td.cpuid.get((leaf, sub_leaf), _NOTHING)
    vcpu.regs = Regs._make((*regs[:R12], *values))
    vcpu.notes += (notes.CPUID,)
    return Outcome.REENTER_TD


def _topology(td: Td, leaf: int, sub_leaf: int, index: int) -> tuple[int, int, int, int]:
    """kvm_cpuid: sub-leaves that userspace did not set still have CL and the x2APIC id."""
    known = td.cpuid.get((leaf, 1))
    if known is None:
        return td.cpuid.get((leaf, sub_leaf), _NOTHING)
    eax, ebx, ecx, _ = td.cpuid.get((leaf, sub_leaf), (0, 0, sub_leaf & 0xFF, 0))
    return eax, ebx, ecx, known[3] + index
