"""What QEMU's kvm_convert_memory() makes of a range that is to be private or shared.

RAM is converted. A range without any RAM cannot become private, and nothing is
to be done to make it shared: firmware asks for that where devices will be. A
range that is RAM only in part sets the attributes of all of it and then fails,
which stops the VM; the conversion is left out here, so that the cost of a
hostile range is that of looking at it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tdxdbg.engine import SetMemoryAttributes
from tdxdbg.vmm.ask import Board

_PAGE_MASK: Final = 0xFFF


class Conversion(NamedTuple):
    """What is to be set, or in one line why not."""

    attributes: tuple[SetMemoryAttributes, ...] = ()
    error: str = ""


def convert(board: Board, gpa: int, size: int, *, private: bool) -> Conversion:
    """GPA and size in bytes, without the shared bit."""
    state = "private" if private else "shared"
    what = f"cannot convert {size:#x} bytes at GPA {gpa:#x} to {state}"
    if not size or (gpa | size) & _PAGE_MASK:
        return Conversion(error=f"{what}: not whole pages")
    for start, length in (*board.ram, *board.rom):
        if gpa < start + length and start < gpa + size:
            if start <= gpa and gpa + size <= start + length:
                return Conversion((SetMemoryAttributes(gpa, size, private),))
            return Conversion(error=f"{what}: only a part of it is RAM")
    return Conversion(error=f"{what}: no RAM there" if private else "")
