"""How a vCPU gets into the guest: an SVM control block and one VMRUN.

Unicorn kept QEMU's SVM helpers but never performs the world switch back, so a
#VMEXIT is an event with an exact RIP and an untouched guest: a set of
intercepts like that of real hardware (facts: emulated_vcpu 0, 2).
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from tdxdbg.abi.regs import NO_REGS, Regs

#: Numbers above this are exit codes.
EXIT_BASE: Final = 0x100

# Exit codes (AMD64 APM, volume 2, appendix C).
READ_CR0: Final = 0x00
READ_CR8: Final = 0x08
WRITE_CR0: Final = 0x10
WRITE_CR3: Final = 0x13
WRITE_CR4: Final = 0x14
WRITE_CR8: Final = 0x18
READ_DR0: Final = 0x20
WRITE_DR0: Final = 0x30
EXCEPTION: Final = 0x40
RDPMC: Final = 0x6F
RDTSC: Final = 0x6E
CPUID: Final = 0x72
SOFTWARE_INTERRUPT: Final = 0x75
INVD: Final = 0x76
PAUSE: Final = 0x77
HLT: Final = 0x78
MSR: Final = 0x7C
SHUTDOWN: Final = 0x7F
VMMCALL: Final = 0x81
RDTSCP: Final = 0x87
WBINVD: Final = 0x89
MONITOR: Final = 0x8A
MWAIT: Final = 0x8B
NESTED_PAGE_FAULT: Final = 0x400

_INTERCEPTED: Final = (
    RDPMC, RDTSC, CPUID, SOFTWARE_INTERRUPT, INVD, PAUSE, HLT, MSR, SHUTDOWN,
    VMMCALL, RDTSCP, 0x88, WBINVD, MONITOR, MWAIT,
)  # fmt: skip

#: What the guest does with these is QEMU's business, in its own register file.
NATIVE_MSRS: Final = frozenset(
    {
        0x174,  # SYSENTER_CS, ESP, EIP
        0x175,
        0x176,
        0x277,  # PAT
        0xC000_0081,  # STAR, LSTAR, FMASK
        0xC000_0082,
        0xC000_0084,
        0xC000_0100,  # FS_BASE, GS_BASE, KERNEL_GS_BASE
        0xC000_0101,
        0xC000_0102,
    }
)

SIZE: Final = 0x1000
MSR_BITMAP_SIZE: Final = 0x2000
#: Offset of exit_info_2: the GPA of a nested page fault, the address of a #PF.
EXIT_INFO_2: Final = 0x80

_EFER_SVME: Final = 1 << 12

_SEGMENT: Final = Struct("<HHIQ")
_ES, _CS, _SS, _DS, _GDTR, _IDTR = 0x400, 0x410, 0x420, 0x430, 0x460, 0x480


class StartState(NamedTuple):
    """Where and how a vCPU begins.

    The defaults are 64-bit mode with flat segments; `code_attributes` and
    `data_attributes` are in the VMCB's form (attributes of the descriptor, 12
    bits). GDT and IDT: base and limit.
    """

    rip: int
    regs: Regs = NO_REGS
    cr0: int = 0x8005_0033
    cr3: int = 0
    cr4: int = 0x660
    efer: int = 0xD01
    code_selector: int = 0x10
    code_attributes: int = 0xA9B
    data_selector: int = 0x18
    data_attributes: int = 0xC93
    gdt: tuple[int, int] = (0, 0)
    idt: tuple[int, int] = (0, 0)


def protected_mode(rip: int, regs: Regs = NO_REGS) -> StartState:
    """How the TDX module starts a vCPU: 32-bit, flat, no paging (facts: tdvf, "first vCPU").

    EFER.LME and NXE are 1 from the start.
    """
    return StartState(
        rip,
        regs,
        cr0=0x21,
        cr4=0x40,
        efer=0x900,
        code_selector=0x8,
        code_attributes=0xC9B,
        idt=(0, 0xFFFF),
        gdt=(0, 0xFFFF),
    )


def msr_bitmap() -> bytes:
    """Everything is intercepted but NATIVE_MSRS."""
    bitmap = bytearray(b"\xff" * MSR_BITMAP_SIZE)
    for msr in NATIVE_MSRS:
        bit = 2 * msr if msr < 0x2000 else 2 * (0x2000 + msr - 0xC000_0000)
        bitmap[bit >> 3] &= ~(3 << (bit & 7))
    return bytes(bitmap)


def control_block(start: StartState, io_bitmap: int, msr_map: int, nested_cr3: int) -> bytes:
    """The VMCB, as VMRUN reads it."""
    block = bytearray(SIZE)

    def put(offset: int, value: int, size: int = 8) -> None:
        block[offset : offset + size] = value.to_bytes(size, "little")

    put(0x00, 1 << 8, 2)  # CR reads: CR8
    put(0x02, 1 << 0 | 1 << 4 | 1 << 8, 2)
    put(0x04, 0xFFFF_FFFF, 4)  # all MOV DR
    put(0x08, 0xFFFF_FFFF, 4)  # all exceptions (facts: emulated_vcpu 2, old_exception)
    put(0x0C, sum(1 << (code - 0x60) for code in _INTERCEPTED))
    put(0x40, io_bitmap)
    put(0x48, msr_map)
    put(0x58, 1, 4)
    put(0x90, 1)
    put(0xB0, nested_cr3)
    code = (start.code_selector, start.code_attributes, 0xFFFF_FFFF, 0)
    data = (start.data_selector, start.data_attributes, 0xFFFF_FFFF, 0)
    _SEGMENT.pack_into(block, _CS, *code)
    for offset in (_ES, _SS, _DS):
        _SEGMENT.pack_into(block, offset, *data)
    _SEGMENT.pack_into(block, _GDTR, 0, 0, start.gdt[1], start.gdt[0])
    _SEGMENT.pack_into(block, _IDTR, 0, 0, start.idt[1], start.idt[0])
    put(0x4D0, start.efer | _EFER_SVME)
    put(0x548, start.cr4)
    put(0x550, start.cr3)
    put(0x558, start.cr0)
    put(0x560, 0x400)
    put(0x568, 0xFFFF_0FF0)
    put(0x570, 2)
    put(0x578, start.rip)
    put(0x5D8, start.regs.rsp)
    put(0x5F8, start.regs.rax)
    return bytes(block)
