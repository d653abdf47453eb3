"""The CPU: one Unicorn engine that runs any vCPU's registers, an exact slice at a time.

Several vCPUs share the engine and its translated code; their registers are
swapped (two engines over one RAM run stale code, facts: emulated_vcpu 9).
Nothing is decided inside a callback: it ends the slice, and the exit is looked
at outside, with the guest's state exactly before the instruction that exited.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Collection
from struct import Struct
from typing import Final

from unicorn import x86_const

from tdxdbg.abi.regs import RAX, RCX, RDI, RSI, U64
from tdxdbg.backends.emulated import context as ctx
from tdxdbg.backends.emulated import entry, flags, vmcb
from tdxdbg.backends.emulated.blocks import Blocks, Reason
from tdxdbg.backends.emulated.clean_stores import CleanStores
from tdxdbg.backends.emulated.context import Context
from tdxdbg.backends.emulated.exits import Exit, Kind
from tdxdbg.backends.emulated.memory import PAGE_SHIFT, PRIVATE, Memory
from tdxdbg.backends.emulated.nested import TABLES_AT, NestedTable
from tdxdbg.backends.emulated.paging import is_canonical, translate
from tdxdbg.backends.emulated.space import code_at_rip
from tdxdbg.backends.emulated.translated import Translated
from tdxdbg.backends.emulated.unicorn_lib import Unicorn
from tdxdbg.backends.emulated.vmcb import StartState
from tdxdbg.errors import BackendError

_HIDDEN: Final = 0xE0_0000_0000
_VMCB_AT: Final = 0x1000
_HOST_SAVE_AT: Final = 0x2000
_IO_BITMAP_AT: Final = 0x4000
_MSR_BITMAP_AT: Final = 0x8000
_HIDDEN_SIZE: Final = 0x10000
#: VMRUN with RAX = the control block; NOP.
_STUB: Final = bytes.fromhex("0f01d890")
_NOP_AT: Final = 3
#: Exits of a page walk, which may have been that for the instruction itself.
_WALKS: Final = frozenset({vmcb.NESTED_PAGE_FAULT, vmcb.EXCEPTION + 14})
_GENERAL_PROTECTION: Final = vmcb.EXCEPTION + 13
#: Exits that may not come at an instruction that was begun and is not done.
_WALKS_OR_GP: Final = _WALKS | {_GENERAL_PROTECTION}
_SPECIAL: Final = _WALKS_OR_GP | {vmcb.EXCEPTION + 1}
#: Bytes of an instruction at most.
_LONGEST: Final = 15
_U64: Final = Struct("<Q")

#: In place of the address of a code hook.
EVERYWHERE: Final = -1


_COUNT: Final = Kind.COUNT
_new: Final = tuple.__new__


class Cpu:
    """Runs contexts of vCPUs over one RAM."""

    def __init__(self, memory: Memory, nested: NestedTable, shared_mask: int) -> None:
        self.unicorn = unicorn = Unicorn()
        ctx.self_test(unicorn)
        self._memory = memory
        self._nested = nested
        self._shared_mask = shared_mask
        self._hidden = mmap.mmap(-1, _HIDDEN_SIZE, flags=PRIVATE)
        self._export = (ctypes.c_uint8 * _HIDDEN_SIZE).from_buffer(self._hidden)
        unicorn.map(0, memory.address, memory.size)
        unicorn.map(TABLES_AT, nested.address, nested.size)
        unicorn.map(_HIDDEN, ctypes.addressof(self._export), _HIDDEN_SIZE)
        self._hidden[: len(_STUB)] = _STUB
        bitmap = vmcb.msr_bitmap()
        self._hidden[_MSR_BITMAP_AT : _MSR_BITMAP_AT + len(bitmap)] = bitmap
        self._flat = Context(unicorn)
        self._before = Context(unicorn)
        self._now = Context(unicorn)
        #: Whose registers the engine had last.
        self.loaded: Context | None = None
        #: Takes back the instruction that hit a watchpoint: instructions done before it,
        #: offset and size of its write.
        self.undo: Callable[[Context], tuple[int, int, int]] = _nothing_to_undo
        self._code = Kind.COUNT
        self._io = (0, 0, False)
        #: Linear addresses with a code hook, wanted or not, or EVERYWHERE.
        self.code_hooks: Collection[int] = ()
        #: Whether the next run ends where the guest takes interrupts.
        self.interrupt_waits = False
        pages = memory.size >> PAGE_SHIFT
        marks = nested.marks_at
        self._blocks = Blocks(unicorn.handle, memory.address, pages, marks, marks + pages)
        self.clean_stores = CleanStores(unicorn, memory.address, memory.size)
        self._translated = Translated(
            unicorn, memory, nested, shared_mask, self.clean_stores, self.run
        )
        unicorn.on_exit(self._on_exit)
        unicorn.on_in(self._on_in)
        unicorn.on_out(self._on_out)
        unicorn.on_system_call(self._on_system_call)
        unicorn.flush_code()
        unicorn.on_block(self._blocks.callback, ctypes.addressof(self._blocks.state))

    # --- start ------------------------------------------------------------------------

    def new_vcpu(self, start: StartState) -> Context:
        """A context at the guest's first instruction.

        Raises BackendError when VMRUN does not do what it should.
        """
        unicorn = self.unicorn
        block = vmcb.control_block(
            start, _HIDDEN + _IO_BITMAP_AT, _HIDDEN + _MSR_BITMAP_AT, TABLES_AT
        )
        self._hidden[_VMCB_AT : _VMCB_AT + len(block)] = block
        self._flat.load()
        unicorn.write_msr(0xC000_0080, entry.EFER_SVME | 0x501)
        unicorn.write_msr(0xC001_0117, _HIDDEN + _HOST_SAVE_AT)
        unicorn.write_register(x86_const.UC_X86_REG_RAX, _HIDDEN + _VMCB_AT)
        # Without PAE in CR4 before it, VMRUN refuses CR0.PG without a word.
        unicorn.write_register(x86_const.UC_X86_REG_CR4, 0x620)
        self._blocks.begin(1)
        unicorn.start(_HIDDEN)
        context = Context(unicorn)
        if self._blocks.count != 1 or not self._blocks.flushes:
            raise BackendError("unicorn did not count one VMRUN: not the build of 2.1.4")
        entry.check(context, start, _HIDDEN + _VMCB_AT, TABLES_AT)
        entry.settle(context, start)
        self.loaded = None
        unicorn.flush_tlb()
        return context

    # --- a slice ----------------------------------------------------------------------

    def run(self, context: Context, count: int) -> Exit:
        """Run at most `count` instructions (>= 1); the context is up to date after it."""
        unicorn = self.unicorn
        if self.loaded is not context:
            if self.loaded is not None:
                unicorn.flush_tlb()
            self.loaded = context
        if self._memory.changed:
            self._translated.forget_changed()
        self._code = Kind.COUNT
        blocks = self._blocks
        blocks.begin(count, window=self.interrupt_waits)
        context.load()
        error = unicorn.start(context.q[ctx.RIP])
        context.fetch()
        code = self._code
        if code >= 0 and code not in _SPECIAL and not error:
            # The most frequent end.
            return _new(Exit, (code, self._done(context), 0, 0, False, 0))
        if code in _WALKS_OR_GP or blocks.reason in Reason.GO_ON:
            error = self._go_on(context, error)
        return self._end(context, error)

    def _go_on(self, context: Context, error: int) -> int:
        """Go on where a run stopped only because of how Unicorn translates; the error of its end.

        Unicorn fetches a whole block before it begins, so that a fault of the page
        behind comes too early. Then the first instruction gets a block of its own.
        """
        unicorn, blocks = self.unicorn, self._blocks
        alone = -1
        while not error:
            if self._code == Kind.COUNT and blocks.reason in Reason.GO_ON:
                self._prepare_next()
            elif alone != blocks.count and self._is_early(context):
                alone = blocks.count
                self._code = Kind.COUNT
            else:
                break
            blocks.go_on(most=1 if alone == blocks.count else -1)
            error = unicorn.start(context.q[ctx.RIP])
            context.fetch()
        return error

    def _prepare_next(self) -> None:
        """What the block needs that was not begun."""
        blocks = self._blocks
        if blocks.reason == Reason.NEW_CODE:
            self._translated.protect(blocks.new_pages())
        elif blocks.reason == Reason.EXCHANGE:
            blocks.split_next()

    def _is_early(self, context: Context) -> bool:
        """Whether the run ended with a fault of a fetch that may be of a later instruction."""
        code = self._code
        if code not in _WALKS_OR_GP or not _is_between(code, context):
            return False
        address = context.linear_rip
        if code == _GENERAL_PROTECTION:
            return is_canonical(address)
        if code == vmcb.NESTED_PAGE_FAULT:
            found = translate(self._memory, context, self._shared_mask, address, 0)
            address = found.gpa
        return (address ^ self.fault_address()) >> PAGE_SHIFT != 0

    def _end(self, context: Context, error: int) -> Exit:
        code, blocks = self._code, self._blocks
        if error:
            return Exit(Kind.BROKEN, self._done(context), error)
        if code == Kind.COUNT:
            if blocks.reason == Reason.LOST:
                raise BackendError("unicorn's blocks are not where 2.1.4 has them")
            return Exit(code, blocks.count)
        if code in _SPECIAL:
            return self._end_special(context, code)
        if code == Kind.SYSTEM_CALL:
            context.restore_dump(self._before.dump())
        if code == Kind.WATCHPOINT:
            return Exit(code, *self.undo(context))
        return Exit(code, self._done(context))

    def _done(self, context: Context) -> int:
        """Instructions done before the one at RIP, which was begun."""
        address = context.linear_rip
        hooked = self.code_hooks and self._is_hooked(address) and self._code != Kind.BREAKPOINT
        if hooked or (self._code in _WALKS_OR_GP and self._are_flags_in_source(context, address)):
            context.take_flags_from_source()
        return self._blocks.done_at(address)

    def _are_flags_in_source(self, context: Context, address: int) -> bool:
        """Whether the instruction that faulted had computed its flags."""
        operation = context.d[ctx.CC_OP]
        if operation in flags.EITHER_WAY:
            return False
        code = code_at_rip(self._memory, context, self._shared_mask, _LONGEST)
        known = self._blocks.operation_at(address)
        return flags.are_in_source(code, known, is_64bit=context.is_64bit)

    def _end_special(self, context: Context, code: int) -> Exit:
        if code == vmcb.EXCEPTION + 1:
            return self._end_io(context)
        # An instruction that could not be fetched was not begun.
        if _is_between(code, context):
            retired = self._blocks.count
            if self._blocks.flags & ctx.RFLAGS_RF:
                context.q[ctx.EFLAGS] &= ~ctx.RFLAGS_RF
            if retired == self._blocks.limit:
                # It comes again: what is done about it may be an instruction.
                code = Kind.COUNT
        else:
            retired = self._done(context)
        context.q[ctx.RETURN_ADDRESS] = 0
        return Exit(code, retired, self.fault_address() if code in _WALKS else 0)

    def _end_io(self, context: Context) -> Exit:
        """Undo an IN or OUT; a #DB of another kind happened after an instruction."""
        if context.q[ctx.DR0] == entry.NO_PORT:
            return Exit(vmcb.EXCEPTION + 1, self._blocks.count)
        port, size, is_in = self._io
        next_rip = context.rip
        before = self._before.q
        for register in (RAX, RCX, RSI, RDI):
            context.q[ctx.GPRS + register] = before[ctx.GPRS + register]
        context.rip = before[ctx.RIP]
        context.q[ctx.DR0] = entry.NO_PORT
        return Exit(Kind.IO, self._done(context), port, size, is_in, next_rip)

    def _is_hooked(self, address: int) -> bool:
        return address in self.code_hooks or EVERYWHERE in self.code_hooks

    @property
    def begun(self) -> int:
        """In a hook that knows RIP: instructions begun in this run."""
        self._now.fetch()
        return self._blocks.done_at(self._now.linear_rip) + 1

    def fetch_in_hook(self, context: Context) -> None:
        """The registers as they are in the middle of a run, in a hook that knows RIP."""
        context.fetch()
        if self._is_hooked(context.linear_rip):
            context.take_flags_from_source()
        else:
            context.rflags = context.rflags

    def fault_address(self) -> int:
        """exit_info_2 of the last exit."""
        address: int = _U64.unpack_from(self._hidden, _VMCB_AT + vmcb.EXIT_INFO_2)[0]
        return address

    def step_native(self, context: Context, intercept: int, mask: int) -> Exit:
        """Run one instruction with bits of the 16-bit intercept words off."""
        saved = context.d[ctx.CR_INTERCEPTS + intercept]
        context.d[ctx.CR_INTERCEPTS + intercept] = saved & ~mask
        result = self.run(context, 1)
        context.d[ctx.CR_INTERCEPTS + intercept] = saved
        return result

    def new_context(self) -> Context:
        """A place for registers of this engine."""
        return Context(self.unicorn)

    # --- caches -----------------------------------------------------------------------

    def flush_tlb(self) -> None:
        """Needed after entries of the nested table became less."""
        self.unicorn.flush_tlb()

    def flush_all(self) -> None:
        """The RAM is another one: no translation holds."""
        self._translated.forget_all()
        self.unicorn.flush_tlb()

    def remove_code_hooks(self, hooks: list[int]) -> None:
        """Take code hooks out; the TLB is flushed.

        Unicorn walks the page tables to the code that they were called from,
        at the next start. So it starts once without any.
        """
        for hook in hooks:
            self.unicorn.remove_hook(hook)
        self._blocks.stop_inside(may=bool(self.code_hooks))
        self._flat.load()
        self._blocks.begin(1)
        self.unicorn.start(_HIDDEN + _NOP_AT)
        self.loaded = None
        self.unicorn.flush_code()
        self.unicorn.flush_tlb()

    def store_over_code(self, context: Context, gpa: int) -> Exit:
        """What becomes of a store into a page with translated code."""
        return self._translated.store(context, gpa)

    def hook_code(self, address: int, react: Callable[[int], None]) -> int:
        """A hook before the instruction at a linear address, where `stop_before` may stop.

        EVERYWHERE: before each, without a call. What is translated already does not
        have it.
        """
        self._blocks.stop_inside(may=True)
        if address == EVERYWHERE:
            return self.unicorn.on_every_instruction(self._blocks.nothing)
        return self.unicorn.on_code(address, react)

    # --- callbacks --------------------------------------------------------------------

    def stop_before(self, code: int) -> None:
        """In a hook: end the slice; the instruction that is under way is not done."""
        self._code = code
        self.unicorn.stop()

    @property
    def may_stop(self) -> bool:
        """In a hook: whether nothing has ended the slice yet."""
        return self._code == Kind.COUNT

    def _on_exit(self, number: int) -> None:
        if self._code == _COUNT:
            self._code = number - vmcb.EXIT_BASE
        self.unicorn.stop()

    def _on_in(self, port: int, size: int) -> None:
        self._io_begins(port, size, True)

    def _on_out(self, port: int, size: int) -> None:
        self._io_begins(port, size, False)

    def _io_begins(self, port: int, size: int, is_in: bool) -> None:
        before = self._before
        before.fetch()
        self._io = (port, size, is_in)
        before.q[ctx.DR0] = port
        before.load()

    def _on_system_call(self) -> None:
        self.fetch_in_hook(self._before)
        self._code = Kind.SYSTEM_CALL
        self.unicorn.stop()


def _is_between(code: int, context: Context) -> bool:
    """Whether a special exit came before the next instruction was begun.

    A walk says from where it was done: nowhere, for code. A #GP does so only if
    it comes of a walk, which is when RIP is, or runs into, no canonical address.
    """
    if context.q[ctx.RETURN_ADDRESS]:
        return False
    last = context.rip + _LONGEST - 1 & U64
    return code in _WALKS or not (is_canonical(context.rip) and is_canonical(last))


def _nothing_to_undo(context: Context) -> tuple[int, int, int]:
    raise AssertionError("a watchpoint was hit, and nobody set one")
