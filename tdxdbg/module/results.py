"""What goes into the module from a vCPU, and what comes out.

Messages are frozen tuples. A vCPU that stopped hands in a `Guest`; the answer
says what happens next: the instruction runs as it is, registers are loaded,
an exception is delivered, or the TD exits to the host.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Literal, NamedTuple, Protocol

from tdxdbg.abi.regs import Regs


class Guest(NamedTuple):
    """The state of a vCPU at the instruction that stopped it.

    `regs` are all sixteen registers of the guest, as it has them; `rip` is at
    the instruction, whose length is `length` bytes. `is_64bit`: CS.L in long
    mode. `tsc` counts the platform's ticks. `interrupt_pending`: an interrupt
    could be delivered now (facts: ghci_and_guest 1.1, interruptible leaves).
    """

    regs: Regs
    rip: int = 0
    length: int = 0
    cpl: int = 0
    is_64bit: bool = True
    cr0: int = 0x8005_0033
    cr4: int = 0x0000_0660
    efer: int = 0xD01
    xcr0: int = 1
    xss: int = 0
    tsc: int = 0
    interrupt_pending: bool = False


class VeInfo(NamedTuple):
    """VE_INFO, as TDG.VP.VEINFO.GET hands it out (facts: ghci_and_guest 3.6).

    `gpa` has the shared bit; `length` is the instruction's, in bytes, and says
    nothing for reason 48; `info` is the VM-exit instruction information.
    """

    reason: int
    qualification: int = 0
    gla: int = 0
    gpa: int = 0
    length: int = 0
    info: int = 0


class Kind(IntEnum):
    """Which result it is, for a dispatch that does not look at types."""

    NATIVE = 0
    RESUME = 1
    RETRY = 2
    INJECT_VE = 3
    INJECT_FAULT = 4
    MODULE_EXIT = 5
    ENTERED = 6


class Native(NamedTuple):
    """The CPU executes the instruction (or the access) by itself."""

    kind: Literal[Kind.NATIVE] = Kind.NATIVE


class Resume(NamedTuple):
    """The module did it: load `regs`, go on behind the instruction."""

    regs: Regs
    kind: Literal[Kind.RESUME] = Kind.RESUME


class Retry(NamedTuple):
    """Deliver the pending interrupt, then execute the instruction again."""

    kind: Literal[Kind.RETRY] = Kind.RETRY


class InjectVe(NamedTuple):
    """#VE (vector 20, no error code); `info` is in VE_INFO already.

    RIP stays on the instruction.
    """

    info: VeInfo
    kind: Literal[Kind.INJECT_VE] = Kind.INJECT_VE


class InjectFault(NamedTuple):
    """Another exception; RIP stays. `cr2` is there for a #PF."""

    vector: int
    error_code: int | None = None
    cr2: int | None = None
    kind: Literal[Kind.INJECT_FAULT] = Kind.INJECT_FAULT


class ModuleExit(NamedTuple):
    """TDH.VP.ENTER returns to the host.

    `vp_enter_ret` is its RAX, `regs` what the host sees (facts: ghci_and_guest
    6.1 to 6.3); RAX of `regs` is 0. `advance`: the exit is trap-like, so the
    guest's RIP goes behind the instruction before it is saved.
    """

    vp_enter_ret: int
    regs: Regs
    advance: bool = False
    kind: Literal[Kind.MODULE_EXIT] = Kind.MODULE_EXIT


class Entered(NamedTuple):
    """TDH.VP.ENTER entered the TD: load `regs`, then deliver `inject`, if any."""

    regs: Regs
    inject: InjectVe | None = None
    kind: Literal[Kind.ENTERED] = Kind.ENTERED


Injection = InjectVe | InjectFault
Result = Native | Resume | Retry | Injection | ModuleExit

NATIVE: Final = Native()
RETRY: Final = Retry()


class GuestMemory(Protocol):
    """The TD's memory as the module reaches it.

    A GPA with the shared bit is in shared memory, one without in private
    memory. The module has checked that the page is there.
    """

    def read_gpa(self, gpa: int, size: int) -> bytes:
        """`size` bytes; they do not cross a page."""
        ...

    def write_gpa(self, gpa: int, data: bytes) -> None:
        """Bytes that do not cross a page."""
        ...

    def zero_gpa(self, gpa: int, size: int) -> None:
        """Clear private memory; `gpa` and `size` are whole pages, in bytes."""
        ...
