"""Bytes of machine code that Unicorn calls."""

from __future__ import annotations

import ctypes
import mmap

from tdxdbg.backends.emulated.memory import PRIVATE
from tdxdbg.errors import BackendError


class MachineCode:
    """Executable for as long as this object lives; `address` is where it begins."""

    def __init__(self, code: bytes) -> None:
        """Raise BackendError where the system lets nobody execute what was written."""
        access = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        try:
            self._map = mmap.mmap(-1, len(code), flags=PRIVATE, prot=access)
        except OSError as error:
            raise BackendError(
                f"no memory for machine code ({error.strerror}): the emulated backend "
                "translates the guest's, so it needs a system that allows that"
            ) from error
        self._map[:] = code
        self._export = (ctypes.c_uint8 * len(code)).from_buffer(self._map)
        self.address = ctypes.addressof(self._export)
