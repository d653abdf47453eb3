"""GHCI: TDG.VP.VMCALL sub-functions, status codes, argument names.

Source of the numbers: facts kernel_exits 1.1, 1.2 and ghci_and_guest 2.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Status(IntEnum):
    """What R10 says after a standard TDVMCALL."""

    SUCCESS = 0x0000_0000_0000_0000
    RETRY = 0x0000_0000_0000_0001
    INVALID_OPERAND = 0x8000_0000_0000_0000
    GPA_INUSE = 0x8000_0000_0000_0001
    ALIGN_ERROR = 0x8000_0000_0000_0002
    SUBFUNC_UNSUPPORTED = 0x8000_0000_0000_0003


class SubFunction(IntEnum):
    """R11 of a standard TDVMCALL (R10 = 0). A guest can write any number."""

    CPUID = 10
    HLT = 12
    IO = 30
    RDMSR = 31
    WRMSR = 32
    MMIO = 48
    WBINVD = 54
    PCONFIG = 65
    GET_TD_VM_CALL_INFO = 0x10000
    MAP_GPA = 0x10001
    GET_QUOTE = 0x10002
    REPORT_FATAL_ERROR = 0x10003
    SETUP_EVENT_NOTIFY_INTERRUPT = 0x10004
    SERVICE = 0x10005
    MIGTD = 0x10006


#: The names that the GHCI uses, by R11.
SUB_FUNCTION_NAMES: Final[dict[int, str]] = {
    SubFunction.CPUID: "Instruction.CPUID",
    SubFunction.HLT: "Instruction.HLT",
    SubFunction.IO: "Instruction.IO",
    SubFunction.RDMSR: "Instruction.RDMSR",
    SubFunction.WRMSR: "Instruction.WRMSR",
    SubFunction.MMIO: "#VE.RequestMMIO",
    SubFunction.WBINVD: "Instruction.WBINVD",
    SubFunction.PCONFIG: "Instruction.PCONFIG",
    SubFunction.GET_TD_VM_CALL_INFO: "GetTdVmCallInfo",
    SubFunction.MAP_GPA: "MapGPA",
    SubFunction.GET_QUOTE: "GetQuote",
    SubFunction.REPORT_FATAL_ERROR: "ReportFatalError",
    SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT: "SetupEventNotifyInterrupt",
    SubFunction.SERVICE: "Service",
    SubFunction.MIGTD: "MigTD",
}

#: The same, short enough for a column and for the filter language.
SUB_FUNCTION_SHORT: Final[dict[int, str]] = {
    number: name.removeprefix("Instruction.").removeprefix("#VE.Request")
    for number, name in SUB_FUNCTION_NAMES.items()
}

#: What each operand register means, by R11 (facts: ghci_and_guest 2.1).
ARGUMENTS: Final[dict[int, tuple[tuple[str, str], ...]]] = {
    SubFunction.CPUID: (("r12", "EAX (leaf)"), ("r13", "ECX (sub-leaf)")),
    SubFunction.HLT: (("r12", "interrupts blocked"),),
    SubFunction.IO: (("r12", "size"), ("r13", "direction"), ("r14", "port"), ("r15", "value")),
    SubFunction.RDMSR: (("r12", "MSR"),),
    SubFunction.WRMSR: (("r12", "MSR"), ("r13", "value")),
    SubFunction.MMIO: (("r12", "size"), ("r13", "direction"), ("r14", "GPA"), ("r15", "value")),
    SubFunction.WBINVD: (("r12", "WBNOINVD"),),
    SubFunction.GET_TD_VM_CALL_INFO: (("r12", "leaf"),),
    SubFunction.MAP_GPA: (("r12", "GPA"), ("r13", "size")),
    SubFunction.GET_QUOTE: (("r12", "GPA"), ("r13", "size")),
    SubFunction.REPORT_FATAL_ERROR: (
        ("r12", "error code"),
        ("r13", "GPA of the text page"),
        ("r14", "text 0"),
        ("r15", "text 1"),
        ("rbx", "text 2"),
        ("rdi", "text 3"),
        ("rsi", "text 4"),
        ("r8", "text 5"),
        ("r9", "text 6"),
        ("rdx", "text 7"),
    ),
    SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT: (("r12", "vector"),),
    SubFunction.SERVICE: (
        ("r12", "command GPA"),
        ("r13", "response GPA"),
        ("r14", "notify vector"),
        ("r15", "timeout"),
    ),
    SubFunction.MIGTD: (("r12", "leaf function and version"),),
}

#: The registers that carry the text of ReportFatalError, 8 bytes each, little
#: endian, in this order (facts: ghci_and_guest 2.3).
FATAL_TEXT_REGISTERS: Final = ("r14", "r15", "rbx", "rdi", "rsi", "r8", "r9", "rdx")

#: R12 bit 63: R13 is the GPA of a page with a longer text.
FATAL_GPA_VALID: Final = 1 << 63


def shared_bit(gpaw: int) -> int:
    """The shared-bit mask of a TD with this GPA width (48 or 52)."""
    return 1 << (gpaw - 1)
