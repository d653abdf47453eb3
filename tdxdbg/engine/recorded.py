"""What of an input or a Step somebody really saw, in a journal that was recorded.

A record of a journal carries a mask `known`: bits 0 to 15 say that a register
was seen (bit = register number), the others what else was. What of struct
kvm_run was seen is in `KvmRun.valid`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from tdxdbg.abi.regs import KNOWN_ALL

KNOWN_REGS: Final = KNOWN_ALL
KNOWN_VP_ENTER_RET: Final = 1 << 16
KNOWN_COMPLETER: Final = 1 << 17
KNOWN_EFFECTS: Final = 1 << 18
KNOWN_RUN_FLAGS: Final = 1 << 19
KNOWN_HAS_EVENTS: Final = 1 << 20
#: Userspace's answer was seen; if clear, what it answered is unknown.
KNOWN_ANSWER: Final = 1 << 21
KNOWN_ERRNO: Final = 1 << 22
#: The low 32 bits of vp_enter_ret (the exit reason) were seen, the class bits were not.
KNOWN_REASON: Final = 1 << 23
#: Bit 32 + n: register n is known because it follows from what was seen, not by itself.
DERIVED_SHIFT: Final = 32


class Kind(IntEnum):
    """What a record is; the numbers are those in the file."""

    TD_EXIT = 1
    USERSPACE_EXIT = 2
    ANSWER = 3
    TD_ENTRY = 4
    MEMORY_ATTRIBUTES = 5
    CHECKPOINT = 6
    CONTINUATION = 7
