"""The TDVMCALL register file and the RCX expose mask.

Register numbers are the x86 encoding numbers, which is also the bit number of
a register in the RCX bitmap of TDG.VP.VMCALL (facts: ghci_and_guest 1.3).
"""

from __future__ import annotations

from typing import Final, NamedTuple

U64: Final = (1 << 64) - 1

RAX: Final = 0
RCX: Final = 1
RDX: Final = 2
RBX: Final = 3
RSP: Final = 4
RBP: Final = 5
RSI: Final = 6
RDI: Final = 7
R8: Final = 8
R9: Final = 9
R10: Final = 10
R11: Final = 11
R12: Final = 12
R13: Final = 13
R14: Final = 14
R15: Final = 15


class Regs(NamedTuple):
    """Sixteen 64-bit general-purpose registers, in x86 encoding order.

    On a TD exit by TDCALL these are the values KVM sees: RCX is the expose
    mask, registers outside it read as 0, and RAX, RSP and RBP never cross
    (they stay 0 here). On an asynchronous TD exit RCX is the exit
    qualification, RDX the extended one, R8 the GPA, R9 the interruption
    information.
    """

    rax: int = 0
    rcx: int = 0
    rdx: int = 0
    rbx: int = 0
    rsp: int = 0
    rbp: int = 0
    rsi: int = 0
    rdi: int = 0
    r8: int = 0
    r9: int = 0
    r10: int = 0
    r11: int = 0
    r12: int = 0
    r13: int = 0
    r14: int = 0
    r15: int = 0


REG_NAMES: Final = Regs._fields

NO_REGS: Final = Regs()

#: Registers that a TDVMCALL can carry when the TD was created with
#: NO_RBP_MOD, which KVM always asks for (facts: kernel_exits 2).
EXPOSABLE: Final = 0xFFCC

#: What Linux and EDK2 guests put into RCX.
LINUX_EXPOSE_MASK: Final = 0xFFCC

#: Every register of the file was really seen.
KNOWN_ALL: Final = 0xFFFF

#: Bits of RCX that the TDX module refuses: RAX, RCX, RSP, RBP (NO_RBP_MOD)
#: and everything above the XMM selectors (facts: kernel_exits 2).
RCX_ILLEGAL: Final = 0xFFFF_FFFF_0000_0033


def exposed(regs: Regs) -> Regs:
    """The register file as the host sees it after TDG.VP.VMCALL.

    The TDX module zeroes every register whose RCX bit is clear
    (tdg_vp_vmcall; facts: kernel_exits 2). RCX itself always arrives.
    """
    mask = regs.rcx & EXPOSABLE
    return Regs._make(
        value if mask >> number & 1 or number == RCX else 0 for number, value in enumerate(regs)
    )


def replace(regs: Regs, number: int, value: int) -> Regs:
    """`regs` with one register changed; several times faster than `_replace`."""
    return tuple.__new__(Regs, (*regs[:number], value, *regs[number + 1 :]))
