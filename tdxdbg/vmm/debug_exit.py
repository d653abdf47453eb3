"""The port by which a guest ends, like QEMU's isa-debug-exit."""

from __future__ import annotations

from typing import Final

PORT: Final = 0xF4
SIZE: Final = 4


class DebugExit:
    """A write stops the VM; its value is the guest's result, 0 for success."""

    def read(self, offset: int, size: int) -> int:
        return 0

    def write(self, offset: int, size: int, value: int) -> str:
        return f"guest exited with status {value} through the debug port"
