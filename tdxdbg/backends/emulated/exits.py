"""What ended a slice of the CPU."""

from __future__ import annotations

from typing import Final, NamedTuple


class Kind:
    """What ended a slice: an SVM exit code (vmcb.*), or one of these."""

    COUNT: Final = -1
    IO: Final = -2
    SYSTEM_CALL: Final = -3
    #: Unicorn gave up; `detail` is its error number.
    BROKEN: Final = -4
    #: The next instruction is at a breakpoint; the next store is to watched memory.
    BREAKPOINT: Final = -5
    WATCHPOINT: Final = -6


class Exit(NamedTuple):
    """The end of a slice.

    `code`: see Kind. `retired`: instructions that are done; one that exited is
    not among them. `detail`: the port (IO), the address of a #PF, the GPA of a
    nested page fault, an error number (BROKEN), the offset in the RAM buffer
    (WATCHPOINT). `size`: bytes of an I/O access, or of the write; `is_in`;
    `next_rip` (IO): RIP of the instruction after it.
    """

    code: int
    retired: int
    detail: int = 0
    size: int = 0
    is_in: bool = False
    next_rip: int = 0
