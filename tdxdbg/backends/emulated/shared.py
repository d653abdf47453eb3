"""Accesses with the shared bit, which arrive as #PF with RSVD (`nested.py` says why)."""

from __future__ import annotations

from typing import Final, NamedTuple

from tdxdbg.abi import vmx
from tdxdbg.backends.emulated import context as ctx
from tdxdbg.backends.emulated import paging, vmcb
from tdxdbg.backends.emulated.exits import Exit
from tdxdbg.backends.emulated.memory import GPA_LIMIT, PAGE, PAGE_SHIFT
from tdxdbg.backends.emulated.nested import WINDOWS
from tdxdbg.backends.emulated.paging import Translation
from tdxdbg.backends.emulated.platform import Platform
from tdxdbg.backends.emulated.vcpu import Event, Vcpu
from tdxdbg.module.results import Result

_PAGE_FAULT: Final = vmcb.EXCEPTION + vmx.PF_VECTOR
_ADDRESS: Final = 0x000F_FFFF_FFFF_F000
_USED: Final = 0x60
#: Pages that one instruction can touch, and each of them for reading and then for writing.
_ATTEMPTS: Final = 16


class _Redirected(NamedTuple):
    """A leaf that points at a window: its word, what it was and is; GPA, GLA and size of it."""

    word: int
    original: int
    patched: int
    gpa: int
    address: int
    size: int


def kind_of(error_code: int) -> int:
    """The access of a page fault, as bits of an EPT violation's qualification."""
    if error_code & paging.FETCH:
        return vmx.EPT_VIOLATION_ACC_INSTR
    return vmx.EPT_VIOLATION_ACC_WRITE if error_code & paging.WRITE else vmx.EPT_VIOLATION_ACC_READ


def reserved_fault(platform: Platform, vcpu: Vcpu, fault: Exit) -> Exit | Event | Result:
    """Look into a #PF with RSVD: run the instruction (Exit), a #PF, or the module's answer."""
    access = vcpu.context.d[ctx.ERROR_CODE] & (paging.WRITE | paging.USER | paging.FETCH)
    found = paging.translate(
        platform.memory, vcpu.context, platform.shared_mask, fault.detail, access
    )
    if found.table_gpa >= 0:
        # Paging structures in shared memory: the CPU itself says reserved bit.
        error_code = access | paging.PRESENT | paging.RESERVED
        return Event(vmx.PF_VECTOR, error_code, cr2=fault.detail)
    if found.fault >= 0:
        return Event(vmx.PF_VECTOR, found.fault, cr2=fault.detail)
    blocked = platform.reach(vcpu, found.gpa, kind_of(access), fault.detail)
    if blocked is not None:
        return blocked
    return _Windows(platform, vcpu).run(fault, found)


class _Windows:
    """Runs one instruction with leaves pointed at windows, and puts all back."""

    def __init__(self, platform: Platform, vcpu: Vcpu) -> None:
        self._platform = platform
        self._vcpu = vcpu
        self._leaves: list[_Redirected] = []
        self._open: list[tuple[int, int]] = []
        self._blocked: Result | None = None

    def run(self, fault: Exit, found: Translation) -> Exit | Result:
        """The end of the instruction: done, an exit to look at, or the module's answer."""
        write = bool(self._vcpu.context.d[ctx.ERROR_CODE] & paging.WRITE)
        self._redirect(found, fault.detail, write=write)
        try:
            for _ in range(_ATTEMPTS):
                result = self._platform.cpu.run(self._vcpu.context, 1)
                if not self._again(result):
                    break
        finally:
            self._put_back()
        return result if self._blocked is None else self._blocked

    def _redirect(self, found: Translation, address: int, *, write: bool) -> None:
        platform, number = self._platform, len(self._leaves)
        word, size = found.entries[-1] >> 3, found.size
        original = platform.memory.words[word]
        patched = original & ~(_ADDRESS & -size) | platform.nested.window(number)
        self._leaves.append(
            _Redirected(word, original, patched, found.gpa & -size, address & -size, size)
        )
        platform.memory.words[word] = patched
        platform.memory.dirty.add(found.entries[-1] >> PAGE_SHIFT)
        self._show(number, address & (size - 1) & -PAGE, write=write)

    def _show(self, number: int, inside: int, *, write: bool) -> None:
        platform = self._platform
        gpa = (self._leaves[number].gpa | inside) & ~platform.shared_mask
        page = platform.memory.offset(gpa) >> PAGE_SHIFT
        platform.nested.open_window(number, inside, page, write=write)
        self._open.append((number, inside))

    def _again(self, result: Exit) -> bool:
        """Whether the exit is another page of the same instruction, now shown to the CPU."""
        error_code = self._vcpu.context.d[ctx.ERROR_CODE]
        if result.code == vmcb.NESTED_PAGE_FAULT and result.detail >= GPA_LIMIT:
            return self._widen(result.detail - GPA_LIMIT, error_code)
        if result.code != _PAGE_FAULT or not error_code & paging.RESERVED:
            return False
        platform, vcpu = self._platform, self._vcpu
        access = error_code & (paging.WRITE | paging.USER | paging.FETCH)
        found = paging.translate(
            platform.memory, vcpu.context, platform.shared_mask, result.detail, access
        )
        if len(self._leaves) == WINDOWS or found.table_gpa >= 0 or found.fault >= 0:
            return False
        self._blocked = platform.reach(vcpu, found.gpa, kind_of(access), result.detail)
        if self._blocked is not None:
            return False
        self._redirect(found, result.detail, write=bool(access & paging.WRITE))
        return True

    def _widen(self, at: int, error_code: int) -> bool:
        """Another page of a leaf that is redirected already, or the same for writing."""
        number, inside = divmod(at & -PAGE, 1 << 30)
        leaf = self._leaves[number]
        self._blocked = self._platform.reach(
            self._vcpu, leaf.gpa | inside, kind_of(error_code), leaf.address | inside
        )
        if self._blocked is not None:
            return False
        self._show(number, inside, write=bool(error_code & paging.WRITE))
        return True

    def _put_back(self) -> None:
        """Windows close; leaves get their address back and keep the accessed and dirty bits."""
        words = self._platform.memory.words
        for number, inside in self._open:
            self._platform.nested.close_window(number, inside)
        for leaf in reversed(self._leaves):
            now = words[leaf.word]
            if not (now ^ leaf.patched) & ~_USED:
                words[leaf.word] = leaf.original | now & _USED
