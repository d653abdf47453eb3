"""The virtual local APIC: x2APIC registers, interrupts, and its timer.

KVM emulates most of it and the CPU's APIC virtualization the rest (TPR, EOI,
ISR, SELF_IPI are native, facts: ghci_and_guest 3.8); below the engine's border
they are one thing. Time is the machine's TSC and nothing else, so the timer
fires at the same instruction in every run.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Final, NamedTuple

TSC_DEADLINE: Final = 0x6E0

ID: Final = 0x802
VERSION: Final = 0x803
TPR: Final = 0x808
PPR: Final = 0x80A
EOI: Final = 0x80B
LDR: Final = 0x80D
SVR: Final = 0x80F
ISR: Final = 0x810
TMR: Final = 0x818
IRR: Final = 0x820
ESR: Final = 0x828
LVT_CMCI: Final = 0x82F
ICR: Final = 0x830
LVT_TIMER: Final = 0x832
LVT_ERROR: Final = 0x837
INITIAL_COUNT: Final = 0x838
CURRENT_COUNT: Final = 0x839
DIVIDE: Final = 0x83E
SELF_IPI: Final = 0x83F

_MASKED: Final = 1 << 16
_ONE_SHOT, _PERIODIC, _DEADLINE = 0, 1, 2
_VERSION_VALUE: Final = 0x0005_0014
#: TSC ticks (1 GHz) per cycle of the 25 MHz crystal that drives the timer.
TICKS_PER_CYCLE: Final = 40

_PLAIN: Final = frozenset({SVR, ESR, *range(LVT_CMCI, LVT_CMCI + 1), *range(LVT_TIMER, 0x838)})
_FIRST, _LAST = 0x800, 0x83F


class Ipi(NamedTuple):
    """An interrupt for other vCPUs: `shorthand` and `destination` as in the ICR."""

    vector: int
    destination: int
    shorthand: int
    logical: bool


def owns(msr: int) -> bool:
    """Whether this MSR is a register of the APIC."""
    return msr == TSC_DEADLINE or _FIRST <= msr <= _LAST


class LocalApic:
    """One vCPU's APIC; every field is an immutable value, or a dict of those."""

    __slots__ = ("count", "deadline", "index", "irr", "isr", "period", "registers", "tpr")

    def __init__(self, index: int) -> None:
        self.index = index
        #: One bit for each vector.
        self.irr = 0
        self.isr = 0
        self.tpr = 0
        self.registers: dict[int, int] = {SVR: 0x1FF, LVT_TIMER: _MASKED, DIVIDE: 0}
        #: TSC at which the timer fires; 0: it does not.
        self.deadline = 0
        self.period = 0
        self.count = 0

    def copy(self) -> LocalApic:
        new = copy.copy(self)
        new.registers = dict(self.registers)
        return new

    # --- interrupts -------------------------------------------------------------------

    def raise_vector(self, vector: int) -> None:
        """An interrupt arrives; vectors below 16 are illegal and are lost."""
        if 16 <= vector <= 255:
            self.irr |= 1 << vector

    @property
    def priority(self) -> int:
        """PPR."""
        in_service = (self.isr.bit_length() - 1) & 0xF0 if self.isr else 0
        return max(self.tpr, in_service)

    def pending(self) -> int:
        """The vector to deliver next, -1 for none that has enough priority."""
        if not self.irr:
            return -1
        vector = self.irr.bit_length() - 1
        return vector if vector & 0xF0 > self.priority & 0xF0 else -1

    def accept(self, vector: int) -> None:
        """The CPU takes the interrupt."""
        self.irr &= ~(1 << vector)
        self.isr |= 1 << vector

    def end_of_interrupt(self) -> None:
        if self.isr:
            self.isr &= ~(1 << (self.isr.bit_length() - 1))

    # --- timer ------------------------------------------------------------------------

    def advance(self, tsc: int) -> None:
        """The TSC is now `tsc`: the timer may fire, once."""
        if not self.deadline or tsc < self.deadline:
            return
        entry = self.registers[LVT_TIMER]
        if not entry & _MASKED:
            self.raise_vector(entry & 0xFF)
        if entry >> 17 & 3 == _PERIODIC and self.period:
            # Periods that nobody saw are lost, as an interrupt that is pending already.
            self.deadline += ((tsc - self.deadline) // self.period + 1) * self.period
        else:
            self.deadline = 0

    @property
    def wakes_at(self) -> int:
        """TSC at which the timer will raise an interrupt that can be delivered; 0: never."""
        entry = self.registers[LVT_TIMER]
        if entry & _MASKED or entry & 0xF0 <= self.priority & 0xF0:
            return 0
        return self.deadline

    def _start_timer(self, tsc: int) -> None:
        self.period = self.count * self._divisor() * TICKS_PER_CYCLE
        self.deadline = tsc + self.period if self.period else 0

    def _divisor(self) -> int:
        code = self.registers[DIVIDE]
        return 1 << (((code & 3 | (code & 8) >> 1) + 1) & 7)

    def _current_count(self, tsc: int) -> int:
        if not self.deadline or self.registers[LVT_TIMER] >> 17 & 3 == _DEADLINE:
            return 0
        left = max(self.deadline - tsc, 0)
        return left // (self._divisor() * TICKS_PER_CYCLE)

    # --- registers --------------------------------------------------------------------

    def read(self, msr: int, tsc: int) -> int | None:
        """RDMSR; None for a register that does not exist or cannot be read."""
        if msr == TSC_DEADLINE:
            return self.deadline if self.registers[LVT_TIMER] >> 17 & 3 == _DEADLINE else 0
        if ISR <= msr < ESR:
            bits = (self.isr, 0, self.irr)[(msr - ISR) >> 3]
            return bits >> 32 * (msr & 7) & 0xFFFF_FFFF
        if msr in _READS:
            return _READS[msr](self, tsc)
        return self.registers.get(msr, 0) if msr in _PLAIN or msr in (ICR, DIVIDE) else None

    def write(self, msr: int, value: int, tsc: int) -> Ipi | None:
        """WRMSR; what cannot be written is ignored. Returns an IPI for other vCPUs."""
        if msr == TSC_DEADLINE:
            if self.registers[LVT_TIMER] >> 17 & 3 == _DEADLINE:
                self.deadline = value
        elif msr == TPR:
            self.tpr = value & 0xFF
        elif msr == EOI:
            self.end_of_interrupt()
        elif msr == SELF_IPI:
            self.raise_vector(value & 0xFF)
        elif msr == INITIAL_COUNT:
            if self.registers[LVT_TIMER] >> 17 & 3 != _DEADLINE:
                self.count = value & 0xFFFF_FFFF
                self._start_timer(tsc)
        elif msr == ICR:
            self.registers[ICR] = value
            return self._send(value)
        elif msr == LVT_TIMER:
            self._write_timer_entry(value)
        elif msr in _PLAIN or msr == DIVIDE:
            self.registers[msr] = value & 0xFFFF_FFFF
        return None

    def _write_timer_entry(self, value: int) -> None:
        """Another mode stops the timer."""
        if (value ^ self.registers[LVT_TIMER]) >> 17 & 3:
            self.deadline = self.count = 0
        self.registers[LVT_TIMER] = value & 0xFFFF_FFFF

    def _send(self, value: int) -> Ipi | None:
        """Fixed and lowest-priority IPIs; a TD's vCPUs are not started by INIT and SIPI."""
        if value >> 8 & 7 not in (0, 1):
            return None
        return Ipi(value & 0xFF, value >> 32, value >> 18 & 3, bool(value >> 11 & 1))

    def accepts(self, ipi: Ipi, sender: int) -> bool:
        """Whether an IPI from vCPU `sender` is for this one."""
        if ipi.shorthand:
            return ipi.shorthand == 2 or (self.index == sender) == (ipi.shorthand == 1)
        if ipi.destination == 0xFFFF_FFFF:
            return True
        if not ipi.logical:
            return ipi.destination == self.index
        here = self.index >> 4 == ipi.destination >> 16
        return here and bool(ipi.destination & 1 << (self.index & 15))


_READS: Final[dict[int, Callable[[LocalApic, int], int]]] = {
    ID: lambda apic, _: apic.index,
    VERSION: lambda apic, _: _VERSION_VALUE,
    TPR: lambda apic, _: apic.tpr,
    PPR: lambda apic, _: apic.priority,
    LDR: lambda apic, _: apic.index >> 4 << 16 | 1 << (apic.index & 15),
    INITIAL_COUNT: lambda apic, _: apic.count,
    CURRENT_COUNT: lambda apic, tsc: apic._current_count(tsc),
}
