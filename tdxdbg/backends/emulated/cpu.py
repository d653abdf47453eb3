"""The CPU: one Unicorn engine that runs any vCPU's registers, an exact slice at a time.

Several vCPUs share the engine and its translated code; their registers are
swapped (two engines over one RAM run stale code, facts: emulated_vcpu 9).
Nothing is decided inside a callback: it ends the slice, and the exit is looked
at outside, with the guest's state exactly before the instruction that exited.
"""

from __future__ import annotations

import ctypes
import mmap
from collections import defaultdict
from collections.abc import Callable
from struct import Struct
from typing import Final, NamedTuple

from unicorn import x86_const

from tdxdbg.abi.regs import RAX, RCX, RDI, RSI, U64
from tdxdbg.backends.emulated import context as ctx
from tdxdbg.backends.emulated import vmcb
from tdxdbg.backends.emulated.context import Context
from tdxdbg.backends.emulated.memory import PAGE_SHIFT, PRIVATE, Memory
from tdxdbg.backends.emulated.nested import TABLES_AT, NestedTable
from tdxdbg.backends.emulated.paging import WRITE, is_canonical, translate
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
#: Translated guest code that is kept: its bytes, and as many as this for each block. A
#: block that is entered one instruction further on is another one, so it becomes far
#: more than the guest has, at some 100 bytes for one; Unicorn would keep 1 GiB of it.
_MOST_CODE: Final = 1 << 18
_BLOCK: Final = 64
#: Walks of two operands that cross a page, with the operands.
_MOST_PAGES: Final = 32

# DR7: breakpoint 0, global, I/O, one byte; DR0 holds a port only while an IN
# or OUT is under way (facts: emulated_vcpu 2).
_DR7_IO: Final = 0x2_0402
_NO_PORT: Final = 0xFFFF_FFFF
#: Exits of a page walk, which may have been that for the instruction itself.
_WALKS: Final = frozenset({vmcb.NESTED_PAGE_FAULT, vmcb.EXCEPTION + 14})
_GENERAL_PROTECTION: Final = vmcb.EXCEPTION + 13
#: Exits that may not come at an instruction that was begun and is not done.
_SPECIAL: Final = _WALKS | {vmcb.VINTR, vmcb.EXCEPTION + 1, _GENERAL_PROTECTION}
#: Bytes of an instruction at most.
_LONGEST: Final = 15
_EFER_SVME: Final = 1 << 12
#: Always 1.
_CR0_ET: Final = 1 << 4

_U64: Final = Struct("<Q")


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


_COUNT: Final = Kind.COUNT
_new: Final = tuple.__new__


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
        #: Whose registers the engine had last.
        self.loaded: Context | None = None
        #: Takes back the instruction that hit a watchpoint: instructions done before it,
        #: offset and size of its write.
        self.undo: Callable[[Context], tuple[int, int, int]] = _nothing_to_undo
        self._code = Kind.COUNT
        #: Whether the exit has fetched the registers.
        self._fetched = False
        self._io = (0, 0, False)
        self._entering = False
        #: Bytes of guest code that are translated: page of the buffer -> ranges in the buffer.
        self._code_ranges: dict[int, set[tuple[int, int]]] = defaultdict(set)
        self._code_size = 0
        self._to_protect: list[int] = []
        self._translating = Context(unicorn)
        unicorn.on_exit(self._on_exit)
        unicorn.on_in(self._on_in)
        unicorn.on_out(self._on_out)
        unicorn.on_system_call(self._on_system_call)
        unicorn.on_translation(self._on_translation)

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
        unicorn.write_msr(0xC000_0080, _EFER_SVME | 0x501)
        unicorn.write_msr(0xC001_0117, _HIDDEN + _HOST_SAVE_AT)
        unicorn.write_register(x86_const.UC_X86_REG_RAX, _HIDDEN + _VMCB_AT)
        # Without PAE in CR4 before it, VMRUN refuses CR0.PG without a word.
        unicorn.write_register(x86_const.UC_X86_REG_CR4, 0x620)
        self._entering = True
        unicorn.start(_HIDDEN, 1)
        self._entering = False
        context = Context(unicorn)
        self._check_entry(context, start)
        self._settle(context, start)
        self.loaded = None
        unicorn.flush_tlb()
        return context

    def _check_entry(self, context: Context, start: StartState) -> None:
        unicorn = self.unicorn
        if unicorn.begun == 0 or unicorn.count_limit != 1:
            raise BackendError("unicorn's instruction counter is not where 2.1.4 has it")
        if (
            context.rip != start.rip
            or not context.d[ctx.HFLAGS] & ctx.HF_GUEST
            or context.q[ctx.CR0] != start.cr0 | _CR0_ET
            or context.q[ctx.VMCB] != _HIDDEN + _VMCB_AT
            or context.q[ctx.NESTED_CR3] != TABLES_AT
            or context.d[ctx.CR_INTERCEPTS] != 0x0111_0100
        ):
            raise BackendError("unicorn's VMRUN did not enter the guest: not the build of 2.1.4")

    @staticmethod
    def _settle(context: Context, start: StartState) -> None:
        """What VMRUN does not load, and what the guest must not see of SVM."""
        context.regs = start.regs
        q, d = context.q, context.d
        q[ctx.EFER] &= ~_EFER_SVME
        d[ctx.HFLAGS] = (d[ctx.HFLAGS] | ctx.HF_IOBPT) & ~ctx.HF_SVME
        d[ctx.HFLAGS2] &= ~ctx.HF2_GIF
        q[ctx.DR0], q[ctx.DR7] = _NO_PORT, _DR7_IO
        data = ctx.Segment(start.data_selector, 0, 0xFFFF_FFFF, ctx.DATA)
        for number in (ctx.FS, ctx.GS):
            context.set_segment(number, data)
        context.set_segment(ctx.LDTR, ctx.Segment(0, 0, 0xFFFF, 0x8200))
        context.set_segment(ctx.TR, ctx.Segment(0, 0, 0xFFFF, 0x8B00))

    # --- a slice ----------------------------------------------------------------------

    def run(self, context: Context, count: int) -> Exit:
        """Run at most `count` instructions (>= 1); the context is up to date after it."""
        unicorn = self.unicorn
        if self.loaded is not context:
            if self.loaded is not None:
                unicorn.flush_tlb()
            self.loaded = context
        if self._code_size > _MOST_CODE:
            self._forget_code()
        if self._memory.changed:
            self.forget_changed_code()
        self._code = Kind.COUNT
        self._fetched = False
        context.load()
        error = unicorn.start(context.q[ctx.RIP], count)
        if not self._fetched:
            context.fetch()
        if self._to_protect:
            self._protect_code()
        return self._end(context, count, error)

    def _end(self, context: Context, count: int, error: int) -> Exit:
        code, begun = self._code, self.unicorn.begun
        if error:
            return Exit(Kind.BROKEN, min(begun, count), error)
        if code >= 0 and code not in _SPECIAL:
            return _new(Exit, (code, begun - 1, 0, 0, False, 0))
        if code == Kind.COUNT:
            return Exit(code, min(begun, count))
        if code in _WALKS or code == _GENERAL_PROTECTION:
            # An instruction that could not be fetched was not counted as begun.
            retired = begun - (not _is_between(code, context))
            context.q[ctx.RETURN_ADDRESS] = 0
            return Exit(code, retired, self.fault_address() if code in _WALKS else 0)
        if code == vmcb.VINTR:
            return Exit(code, begun)
        if code == Kind.IO or code == vmcb.EXCEPTION + 1:
            return self._end_io(context, begun)
        if code == Kind.SYSTEM_CALL:
            context.restore_dump(self._before.dump())
        if code == Kind.WATCHPOINT:
            return Exit(code, *self.undo(context))
        return Exit(code, begun - 1)  # SYSTEM_CALL, BREAKPOINT

    def _end_io(self, context: Context, begun: int) -> Exit:
        """Undo an IN or OUT; a #DB of another kind happened after an instruction."""
        if context.q[ctx.DR0] == _NO_PORT:
            return Exit(vmcb.EXCEPTION + 1, begun)
        port, size, is_in = self._io
        next_rip = context.rip
        before = self._before.q
        for register in (RAX, RCX, RSI, RDI):
            context.q[ctx.GPRS + register] = before[ctx.GPRS + register]
        context.rip = before[ctx.RIP]
        context.q[ctx.DR0] = _NO_PORT
        return Exit(Kind.IO, begun - 1, port, size, is_in, next_rip)

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
        self._forget_code()
        self.unicorn.flush_tlb()
        self._memory.changed.clear()

    def remove_code_hooks(self, hooks: list[int]) -> None:
        """Take code hooks out; the TLB is flushed.

        Unicorn walks the page tables to the code that they were called from,
        at the next start. So it starts once without any.
        """
        for hook in hooks:
            self.unicorn.remove_hook(hook)
        self._flat.load()
        self._entering = True
        self.unicorn.start(_HIDDEN + _NOP_AT, 1)
        self._entering = False
        self.loaded = None
        self.unicorn.flush_code()
        self.unicorn.flush_tlb()

    def forget_changed_code(self) -> None:
        """Drop translated code if Python wrote over the bytes it was made of.

        Unicorn notices the guest's own writes only (facts: emulated_vcpu 4.4).
        """
        for start, end in self._memory.changed:
            ranges = self._code_ranges.get(start >> PAGE_SHIFT)
            if ranges and any(low < end and start < high for low, high in ranges):
                self._forget_code()
                break
        self._memory.changed.clear()

    def store_over_code(self, context: Context, gpa: int) -> Exit:
        """Run a store into a page with translated code, in a block of its own.

        An interrupt shadow ends a block after its first instruction, which is
        no STI or MOV SS here. The walks to the operands may write to such
        pages too; all of them stay open until the instruction is over.
        """
        nested = self._nested
        shadow = context.d[ctx.HFLAGS] & ctx.HF_INHIBIT_IRQ
        context.d[ctx.HFLAGS] |= ctx.HF_INHIBIT_IRQ
        opened: list[int] = []
        for _ in range(_MOST_PAGES):
            nested.allow_write(gpa)
            opened.append(self._memory.offset(gpa) >> PAGE_SHIFT)
            result = self.run(context, 1)
            gpa = result.detail
            if not self._writes_over_code(context, result):
                break
        if result.code != Kind.COUNT:
            context.d[ctx.HFLAGS] = context.d[ctx.HFLAGS] & ~ctx.HF_INHIBIT_IRQ | shadow
        nested.protect(opened)
        self.unicorn.flush_tlb()
        return result

    def _writes_over_code(self, context: Context, result: Exit) -> bool:
        return (
            result.code == vmcb.NESTED_PAGE_FAULT
            and bool(context.d[ctx.ERROR_CODE] & WRITE)
            and self._nested.is_present(result.detail)
            and self._memory.offset(result.detail) >> PAGE_SHIFT in self._nested.code_pages
        )

    def _protect_code(self) -> None:
        """Pages that got their first block while they were writable are so no more."""
        self._nested.protect(self._to_protect)
        self._to_protect.clear()
        self.unicorn.flush_tlb()

    def _forget_code(self) -> None:
        self.unicorn.flush_code()
        self._code_size = 0
        self._code_ranges.clear()
        self._nested.code_pages.clear()

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
        code = number - vmcb.EXIT_BASE
        running = self.loaded
        if self._code == _COUNT and running is not None:
            self._code = code
            self._fetched = True
            running.fetch()
            running.settle_flags(between=code in _SPECIAL and _is_between(code, running))
        if code == vmcb.VINTR:
            # Close the window at once: Unicorn looks at interrupts before it looks
            # whether it should stop, and would come back here for ever.
            before = self._before
            before.fetch()
            before.d[ctx.HFLAGS2] &= ~ctx.HF2_GIF
            before.load()
            if running is not None:
                running.d[ctx.HFLAGS2] &= ~ctx.HF2_GIF
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
        self._before.fetch_in_hook()
        self._code = Kind.SYSTEM_CALL
        self.unicorn.stop()

    def _on_translation(self, address: int, size: int) -> None:
        """Remember where in the RAM the block is; stop before it if the page is writable,
        or if there is too much code by now.

        It is translated by the page tables of now, which is why this is done
        here and not after the slice.
        """
        if self._entering:
            return
        self._code_size += size + _BLOCK
        if self._code_size > _MOST_CODE:
            self.unicorn.stop()
        context = self._translating
        context.fetch()
        if not context.is_64bit:
            address = address & 0xFFFF_FFFF
        code_pages = self._nested.code_pages
        for start, end in _in_pages(address, size):
            found = translate(self._memory, context, self._shared_mask, start, 0)
            offset = self._memory.offset(found.gpa)
            page = offset >> PAGE_SHIFT
            if page not in code_pages:
                code_pages.add(page)
                if self._nested.is_writable(page):
                    self._to_protect.append(page)
                    self.unicorn.stop()
            self._code_ranges[page].add((offset, offset + end - start))


def _is_between(code: int, context: Context) -> bool:
    """Whether a special exit came before the next instruction was begun.

    A walk says from where it was done: nowhere, for code. A #GP does so only if
    it comes of a walk, which is when RIP is, or runs into, no canonical address.
    """
    if code == vmcb.VINTR:
        return True
    if code == vmcb.EXCEPTION + 1 or context.q[ctx.RETURN_ADDRESS]:
        return False
    last = context.rip + _LONGEST - 1 & U64
    return code in _WALKS or not (is_canonical(context.rip) and is_canonical(last))


def _nothing_to_undo(context: Context) -> tuple[int, int, int]:
    raise AssertionError("a watchpoint was hit, and nobody set one")


def _in_pages(address: int, size: int) -> list[tuple[int, int]]:
    """[address, address + size), cut at pages."""
    page = 1 << PAGE_SHIFT
    middle = (address | (page - 1)) + 1
    if middle >= address + size:
        return [(address, address + size)]
    return [(address, middle), (middle, address + size)]
