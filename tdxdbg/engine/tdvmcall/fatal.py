"""ReportFatalError: R12 code, R13 GPA of a page, text in registers (facts: kernel_exits 4.3)."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from tdxdbg.abi.ghci import FATAL_TEXT_REGISTERS
from tdxdbg.abi.kvm import SYSTEM_EVENT_TDX_FATAL, Exit
from tdxdbg.abi.regs import R12, R13, RBP, RCX, REG_NAMES
from tdxdbg.engine import kvm_run, notes
from tdxdbg.engine.put import to_userspace
from tdxdbg.engine.state import Completer, Input, Outcome, TdExit, Vcpu

if TYPE_CHECKING:
    from tdxdbg.engine.engine import Engine

_DUMP: Final = Struct("<II16Q")
_PARSED: Final = Struct("<II10Q")
_TEXT: Final = tuple(REG_NAMES.index(name) for name in FATAL_TEXT_REGISTERS)


def handle_dump(kvm: Engine, vcpu: Vcpu, event: Input) -> Outcome:
    """6.16: all registers in x86 order, ndata 16; RAX is what TDH.VP.ENTER returned."""
    vp_enter_ret = event.vp_enter_ret if type(event) is TdExit else 0
    regs = vcpu.regs
    values = (vp_enter_ret, *regs[RCX:4], 0, 0, *regs[RBP + 1 :])
    return _exit(vcpu, _DUMP.pack(SYSTEM_EVENT_TDX_FATAL, 16, *values))


def handle_parsed(kvm: Engine, vcpu: Vcpu, event: Input) -> Outcome:
    """v1: code, GPA, then the eight text registers, 0 where RCX does not select one; ndata 10."""
    regs = vcpu.regs
    mask = regs[RCX]
    text = (regs[number] if mask >> number & 1 else 0 for number in _TEXT)
    return _exit(vcpu, _PARSED.pack(SYSTEM_EVENT_TDX_FATAL, 10, regs[R12], regs[R13], *text))


def _exit(vcpu: Vcpu, head: bytes) -> Outcome:
    vcpu.notes += (notes.FATAL,)
    return to_userspace(
        vcpu,
        Exit.SYSTEM_EVENT,
        kvm_run.SYSTEM_EVENT,
        head + vcpu.union[len(head) :],
        (1 << len(head)) - 1,
        Completer.NONE,
    )
