"""A TD's vCPUs, interleaved one slice at a time, and everything that is theirs.

A run is a function of the image, the seed and what the host answers: the next
vCPU, its slice, the time and the random numbers depend on nothing else, and
neither where a run was paused nor which checkpoints were taken changes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from tdxdbg.abi.regs import KNOWN_ALL, Regs
from tdxdbg.backends import Pause, Why
from tdxdbg.backends.emulated import clock, gla, vmcb
from tdxdbg.backends.emulated.apic import LocalApic
from tdxdbg.backends.emulated.exits import Exit
from tdxdbg.backends.emulated.exits import Kind as End
from tdxdbg.backends.emulated.handler import Handler
from tdxdbg.backends.emulated.kvm_side import KvmSide
from tdxdbg.backends.emulated.memory import PAGE, PAGE_SHIFT, RamImage
from tdxdbg.backends.emulated.platform import Platform
from tdxdbg.backends.emulated.stops import Stops
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
from tdxdbg.backends.emulated.view import MachineView
from tdxdbg.backends.emulated.vmcb import StartState
from tdxdbg.backends.emulated.watched import WatchedError
from tdxdbg.engine.gpa import GpaMap
from tdxdbg.engine.state import TdExit
from tdxdbg.module.results import ModuleExit

#: Instructions that a vCPU runs before another one gets its turn.
SLICE: Final = 200_000
#: Every so many TD exits, and guest instructions, the TLB is flushed, so that a
#: checkpoint there (which has to flush it) is no event of its own.
QUIET_EXITS: Final = 64
QUIET_INSTRUCTIONS: Final = 4_000_000
#: Exits in a row without one instruction done, after which nothing will come.
_STUCK: Final = 10_000
_FOREVER: Final = 1 << 62

# An Enum's members are slow to look up.
_HOST, _TD, _HALTED = Where.HOST, Where.TD, Where.HALTED
_new: Final = tuple.__new__


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
    quiet: bool
    barren: int


class Machine(MachineView):
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
        self._stops = Stops(platform.cpu, platform.memory, platform.clock, platform.shared_mask)
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
        #: Exits of the CPU since the last instruction that was done.
        self._barren = 0
        #: Called at each quiet place that is none of a TD exit; it may take a checkpoint.
        self.on_quiet: Callable[[], object] | None = None
        self._quiet = True
        self._next_quiet = QUIET_INSTRUCTIONS
        #: What the host did to watched memory.
        self._noted: Pause | None = None
        #: Whether time that nobody runs in is told of before it passes (Why.ASLEEP).
        self.tells_sleep = False

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
        subject.where = _HALTED if halted and subject.apic.pending() < 0 else _TD
        if entered.inject is not None:
            subject.event = Event(20)
        return None

    def resume(self) -> TdExit | Pause:
        """Go on after a Pause, with the vCPUs that are in the TD."""
        clock = self.platform.clock
        while True:
            if clock.instructions >= self._next_quiet:
                self._be_quiet()
            if self._interrupted:
                self._interrupted = False
                return Pause(Why.INTERRUPTED, self._current)
            if self._noted is not None:
                noted, self._noted = self._noted, None
                return noted
            done = clock.instructions
            if done >= self.instruction_limit:
                return Pause(Why.INSTRUCTIONS, self._current)
            if self.exits >= self.exit_budget:
                return Pause(Why.EXITS, self._current)
            vcpu = self._pick()
            if isinstance(vcpu, Pause):
                return vcpu
            try:
                ended = self._turn(vcpu, min(self.instruction_limit, self._next_quiet) - done)
            except WatchedError as error:
                return self._watched(vcpu, error)
            if ended is not None:
                return ended

    def pass_time(self, wake: int) -> None:
        """Nobody wanted anything until the TSC is `wake`: what ASLEEP told of comes now."""
        self.platform.clock.tsc = max(self.platform.clock.tsc, wake)

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
                if vcpu.where is _HALTED and vcpu.apic.pending() >= 0:
                    vcpu.where = _TD
            current = self.vcpus[self._current]
            if current.where is _TD and self._slice_left > 0:
                return current
            count = len(self.vcpus)
            for distance in range(1, count + 1):
                vcpu = self.vcpus[(self._current + distance) % count]
                if vcpu.where is _TD:
                    self._current, self._slice_left = vcpu.index, SLICE
                    return vcpu
            halted = [vcpu.apic for vcpu in self.vcpus if vcpu.where is Where.HALTED]
            if not halted:
                return Pause(Why.NOTHING_TO_RUN, self._current)
            wakes = [apic.wakes_at for apic in halted if apic.wakes_at]
            if not wakes:
                return Pause(Why.IDLE, self._current)
            wake = min(wakes)
            if self.tells_sleep and wake > tsc:
                return Pause(Why.ASLEEP, self._current, address=wake)
            self.platform.clock.tsc = max(tsc, wake)

    def _turn(self, vcpu: Vcpu, left: int) -> TdExit | Pause | None:
        """Deliver what is due, run until something happens, and deal with it.

        Raises WatchedError before a write to watched memory.
        """
        clock, stops = self.platform.clock, self._stops
        self.platform.cpu.interrupt_waits = False
        if vcpu.event is not None or vcpu.apic.irr:
            if stops.armed:
                stops.arrive(vcpu)
            exit_ = self._deliver_due(vcpu)
            if exit_ is not None:
                return self._leave(vcpu, exit_)
        count = min(left, self._slice_left)
        if vcpu.apic.deadline:
            count = min(count, max(vcpu.apic.deadline - clock.tsc, 1))
        if stops.armed:
            stops.arrive(vcpu)
            if stops.at_breakpoint(vcpu):
                return Pause(Why.BREAKPOINT, vcpu.index, address=vcpu.context.linear_rip)
            stops.prepare(count)
        before = clock.instructions
        end = self._run(vcpu, count)
        if end.code == End.BROKEN:
            return self._broken(vcpu, f"unicorn error {end.detail}")
        exit_ = None
        try:
            if end.code != End.COUNT:
                exit_ = self._handler.handle(vcpu, end)
        finally:
            done = clock.instructions - before
            self._slice_left -= done
            if done:
                self._barren = 0
            if end.code >= 0:
                self._barren += 1
        if end.code == vmcb.PAUSE:
            self._slice_left = 0
        if exit_ is not None:
            return self._leave(vcpu, exit_)
        if self._barren > _STUCK:
            self._barren = 0
            return self._broken(vcpu, "the guest makes no progress")
        return None

    def _run(self, vcpu: Vcpu, count: int) -> Exit:
        """Run the CPU; its instructions are done."""
        self._quiet = False
        platform = self.platform
        end = platform.cpu.run(vcpu.context, count)
        platform.clock.retire(end.retired)
        if self._stops.armed:
            self._stops.arrive(vcpu)
        return end

    @staticmethod
    def _broken(vcpu: Vcpu, how: str) -> Pause:
        return Pause(Why.BROKEN, vcpu.index, f"{how} at RIP {vcpu.context.rip:#x}")

    def _watched(self, vcpu: Vcpu, error: WatchedError) -> Pause:
        """A write to watched memory comes next; going on does it."""
        self._stops.pass_write(vcpu)
        platform, offset = self.platform, error.offset
        gpa = platform.memory.gpa_of_page(offset >> PAGE_SHIFT) | offset & (PAGE - 1)
        linear = error.linear
        if not error.who:
            linear = gla.find_plain(platform.memory, vcpu.context, platform.shared_mask, gpa)
        return Pause(Why.WATCHPOINT, vcpu.index, error.who, gpa, error.size, linear)

    def _be_quiet(self) -> None:
        """A place for a checkpoint, in a stretch without TD exits."""
        self._next_quiet += QUIET_INSTRUCTIONS
        self.platform.cpu.flush_tlb()
        self._quiet = True
        if self.on_quiet is not None:
            self.on_quiet()

    def _deliver_due(self, vcpu: Vcpu) -> ModuleExit | None:
        """An event that waits, then an interrupt; or ask for the interrupt window."""
        if vcpu.event is not None:
            exit_ = self.platform.deliver(vcpu, vcpu.event)
            if exit_ is not None:
                return exit_
        context = vcpu.context
        vector = vcpu.apic.pending()
        if vector < 0:
            return None
        if not context.can_interrupt:
            self.platform.cpu.interrupt_waits = True
            return None
        vcpu.apic.accept(vector)
        return self.platform.deliver(vcpu, Event(vector, None, Origin.EXTERNAL))

    def _leave(self, vcpu: Vcpu, exit_: ModuleExit) -> TdExit:
        """The host has the vCPU."""
        vcpu.where = _HOST
        self.exits += 1
        platform = self.platform
        platform.clock.tsc += clock.TD_EXIT
        in_kernel, vcpu.call = self.kvm.look_at(vcpu, exit_)
        if self.exits % QUIET_EXITS == 0:
            platform.cpu.flush_tlb()
            self._quiet = True
        ret, regs = exit_.vp_enter_ret, exit_.regs
        return _new(TdExit, (vcpu.index, ret, regs, KNOWN_ALL, in_kernel, False))

    # --- the host's other calls -------------------------------------------------------

    def set_memory_attributes(self, gpa: int, size: int, *, private: bool) -> None:
        """KVM_SET_MEMORY_ATTRIBUTES (bytes, without the shared bit)."""
        self._note_write(gpa, size)
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
    def current(self) -> int:
        """The vCPU whose turn it is, as long as it is in the TD."""
        return self._current

    @property
    def is_quiet(self) -> bool:
        """Whether a checkpoint taken now is certain to leave no trace in the run.

        Elsewhere it flushes the TLB where the run did not, and a guest that
        clears accessed bits without INVLPG could see that.
        """
        return self._quiet

    @property
    def next_quiet(self) -> int:
        """Where the next quiet place that is none of a TD exit will be, in instructions."""
        return self._next_quiet

    def write_gpa(self, gpa: int, data: bytes) -> bool:
        """Change guest memory, as the host; False where there is no RAM."""
        plain = gpa & ~self.platform.shared_mask
        self._note_write(plain, len(data))
        return self.platform.memory.write(plain, data)

    def _note_write(self, gpa: int, size: int) -> None:
        """The host writes to memory: if that is watched, the next `resume` says so."""
        watched = self.platform.memory.watched
        if watched.ranges:
            for start, end in self.platform.memory.ranges(gpa, size):
                if watched.touches(start, end - start):
                    self._noted = Pause(Why.WATCHPOINT, self._current, "the host", gpa, size)

    def is_shared(self, gpa: int) -> bool:
        """Whether KVM's memory attributes say that a page is shared."""
        return self.kvm.gpa_map.is_shared(gpa & ~self.platform.shared_mask)

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
            self._quiet,
            self._barren,
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
        self._quiet = checkpoint.quiet
        self._barren = checkpoint.barren
        self._next_quiet = checkpoint.instructions // QUIET_INSTRUCTIONS + 1
        self._next_quiet *= QUIET_INSTRUCTIONS
        self._noted = None
        self._stops.forget()
        self._stops.clean_up()
        platform.cpu.flush_all()
