"""A walk of the guest's page tables.

The CPU walks them by itself; this one is for what is done from Python: frames
of exceptions, the debugger's reads, and #PF with RSVD, which Unicorn gives for
every GPA above 40 bits before it looks at permissions (facts: emulated_vcpu 2).
A TD has EFER.LME fixed at 1, so there is no paging but that of long mode.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from tdxdbg.abi import vmx_instructions as abi
from tdxdbg.backends.emulated import context as ctx
from tdxdbg.backends.emulated.memory import Memory

if TYPE_CHECKING:
    from tdxdbg.backends.emulated.context import Context

# Page fault error code, and kinds of access.
PRESENT: Final = abi.PFEC_P
WRITE: Final = abi.PFEC_W
USER: Final = abi.PFEC_U
RESERVED: Final = abi.PFEC_RSVD
FETCH: Final = abi.PFEC_I

_CR0_WP: Final = 1 << 16
_CR0_PG: Final = 1 << 31
_CR4_LA57: Final = 1 << 12
_CR4_SMEP: Final = 1 << 20
_CR4_SMAP: Final = 1 << 21
_EFER_NXE: Final = 1 << 11

_LARGE: Final = 1 << 7
_NX: Final = 1 << 63
_ADDRESS: Final = 0x000F_FFFF_FFFF_F000

#: Rights gathered on the way down: NX is kept inverted, so 1 says executable.
_ALL: Final = WRITE | USER | _NX
_RFLAGS_AC: Final = 1 << 18

_ACCESSED: Final = 1 << 5
_DIRTY: Final = 1 << 6
_ENTRY: Final = Struct("<Q")


class Translation(NamedTuple):
    """A linear address: its GPA with the shared bit, and the entry that maps it.

    `fault` is the error code of the #PF that the access gives, -1 for none;
    `table_gpa` is the GPA of a table that is no RAM or has the shared bit, else
    -1. `entries` are the offsets in the RAM buffer of the entries walked, the
    last one maps a page of `size` bytes (0: no paging).
    """

    gpa: int
    fault: int = -1
    table_gpa: int = -1
    entries: tuple[int, ...] = ()
    size: int = 0

    @property
    def is_mapped(self) -> bool:
        """Whether there is a page, permissions aside; without one `gpa` says nothing."""
        if self.table_gpa >= 0:
            return False
        return self.fault < 0 or bool(self.fault & PRESENT and not self.fault & RESERVED)


def is_canonical(address: int, *, la57: bool = False) -> bool:
    """Whether the upper bits of a 64-bit linear address repeat bit 47 (56)."""
    top = address >> (56 if la57 else 47)
    return top in (0, 0x1FF if la57 else 0x1_FFFF)


def translate(
    memory: Memory, context: Context, shared_mask: int, address: int, access: int
) -> Translation:
    """Translate `address` for an access: a sum of WRITE, USER, FETCH (0: supervisor read)."""
    cr0 = context.q[ctx.CR0]
    if not cr0 & _CR0_PG:
        return Translation(address & 0xFFFF_FFFF)
    cr4 = context.q[ctx.CR4]
    no_execute = bool(context.q[ctx.EFER] & _EFER_NXE)
    table = context.q[ctx.CR3] & _ADDRESS
    rights = _ALL
    entries: tuple[int, ...] = ()
    for shift in (48, 39, 30, 21, 12) if cr4 & _CR4_LA57 else (39, 30, 21, 12):
        offset = -1 if table & shared_mask else memory.offset(table)
        if offset < 0:
            return Translation(0, table_gpa=table, entries=entries)
        offset += (address >> shift & 511) * 8
        entries += (offset,)
        entry = memory.words[offset >> 3]
        if not entry & PRESENT:
            return Translation(0, access, entries=entries)
        is_leaf = shift == 12 or bool(entry & _LARGE and shift in (21, 30))
        if _is_reserved(entry, shift, is_leaf, no_execute):
            return Translation(0, access | PRESENT | RESERVED, entries=entries)
        rights &= entry ^ _NX
        if is_leaf:
            page = (1 << shift) - 1
            gpa = entry & _ADDRESS & ~page | address & page
            fault = -1 if _allowed(rights, access, cr0, cr4, context) else access | PRESENT
            return Translation(gpa, fault, entries=entries, size=1 << shift)
        table = entry & _ADDRESS
    raise AssertionError("the last level is a leaf")


def _is_reserved(entry: int, shift: int, is_leaf: bool, no_execute: bool) -> bool:
    if entry & _NX and not no_execute:
        return True
    if shift >= 39:
        return bool(entry & _LARGE)
    if is_leaf and shift > 12:
        return bool(entry & ((1 << shift) - 1) & ~0x1FFF)
    return False


def _allowed(rights: int, access: int, cr0: int, cr4: int, context: Context) -> bool:
    """The permission checks of the SDM, volume 3, 4.6."""
    if access & FETCH and not rights & _NX:
        return False
    if access & USER:
        return bool(rights & USER) and not (access & WRITE and not rights & WRITE)
    if rights & USER:
        if access & FETCH and cr4 & _CR4_SMEP:
            return False
        if not access & FETCH and cr4 & _CR4_SMAP and not context.q[ctx.EFLAGS] & _RFLAGS_AC:
            return False
    return not (access & WRITE and not rights & WRITE and cr0 & _CR0_WP)


def mark_used(memory: Memory, translation: Translation, *, write: bool) -> None:
    """Set the accessed (and dirty) bits, as a walk by the CPU would."""
    last = len(translation.entries) - 1
    for level, offset in enumerate(translation.entries):
        entry = memory.words[offset >> 3]
        used = entry | _ACCESSED | (_DIRTY if write and level == last else 0)
        if used != entry:
            memory.put(offset, _ENTRY.pack(used))
