"""Where QEMU's translator loses the arithmetic flags.

QEMU keeps them as an operation (CC_OP) and its operands. After a fault in the
middle of an instruction both are those from before it, because of almost every
instruction it writes operands only when nothing can fault any more. These are
the exceptions (target/i386/translate.c: gen_rotc_rm_T1, gen_setcc1): they compute all
flags into CC_SRC and access memory after it, and a fault restores CC_OP alone.

What cannot be put right: a rotation through the carry has written its new
carry when its store faults, so that it comes out wrong when it is repeated.
After BT, BTS, BTR and BTC, O, S, A and P are undefined (Intel SDM); what QEMU leaves
in them depends on where the block with the instruction begins.
"""

from __future__ import annotations

from typing import Final

from tdxdbg.backends.emulated.decode import LONGEST, prefixes

# CC_OP.
DYNAMIC: Final = 0
_SUB: Final = range(14, 18)
#: EFLAGS and CLR: both ways give the same.
EITHER_WAY: Final = frozenset({1, 49})
#: ADOX, ADCOX, POPCNT: O is elsewhere.
_WITH_O: Final = frozenset({47, 48, 50})

#: Rotations through the carry: opcodes, and ModRM.reg.
_ROTATIONS: Final = frozenset({0xC0, 0xC1, 0xD0, 0xD1, 0xD2, 0xD3})
_THROUGH_CARRY: Final = (2, 3)
_SETCC: Final = range(0x90, 0xA0)
# The upper three bits of a condition.
_O, _B, _Z, _BE, _S, _P = range(6)


def are_in_source(code: bytes, known: int, *, is_64bit: bool) -> bool:
    """Whether CC_SRC has the flags of an instruction that faulted.

    `known`: the operation as the translator knew it before the instruction, or
    DYNAMIC. It makes no difference for EITHER_WAY.
    """
    at = prefixes(code, is_64bit=is_64bit).at
    opcode, second, modrm = (*code[at : at + 3], 0, 0, 0)[:3]
    if opcode in _ROTATIONS:
        return second < 0xC0 and second >> 3 & 7 in _THROUGH_CARRY
    if opcode != 0x0F or second not in _SETCC or modrm >= 0xC0:
        return False
    condition = second >> 1 & 7
    if condition == _O:
        return known not in _WITH_O
    if condition in (_Z, _S):
        return known == DYNAMIC
    if condition == _B:
        return False
    return condition == _P or known not in _SUB


def exchanges(code: bytes, starts: list[int], *, is_64bit: bool) -> list[int]:
    """Which of the instructions that start at `starts` are CMPXCHG8B or CMPXCHG16B.

    They are done by a helper that reads CC_OP, which QEMU has not stored if the
    operation was in the same block.
    """
    found = []
    for number, start in enumerate(starts):
        at = start + prefixes(code[start : start + LONGEST], is_64bit=is_64bit).at
        group, modrm = code[at : at + 2], code[at + 2 : at + 3]
        if group == b"\x0f\xc7" and modrm and modrm[0] < 0xC0 and modrm[0] >> 3 & 7 == 1:
            found.append(number)
    return found
