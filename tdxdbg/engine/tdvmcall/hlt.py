"""Instruction.HLT: halts in the kernel, KVM_EXIT_HLT cannot happen (facts: kernel_exits 4.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdxdbg.engine import notes
from tdxdbg.engine.state import HALTED, Input, Outcome, Vcpu

if TYPE_CHECKING:
    from tdxdbg.engine.engine import Engine


def handle(kvm: Engine, vcpu: Vcpu, event: Input) -> Outcome:
    """kvm_emulate_halt_noskip: the TD is entered again when an event wakes the vCPU."""
    vcpu.effects |= HALTED
    vcpu.notes += (notes.HLT,)
    return Outcome.REENTER_TD
