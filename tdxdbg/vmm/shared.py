"""The host's view of guest memory: pages that are private hold nothing for it.

Behind the GPA of a private page the host has other memory, which nobody ever
wrote: it reads as zeroes, and what is written there the guest never sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tdxdbg.vmm.ask import GuestMemory

_PAGE: Final = 4096


def read_shared(memory: GuestMemory, gpa: int, size: int) -> bytes | None:
    """`size` bytes; None where some of it is no RAM."""
    pieces = []
    for at, length in _pages(gpa, size):
        piece = memory.read_gpa(at, length)
        if piece is None:
            return None
        pieces.append(piece if memory.is_shared(at) else bytes(length))
    return b"".join(pieces)


def write_shared(memory: GuestMemory, gpa: int, data: bytes) -> bool:
    """False, with the pages before it written, where some of it is no RAM."""
    done = 0
    for at, length in _pages(gpa, len(data)):
        if memory.is_shared(at):
            if not memory.write_gpa(at, data[done : done + length]):
                return False
        elif memory.read_gpa(at, length) is None:
            return False
        done += length
    return True


def _pages(gpa: int, size: int) -> Iterator[tuple[int, int]]:
    """The pieces of a range, none of which crosses a page."""
    end = gpa + size
    while gpa < end:
        length = min(end - gpa, _PAGE - gpa % _PAGE)
        yield gpa, length
        gpa += length
