"""Stores to pages that the guest may execute, without a call for each of them.

Theory of operation. Unicorn makes every store to a page with execute permission
look for translated code, in case it changes some; a kernel's decompressor and
firmware map all of their memory so, and spend most of their time there. Here no
page with translated code can be written to without an exit (`nested.py`), so
what is looked for is never found. `clean_stores.S` is called in that search
where Unicorn asks for the memory behind the address, and marks the entry of the
TLB as one that needs no search; the next store through it is as fast as any.

It depends on the insides of Unicorn 2.1.4, for Linux on x86-64; where the code
around the call is another one, it changes nothing.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tdxdbg.backends.emulated.machine_code import MachineCode
from tdxdbg.backends.emulated.unicorn_lib import Unicorn

#: clean_stores.S, before the two addresses in it are filled in.
MACHINE_CODE: Final = bytes.fromhex(
    "48b8000000000000000049ba000000000000000041803a00742f4c8b142449bb4885c0742d4989c14d391a75"
    "1c448b55084181e2ff0f00004181fa00040000750848816508fffbffffffe0"
)
_FIND_MAPPING_AT: Final = 2
_MAY_CLEAN_AT: Final = 12

#: struct uc_struct: the function that finds the memory of an address.
_UC_MEMORY_MAPPING: Final = 0x120


class CleanStores:
    """For one engine, and its RAM: `size` bytes of this process at `address`."""

    def __init__(self, unicorn: Unicorn, address: int, size: int) -> None:
        self._unicorn = unicorn
        self._ram = address, size
        self._may_clean = ctypes.c_uint8(1)
        slot = ctypes.c_uint64.from_address(unicorn.handle + _UC_MEMORY_MAPPING)
        code = bytearray(MACHINE_CODE)
        for at, value in (
            (_FIND_MAPPING_AT, slot.value),
            (_MAY_CLEAN_AT, ctypes.addressof(self._may_clean)),
        ):
            code[at : at + 8] = value.to_bytes(8, "little")
        self._code = MachineCode(bytes(code))
        slot.value = self._code.address

    def allow(self, *, hooked: bool) -> None:
        """Call it after hooks of stores come or go; they see no store through a clean entry."""
        self._may_clean.value = not hooked
        if hooked:
            self._unicorn.search_stores(*self._ram)

    @contextmanager
    def none(self) -> Iterator[None]:
        """While it lasts, each store is searched; of those that were clean, none may come."""
        was, self._may_clean.value = self._may_clean.value, 0
        try:
            yield
        finally:
            self._may_clean.value = was
