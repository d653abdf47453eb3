"""The TDX module: what TDCALLs answer, what instructions become, Secure EPT. No I/O."""

from __future__ import annotations

from tdxdbg.module.access import FETCH, READ, WRITE
from tdxdbg.module.instructions import (
    cr_qualification,
    io_qualification,
    string_io_information,
)
from tdxdbg.module.operand import (
    SHARED_ABSENT,
    SHARED_MISCONFIGURED,
    SHARED_MMIO,
    SHARED_RAM,
)
from tdxdbg.module.results import (
    Entered,
    Guest,
    GuestMemory,
    InjectFault,
    InjectVe,
    Kind,
    ModuleExit,
    Native,
    Result,
    Resume,
    Retry,
    VeInfo,
)
from tdxdbg.module.sept import LEVEL_2M, LEVEL_4K, Entry, Sept, SeptState
from tdxdbg.module.state import LastExit, TdParams, TdState, VcpuState
from tdxdbg.module.tdx_module import ModuleCheckpoint, TdxModule
from tdxdbg.module.vp_enter import Host, Trouble

__all__ = [
    "FETCH",
    "LEVEL_2M",
    "LEVEL_4K",
    "READ",
    "SHARED_ABSENT",
    "SHARED_MISCONFIGURED",
    "SHARED_MMIO",
    "SHARED_RAM",
    "WRITE",
    "Entered",
    "Entry",
    "Guest",
    "GuestMemory",
    "Host",
    "InjectFault",
    "InjectVe",
    "Kind",
    "LastExit",
    "ModuleCheckpoint",
    "ModuleExit",
    "Native",
    "Result",
    "Resume",
    "Retry",
    "Sept",
    "SeptState",
    "TdParams",
    "TdState",
    "TdxModule",
    "Trouble",
    "VcpuState",
    "VeInfo",
    "cr_qualification",
    "io_qualification",
    "string_io_information",
]
