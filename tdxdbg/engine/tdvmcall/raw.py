"""v19's raw KVM_EXIT_TDX: whatever the kernel does not handle (facts: kernel_exits 4.8).

Its mask constants for RBX and RDX are swapped (RBX = bit 2, RDX = bit 3; the
hardware has RDX 2, RBX 3): with a mask that selects only one of them the wrong
register is copied. Not visible with 0xffcc.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.kvm import TDX_VMCALL, Exit
from tdxdbg.abi.regs import R10, R11, R12, R13, RBX, RCX, RDX, REG_NAMES, U64, Regs
from tdxdbg.engine import kvm_run, notes
from tdxdbg.engine.put import to_userspace
from tdxdbg.engine.state import Completer, Input, Outcome, Reentry, Vcpu

if TYPE_CHECKING:
    from tdxdbg.engine.engine import Engine

_IN: Final = Struct("<II13Q")
_OUT: Final = Struct("<12Q")
_OUT_AT: Final = 112
_SIZE: Final = 208

#: (register, bit of RCX that v19 looks at), in the order of the struct.
_REGISTERS: Final = tuple(
    (number, {RBX: RDX, RDX: RBX}.get(number, number))
    for number in (REG_NAMES.index(name) for name in kvm_run.RAW_REGISTERS)
)


def handle(kvm: Engine, vcpu: Vcpu, event: Input) -> Outcome:
    """tdx_vp_vmcall_to_user: in_* and out_* both hold the selected registers."""
    regs = vcpu.regs
    mask = regs[RCX]
    values = [regs[number] if mask >> bit & 1 else 0 for number, bit in _REGISTERS]
    head = _IN.pack(TDX_VMCALL, 0, mask, *values) + _OUT.pack(*values)
    vcpu.notes += (notes.UNKNOWN_SUB_FUNCTION, notes.RAW_EXIT)
    return to_userspace(
        vcpu,
        Exit.TDX,
        kvm_run.TDX_RAW,
        head + vcpu.union[_SIZE:],
        (1 << _SIZE) - 1 & ~0xF0,
        Completer.RAW,
    )


def complete(kvm: Engine, vcpu: Vcpu, event: Reentry) -> Outcome:
    """tdx_complete_vp_vmcall: every selected register is loaded from out_*."""
    asked = vcpu.regs
    mask = asked[RCX]
    values = list(asked)
    for (number, bit), value in zip(_REGISTERS, _OUT.unpack_from(vcpu.union, _OUT_AT), strict=True):
        if mask >> bit & 1:
            values[number] = value
    vcpu.regs = Regs._make(values)
    _convert(kvm, asked, vcpu.regs)
    vcpu.notes += (notes.RAW_COMPLETE,)
    return Outcome.REENTER_TD


def _convert(kvm: Engine, asked: Regs, answered: Regs) -> None:
    """MapGPA is userspace's business in v19: its status says what it converted."""
    if asked[R11] != SubFunction.MAP_GPA or answered[R10] not in (0, 1):
        return
    gpa, size, stop = asked[R12], asked[R13], answered[R11]
    if answered[R10] and not gpa <= stop < gpa + size:
        return
    shared_mask = kvm.td.shared_mask
    length = stop - gpa if answered[R10] else min(size, U64 - gpa)
    kvm.converted(gpa & ~shared_mask, length, private=not gpa & shared_mask)
