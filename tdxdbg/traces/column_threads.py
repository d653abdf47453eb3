"""What each thread was doing, over columns: where rows begin and which event follows which.

The same as what `join.Joiner` keeps of a thread while it goes from event to
event, for a whole block of events at once. Events are sorted by thread; a loss
ends whatever a thread was doing, so that events before and after one are as
those of two threads. This module imports numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tdxdbg.abi.kvm import Exit as KvmExit
from tdxdbg.traces import columns
from tdxdbg.traces.columns import I64, U64, Block, Mask

IO: Final = int(KvmExit.IO)
MMIO: Final = int(KvmExit.MMIO)
#: No event.
NOTHING: Final = -1

Codes = npt.NDArray[np.int32]


@dataclass
class Threads:
    """Events by thread, each an index from 0, and how they hang together.

    `order` is where each was in the block. `group` changes with the thread and
    with each loss, `row` with the thread's rows. `before` is the event before
    that changed what the thread does, or NOTHING; `exit` the kvm_exit of the
    row. `may_read`: a return to userspace whose read may be answered;
    `answers`: the event that does; `access`: what the guest asked for at this
    return to userspace. `over`: a loss came behind it.
    """

    order: I64
    block: Block
    code: Codes
    group: I64
    row: I64
    before: I64
    exit: I64
    may_read: Mask
    answers: Mask
    access: I64
    over: Mask


def arrange(block: Block, code: Codes, delimited: Mask, old: int, read: Mask) -> Threads:
    """`code` numbers the threads of the events, -1 for a loss.

    `delimited` says of each thread whether its rows are known to end at
    kvm_entry. The first `old` events are left from an earlier block; `read`
    says which of them are returns to userspace whose read may be answered.
    """
    # A loss is no event of a thread, but counts.
    epoch = np.cumsum(block.kind == columns.LOST)
    losses = epoch[-1]
    order = np.argsort(code, kind="stable")
    order = order[np.searchsorted(code[order], 0) :]
    block = block.take(order)
    code = code[order]
    epoch = epoch[order]
    over = epoch != losses
    kind = block.kind
    first = np.empty(len(kind), np.bool_)
    first[:1] = True
    same_thread = code[1:] == code[:-1]
    first[1:] = ~same_thread | (epoch[1:] != epoch[:-1])
    group = np.cumsum(first) - 1
    is_exit, is_entry = kind == columns.EXIT, kind == columns.ENTRY
    begins = first | is_exit
    begins[1:] |= is_entry[:-1]
    begins |= (kind == columns.USERSPACE_EXIT) & ~_delimited(code, is_exit | is_entry, delimited)
    row = np.cumsum(begins) - 1
    at = np.flatnonzero(begins)
    row_exit = np.where(is_exit[at], at, NOTHING)
    before = _before(kind, group)
    threads = Threads(
        order, block, code, group, row, before, row_exit[row],
        np.empty(0, np.bool_), np.empty(0, np.bool_), np.empty(0, np.int64), over,
    )  # fmt: skip
    _accesses(threads, old, read)
    return threads


def _delimited(code: Codes, ends: Mask, delimited: Mask) -> Mask:
    """Whether an event of the thread before this one, or this one, has shown where rows end."""
    count = np.cumsum(ends)
    starts = np.flatnonzero(np.diff(code, prepend=NOTHING))
    so_far = np.concatenate([[0], count])[starts]
    sizes = np.diff(np.append(starts, len(code)))
    shown: Mask = count > np.repeat(so_far, sizes)
    return shown | delimited[code]


def _before(kind: npt.NDArray[np.uint8], group: I64) -> I64:
    """Of each event that changes what its thread does, the one before that does."""
    at = np.flatnonzero(kind <= columns.INSTRUCTION)
    before = np.full(len(kind), NOTHING, np.int64)
    same = group[at[1:]] == group[at[:-1]]
    before[at[1:][same]] = at[:-1][same]
    return before


def _accesses(threads: Threads, old: int, read: Mask) -> None:
    block, before = threads.block, threads.before
    kind, a = block.kind, block.a
    returns = np.flatnonzero(kind == columns.USERSPACE_EXIT)
    access = np.full(len(kind), NOTHING, np.int64)
    asked = before[returns]
    kept = is_access(kind, a)[asked] & (asked != NOTHING)
    access[returns[kept]] = asked[kept]
    reason = a[returns]
    of = access[returns]
    write = kept & (kind[of] == columns.MMIO) & (a[of] == columns.MMIO_WRITE)
    may_read = np.zeros(len(kind), np.bool_)
    may_read[returns] = (reason == IO) & ~(kept & (kind[of] == columns.PIO))
    may_read[returns] |= (reason == MMIO) & ~write
    # What an earlier block had before them is not in this one.
    left = threads.order < old
    may_read[left] = read[threads.order[left]]
    threads.access = access
    threads.may_read = may_read
    wanted = np.zeros(len(kind), np.uint64)
    wanted[(kind == columns.PIO) & (a == 0)] = IO
    wanted[(kind == columns.MMIO) & (a == columns.MMIO_READ)] = MMIO
    reads = np.flatnonzero(wanted)
    returned = before[reads]
    answered = (returned != NOTHING) & may_read[returned] & (a[returned] == wanted[reads])
    answers = np.zeros(len(kind), np.bool_)
    answers[reads[answered]] = True
    threads.answers = answers


def is_access(kind: npt.NDArray[np.uint8], a: U64) -> Mask:
    """What the guest asks for, which a return to userspace may take up."""
    pio: Mask = (kind == columns.PIO) & (a != 0)
    mmio: Mask = (kind == columns.MMIO) & (a != columns.MMIO_READ)
    return pio | mmio
