"""What a debugger sees of a machine and changes in it, between two instructions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tdxdbg.abi.regs import Regs
from tdxdbg.backends.emulated import context as ctx
from tdxdbg.backends.emulated.context import Context
from tdxdbg.backends.emulated.platform import Platform
from tdxdbg.backends.emulated.space import gpa_pieces, peek, poke
from tdxdbg.backends.emulated.stops import Stops
from tdxdbg.backends.emulated.vcpu import Vcpu, Where


class GuestRegisters(NamedTuple):
    """The guest's view of a vCPU, between two instructions.

    While the host has the vCPU it is what the guest had at its last
    instruction; a TDG.VP.VMCALL is done, so `rip` is behind it, and its
    outputs are not loaded yet. `cs` and `ss` are selectors; `lstar` is where
    SYSCALL goes, `idt_base` where the IDT is.
    """

    regs: Regs
    rip: int
    rflags: int
    cs: int
    ss: int
    cpl: int
    is_64bit: bool
    cr0: int
    cr2: int
    cr3: int
    cr4: int
    efer: int
    fs_base: int
    gs_base: int
    lstar: int
    idt_base: int


def registers_of(context: Context) -> GuestRegisters:
    """The registers in a context that is up to date."""
    q = context.q
    return GuestRegisters(
        context.regs,
        context.rip,
        context.rflags,
        context.segment(ctx.CS).selector,
        context.segment(ctx.SS).selector,
        context.cpl,
        context.is_64bit,
        q[ctx.CR0],
        q[ctx.CR2],
        q[ctx.CR3],
        q[ctx.CR4],
        q[ctx.EFER],
        context.segment_base(ctx.FS),
        context.segment_base(ctx.GS),
        q[ctx.LSTAR],
        context.segment_base(ctx.IDTR),
    )


class MachineView:
    """The half of a machine that does not run."""

    platform: Platform
    vcpus: tuple[Vcpu, ...]
    _stops: Stops

    @property
    def instructions(self) -> int:
        """Instructions done since the start, by all vCPUs; a REP counts each repetition."""
        return self.platform.clock.instructions

    @property
    def tsc(self) -> int:
        return self.platform.clock.tsc

    # --- memory -----------------------------------------------------------------------

    def read_gpa(self, gpa: int, size: int) -> bytes | None:
        """Guest memory, `size` bytes; the shared bit does not matter; None: no RAM there."""
        return self.platform.memory.read(gpa & ~self.platform.shared_mask, size)

    def read_linear(self, vcpu: int, address: int, size: int) -> bytes | None:
        """What a vCPU has at a linear address; None: not mapped."""
        platform = self.platform
        context = self.vcpus[vcpu].context
        return peek(platform.memory, context, platform.shared_mask, address, size)

    def write_linear(self, vcpu: int, address: int, data: bytes) -> bool:
        """Change what a vCPU has at a linear address, all of `data` or nothing.

        False: not mapped. Permissions do not count, for a debugger's own writes.
        """
        platform = self.platform
        context = self.vcpus[vcpu].context
        return poke(platform.memory, context, platform.shared_mask, address, data)

    def translate(self, vcpu: int, address: int, size: int) -> list[tuple[int, int]] | None:
        """(GPA without the shared bit, size) of the pieces of linear memory; None: not mapped."""
        platform = self.platform
        context = self.vcpus[vcpu].context
        return gpa_pieces(platform.memory, context, platform.shared_mask, address, size)

    # --- vCPUs ------------------------------------------------------------------------

    def where(self, vcpu: int) -> Where:
        """Who has a vCPU."""
        return self.vcpus[vcpu].where

    def registers(self, vcpu: int) -> GuestRegisters:
        """What the guest has in a vCPU, wherever that is."""
        return registers_of(self.vcpus[vcpu].context)

    def set_registers(self, vcpu: int, regs: Regs, rip: int) -> None:
        """Change the general registers and RIP of a vCPU, wherever it is."""
        subject = self.vcpus[vcpu]
        subject.context.regs = regs
        subject.context.rip = rip
        if subject.where is Where.HOST:
            self.platform.module.start(vcpu, regs, rip)

    # --- stopping ---------------------------------------------------------------------

    def set_breakpoints(self, addresses: Iterable[int]) -> None:
        """Pause before the instructions at these linear addresses, of any vCPU, and no others.

        Each arrival is one pause, at its first round if it is a string
        instruction with REP; going on executes the instruction.
        """
        self._stops.set_breakpoints(addresses)

    def set_watchpoints(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Pause before writes to these GPA ranges (bytes), and no others.

        Seen are the stores of instructions (each round of a REP by itself), the
        frames of exceptions and interrupts, what the TDX module writes and
        clears; the host's writes are noted after they are done. Not seen are the
        accessed and dirty bits of page tables, and the second half of a store
        over two pages that are no neighbours in the RAM and that no operand names.
        """
        memory, plain = self.platform.memory, ~self.platform.shared_mask
        self._stops.set_watchpoints(
            found for gpa, size in ranges for found in memory.ranges(gpa & plain, size)
        )

    def pass_breakpoint(self, vcpu: int) -> None:
        """No pause for a breakpoint where the vCPU stands; for one who came here otherwise."""
        self._stops.pass_breakpoint(self.vcpus[vcpu])

    def pass_watchpoint(self, vcpu: int) -> None:
        """No pause for what the vCPU's next instruction writes."""
        self._stops.pass_write(self.vcpus[vcpu])
