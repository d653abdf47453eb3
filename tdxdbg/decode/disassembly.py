"""x86 machine code as text, in Intel's syntax.

Capstone 5 knows neither TDCALL, SEAMRET nor SEAMOPS and takes SEAMCALL for
ENCLS, so these four are decoded here: 66 0F 01 with CC, CD, CE or CF (Intel
SDM, volume 2: TDCALL; Intel TDX CPU Architectural Extensions). 66 may stand
anywhere among the prefixes; a REX right before the opcode, and prefixes for
segment and address size, mean nothing; F2, F3 or LOCK make it another or no
instruction. Bytes that are no instruction become `.byte`, one at a time.

Code is often looked at from its middle: what stands before RIP is found by
decoding from the symbol that RIP is in, else from every byte of a window, since
x86 code falls into step after a few instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

from tdxdbg.abi.regs import RCX_ILLEGAL, U64, Regs, exposed
from tdxdbg.abi.tdx_module import TDCALL_LEAVES
from tdxdbg.decode.values import hexa, hypercall_name, leaf_name, msr_name, named, port_name

LONGEST: Final = 15
#: As far as the start of a symbol is worth decoding from, in bytes.
_FARTHEST_START: Final = 4096
#: The most instructions before RIP that are looked for.
_MOST_BEFORE: Final = 256
_PAGE: Final = 4096

_SEAM: Final = {0xCC: "tdcall", 0xCD: "seamret", 0xCE: "seamops", 0xCF: "seamcall"}
_SEAM_LONGEST: Final = 3
_IGNORED_PREFIXES: Final = frozenset({0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x67})
_OPERAND_SIZE: Final = 0x66

#: What an address is called; raw text, empty for none.
NameOf = Callable[[int], str]
#: Bytes from a linear address on; fewer where memory ends.
Read = Callable[[int, int], bytes]


class Instruction(NamedTuple):
    """`data` are its bytes. `comment` may hold names from the guest's image, raw."""

    address: int
    data: bytes
    mnemonic: str
    operands: str = ""
    comment: str = ""

    @property
    def end(self) -> int:
        """The address behind it."""
        return self.address + len(self.data)

    @property
    def text(self) -> str:
        """`mov eax, 1`."""
        return f"{self.mnemonic} {self.operands}" if self.operands else self.mnemonic

    @property
    def is_data(self) -> bool:
        """Whether it is a byte that is no instruction."""
        return self.mnemonic == _BYTE


_BYTE: Final = ".byte"


def _no_name(address: int) -> str:
    return ""


def disassemble(
    data: bytes, address: int, *, count: int = 1 << 30, bits: int = 64, name_of: NameOf = _no_name
) -> list[Instruction]:
    """At most `count` instructions of `data`, which is at linear `address`; `bits` 64 or 32.

    An instruction that `data` ends in the middle of is given as bytes.
    """
    found: list[Instruction] = []
    at = 0
    while at < len(data) and len(found) < count:
        one = decode(data[at : at + LONGEST], address + at & U64, bits=bits, name_of=name_of)
        found.append(one)
        at += len(one.data)
    return found


def decode(data: bytes, address: int, *, bits: int = 64, name_of: NameOf = _no_name) -> Instruction:
    """The instruction that `data` (not empty) begins with, or its first byte."""
    seam = _seam(data, is_64bit=bits == 64)
    if seam is None:
        for found in _capstone(bits).disasm(data[:LONGEST], address, 1):
            comment = _target(found, name_of)
            text = found.mnemonic, found.op_str
            return Instruction(address, data[: found.size], *text, comment)
    return _plain(data, address, bits)


def _plain(data: bytes, address: int, bits: int) -> Instruction:
    """The same without a comment, which is several times faster."""
    seam = _seam(data, is_64bit=bits == 64)
    if seam is not None:
        return Instruction(address, data[: seam[1]], seam[0])
    for _, size, mnemonic, operands in _capstone(bits).disasm_lite(data[:LONGEST], address, 1):
        return Instruction(address, data[:size], mnemonic, operands)
    return Instruction(address, data[:1], _BYTE, f"{data[0]:#04x}")


def _seam(data: bytes, *, is_64bit: bool) -> tuple[str, int] | None:
    """One of the four that Capstone does not know, and its length."""
    has_66 = False
    at = 0
    for byte in data[: LONGEST - _SEAM_LONGEST]:
        if byte == _OPERAND_SIZE:
            has_66 = True
        elif byte not in _IGNORED_PREFIXES and not (is_64bit and byte & 0xF0 == 0x40):
            break
        at += 1
    opcode = data[at : at + _SEAM_LONGEST]
    if not has_66 or len(opcode) < _SEAM_LONGEST or opcode[:2] != b"\x0f\x01":
        return None
    name = _SEAM.get(opcode[2])
    return None if name is None else (name, at + _SEAM_LONGEST)


@cache
def _capstone(bits: int) -> Any:
    # Loads a C library: only who looks at code needs it.
    import capstone

    engine = capstone.Cs(
        capstone.CS_ARCH_X86, capstone.CS_MODE_64 if bits == 64 else capstone.CS_MODE_32
    )
    engine.detail = True
    return engine


def _target(found: Any, name_of: NameOf) -> str:
    """Where a branch goes, or which address an operand relative to RIP is."""
    from capstone import CS_GRP_BRANCH_RELATIVE
    from capstone.x86_const import X86_OP_IMM, X86_OP_MEM, X86_REG_RIP

    for operand in found.operands:
        if operand.type == X86_OP_IMM and found.group(CS_GRP_BRANCH_RELATIVE):
            return name_of(operand.imm & U64)
        if operand.type == X86_OP_MEM and operand.mem.base == X86_REG_RIP:
            address = found.address + found.size + operand.mem.disp & U64
            return f"{hexa(address)} {name_of(address)}".rstrip()
    return ""


# --- around RIP -----------------------------------------------------------------------


def around(
    read: Read,
    rip: int,
    *,
    before: int = 8,
    after: int = 16,
    start: int | None = None,
    bits: int = 64,
    name_of: NameOf = _no_name,
) -> list[Instruction]:
    """Instructions before `rip` (as many as can be found), the one there, and `after` more.

    `start`: where the symbol begins that `rip` is in. Empty where nothing can
    be read at `rip`.
    """
    ahead = read(rip, (after + 1) * LONGEST)
    following = disassemble(ahead, rip, count=after + 1, bits=bits, name_of=name_of)
    if not following:
        return []
    preceding = _before(read, rip, min(before, _MOST_BEFORE), start, bits, ahead[:LONGEST])
    return [
        *(decode(one.data, one.address, bits=bits, name_of=name_of) for one in preceding),
        *following,
    ]


def _before(
    read: Read, rip: int, count: int, start: int | None, bits: int, ahead: bytes
) -> list[Instruction]:
    """The last `count` instructions before `rip`; `ahead` are the bytes there."""
    found: list[Instruction] = []
    if start is not None and 0 < rip - start <= _FARTHEST_START:
        data = _read_back(read, rip, rip - start)
        if len(data) == rip - start:
            found = _from_start(data, start, ahead, bits)
    if found:
        rip, ahead = start or 0, found[0].data
    if len(found) < count:
        missing = count - len(found)
        data = _read_back(read, rip, (missing + 2) * LONGEST)
        return _in_step(data, rip, ahead, missing, bits) + found
    return found[len(found) - count :]


def _from_start(data: bytes, start: int, ahead: bytes, bits: int) -> list[Instruction]:
    """The instructions of `data`, none if the last one reaches into what is `ahead`.

    Then the symbol is not code, or there is data in the code.
    """
    code = data + ahead
    found: list[Instruction] = []
    at = 0
    while at < len(data):
        one = _plain(code[at : at + LONGEST], start + at, bits)
        found.append(one)
        at += len(one.data)
    return found if at == len(data) else []


def _read_back(read: Read, end: int, size: int) -> bytes:
    """Up to `size` bytes that end at `end`; pages that cannot be read end it."""
    low = max(end - size, 0)
    data = b""
    at = end
    while at > low:
        page = max((at - 1) & -_PAGE, low)
        piece = read(page, at - page)
        if len(piece) != at - page:
            break
        data = piece + data
        at = page
    return data


def _in_step(data: bytes, end: int, ahead: bytes, count: int, bits: int) -> list[Instruction]:
    """Walk back from `end`, over the instructions that most ways of decoding `data` share."""
    size = len(data)
    code = data + ahead
    every = [_plain(code[at : at + LONGEST], end - size + at, bits) for at in range(size)]
    ways = [1] * (size + 1)
    leading: dict[int, list[int]] = {}
    for at, one in enumerate(every):
        next_ = at + len(one.data)
        if next_ <= size and not one.is_data:
            ways[next_] += ways[at]
            leading.setdefault(next_, []).append(at)
    found: list[Instruction] = []
    at = size
    while len(found) < count and at in leading:
        at = max(leading[at], key=ways.__getitem__)
        found.append(every[at])
    return found[::-1]


# --- registers ------------------------------------------------------------------------


def asks_for(one: Instruction, regs: Regs) -> str:
    """What an instruction that a TD exits by is about, with the registers before it."""
    render = _ASKS.get(one.mnemonic)
    if render is not None:
        return render(regs)
    if one.mnemonic in ("in", "out") and "dx" in one.operands.split(", "):
        port = regs.rdx & 0xFFFF
        return f"port {hexa(port)} {port_name(port)}".rstrip()
    return ""


def tdcall_name(regs: Regs) -> str:
    """`TDG.VP.VMCALL<MapGPA>`, `TDG.MEM.PAGE.ACCEPT`, by RAX and what RCX shows of R10, R11."""
    leaf, version = regs.rax & 0xFFFF, regs.rax >> 16 & 0xFF
    if regs.rax >> 24:
        return f"RAX {hexa(regs.rax)}: reserved bits are set"
    if leaf:
        return named(leaf, TDCALL_LEAVES) + (f" version {version}" if version else "")
    if regs.rcx & RCX_ILLEGAL:
        return f"TDG.VP.VMCALL, RCX {hexa(regs.rcx)} is refused"
    seen = exposed(regs)
    return f"TDG.VP.VMCALL<{hypercall_name(seen.r10) if seen.r10 else leaf_name(seen.r11)}>"


def _msr(regs: Regs) -> str:
    index = regs.rcx & 0xFFFF_FFFF
    return f"{hexa(index)} {msr_name(index)}".rstrip()


def _cpuid(regs: Regs) -> str:
    return f"leaf {hexa(regs.rax & 0xFFFF_FFFF)}, sub-leaf {hexa(regs.rcx & 0xFFFF_FFFF)}"


_ASKS: Final[dict[str, Callable[[Regs], str]]] = {
    "tdcall": tdcall_name,
    "rdmsr": _msr,
    "wrmsr": _msr,
    "cpuid": _cpuid,
}
