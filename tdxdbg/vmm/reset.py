"""The keyboard controller's command port, as far as a guest resets itself through it.

There is no keyboard controller: everything else reads as ones, which is how
Linux and firmware find that out at once.
"""

from __future__ import annotations

from typing import Final

PORT: Final = 0x64
SIZE: Final = 1

#: Pulse output lines 3:0 that are 0 in the command; line 0 is the reset.
_PULSE: Final = 0xF0
_RESET_LINE: Final = 0x01


def reset_by(what: str) -> str:
    """Why the VM ends: private memory and vCPUs' state cannot be made anew."""
    return f"guest reset itself through {what}: a TD cannot be reset"


class KeyboardReset:
    """Port 0x64."""

    def read(self, offset: int, size: int) -> int:
        return 0xFF

    def write(self, offset: int, size: int, value: int) -> str:
        if value & _PULSE == _PULSE and not value & _RESET_LINE:
            return reset_by("the keyboard controller")
        return ""
