"""The guest code that Unicorn has translated, and the bytes that it was made of.

Unicorn notices some of the guest's own writes over code, and nobody else's
(facts: emulated_vcpu 4.4). So a page with translated code is kept read-only in
the nested table, and who writes to it gets here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from tdxdbg.abi.regs import U64
from tdxdbg.backends.emulated import context as ctx
from tdxdbg.backends.emulated import vmcb
from tdxdbg.backends.emulated.clean_stores import CleanStores
from tdxdbg.backends.emulated.context import Context
from tdxdbg.backends.emulated.decode import LONGEST
from tdxdbg.backends.emulated.exits import Exit, Kind
from tdxdbg.backends.emulated.memory import PAGE_SHIFT, Memory
from tdxdbg.backends.emulated.nested import NestedTable
from tdxdbg.backends.emulated.paging import WRITE, translate
from tdxdbg.backends.emulated.unicorn_lib import Unicorn

#: Walks of two operands that cross a page, with the operands.
_MOST_PAGES: Final = 32


class Translated:
    """The translated code of one engine; `run` is its CPU's."""

    def __init__(
        self,
        unicorn: Unicorn,
        memory: Memory,
        nested: NestedTable,
        shared_mask: int,
        clean_stores: CleanStores,
        run: Callable[[Context, int], Exit],
    ) -> None:
        self._unicorn = unicorn
        self._memory = memory
        self._nested = nested
        self._shared_mask = shared_mask
        self._clean_stores = clean_stores
        self._run = run
        #: No paging, and a TLB that guests do not use: their CPU has no SMAP.
        self._plain = Context(unicorn)
        self._plain.d[ctx.HFLAGS] |= ctx.HF_SMAP
        #: The store that made a page's code be forgotten last: the page, and RIP.
        self._forgot_for = (-1, 0)

    def protect(self, pages: Iterable[int]) -> None:
        """Code of pages of the buffer is about to run for the first time."""
        self._nested.protect(pages)
        self._unicorn.flush_tlb()

    # --- forgetting -------------------------------------------------------------------

    def forget_all(self) -> None:
        """No translation holds."""
        self._unicorn.flush_code()
        self._nested.code[:] = bytes(len(self._nested.code))
        self._memory.changed.clear()

    def forget_changed(self) -> None:
        """Drop translated code if Python wrote over the bytes it was made of."""
        code = self._nested.code
        for start, end in self._memory.changed:
            if code[start >> PAGE_SHIFT]:
                self._forget(start, end)
        self._memory.changed.clear()

    def _forget(self, start: int, end: int) -> None:
        """Drop code that was made of bytes of a page, by their offsets in the RAM buffer."""
        self._plain.load()
        self._unicorn.forget_code(start, end)

    # --- stores of the guest ----------------------------------------------------------

    def store(self, context: Context, gpa: int) -> Exit:
        """What becomes of a store into a page with translated code.

        The code is forgotten, unless the store comes from the page itself, or is
        part of a walk to code in it; then this runs the instruction.
        """
        page = self._memory.offset(gpa) >> PAGE_SHIFT
        place = page, context.rip
        if page in self._pages_at_rip(context) or place == self._forgot_for:
            self._forgot_for = (-1, 0)
            return self._store_into_itself(context, gpa)
        self._forgot_for = place
        self._forget(page << PAGE_SHIFT, page + 1 << PAGE_SHIFT)
        self._nested.code[page] = False
        self._nested.allow_write(gpa)
        return Exit(Kind.COUNT, 0)

    def _pages_at_rip(self, context: Context) -> set[int]:
        """The pages of the buffer that the instruction at RIP may be in."""
        pages = set()
        first = context.linear_rip
        for address in (first, first + LONGEST - 1 & U64):
            found = translate(self._memory, context, self._shared_mask, address, 0)
            if found.is_mapped:
                pages.add(self._memory.offset(found.gpa & ~self._shared_mask) >> PAGE_SHIFT)
        return pages

    def _store_into_itself(self, context: Context, gpa: int) -> Exit:
        """Run a store into a page with translated code, as a block of its own.

        The walks to the operands may write to such pages too; all of them stay
        open until the instruction is over. Here Unicorn does find the code.
        """
        nested = self._nested
        opened: list[int] = []
        for _ in range(_MOST_PAGES):
            nested.allow_write(gpa)
            opened.append(self._memory.offset(gpa) >> PAGE_SHIFT)
            with self._clean_stores.none():
                result = self._run(context, 1)
            gpa = result.detail
            if not self._writes_over_code(context, result):
                break
        nested.protect(opened)
        self._unicorn.flush_tlb()
        return result

    def _writes_over_code(self, context: Context, result: Exit) -> bool:
        return (
            result.code == vmcb.NESTED_PAGE_FAULT
            and bool(context.d[ctx.ERROR_CODE] & WRITE)
            and self._nested.is_present(result.detail)
            and bool(self._nested.code[self._memory.offset(result.detail) >> PAGE_SHIFT])
        )
