"""KVM's TDX exit handling as a deterministic, sans-IO state machine."""

from tdxdbg.engine.engine import Checkpoint, Engine
from tdxdbg.engine.generations import BY_NAME, GENERATIONS, Generation
from tdxdbg.engine.gpa import GpaMap
from tdxdbg.engine.kvm_run import KvmRun
from tdxdbg.engine.state import (
    Answer,
    Completer,
    HypercallAnswer,
    InKernel,
    Input,
    IoAnswer,
    MmioAnswer,
    Msr,
    MsrAnswer,
    Outcome,
    Phase,
    ProtocolError,
    Reentry,
    SetMemoryAttributes,
    Step,
    Td,
    TdExit,
    TdxAnswer,
    TdxRawAnswer,
    Vcpu,
)

__all__ = [
    "BY_NAME",
    "GENERATIONS",
    "Answer",
    "Checkpoint",
    "Completer",
    "Engine",
    "Generation",
    "GpaMap",
    "HypercallAnswer",
    "InKernel",
    "Input",
    "IoAnswer",
    "KvmRun",
    "MmioAnswer",
    "Msr",
    "MsrAnswer",
    "Outcome",
    "Phase",
    "ProtocolError",
    "Reentry",
    "SetMemoryAttributes",
    "Step",
    "Td",
    "TdExit",
    "TdxAnswer",
    "TdxRawAnswer",
    "Vcpu",
]
