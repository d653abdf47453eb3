"""The text of ReportFatalError, out of registers or out of a system event."""

from __future__ import annotations

from typing import Final

from tdxdbg.abi import kvm
from tdxdbg.abi.ghci import FATAL_TEXT_REGISTERS
from tdxdbg.abi.regs import RCX, REG_NAMES
from tdxdbg.decode.node import Operands
from tdxdbg.engine.kvm_run import KvmRun

#: data[] of the event as first posted: code, GPA, then the text registers; since
#: 6.16 it is the register file, RAX being what TDH.VP.ENTER returned
#: (facts: kernel_exits 4.3).
POSTED_LAYOUT: Final = ("r12", "r13", *FATAL_TEXT_REGISTERS)


def fatal_registers(ndata: int) -> tuple[str, ...]:
    """Which register each entry of a TDX_FATAL event's data is, by its length."""
    return POSTED_LAYOUT if ndata == len(POSTED_LAYOUT) else REG_NAMES


def fatal_text(ops: Operands) -> bytes | None:
    """The text of ReportFatalError, without its zero padding; what the guest wrote.

    Registers in GHCI order, 8 bytes each, little endian; those that RCX does
    not select are left out, as QEMU does. None when a selected one was not
    recorded (facts: ghci_and_guest 2.3).
    """
    pieces = []
    for name in FATAL_TEXT_REGISTERS:
        if ops.hidden(name):
            continue
        value = ops.get(name)
        if value is None:
            return None
        pieces.append(value.to_bytes(8, "little"))
    return b"".join(pieces).rstrip(b"\0")


def event_text(run: KvmRun) -> bytes | None:
    """The same out of KVM_EXIT_SYSTEM_EVENT; None when it is no TDX_FATAL or not all known."""
    if run.get("type") != kvm.SYSTEM_EVENT_TDX_FATAL:
        return None
    ndata = run.get("ndata")
    if ndata not in (len(POSTED_LAYOUT), len(REG_NAMES)):
        return None
    names = fatal_registers(ndata)
    mask = run.get("data", RCX) if names is REG_NAMES else None
    values = [
        run.get("data", names.index(name))
        for name in FATAL_TEXT_REGISTERS
        if mask is None or mask >> REG_NAMES.index(name) & 1
    ]
    known = [value.to_bytes(8, "little") for value in values if value is not None]
    return b"".join(known).rstrip(b"\0") if len(known) == len(values) else None
