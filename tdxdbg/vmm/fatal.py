"""ReportFatalError: what the guest says (facts: ghci_and_guest 2.3, kernel_exits 4.3)."""

from __future__ import annotations

from typing import Final, NamedTuple

from tdxdbg.abi.ghci import FATAL_GPA_VALID, FATAL_TEXT_REGISTERS
from tdxdbg.abi.kvm import PAGE_SIZE
from tdxdbg.abi.regs import RCX, REG_NAMES
from tdxdbg.engine import KvmRun
from tdxdbg.vmm.ask import GuestMemory, number
from tdxdbg.vmm.shared import read_shared

#: data[] of the event as first posted; since 6.16 it is the register file.
_POSTED: Final = ("r12", "r13", *FATAL_TEXT_REGISTERS)
#: QEMU takes a code with one of these bits for none at all.
_RESERVED: Final = 0xFFFF


class Fatal(NamedTuple):
    """R12, R13 and the text registers of one report, those that the guest shows."""

    code: int
    gpa: int
    text: tuple[int, ...]


def of_event(run: KvmRun) -> Fatal:
    """Out of KVM_EXIT_SYSTEM_EVENT of type TDX_FATAL."""
    names: tuple[str, ...] = _POSTED
    shown: tuple[str, ...] = FATAL_TEXT_REGISTERS
    if run.get("ndata") != len(_POSTED):
        names = REG_NAMES
        mask = number(run, "data", RCX)
        shown = tuple(name for name in shown if mask >> REG_NAMES.index(name) & 1)
    return Fatal(
        number(run, "data", names.index("r12")),
        number(run, "data", names.index("r13")),
        tuple(number(run, "data", names.index(name)) for name in shown),
    )


def of_raw(run: KvmRun) -> Fatal:
    """Out of v19's raw exit; a register that is not shown is 0."""
    text = tuple(number(run, f"in_{name}") for name in FATAL_TEXT_REGISTERS)
    return Fatal(number(run, "in_r12"), number(run, "in_r13"), text)


def why(fatal: Fatal, memory: GuestMemory, shared_mask: int) -> str:
    """One line with the guest's own text in it, as it is: escape it where it is shown."""
    line = f"the guest reported a fatal error, code {fatal.code & 0xFFFF_FFFF:#x}"
    if fatal.code & _RESERVED:
        line += " (one that QEMU refuses: bits 15:0 are to be 0)"
    data = b"".join(value.to_bytes(8, "little") for value in fatal.text).rstrip(b"\0")
    if data:
        line += f": {_text(data)}"
    if fatal.code & FATAL_GPA_VALID:
        gpa = fatal.gpa & ~shared_mask
        page = read_shared(memory, gpa, PAGE_SIZE - gpa % PAGE_SIZE)
        if page is None:
            return f"{line}; no RAM at GPA {gpa:#x}, where more is to be read"
        more = page.partition(b"\0")[0]
        line += f"; at GPA {gpa:#x}: {_text(more)}"
    return line


def _text(data: bytes) -> str:
    """Latin-1 gives each byte a character of its own."""
    return data.decode("latin-1")
