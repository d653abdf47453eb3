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
