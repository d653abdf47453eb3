"""What the CPU asks of the TDX module, and of KVM's memory management.

`tdxdbg.module.TdxModule` is one; `td.Module` adds what a machine needs.
"""

from __future__ import annotations

from typing import Any, Protocol

from tdxdbg.abi.regs import Regs
from tdxdbg.module.results import Entered, Guest, ModuleExit, Result


class Module(Protocol):
    """One TD's module; vCPUs by index. Results are those of `tdxdbg.module.results`."""

    def start(self, vcpu: int, regs: Regs, rip: int) -> None:
        """The registers and RIP of a vCPU before its first entry."""
        ...

    def vp_enter(self, vcpu: int, regs: Regs) -> Entered | ModuleExit:
        """TDH.VP.ENTER."""
        ...

    def tdcall(self, vcpu: int, guest: Guest) -> Result:
        """TDCALL."""
        ...

    def instruction(
        self, vcpu: int, guest: Guest, reason: int, qualification: int = 0, info: int = 0
    ) -> Result:
        """An instruction by VMX exit reason; NATIVE: the CPU does it."""
        ...

    def access(self, vcpu: int, guest: Guest, gpa: int, kind: int, gla: int) -> Result:
        """A memory access; `gpa` with the shared bit; NATIVE: the page can be reached."""
        ...

    def event(
        self, vcpu: int, guest: Guest, reason: int, qualification: int = 0, intr_info: int = 0
    ) -> ModuleExit:
        """A triple fault, an interrupt for the host, ...: always a TD exit."""
        ...

    def is_mapped(self, gpa: int) -> bool:
        """Whether an access to a private GPA needs nobody's help."""
        ...

    def map_private(self, gpa: int, size: int, level: int = 0) -> None:
        """KVM maps what is absent of a private range (bytes)."""
        ...

    def map_shared(self, gpa: int, size: int, kind: int = 0) -> None:
        """KVM's own EPT for a shared range (bytes): SHARED_RAM or SHARED_MMIO."""
        ...

    def convert(self, gpa: int, size: int, *, private: bool) -> None:
        """Memory attributes of a range changed."""
        ...

    def checkpoint(self) -> Any:
        """All it remembers; later calls do not change it."""
        ...

    def restore(self, checkpoint: Any) -> None:
        """Back to a checkpoint of the same module."""
        ...
