"""GetQuote: the buffer that guest and host share, and requests on their way.

The checks and answers are QEMU's (facts: ghci_and_guest 2.4, kernel_exits 6).
The quote itself is `pseudo_quote`'s; the service takes a bare TDREPORT, as
Linux gives it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tdxdbg.abi.ghci import Status
from tdxdbg.vmm.ask import GuestMemory
from tdxdbg.vmm.pseudo_quote import quote_of
from tdxdbg.vmm.shared import read_shared, write_shared

VERSION: Final = 1
HEADER: Final = 24
#: QEMU's guard against a buffer that is too large, in bytes.
LARGEST: Final = 128 << 10
#: Requests on their way, after which the next one is told to RETRY.
MOST: Final = 16

# The status word of the header.
DONE: Final = 0
IN_FLIGHT: Final = 0xFFFF_FFFF_FFFF_FFFF
ERROR: Final = 0x8000_0000_0000_0000
UNAVAILABLE: Final = 0x8000_0000_0000_0001

_PAGE_MASK: Final = 0xFFF


class Request(NamedTuple):
    """A request on its way; `left`: exits to userspace until its answer is there."""

    left: int
    gpa: int
    size: int
    message: bytes
    #: out_len of the header, which only a quote changes.
    out_len: int


class Checked(NamedTuple):
    """R10 for the guest; the request when there is one to serve."""

    status: Status
    request: Request | None = None


def check(memory: GuestMemory, gpa: int, size: int, left: int) -> Checked:
    """What the guest asks, GPA (without the shared bit) and size in bytes."""
    if not size:
        return Checked(Status.INVALID_OPERAND)
    if (gpa | size) & _PAGE_MASK:
        return Checked(Status.ALIGN_ERROR)
    header = read_shared(memory, gpa, HEADER)
    if header is None or int.from_bytes(header[:8], "little") != VERSION:
        return Checked(Status.INVALID_OPERAND)
    length = int.from_bytes(header[16:20], "little")
    out_len = int.from_bytes(header[20:24], "little")
    if size > LARGEST or length > size - HEADER:
        return Checked(Status.INVALID_OPERAND)
    message = read_shared(memory, gpa + HEADER, length)
    if message is None:
        return Checked(Status.INVALID_OPERAND)
    return Checked(Status.SUCCESS, Request(left, gpa, size, message, out_len))


def mark(memory: GuestMemory, request: Request, status: int) -> bool:
    """Write the header with a status; False: the buffer is gone."""
    header = b"".join(
        (
            VERSION.to_bytes(8, "little"),
            status.to_bytes(8, "little"),
            len(request.message).to_bytes(4, "little"),
            request.out_len.to_bytes(4, "little"),
        )
    )
    return write_shared(memory, request.gpa, header)


def finish(memory: GuestMemory, request: Request) -> bool:
    """Write the answer: the payload first, then the header. False: the buffer is gone."""
    quote = quote_of(request.message)
    if quote is None or len(quote) > request.size - HEADER:
        return mark(memory, request, ERROR)
    if not write_shared(memory, request.gpa + HEADER, quote):
        return False
    return mark(memory, request._replace(out_len=len(quote)), DONE)
