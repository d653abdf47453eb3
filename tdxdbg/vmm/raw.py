"""v19's raw exit: userspace decodes the guest's registers itself (facts: kernel_exits 4.8).

What QEMU did then is not what it does today: it checked MapGPA itself, did 64 MiB
of it at a time and said RETRY with the next GPA in R11, and a conversion that
failed was the guest's error. Source: the QEMU series of its time, target/i386/kvm/tdx.c
("i386/tdx: Limit the range size for MapGPA").
"""

from __future__ import annotations

from typing import Final

from tdxdbg.abi.ghci import Status
from tdxdbg.engine import KvmRun, TdxRawAnswer
from tdxdbg.vmm.ask import Board, Reply, number
from tdxdbg.vmm.conversion import convert

#: What one MapGPA does, in bytes.
LARGEST: Final = 64 << 20
_PAGE_MASK: Final = 0xFFF


def status(code: Status | int) -> Reply:
    """R10; the other registers stay as the guest set them."""
    return Reply(TdxRawAnswer(r10=int(code)))


def map_gpa(board: Board, run: KvmRun) -> Reply:
    """MapGPA, the checks in QEMU's order."""
    asked, size = number(run, "in_r12"), number(run, "in_r13")
    gpa = asked & ~board.shared_mask
    if (gpa | size) & _PAGE_MASK:
        return status(Status.ALIGN_ERROR)
    if gpa + size >= 1 << board.maxphyaddr:
        return status(Status.INVALID_OPERAND)
    now = min(size, LARGEST)
    done = convert(board, gpa, now, private=asked == gpa) if now else None
    if done is not None and done.error:
        return status(Status.INVALID_OPERAND)
    attributes = done.attributes if done is not None else ()
    if now == size:
        return Reply(TdxRawAnswer(r10=Status.SUCCESS), attributes)
    return Reply(TdxRawAnswer(r10=Status.RETRY, r11=asked + now), attributes)
