"""The guest's linear address space, for accesses that the machine makes for the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tdxdbg.abi import vmx
from tdxdbg.abi.regs import U64
from tdxdbg.backends.emulated import paging
from tdxdbg.backends.emulated.context import CR0, CR3, CR4, CS, EFER, HF_CS64, HFLAGS, RIP, Context
from tdxdbg.backends.emulated.decode import LONGEST
from tdxdbg.backends.emulated.memory import PAGE, PAGE_SHIFT, Memory
from tdxdbg.backends.emulated.paging import Translation, translate
from tdxdbg.backends.emulated.vcpu import Event
from tdxdbg.module.results import Result

#: Reach a GPA (with the shared bit) for paging.WRITE or 0, at a linear address:
#: None, or what the TDX module makes of it.
Reach = Callable[[int, int, int], Result | None]

_WALKS: Final = 4096


class GuestFaultError(Exception):
    """The access gives this exception."""

    def __init__(self, event: Event) -> None:
        super().__init__(event)
        self.event = event


class BlockedError(Exception):
    """The TDX module does not let the access through; `result` says what happens."""

    def __init__(self, result: Result) -> None:
        super().__init__(result)
        self.result = result


class Space:
    """Linear addresses of one vCPU, through its page tables, with permissions."""

    def __init__(
        self, memory: Memory, context: Context, shared_mask: int, walks: Walks, reach: Reach
    ) -> None:
        self._memory = memory
        self._context = context
        self._shared_mask = shared_mask
        self._walks = walks
        self._reach = reach

    def locate(self, address: int, access: int) -> int:
        """The offset in the RAM buffer of one byte; raises GuestFaultError or BlockedError."""
        q = self._context.q
        page = access, address >> PAGE_SHIFT, q[CR3], q[CR0], q[CR4], q[EFER]
        known = self._walks.find(page)
        if known is not None:
            gpa, offset = known
            inside = address & (PAGE - 1)
            self._block(gpa | inside, access, address)
            return offset | inside
        found = translate(self._memory, self._context, self._shared_mask, address, access)
        if found.table_gpa >= 0:
            self._block(found.table_gpa, access, address)
        if found.fault >= 0:
            raise GuestFaultError(Event(vmx.PF_VECTOR, found.fault, cr2=address))
        self._block(found.gpa, access, address)
        paging.mark_used(self._memory, found, write=bool(access & paging.WRITE))
        offset = self._memory.offset(found.gpa & ~self._shared_mask)
        self._walks.remember(page, found, (found.gpa & -PAGE, offset & -PAGE))
        return offset

    def _block(self, gpa: int, access: int, address: int) -> None:
        result = self._reach(gpa, access & paging.WRITE, address)
        if result is not None:
            raise BlockedError(result)

    def read(self, address: int, size: int, access: int = 0) -> bytes:
        """`size` bytes, as a supervisor or with paging.USER."""
        pieces = []
        while size:
            step = min(size, PAGE - (address & (PAGE - 1)))
            offset = self.locate(address, access)
            pieces.append(self._memory.buffer[offset : offset + step])
            address += step
            size -= step
        return b"".join(pieces)

    def find_for_write(self, address: int, size: int) -> list[tuple[int, int]]:
        """(offset, size) of the pieces of a supervisor write; nothing is written yet."""
        pieces = []
        while size:
            step = min(size, PAGE - (address & (PAGE - 1)))
            pieces.append((self.locate(address, paging.WRITE), step))
            address += step
            size -= step
        return pieces


def peek(
    memory: Memory, context: Context, shared_mask: int, address: int, size: int
) -> bytes | None:
    """What the guest has at a linear address, without touching anything; None: not mapped.

    For looking, so permissions do not count.
    """
    pieces = gpa_pieces(memory, context, shared_mask, address, size)
    if pieces is None:
        return None
    found = [memory.read(gpa, step) for gpa, step in pieces]
    return None if None in found else b"".join(piece for piece in found if piece is not None)


def poke(memory: Memory, context: Context, shared_mask: int, address: int, data: bytes) -> bool:
    """Change what the guest has at a linear address, all of it; False: not mapped."""
    pieces = gpa_pieces(memory, context, shared_mask, address, len(data))
    if pieces is None or any(memory.offset(gpa) < 0 for gpa, _ in pieces):
        return False
    done = 0
    for gpa, step in pieces:
        memory.write(gpa, data[done : done + step])
        done += step
    return True


def gpa_pieces(
    memory: Memory, context: Context, shared_mask: int, address: int, size: int
) -> list[tuple[int, int]] | None:
    """(GPA without the shared bit, size) of each page of linear memory; None: not mapped."""
    pieces = []
    while size > 0:
        step = min(size, PAGE - (address & (PAGE - 1)))
        found = translate(memory, context, shared_mask, address, 0)
        if not found.is_mapped:
            return None
        pieces.append((found.gpa & ~shared_mask, step))
        address = address + step & U64
        size -= step
    return pieces


class Walks:
    """Page walks and what came of them, as long as the entries are the same.

    A walk is remembered when its entries have their accessed and dirty bits.
    """

    def __init__(self, memory: Memory) -> None:
        self._words = memory.words
        #: What was walked -> (word and value of each entry), GPA and offset of the page.
        self._known: dict[tuple[int, ...], tuple[tuple[tuple[int, int], ...], tuple[int, int]]] = {}

    def find(self, walk: tuple[int, ...]) -> tuple[int, int] | None:
        known = self._known.get(walk)
        if known is None:
            return None
        words = self._words
        for word, value in known[0]:
            if words[word] != value:
                return None
        return known[1]

    def remember(self, walk: tuple[int, ...], found: Translation, page: tuple[int, int]) -> None:
        """`page`: its GPA, and its offset in the RAM buffer (nothing is kept without one)."""
        if page[1] < 0 or not found.entries:
            return
        if len(self._known) >= _WALKS:
            self._known.clear()
        words = self._words
        self._known[walk] = tuple((at >> 3, words[at >> 3]) for at in found.entries), page


class CodeReader:
    """The bytes at an instruction pointer."""

    def __init__(self, memory: Memory, shared_mask: int) -> None:
        self._memory = memory
        self._shared_mask = shared_mask
        self._walks = Walks(memory)

    def read(self, context: Context) -> bytes:
        """15 bytes at RIP; fewer where the next page is not there."""
        q = context.q
        rip = q[RIP]
        inside = rip & (PAGE - 1)
        if inside <= PAGE - LONGEST and context.d[HFLAGS] & HF_CS64:
            walk = q[CR3], rip >> PAGE_SHIFT
            known = self._walks.find(walk)
            if known is not None:
                offset = known[1] | inside
                return self._memory.buffer[offset : offset + LONGEST]
            found = translate(self._memory, context, self._shared_mask, rip, 0)
            if found.is_mapped:
                gpa = found.gpa & -PAGE
                self._walks.remember(walk, found, (gpa, self._memory.offset(gpa)))
        return code_at_rip(self._memory, context, self._shared_mask, LONGEST)


def code_at_rip(memory: Memory, context: Context, shared_mask: int, size: int) -> bytes:
    """Up to `size` bytes at the instruction pointer; fewer where the next page is not there."""
    address = context.rip
    if not context.is_64bit:
        address = address + context.segment_base(CS) & 0xFFFF_FFFF
    first = min(size, PAGE - (address & (PAGE - 1)))
    code = peek(memory, context, shared_mask, address, first)
    if code is None:
        return b""
    if first < size:
        code += peek(memory, context, shared_mask, address + first, size - first) or b""
    return code
