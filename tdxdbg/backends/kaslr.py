"""How far a running kernel is from where it was linked: the slide of KASLR.

The decompressor moves the kernel by a multiple of 2 MiB, within 1 GiB (Linux
arch/x86/boot/compressed/kaslr.c, CONFIG_PHYSICAL_ALIGN, KERNEL_IMAGE_SIZE).
A vCPU tells where it is by the addresses that the kernel gave it: the entry of
SYSCALL, or earlier in the boot the gate of the page fault in its IDT. Both are
the guest's numbers, so they have to fit.
"""

from __future__ import annotations

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
#: Bytes of an entry of the IDT in long mode, and where the one of the page fault is.
GATE: Final = 16
PAGE_FAULT_GATE: Final = _PAGE_FAULT * GATE


def handler_of(gate: bytes) -> int:
    """The linear address in a gate of 64-bit mode (Intel SDM, volume 3, 6.14.1)."""
    return int.from_bytes(gate[0:2] + gate[6:12], "little")


def slide(symbols: Symbols, lstar: int, page_fault: int) -> int | None:
    """Bytes to move `symbols` (as linked) by; None: the vCPU does not tell (yet).

    `lstar`: MSR_LSTAR; `page_fault`: the address in the IDT's gate 14.
    """
    found = _distance(symbols, _SYSCALL_ENTRY, lstar)
    if found is None:
        found = _distance(symbols, _PAGE_FAULT_ENTRY, page_fault)
    for size in _EARLY_SIZES:
        if found is None:
            found = _distance(symbols, _EARLY_ENTRIES, page_fault - _PAGE_FAULT * size)
    return found


def _distance(symbols: Symbols, name: str, address: int) -> int | None:
    linked = symbols.find(name)
    if linked is None:
        return None
    distance = address - linked
    fits = not distance % _ALIGNMENT and 0 <= distance < _FARTHEST
    return distance if fits else None
