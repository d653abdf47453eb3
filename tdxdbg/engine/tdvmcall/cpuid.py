"""Instruction.CPUID: R12 EAX, R13 ECX; never exits (facts: kernel_exits 4.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdxdbg.abi.regs import R12, R13, Regs
from tdxdbg.engine import notes
from tdxdbg.engine.state import Input, Outcome, Vcpu

if TYPE_CHECKING:
    from tdxdbg.engine.engine import Engine


def handle(kvm: Engine, vcpu: Vcpu, event: Input) -> Outcome:
    """tdx_emulate_cpuid: an entry that userspace did not set reads as zeros."""
    regs = vcpu.regs
    leaf = regs[R12] & 0xFFFF_FFFF, regs[R13] & 0xFFFF_FFFF
    vcpu.regs = Regs._make((*regs[:R12], *kvm.td.cpuid.get(leaf, (0, 0, 0, 0))))
    vcpu.notes += (notes.CPUID,)
    return Outcome.REENTER_TD
