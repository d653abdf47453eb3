"""Random instruction streams, rich in what a hypervisor has to deal with."""

from __future__ import annotations

import random
from typing import Final

from tests.backends.emulated.harness import CODE

#: Everything that leaves the guest, changes privileges or paging, or is a trap for emulators.
OPCODES: Final = (
    "660f01cc", "0f01cc", "0fa2", "f4", "0f32", "0f30", "e670", "ec", "ee", "6c", "6e",
    "f36d", "cd30", "cc", "f1", "0f0b", "0f05", "0f34", "0f35", "0f07", "cf", "48cf", "fa",
    "fb", "9d", "9c", "0f22c0", "0f20c0", "0f22d8", "0f22e0", "0f20e0", "0f23f8", "0f21f8",
    "440f22c0", "0f01f8", "0f31", "0f01f9", "0fc7f0", "0f01d8", "0f01d9", "0fae08", "0fae00",
    "f390", "0f08", "0f09", "0f00d8", "0f0118", "0f0110", "cb", "48cb", "c3", "e8", "eb",
    "0faa", "0f01c1", "8ed8", "8ed0", "0fb2", "0f01d1", "f0480fc708", "a4", "aa", "f3a4",
    "f3aa",
)  # fmt: skip
VALUES: Final = (0, 1, 6, 30, 0x10001, 0x4000_0000, 0x90_0000, CODE, 0x4030_0000, 0x7FFF_FFFF)


def stream(chance: random.Random) -> bytes:
    """A few more than 400 bytes of code."""
    code = b""
    while len(code) < 400:
        draw = chance.random()
        if draw < 0.4:
            code += bytes.fromhex(chance.choice(OPCODES))
        elif draw < 0.5:
            code += b"\x48\xb8" + chance.getrandbits(64).to_bytes(8, "little")
        elif draw < 0.6:
            code += bytes((0x48, 0xC7, 0xC0 | chance.randrange(8)))
            code += chance.choice(VALUES).to_bytes(4, "little")
        else:
            code += chance.randbytes(chance.randrange(1, 6))
    return code


#: TDG.VP.VMCALL sub-functions, and some that are none.
_CALLS: Final = (
    0x10000, 0x10001, 0x10001, 0x10001, 0x10002, 0x10004, 0x10005, 10, 12, 30, 30, 31, 32, 48, 48,
    54, 65, 0x1234,
)  # fmt: skip
#: TDCALL leaves but for VP.VMCALL, and some that are none.
_LEAVES: Final = (1, 2, 3, 4, 5, 6, 6, 7, 8, 22, 0x63)
_MASKS: Final = (0xFC00, 0xFF00, 0xFFCC, 0xFFFF, 0xFFFC, 0x0C00, 0xFFFF_FFFF)
_NUMBERS: Final = (
    0, 1, 1, 2, 4, 8, 0x10, 0x20, 0x40, 0x3F8, 0x70, 0x80, 0xF4, 0x1000, 0x1000, 0x2000, 0x20_0000,
    0x40_0000, 0x8000_0000_0000, 0x8000_0020_0000, 0x8_0000_0020_0000, 0xFEC0_0000, 0x20_0001,
    CODE, CODE + 0x1000, 1 << 63,
)  # fmt: skip
_XOR_R10: Final = bytes.fromhex("4531d2")
_MOV_R11: Final = bytes.fromhex("41bb")
#: MOV of 64 bits to R12, R13, R14, R15, RDX, R8, R9, RBX.
_MOVS: Final = tuple(
    map(bytes.fromhex, ("49bc", "49bd", "49be", "49bf", "48ba", "49b8", "49b9", "48bb"))
)
_TDCALL: Final = bytes.fromhex("660f01cc")
#: add $BYTES, (%rsp); iretq.
_SKIP: Final = bytes.fromhex("48830424"), bytes.fromhex("48cf")


def talk(chance: random.Random) -> bytes:
    """A stream that calls the host and the module again and again, and goes on for ever."""
    code = b""
    while len(code) < 2000:
        draw = chance.random()
        if draw < 0.6:
            code += _call(chance)
        elif draw < 0.95:
            code += bytes.fromhex(chance.choice(OPCODES))
        else:
            code += chance.randbytes(chance.randrange(1, 6))
    return code + b"\xe9" + (-len(code) - 5).to_bytes(4, "little", signed=True)


def _call(chance: random.Random) -> bytes:
    leaf, mask = 0, chance.choice(_MASKS)
    if chance.random() < 0.3:
        leaf, mask = chance.choice(_LEAVES), chance.choice(_NUMBERS)
    code = b"\xb8" + leaf.to_bytes(4, "little") + b"\x48\xb9" + mask.to_bytes(8, "little")
    code += _XOR_R10 + _MOV_R11 + chance.choice(_CALLS).to_bytes(4, "little")
    for move in chance.sample(_MOVS, chance.randint(2, 5)):
        code += move + chance.choice(_NUMBERS).to_bytes(8, "little")
    return code + _TDCALL


def handlers(chance: random.Random) -> bytes:
    """32 bytes for each of 128 vectors: most go on a little behind what they were called for."""
    code = b""
    for vector in range(128):
        skip = _SKIP[0] + bytes([chance.randint(1, 4)]) + _SKIP[1]
        if vector >= 32:
            skip = _SKIP[1]
        elif vector in (8, 10, 11, 12, 13, 14, 17):
            skip = b"\x48\x83\xc4\x08" + skip
        elif vector == 20:
            # TDG.VP.VEINFO.GET
            skip = b"\xb8\x03\0\0\0" + _TDCALL + skip
        code += (skip if chance.random() < 0.9 else chance.randbytes(32)).ljust(32, b"\xcc")
    return code
