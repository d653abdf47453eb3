"""The register file of a vCPU: Unicorn's saved context, read and written in place.

`uc_context_save` copies QEMU's CPUX86State; its layout belongs to Unicorn
2.1.4 for Linux on x86-64, so `self_test` compares every offset that is used here
with what Unicorn's own register access says (facts: emulated_vcpu 1).
"""

from __future__ import annotations

import ctypes
from struct import Struct
from typing import Final, NamedTuple

from unicorn import x86_const

from tdxdbg.abi.regs import U64, Regs
from tdxdbg.backends.emulated.unicorn_lib import VERSION, Unicorn
from tdxdbg.errors import BackendError

SIZE: Final = 5608
_HEADER: Final = 40

# Indices of 64-bit words in the context.
GPRS: Final = 5
RIP: Final = 21
EFLAGS: Final = 22
CC_SRC: Final = 24
SEGMENTS: Final = 28
CR0: Final = 58
CR2: Final = 60
CR3: Final = 61
CR4: Final = 62
EFER: Final = 79
SYSENTER_CS: Final = 605
SYSENTER_ESP: Final = 606
SYSENTER_EIP: Final = 607
STAR: Final = 608
LSTAR: Final = 610
FMASK: Final = 612
KERNEL_GS_BASE: Final = 613
TSC_AUX: Final = 617
PAT: Final = 665
DR0: Final = 680
DR6: Final = 686
DR7: Final = 687
VMCB: Final = 693
INTERCEPTS: Final = 695
NESTED_CR3: Final = 698
#: Where in translated code the last page walk was asked for; 0: by a fetch.
RETURN_ADDRESS: Final = 700

# Indices of 32-bit words.
CC_OP: Final = 52
DF: Final = 53
HFLAGS: Final = 54
HFLAGS2: Final = 55
ERROR_CODE: Final = 1356
CR_INTERCEPTS: Final = 1392

# Segment numbers, in the order of the context.
ES, CS, SS, DS, FS, GS, LDTR, TR, GDTR, IDTR = range(10)

# hflags and hflags2 (facts: emulated_vcpu 1).
HF_CPL: Final = 3
HF_INHIBIT_IRQ: Final = 1 << 3
HF_CS32: Final = 1 << 4
HF_SS32: Final = 1 << 5
HF_ADDSEG: Final = 1 << 6
HF_LMA: Final = 1 << 14
HF_CS64: Final = 1 << 15
HF_SVME: Final = 1 << 20
HF_GUEST: Final = 1 << 21
HF_SMAP: Final = 1 << 23
HF_IOBPT: Final = 1 << 24

RFLAGS_CF: Final = 1 << 0
RFLAGS_TF: Final = 1 << 8
RFLAGS_IF: Final = 1 << 9
RFLAGS_DF: Final = 1 << 10
RFLAGS_NT: Final = 1 << 14
RFLAGS_RF: Final = 1 << 16
RFLAGS_VM: Final = 1 << 17
#: CF PF AF ZF SF OF: kept apart from eflags, as QEMU computes them lazily.
_ARITHMETIC: Final = 0x8D5
_CC_OP_EFLAGS: Final = 1

_GPRS: Final = Struct("<16Q")
_GPRS_AT: Final = 8 * GPRS
_SEGMENT: Final = Struct("<I4xQII")

#: Descriptor attributes of a flat 64-bit code segment of DPL 0, as QEMU keeps them.
CODE64: Final = 0x00AF_9B00
DATA: Final = 0x00CF_9300


class Segment(NamedTuple):
    """A segment register; `flags` are bits 8..23 of the descriptor's upper half, in place."""

    selector: int
    base: int
    limit: int
    flags: int


class Context:
    """The registers of one vCPU while it does not run.

    `q` and `d` are the context as 64-bit and 32-bit words. `load` and `fetch`
    move it into the engine and back.
    """

    __slots__ = ("_unicorn", "address", "d", "fetch", "load", "memory", "q")

    def __init__(self, engine: Unicorn) -> None:
        size = engine.context_size
        if size != SIZE:
            raise _unknown_layout(f"a context of {size} bytes instead of {SIZE}")
        self._unicorn = engine
        self.address = engine.new_context()
        block = (ctypes.c_uint8 * SIZE).from_address(self.address)
        self.memory = memoryview(block).cast("B")
        self.q = self.memory.cast("Q")
        self.d = self.memory.cast("I")
        #: These registers -> engine, and registers of the engine -> here.
        self.load, self.fetch = engine.transfers(self.address)
        self.fetch()

    def __del__(self) -> None:
        """Give the memory back; a half-made object has none."""
        address = getattr(self, "address", 0)
        if address:
            self._unicorn.free_context(address)

    def take_flags_from_source(self) -> None:
        """CC_SRC has the flags, whatever CC_OP says.

        So it is after a code hook: Unicorn computes them before the instruction,
        and what stops in it restores the CC_OP from before that. See also `flags`.
        """
        self.rflags = self.rflags & ~_ARITHMETIC | self.q[CC_SRC] & _ARITHMETIC

    def dump(self) -> bytes:
        """Everything, for a checkpoint of this process."""
        return bytes(self.memory[_HEADER:])

    def restore_dump(self, dump: bytes) -> None:
        """What `dump` gave, of any context of the same engine."""
        self.memory[_HEADER:] = dump

    # --- general registers ------------------------------------------------------------

    @property
    def regs(self) -> Regs:
        return tuple.__new__(Regs, _GPRS.unpack_from(self.memory, _GPRS_AT))

    @regs.setter
    def regs(self, regs: Regs) -> None:
        _GPRS.pack_into(self.memory, _GPRS_AT, *regs)

    @property
    def rip(self) -> int:
        return self.q[RIP]

    @rip.setter
    def rip(self, rip: int) -> None:
        self.q[RIP] = rip & U64

    @property
    def linear_rip(self) -> int:
        """The linear address of the instruction at RIP."""
        if self.d[HFLAGS] & HF_CS64:
            return self.q[RIP]
        return self.q[RIP] + self.segment_base(CS) & 0xFFFF_FFFF

    @property
    def rflags(self) -> int:
        return Unicorn.context_register(self.address, x86_const.UC_X86_REG_EFLAGS)

    @rflags.setter
    def rflags(self, rflags: int) -> None:
        self.d[CC_OP] = _CC_OP_EFLAGS
        self.q[CC_SRC] = rflags & _ARITHMETIC
        self.d[DF] = 0xFFFF_FFFF if rflags & RFLAGS_DF else 1
        # A start takes all of them from here, and keeps them apart until its end.
        self.q[EFLAGS] = rflags | 2

    @property
    def cpl(self) -> int:
        return self.d[HFLAGS] & HF_CPL

    @property
    def is_64bit(self) -> bool:
        """CS.L in long mode."""
        return bool(self.d[HFLAGS] & HF_CS64)

    @property
    def can_interrupt(self) -> bool:
        """RFLAGS.IF, and not in the shadow of STI or MOV SS."""
        return bool(self.q[EFLAGS] & RFLAGS_IF) and not self.d[HFLAGS] & HF_INHIBIT_IRQ

    # --- segments ---------------------------------------------------------------------

    def segment(self, number: int) -> Segment:
        return Segment._make(_SEGMENT.unpack_from(self.memory, 8 * (SEGMENTS + 3 * number)))

    def set_segment(self, number: int, segment: Segment) -> None:
        _SEGMENT.pack_into(self.memory, 8 * (SEGMENTS + 3 * number), *segment)

    def segment_base(self, number: int) -> int:
        return self.q[SEGMENTS + 3 * number + 1]

    def set_flat_code(self, selector: int, cpl: int) -> None:
        """CS for 64-bit code at `cpl`, with what QEMU derives from it."""
        flags = CODE64 | cpl << 13
        self.set_segment(CS, Segment(selector, 0, 0xFFFF_FFFF, flags))
        hflags = self.d[HFLAGS] & ~(HF_CPL | HF_ADDSEG)
        self.d[HFLAGS] = hflags | cpl | HF_CS32 | HF_SS32 | HF_CS64


def _unknown_layout(what: str) -> BackendError:
    return BackendError(
        f"this build of unicorn {VERSION} keeps registers elsewhere ({what}): "
        "the emulated backend needs the wheel for Linux on x86-64"
    )


_REGISTERS: Final = (
    *(
        (GPRS + number, getattr(x86_const, f"UC_X86_REG_{name.upper()}"))
        for number, name in enumerate(Regs._fields)
    ),
    (RIP, x86_const.UC_X86_REG_RIP),
    (CR2, x86_const.UC_X86_REG_CR2),
    (DR0, x86_const.UC_X86_REG_DR0),
    (SEGMENTS + 3 * FS + 1, x86_const.UC_X86_REG_FS_BASE),
    (SEGMENTS + 3 * GS + 1, x86_const.UC_X86_REG_GS_BASE),
)
_MSRS: Final = (
    (SYSENTER_ESP, 0x175),
    (SYSENTER_EIP, 0x176),
    (STAR, 0xC000_0081),
    (LSTAR, 0xC000_0082),
    (KERNEL_GS_BASE, 0xC000_0102),
    (TSC_AUX, 0xC000_0103),
)
_FIXED: Final = (
    (SYSENTER_CS, 0x174, 0xABC8),
    (FMASK, 0xC000_0084, 0x0004_7700),
    (PAT, 0x277, 0x0007_0406_0007_0401),
    (EFER, 0xC000_0080, 0x501),
)


def self_test(engine: Unicorn) -> None:
    """Compare the layout with Unicorn's own access; raise BackendError if it differs.

    For an engine that has not run yet; leaves it as it was.
    """
    context, other = Context(engine), Context(engine)
    for number, (_, register) in enumerate(_REGISTERS):
        engine.write_register(register, 0x1122_3344_5500 + number)
    for number, (_, msr) in enumerate(_MSRS):
        engine.write_msr(msr, 0x6677_8899_AA00 + number)
    for _, msr, value in _FIXED:
        engine.write_msr(msr, value)
    engine.write_register(x86_const.UC_X86_REG_EFLAGS, 0xCD7)
    other.fetch()
    q = other.q
    wrong = [word for n, (word, _) in enumerate(_REGISTERS) if q[word] != 0x1122_3344_5500 + n]
    wrong += [word for n, (word, _) in enumerate(_MSRS) if q[word] != 0x6677_8899_AA00 + n]
    wrong += [word for word, _, value in _FIXED if q[word] & 0xFFFF_FFFF != value & 0xFFFF_FFFF]
    if wrong or (q[DR6], q[DR7]) != (0xFFFF_0FF0, 0x400):
        raise _unknown_layout(f"words {wrong or [DR6, DR7]}")
    _test_writing(engine, other)
    context.load()


def _test_writing(engine: Unicorn, context: Context) -> None:
    """What is written into a context arrives in the engine."""
    context.rflags = 0x8D5 | 2
    context.regs = Regs(*range(100, 116))
    context.load()
    seen = [engine.read_register(register) for _, register in _REGISTERS[:16]]
    flags = engine.read_register(x86_const.UC_X86_REG_EFLAGS)
    if seen != list(range(100, 116)) or flags != 0x8D7 or context.rflags != 0x8D7:
        raise _unknown_layout("flags or general registers")
