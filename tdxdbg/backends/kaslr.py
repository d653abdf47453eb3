"""How far a running kernel is from where it was linked: the slide of KASLR.

The decompressor moves the kernel by a multiple of 2 MiB, within 1 GiB (Linux
arch/x86/boot/compressed/kaslr.c, CONFIG_PHYSICAL_ALIGN, KERNEL_IMAGE_SIZE).
A vCPU tells where it is by the addresses that the kernel gave it: the entry of
SYSCALL, or earlier in the boot the gate of the page fault in its IDT. Both are
the guest's numbers, so they have to fit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tdxdbg.backends.symbols import Symbols

_ALIGNMENT: Final = 2 << 20
_FARTHEST: Final = 1 << 30
_SYSCALL_ENTRY: Final = "entry_SYSCALL_64"
_PAGE_FAULT_ENTRY: Final = "asm_exc_page_fault"
#: The first handlers, one after the other (arch/x86/kernel/head_64.S).
_EARLY_ENTRIES: Final = "early_idt_handler_array"
#: Bytes of one of them: without and with ENDBR64 (EARLY_IDT_HANDLER_SIZE).
_EARLY_SIZES: Final = (9, 13)
_PAGE_FAULT: Final = 14
_GATE: Final = 16

#: Bytes at a linear address of the vCPU; None: not mapped.
Read = Callable[[int, int], bytes | None]


def slide(symbols: Symbols, lstar: int, idt_base: int, read: Read) -> int | None:
    """Bytes to move `symbols` (as linked) by; None: the vCPU does not tell (yet).

    `lstar`: MSR_LSTAR, `idt_base`: of IDTR.
    """
    found = _distance(symbols, _SYSCALL_ENTRY, lstar)
    if found is not None:
        return found
    gate = read(idt_base + _PAGE_FAULT * _GATE, _GATE)
    if gate is None or len(gate) != _GATE:
        return None
    handler = int.from_bytes(gate[0:2] + gate[6:12], "little")
    found = _distance(symbols, _PAGE_FAULT_ENTRY, handler)
    for size in _EARLY_SIZES:
        if found is None:
            found = _distance(symbols, _EARLY_ENTRIES, handler - _PAGE_FAULT * size)
    return found


def _distance(symbols: Symbols, name: str, address: int) -> int | None:
    linked = symbols.find(name)
    if linked is None:
        return None
    distance = address - linked
    fits = not distance % _ALIGNMENT and 0 <= distance < _FARTHEST
    return distance if fits else None
