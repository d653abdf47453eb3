"""A TD's vCPUs, interleaved one slice at a time, and everything that is theirs.

A run is a function of the image, the seed and what the host answers: the next
vCPU, its slice, the time and the random numbers depend on nothing else, and
neither where a run was paused nor which checkpoints were taken changes it.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from tdxdbg.abi.regs import Regs
from tdxdbg.backends import Pause, Why
from tdxdbg.backends.emulated import clock, vmcb
from tdxdbg.backends.emulated import context as ctx
from tdxdbg.backends.emulated.apic import LocalApic
from tdxdbg.backends.emulated.cpu import Kind as End
from tdxdbg.backends.emulated.handler import Handler
from tdxdbg.backends.emulated.kvm_side import KvmSide
from tdxdbg.backends.emulated.memory import RamImage
from tdxdbg.backends.emulated.platform import Platform
from tdxdbg.backends.emulated.space import peek, poke
from tdxdbg.backends.emulated.vcpu import (
    NO_CALL,
    Event,
    Origin,
    Vcpu,
    VcpuImage,
    Where,
    image_of,
    restore,
)
from tdxdbg.backends.emulated.view import GuestRegisters, registers_of
from tdxdbg.backends.emulated.vmcb import StartState
from tdxdbg.engine.gpa import GpaMap
from tdxdbg.engine.state import TdExit
from tdxdbg.module.results import ModuleExit

#: Instructions that a vCPU runs before another one gets its turn.
SLICE: Final = 200_000
#: Every so many TD exits the TLB is flushed, so that a checkpoint there
#: (which has to flush it) is no event of its own.
QUIET_EXITS: Final = 64
#: Exits in a row without one instruction done, after which nothing will come.
_STUCK: Final = 10_000
_FOREVER: Final = 1 << 62


class MachineCheckpoint(NamedTuple):
    """The whole machine; for the machine that made it."""

    ram: RamImage
    vcpus: tuple[VcpuImage, ...]
    module: Any
    gpa_map: GpaMap
    tsc: int
    instructions: int
    random: int
    exits: int
    current: int
    slice_left: int


class Machine:
    """The emulated backend (see `tdxdbg.backends.Backend`).

    `exit_budget` and `instruction_limit` count from the start of the run; a
    run that reaches one comes back with a Pause.
    """

    def __init__(
        self, platform: Platform, starts: tuple[StartState, ...], *, large_pages: bool = False
    ) -> None:
        self.platform = platform
        self.kvm = KvmSide(platform, large_pages=large_pages)
        self._handler = Handler(platform)
        self.vcpus = tuple(
            Vcpu(index, platform.cpu.new_vcpu(start)) for index, start in enumerate(starts)
        )
        for vcpu, start in zip(self.vcpus, starts, strict=True):
            platform.module.start(vcpu.index, start.regs, start.rip)
        self.exits = 0
        self.exit_budget = _FOREVER
        self.instruction_limit = _FOREVER
        self._current = 0
        self._slice_left = SLICE
        self._interrupted = False
        self._barren = 0

    # --- running ----------------------------------------------------------------------

    def vp_enter(self, vcpu: int, regs: Regs, *, halted: bool = False) -> TdExit | Pause:
        """`enter`, then run until some vCPU exits."""
        exit_ = self.enter(vcpu, regs, halted=halted)
        if exit_ is None:
            return self.resume()
        # A refusal changes nothing, so a host that insists could go on for ever.
        return Pause(Why.EXITS, vcpu) if self.exits > self.exit_budget else exit_

    def enter(self, vcpu: int, regs: Regs, *, halted: bool = False) -> TdExit | None:
        """TDH.VP.ENTER of a vCPU that the host has, without running it.

        None: it is in the TD. `halted`: KVM keeps it until an interrupt comes.
        """
        subject = self.vcpus[vcpu]
        if subject.call is not NO_CALL:
            self.kvm.finish(subject, regs, self.vcpus)
        entered = self.platform.module.vp_enter(vcpu, regs)
        if isinstance(entered, ModuleExit):
            return self._leave(subject, entered)
        subject.context.regs = entered.regs
        subject.where = Where.HALTED if halted and subject.apic.pending() < 0 else Where.TD
        if entered.inject is not None:
            exit_ = self.platform.deliver(subject, Event(20))
            if exit_ is not None:
                return self._leave(subject, exit_)
        return None

    def resume(self) -> TdExit | Pause:
        """Go on after a Pause, with the vCPUs that are in the TD."""
        while True:
            if self._interrupted:
                self._interrupted = False
                return Pause(Why.INTERRUPTED, self._current)
            left = self.instruction_limit - self.platform.clock.instructions
            if left <= 0:
                return Pause(Why.INSTRUCTIONS, self._current)
            if self.exits >= self.exit_budget:
                return Pause(Why.EXITS, self._current)
            vcpu = self._pick()
            if isinstance(vcpu, Pause):
                return vcpu
            ended = self._turn(vcpu, left)
            if ended is not None:
                return ended

    def run_to(self, instructions: int) -> TdExit | Pause:
        """Go on until so many instructions are done since the start (or a TD exit)."""
        limit, self.instruction_limit = self.instruction_limit, instructions
        try:
            return self.resume()
        finally:
            self.instruction_limit = limit

    def step(self) -> TdExit | Pause:
        """One instruction of the vCPU whose turn it is; exceptions on the way are delivered."""
        return self.run_to(self.instructions + 1)

    def interrupt(self) -> None:
        """Pause before the next slice; may be called from a signal handler or a thread."""
        self._interrupted = True

    def _pick(self) -> Vcpu | Pause:
        """The vCPU whose turn it is; time passes when all of them are halted."""
        while True:
            tsc = self.platform.clock.tsc
            for vcpu in self.vcpus:
                if vcpu.apic.deadline:
                    vcpu.apic.advance(tsc)
                if vcpu.where is Where.HALTED and vcpu.apic.pending() >= 0:
                    vcpu.where = Where.TD
            current = self.vcpus[self._current]
            if current.where is Where.TD and self._slice_left > 0:
                return current
            count = len(self.vcpus)
            for distance in range(1, count + 1):
                vcpu = self.vcpus[(self._current + distance) % count]
                if vcpu.where is Where.TD:
                    self._current, self._slice_left = vcpu.index, SLICE
                    return vcpu
            halted = [vcpu.apic for vcpu in self.vcpus if vcpu.where is Where.HALTED]
            if not halted:
                return Pause(Why.NOTHING_TO_RUN, self._current)
            wakes = [apic.wakes_at for apic in halted if apic.wakes_at]
            if not wakes:
                return Pause(Why.IDLE, self._current)
            self.platform.clock.tsc = max(tsc, min(wakes))

    def _turn(self, vcpu: Vcpu, left: int) -> TdExit | Pause | None:
        """Deliver what is due, run until something happens, and deal with it."""
        platform = self.platform
        if vcpu.event is not None or vcpu.apic.irr:
            exit_ = self._deliver_due(vcpu)
            if exit_ is not None:
                return self._leave(vcpu, exit_)
        before = platform.clock.instructions
        count = min(left, self._slice_left)
        if vcpu.apic.deadline:
            count = min(count, max(vcpu.apic.deadline - platform.clock.tsc, 1))
        end = platform.cpu.run(vcpu.context, count)
        platform.clock.retire(end.retired)
        if end.code == End.BROKEN:
            rip = vcpu.context.rip
            return Pause(Why.BROKEN, vcpu.index, f"unicorn error {end.detail} at RIP {rip:#x}")
        exit_ = None if end.code == End.COUNT else self._handler.handle(vcpu, end)
        done = platform.clock.instructions - before
        self._slice_left -= done
        if end.code == vmcb.PAUSE:
            self._slice_left = 0
        self._barren = 0 if done else self._barren + 1
        if exit_ is not None:
            return self._leave(vcpu, exit_)
        if self._barren > _STUCK:
            self._barren = 0
            rip = vcpu.context.rip
            return Pause(Why.BROKEN, vcpu.index, f"the guest makes no progress at RIP {rip:#x}")
        return None

    def _deliver_due(self, vcpu: Vcpu) -> ModuleExit | None:
        """An event that waits, then an interrupt; or ask for the interrupt window."""
        if vcpu.event is not None:
            exit_ = self.platform.deliver(vcpu, vcpu.event)
            if exit_ is not None:
                return exit_
        context = vcpu.context
        vector = vcpu.apic.pending()
        # The window closes by itself when it is reached, or when the vector is gone.
        context.d[ctx.HFLAGS2] &= ~ctx.HF2_GIF
        if vector < 0:
            return None
        if not context.can_interrupt:
            context.d[ctx.HFLAGS2] |= ctx.HF2_GIF
            return None
        vcpu.apic.accept(vector)
        return self.platform.deliver(vcpu, Event(vector, None, Origin.EXTERNAL))

    def _leave(self, vcpu: Vcpu, exit_: ModuleExit) -> TdExit:
        """The host has the vCPU."""
        vcpu.where = Where.HOST
        self.exits += 1
        platform = self.platform
        platform.clock.tsc += clock.TD_EXIT
        in_kernel, vcpu.call = self.kvm.look_at(vcpu, exit_)
        if self.exits % QUIET_EXITS == 0:
            platform.cpu.flush_tlb()
        return TdExit(vcpu.index, exit_.vp_enter_ret, exit_.regs, in_kernel=in_kernel)

    # --- the host's other calls -------------------------------------------------------

    def set_memory_attributes(self, gpa: int, size: int, *, private: bool) -> None:
        """KVM_SET_MEMORY_ATTRIBUTES (bytes, without the shared bit)."""
        self.kvm.set_memory_attributes(gpa, size, private=private)

    def inject(self, vcpu: int, vector: int) -> None:
        """An interrupt for a vCPU, through its APIC."""
        self.vcpus[vcpu].apic.raise_vector(vector)

    def has_events(self, vcpu: int) -> bool:
        """What kvm_vcpu_has_events() would say: an interrupt waits for the vCPU."""
        apic: LocalApic = self.vcpus[vcpu].apic
        apic.advance(self.platform.clock.tsc)
        return apic.pending() >= 0

    # --- looking and changing ---------------------------------------------------------

    @property
    def instructions(self) -> int:
        """Instructions done since the start, by all vCPUs; a REP counts each repetition."""
        return self.platform.clock.instructions

    @property
    def tsc(self) -> int:
        return self.platform.clock.tsc

    @property
    def is_quiet(self) -> bool:
        """Whether a checkpoint taken now is certain to leave no trace in the run.

        Elsewhere it flushes the TLB where the run did not, and a guest that
        clears accessed bits without INVLPG could see that.
        """
        return self.exits % QUIET_EXITS == 0

    def read_gpa(self, gpa: int, size: int) -> bytes | None:
        """Guest memory, `size` bytes; the shared bit does not matter; None: no RAM there."""
        return self.platform.memory.read(gpa & ~self.platform.shared_mask, size)

    def write_gpa(self, gpa: int, data: bytes) -> bool:
        """Change guest memory; False where there is no RAM."""
        return self.platform.memory.write(gpa & ~self.platform.shared_mask, data)

    def is_shared(self, gpa: int) -> bool:
        """Whether KVM's memory attributes say that a page is shared."""
        return self.kvm.gpa_map.is_shared(gpa & ~self.platform.shared_mask)

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

    # --- time travel ------------------------------------------------------------------

    def checkpoint(self) -> MachineCheckpoint:
        """All of it; costs as much as pages were written since the last one."""
        platform = self.platform
        ram, pages = platform.memory.checkpoint()
        platform.nested.protect(pages)
        platform.cpu.flush_tlb()
        return MachineCheckpoint(
            ram,
            tuple(image_of(vcpu) for vcpu in self.vcpus),
            platform.module.checkpoint(),
            self.kvm.gpa_map,
            platform.clock.tsc,
            platform.clock.instructions,
            platform.random.state,
            self.exits,
            self._current,
            self._slice_left,
        )

    def restore(self, checkpoint: MachineCheckpoint) -> None:
        """Back to `checkpoint`, which stays usable; budgets stay as they are."""
        platform = self.platform
        platform.memory.restore(checkpoint.ram)
        platform.nested.forget_all()
        for vcpu, image in zip(self.vcpus, checkpoint.vcpus, strict=True):
            restore(vcpu, image)
        platform.module.restore(checkpoint.module)
        self.kvm.gpa_map = checkpoint.gpa_map
        platform.clock.tsc = checkpoint.tsc
        platform.clock.instructions = checkpoint.instructions
        platform.random.state = checkpoint.random
        self.exits = checkpoint.exits
        self._current = checkpoint.current
        self._slice_left = checkpoint.slice_left
        platform.cpu.flush_all()
