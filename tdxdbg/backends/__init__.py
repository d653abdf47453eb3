"""Below KVM: who runs a TD's vCPUs.

A backend is imported when it is opened: the emulated one loads a C library.
"""

from __future__ import annotations

from enum import Enum
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from tdxdbg.abi.regs import Regs
from tdxdbg.engine.state import TdExit
from tdxdbg.errors import BackendError

if TYPE_CHECKING:
    from tdxdbg.backends.emulated.td import TdConfig


class Why(Enum):
    """Why a backend came back without a TD exit."""

    #: Somebody asked for it.
    INTERRUPTED = "interrupted"
    #: The instruction count that was asked for is reached.
    INSTRUCTIONS = "instruction count reached"
    #: The budget of TD exits is used up.
    EXITS = "exit budget used up"
    #: Every vCPU in the TD is halted, and no timer will wake one.
    IDLE = "all vCPUs are halted and nothing will wake them"
    #: Likewise, until the TSC is `address`; only if the machine was asked to say so.
    ASLEEP = "all vCPUs are halted until a timer fires"
    #: No vCPU is in the TD.
    NOTHING_TO_RUN = "no vCPU is in the TD"
    #: A breakpoint: the instruction at `address` comes next, and was not begun.
    BREAKPOINT = "breakpoint"
    #: A write to watched memory comes next; or the host has just done one.
    WATCHPOINT = "watchpoint"
    #: The emulator gave up; `detail` says how.
    BROKEN = "the emulator cannot go on"


class Pause(NamedTuple):
    """The TD stands still between two instructions; `vcpu` ran last.

    `address`: the linear address of the instruction (BREAKPOINT), or the GPA
    (without the shared bit) of the first watched byte that is written;
    `size` bytes of it (WATCHPOINT). `linear`: where the write went, -1 where
    that is not known. `detail` is for a person.
    """

    why: Why
    vcpu: int
    detail: str = ""
    address: int = 0
    size: int = 0
    linear: int = -1


class Backend(Protocol):
    """Runs the vCPUs of one TD."""

    def vp_enter(self, vcpu: int, regs: Regs, *, halted: bool = False) -> TdExit | Pause:
        """TDH.VP.ENTER of a vCPU that is out, then run until some vCPU exits.

        `halted`: KVM keeps it until an interrupt comes.
        """
        ...

    def enter(self, vcpu: int, regs: Regs, *, halted: bool = False) -> TdExit | None:
        """The first half of `vp_enter`; None: the vCPU is in the TD."""
        ...

    def resume(self) -> TdExit | Pause:
        """Go on after a Pause."""
        ...

    def read_gpa(self, gpa: int, size: int) -> bytes | None:
        """Guest memory (bytes; the shared bit does not matter); None: not there."""
        ...

    def checkpoint(self) -> Any:
        """The whole machine, for `restore` of the same backend."""
        ...

    def restore(self, checkpoint: Any) -> None:
        """Back to a checkpoint, which stays usable."""
        ...


#: Name -> module with a function `open_machine(config)`.
BACKENDS: Final[dict[str, str]] = {
    "emulated": "tdxdbg.backends.emulated.td",
}


def open_backend(name: str, config: TdConfig) -> Backend:
    """A backend with a TD in it that has not run; raises BackendError."""
    module = BACKENDS.get(name)
    if module is None:
        raise BackendError(f"no backend {name!r}: there are {', '.join(sorted(BACKENDS))}")
    machine: Backend = import_module(module).open_machine(config)
    return machine
