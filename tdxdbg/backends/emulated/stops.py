"""Breakpoints and watchpoints: where the CPU stops before an instruction or a write.

Theory of operation. A breakpoint is a code hook at its address, which ends the
slice; that the vCPU stands at a breakpoint is then found before its next
slice, so slices, turns and time are those of a run without it. A watchpoint is
a hook at its place in the RAM buffer, which Unicorn calls before each store,
from any translation: no page is protected and no TLB is flushed. The store is
done all the same, and undone after the slice: at that moment the registers are
those before the instruction, because the store could have faulted.

An instruction that touches two ranges, or repeats, is announced once for each
time that it is counted. What was announced is passed by when the run goes on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from tdxdbg.abi.regs import U64
from tdxdbg.backends.emulated import decode, gla
from tdxdbg.backends.emulated.clock import Clock
from tdxdbg.backends.emulated.context import Context
from tdxdbg.backends.emulated.cpu import EVERYWHERE, Cpu
from tdxdbg.backends.emulated.exits import Kind
from tdxdbg.backends.emulated.memory import PAGE, PAGE_SHIFT, Memory
from tdxdbg.backends.emulated.paging import translate
from tdxdbg.backends.emulated.space import code_at_rip
from tdxdbg.backends.emulated.vcpu import Vcpu

#: Stores of one instruction so near to watched bytes are undone with the one that
#: hits them. Longer ones (FXSAVE, FNSAVE, ENTER) just write the same values again.
_MARGIN: Final = 32
#: Instructions after which hooks that nobody wants any more are taken out.
_STALE: Final = 4_000_000
_ALL: Final = frozenset({EVERYWHERE})
_STRING: Final = frozenset(bytes((opcode,)) for opcode in (*range(0xA4, 0xA8), *range(0xAA, 0xB0)))


class Place(NamedTuple):
    """Between two instructions: a vCPU, its RIP, the instructions done by all."""

    vcpu: int
    rip: int
    instructions: int


_NOWHERE: Final = Place(-1, 0, 0)


class Stops:
    """The breakpoints and watchpoints of one machine; no part of its state."""

    def __init__(self, cpu: Cpu, memory: Memory, clock: Clock, shared_mask: int) -> None:
        self._cpu = cpu
        self._memory = memory
        self._clock = clock
        self._shared_mask = shared_mask
        self._watched = memory.watched
        #: Linear addresses.
        self.breakpoints: frozenset[int] = frozenset()
        #: Whether anything is to be looked at before a slice.
        self.armed = False
        self._code_hooks: dict[int, int] = {}
        self._write_hooks: list[int] = []
        self._stale = 0
        #: What was announced last: a breakpoint, a write.
        self._passed = _NOWHERE
        self._passed_write = _NOWHERE
        #: The last instruction at a code hook: its address, its number, the vCPU's registers.
        self._last: tuple[int, int, Context | None] = (-1, 0, None)
        #: Stores of the instruction that is under way, oldest first: (offset, what was there).
        self._stores: list[tuple[int, bytes]] = []
        self._stores_of = -1
        self._before = cpu.new_context()
        #: Instructions begun with the one that hit; offset and size of its store.
        self._hit = (0, 0, 0)
        cpu.undo = self._undo
        cpu.code_hooks = self._code_hooks

    # --- what is wanted ---------------------------------------------------------------

    def set_breakpoints(self, addresses: Iterable[int]) -> None:
        self.breakpoints = frozenset(addresses)
        self._arm()

    def set_watchpoints(self, ranges: Iterable[tuple[int, int]]) -> None:
        """`ranges`: (start, end) in the RAM buffer."""
        old = self._watched.ranges
        self._watched.replace(ranges)
        self._arm()
        if self._watched.ranges == old:
            return
        unicorn = self._cpu.unicorn
        self._cpu.clean_stores.allow(hooked=bool(self._watched.ranges))
        for hook in self._write_hooks:
            unicorn.remove_hook(hook)
        self._write_hooks = [
            unicorn.on_write(max(start - _MARGIN, 0), end + _MARGIN - 1, self._on_write)
            for start, end in self._watched.ranges
        ]

    @property
    def _wanted(self) -> frozenset[int]:
        """Where there are to be code hooks."""
        return self.breakpoints | _ALL if self._watched.ranges else self.breakpoints

    def _arm(self) -> None:
        self.armed = bool(self.breakpoints or self._watched.ranges or self._code_hooks)

    # --- before a slice ---------------------------------------------------------------

    def arrive(self, vcpu: Vcpu) -> Place:
        """The vCPU is about to do something: has its next write been announced?"""
        place = Place(vcpu.index, vcpu.context.rip, self._clock.instructions)
        self._watched.passing = place == self._passed_write
        return place

    def at_breakpoint(self, vcpu: Vcpu) -> bool:
        """Whether to stop before the vCPU's next instruction; it counts as announced then."""
        context = vcpu.context
        address = context.linear_rip
        if address not in self.breakpoints:
            return False
        place = Place(vcpu.index, context.rip, self._clock.instructions)
        again = self._last == (address, place.instructions, context) and self._is_repeated(context)
        if again or place == self._passed:
            return False
        self._passed = place
        return True

    def prepare(self, count: int) -> None:
        """The hooks for what is wanted, before a slice of at most `count` instructions."""
        self._stores.clear()
        wanted, hooks = self._wanted, self._code_hooks
        new = wanted.difference(hooks)
        if new:
            for address in sorted(new):
                hooks[address] = self._cpu.hook_code(address, self._on_code)
            # Translated code does not call hooks that are newer than it.
            self._cpu.unicorn.flush_code()
        if len(hooks) > len(wanted):
            self._stale += count
            if self._stale > _STALE:
                self.clean_up()

    def clean_up(self) -> None:
        """Take out hooks that nobody wants; flushes the TLB if there are any."""
        self._stale = 0
        stale = self._code_hooks.keys() - self._wanted
        if stale:
            self._cpu.remove_code_hooks([self._code_hooks.pop(address) for address in stale])
        self._arm()

    def pass_breakpoint(self, vcpu: Vcpu) -> None:
        """A breakpoint at the vCPU's next instruction needs no announcement."""
        self._passed = Place(vcpu.index, vcpu.context.rip, self._clock.instructions)

    def pass_write(self, vcpu: Vcpu) -> None:
        """Nor does what its next instruction writes."""
        self._passed_write = Place(vcpu.index, vcpu.context.rip, self._clock.instructions)

    def forget(self) -> None:
        """The machine is elsewhere: nothing was announced."""
        self._passed = self._passed_write = _NOWHERE
        self._last = (-1, 0, None)

    # --- in a slice -------------------------------------------------------------------

    def _on_code(self, address: int) -> None:
        """Before the instruction at a code hook, whether that is wanted or not."""
        cpu = self._cpu
        if not cpu.may_stop:
            return
        begun = cpu.begun
        number = self._clock.instructions + begun
        last, self._last = self._last, (address, number, cpu.loaded)
        # The first one was looked at before the slice.
        if begun == 1 or address not in self.breakpoints:
            return
        if last == (address, number - 1, cpu.loaded):
            self._cpu.fetch_in_hook(self._before)
            if self._is_repeated(self._before):
                return
        cpu.stop_before(Kind.BREAKPOINT)

    def _is_repeated(self, context: Context) -> bool:
        """Whether the instruction at RIP is a string instruction with REP."""
        code = code_at_rip(self._memory, context, self._shared_mask, decode.LONGEST)
        p = decode.prefixes(code, is_64bit=context.is_64bit)
        return bool(p.repeat) and code[p.at : p.at + 1] in _STRING

    def _on_write(self, offset: int, size: int) -> None:
        """Before a store into watched bytes, or near them."""
        cpu, watched = self._cpu, self._watched
        begun = cpu.begun
        if watched.passing and begun == 1:
            return
        number = self._clock.instructions + begun
        if number != self._stores_of:
            self._stores.clear()
            self._stores_of = number
        buffer = self._memory.buffer
        pieces: tuple[tuple[int, int], ...] = ((offset, size),)
        if (offset & (PAGE - 1)) + size > PAGE:
            pieces = self._across_pages(offset, size)
        for start, length in pieces:
            self._stores.append((start, buffer[start : start + length]))
            if cpu.may_stop and watched.touches(start, length):
                self._cpu.fetch_in_hook(self._before)
                self._hit = begun, start, length
                cpu.stop_before(Kind.WATCHPOINT)

    def _across_pages(self, offset: int, size: int) -> tuple[tuple[int, int], ...]:
        """The two pieces of a store, of which Unicorn says where the first begins."""
        self._cpu.fetch_in_hook(self._before)
        memory, mask = self._memory, self._shared_mask
        first = PAGE - (offset & (PAGE - 1))
        gpa = memory.gpa_of_page(offset >> PAGE_SHIFT) | offset & (PAGE - 1)
        linear = gla.find_plain(memory, self._before, mask, gpa)
        second = offset + first
        if linear >= 0:
            found = translate(memory, self._before, mask, linear + first & U64, 0)
            second = memory.offset(found.gpa & ~mask)
        return (offset, first), (second, size - first)

    def _undo(self, context: Context) -> tuple[int, int, int]:
        """Take back the instruction whose store hit a watchpoint.

        Returns the instructions done before it, and offset and size of the store.
        """
        context.restore_dump(self._before.dump())
        buffer = self._memory.buffer
        for offset, data in reversed(self._stores):
            buffer[offset : offset + len(data)] = data
        self._stores.clear()
        begun, offset, size = self._hit
        return begun - 1, offset, size
