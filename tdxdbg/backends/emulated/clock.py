"""Virtual time: what happened in the run, and nothing of the host's.

The TSC runs at 1 GHz, one tick an instruction, plus a fixed price for what
takes long on a real machine. Exits that the guest cannot know of (nested page
faults, translations) cost nothing, so checkpoints do not change the time.
"""

from __future__ import annotations

from typing import Final

#: TSC ticks of a TD exit, of an instruction that the module emulates, of RDTSC, of PAUSE.
TD_EXIT: Final = 2000
EMULATED: Final = 500
READ_TSC: Final = 500
PAUSE: Final = 50


class Clock:
    """The TSC of all vCPUs, in ticks of 1 ns, and how many instructions they have done."""

    __slots__ = ("instructions", "tsc")

    def __init__(self, tsc: int = 1_000_000) -> None:
        self.tsc = tsc
        self.instructions = 0

    def retire(self, instructions: int, ticks: int = 0) -> None:
        """Instructions are done, and took `ticks` more than one each."""
        self.instructions += instructions
        self.tsc += instructions + ticks


class Random:
    """What RDRAND and RDSEED give: SplitMix64 of a seed, a function of the run alone."""

    __slots__ = ("state",)

    def __init__(self, seed: int = 0) -> None:
        self.state = seed & _MASK

    def next(self) -> int:
        """The next 64 bits."""
        self.state = (self.state + 0x9E37_79B9_7F4A_7C15) & _MASK
        value = self.state
        value = (value ^ value >> 30) * 0xBF58_476D_1CE4_E5B9 & _MASK
        value = (value ^ value >> 27) * 0x94D0_49BB_1331_11EB & _MASK
        return value ^ value >> 31


_MASK: Final = (1 << 64) - 1
