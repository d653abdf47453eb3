"""Just enough of x86 decoding to say which instruction exited, and how long it is.

The CPU has decoded it already; only what SVM does not tell is found here
(AMD64 APM, volume 3; Intel SDM, volume 2).
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple

from tdxdbg.abi import vmx
from tdxdbg.abi import vmx_instructions as ins

LONGEST: Final = 15

_SEGMENTS: Final = {0x26: 0, 0x2E: 1, 0x36: 2, 0x3E: 3, 0x64: 4, 0x65: 5}
_LEGACY: Final = frozenset({0x66, 0x67, 0xF0, 0xF2, 0xF3, *_SEGMENTS})


class What(Enum):
    """Instructions that arrive as #UD and are none."""

    UNDEFINED = 0
    TDCALL = 1
    #: Another one that the TDX module knows, by VMX exit reason.
    EXITING = 2
    RANDOM = 3
    RDTSCP = 4
    SYSENTER = 5
    SYSEXIT = 6
    RDPID = 7
    INT1 = 8


class Prefixes(NamedTuple):
    """What stands before the opcode; `at` is the opcode's place."""

    at: int
    rex: int
    operand_size: bool
    address_size: bool
    repeat: int
    lock: bool
    segment: int

    def register(self, modrm: int) -> int:
        """The register in ModRM.rm, with REX.B."""
        return modrm & 7 | (self.rex & 1) << 3


class Undefined(NamedTuple):
    """What a #UD was: its length in bytes, VMX reason (EXITING), register (RANDOM, RDPID)."""

    what: What
    length: int = 0
    reason: int = 0
    register: int = 0
    bits: int = 0


NOTHING: Final = Undefined(What.UNDEFINED)


@lru_cache(maxsize=1024)
def prefixes(code: bytes, *, is_64bit: bool) -> Prefixes:
    """Read the prefixes; a REX counts only right before the opcode."""
    rex = repeat = at = 0
    operand_size = address_size = lock = False
    segment = -1
    for byte in code:
        if byte in _LEGACY:
            rex = 0
            operand_size |= byte == 0x66
            address_size |= byte == 0x67
            lock |= byte == 0xF0
            repeat = byte if byte in (0xF2, 0xF3) else repeat
            segment = _SEGMENTS.get(byte, segment)
        elif is_64bit and byte & 0xF0 == 0x40:
            rex = byte
        else:
            break
        at += 1
    return Prefixes(at, rex, operand_size, address_size, repeat, lock, segment)


#: 0F 01 xx without a prefix that changes it -> VMX exit reason.
_0F01: Final = {
    0xC1: vmx.VMCALL,
    0xC2: ins.VMLAUNCH,
    0xC3: ins.VMRESUME,
    0xC4: ins.VMXOFF,
    0xC5: ins.PCONFIG,
    0xC8: ins.MONITOR,
    0xC9: ins.MWAIT,
    0xCF: ins.ENCLS,
    0xD4: ins.VMFUNC,
    0xC0: ins.ENCLV,
}


@lru_cache(maxsize=1024)
def undefined(code: bytes, is_64bit: bool) -> Undefined:
    """Which instruction a #UD was raised for."""
    p = prefixes(code, is_64bit=is_64bit)
    body = code[p.at :]
    if body[:1] == b"\xf1" and not p.lock:
        return Undefined(What.INT1, p.at + 1)
    if len(body) < 2 or body[0] != 0x0F or p.lock:
        return NOTHING
    second = body[1]
    if second == 0x01 and len(body) > 2:
        return _group_0f01(p, body[2])
    if second == 0xC7 and len(body) > 2:
        return _group_0fc7(p, body[2], is_64bit=is_64bit)
    if second == 0x34:
        return Undefined(What.SYSENTER, p.at + 2)
    if second == 0x35:
        return Undefined(What.SYSEXIT, p.at + 2, bits=64 if p.rex & 8 else 32)
    if second == 0x37:
        return Undefined(What.EXITING, p.at + 2, ins.GETSEC)
    return NOTHING


def _group_0f01(p: Prefixes, modrm: int) -> Undefined:
    length = p.at + 3
    if p.operand_size and not p.repeat:
        if modrm == 0xCC:
            return Undefined(What.TDCALL, length)
        if modrm == 0xCF:
            return Undefined(What.EXITING, length, ins.SEAMCALL)
        return NOTHING
    if modrm == 0xF9:
        return Undefined(What.RDTSCP, length)
    if p.repeat or modrm not in _0F01:
        return NOTHING
    return Undefined(What.EXITING, length, _0F01[modrm])


def _group_0fc7(p: Prefixes, modrm: int, *, is_64bit: bool) -> Undefined:
    """RDRAND, RDSEED; RDPID is the latter with F3."""
    if modrm >> 6 != 3 or modrm >> 3 & 7 not in (6, 7):
        return NOTHING
    length, register = p.at + 3, p.register(modrm)
    if p.repeat == 0xF3:
        is_rdpid = modrm >> 3 & 7 == 7
        return Undefined(What.RDPID, length, register=register) if is_rdpid else NOTHING
    if p.repeat:
        return NOTHING
    bits = 64 if p.rex & 8 else 16 if p.operand_size else 32
    return Undefined(What.RANDOM, length, register=register, bits=bits)


class Io(NamedTuple):
    """An I/O instruction: flags of its exit qualification, INS/OUTS information, length."""

    flags: int
    information: int
    length: int


def io(code: bytes, *, is_64bit: bool) -> Io:
    """The instruction at an I/O exit."""
    p = prefixes(code, is_64bit=is_64bit)
    opcode = code[p.at] if p.at < len(code) else 0
    if opcode in (0xE4, 0xE5, 0xE6, 0xE7):
        return Io(ins.IO_IMMEDIATE, 0, p.at + 2)
    if not 0x6C <= opcode <= 0x6F:
        return Io(0, 0, p.at + 1)
    flags = ins.IO_STRING | (ins.IO_REP if p.repeat else 0)
    size = (1 if p.address_size else 2) if is_64bit else (0 if p.address_size else 1)
    segment = 0 if opcode < 0x6E else 3 if p.segment < 0 else p.segment
    information = size << ins.INS_OUTS_ADDRESS_SIZE_SHIFT | segment << ins.INS_OUTS_SEGMENT_SHIFT
    return Io(flags, information, p.at + 1)


class Mov(NamedTuple):
    """MOV to or from a control or debug register: its number, and the general one."""

    special: int
    general: int
    length: int


def mov_special(code: bytes, *, is_64bit: bool) -> Mov | None:
    """MOV CRn or DRn; None for CLTS, LMSW and SMSW, which also access CR0."""
    p = prefixes(code, is_64bit=is_64bit)
    body = code[p.at : p.at + 3]
    if len(body) < 3 or body[0] != 0x0F or not 0x20 <= body[1] <= 0x23:
        return None
    special = body[2] >> 3 & 7 | (p.rex & 4) << 1
    # LOCK MOV CR0 is AMD's way to CR8 outside 64-bit mode.
    if p.lock and body[1] in (0x20, 0x22):
        special |= 8
    return Mov(special, p.register(body[2]), p.at + 3)


def length_of(code: bytes, opcode_size: int, *, is_64bit: bool) -> int:
    """Prefixes and an opcode of known size."""
    return prefixes(code, is_64bit=is_64bit).at + opcode_size


def software_interrupt(code: bytes, *, is_64bit: bool) -> tuple[int, int]:
    """Vector and length of INT n, INT3 or INTO."""
    at = prefixes(code, is_64bit=is_64bit).at
    opcode = code[at]
    if opcode == 0xCC:
        return 3, at + 1
    if opcode == 0xCE:
        return 4, at + 1
    return code[at + 1] if at + 1 < len(code) else 0, at + 2
