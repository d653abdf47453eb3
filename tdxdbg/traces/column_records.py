"""What is in the records that KVM's events make, over columns (see seen.py, pack.py).

Each function writes into rows of a matrix of records what events of one kind
say. This module imports numpy.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from tdxdbg.abi import kvm, vmx
from tdxdbg.abi import regs as r
from tdxdbg.engine.state import IoAnswer, MmioAnswer, Outcome
from tdxdbg.traces import columns, layout, pack, records
from tdxdbg.traces import record_columns as words
from tdxdbg.traces.columns import I64, NONE, U64, Block, Mask
from tdxdbg.traces.record_columns import Matrix, Words, significant
from tdxdbg.traces.records import Kind
from tdxdbg.traces.seen import FAILED

HYPERCALL: Final = int(kvm.Exit.HYPERCALL)
HC_MAP_GPA_RANGE: Final = kvm.HC_MAP_GPA_RANGE
_KINDS: Final = {
    columns.EXIT: Kind.TD_EXIT,
    columns.ENTRY: Kind.TD_ENTRY,
    columns.USERSPACE_EXIT: Kind.USERSPACE_EXIT,
    columns.PIO: Kind.ANSWER,
    columns.MMIO: Kind.ANSWER,
}
_U32: Final = (1 << 32) - 1
_ERROR: Final = Outcome.KVM_ERROR & _U32
_SAME: Final = layout.SAME_RUNS << 24
#: One run of known bytes, and two: pairs (first byte, length - 1).
_ONE_RUN: Final = _SAME | 1 << 16
_TWO_RUNS: Final = _SAME | 2 << 16
_STORED_UNION: Final = 48
_HANDLED: Final = (layout.TD_EXIT_IN_KERNEL | layout.TD_EXIT_HANDLED) << 8
_IO_ANSWER: Final = pack.ANSWER_TYPES.index(IoAnswer) | 1 << 16
_MMIO_ANSWER: Final = pack.ANSWER_TYPES.index(MmioAnswer) | 1 << 16
_SEEN: Final = records.KNOWN_REASON | 1 << r.RCX | 1 << r.RDX


class Common(NamedTuple):
    """What the heads of records have beside what their events say."""

    vcpu: U64
    row: U64
    rows_started: U64


def _u64(number: int) -> np.uint64:
    return np.uint64(number)


def _derived(register: int) -> int:
    return 1 << register | 1 << register + records.DERIVED_SHIFT


def common(matrix: Matrix, at: I64, block: Block, more: Common) -> None:
    """The heads of new records."""
    kinds = np.zeros(columns.LOST + 1, np.uint64)
    for number, kind in _KINDS.items():
        kinds[number] = int(kind)
    head = np.empty((len(at), 8), np.uint64)
    head[:, 0] = kinds[block.kind] | more.vcpu << _u64(16)
    head[:, words.ROW] = more.row
    head[:, words.ROWS_STARTED] = more.rows_started
    head[:, words.TIME] = block.time
    head[:, words.KNOWN] = 0
    head[:, words.SOURCE] = block.source
    head[:, 6:] = 0
    matrix[at, :8] = head


# --- TD exits ---------------------------------------------------------------------------


def exits(matrix: Matrix, at: I64, block: Block, folded: Mask, sub_function: I64) -> None:
    """kvm_exit, alone."""
    told = block.a != NONE
    at, block, folded, sub_function = at[told], block.take(told), folded[told], sub_function[told]
    reason = block.a
    known = np.full(len(at), _SEEN, np.uint64)
    known[folded] |= _u64(records.KNOWN_VP_ENTER_RET)
    known[folded & (reason != vmx.VMCALL)] |= _u64(_derived(r.R10))
    named = sub_function >= 0
    known[named] |= _u64(_derived(r.R11))
    matrix[at, words.KNOWN] = known
    matrix[at, words.VP_ENTER_RET] = np.where(folded, _u64(vmx.TDCALL), reason)
    matrix[at, words.REGS + r.RCX] = block.b
    matrix[at, words.REGS + r.RDX] = block.c
    matrix[at, words.REGS + r.R9] = block.d
    matrix[at, words.REGS + r.R11] = np.where(named, sub_function, 0).view(np.uint64)


def _derive(matrix: Matrix, at: I64, values: dict[int, U64]) -> None:
    known = 0
    for register, value in values.items():
        matrix[at, words.REGS + register] = value
        known |= _derived(register)
    matrix[at, words.KNOWN] |= _u64(known)


def arguments(matrix: Matrix, at: I64, block: Block, kind: int) -> None:
    """What kvm_pio, kvm_mmio or kvm_msr tells of the TDVMCALL in these records."""
    if kind == columns.MSR:
        write = block.a != 0
        _derive(matrix, at, {r.R12: block.b})
        _derive(matrix, at[write], {r.R13: block.e[write]})
        return
    write = block.a != 0 if kind == columns.PIO else block.a == columns.MMIO_WRITE
    _derive(matrix, at, {r.R12: block.c, r.R13: write.astype(np.uint64)})
    if kind == columns.PIO:
        _derive(matrix, at, {r.R14: block.b})
    _derive(matrix, at[write], {r.R15: block.e[write]})
    matrix[at, 0] |= _u64(_HANDLED)
    matrix[at, words.IN_KERNEL_VALUE] = np.where(write, _u64(0), block.e)


def registers(matrix: Matrix, at: I64, block: Block) -> None:
    """What kvm_hypercall shows."""
    for register, value in enumerate((block.a, block.b, block.c, block.d, block.e), r.R10):
        matrix[at, words.REGS + register] = value
    matrix[at, words.KNOWN] |= _u64(sum(1 << number for number in range(r.R10, r.R14 + 1)))


def fault(matrix: Matrix, at: I64, address: U64) -> None:
    """What kvm_page_fault shows."""
    matrix[at, words.REGS + r.R8] = address
    matrix[at, words.KNOWN] |= _u64(1 << r.R8)


def went_to_userspace(matrix: Matrix, at: I64) -> None:
    """What the kernel did inside is then no answer."""
    matrix[at, 0] &= ~_u64(_HANDLED)
    matrix[at, words.IN_KERNEL_VALUE] = 0


# --- returns to userspace -----------------------------------------------------------------


def entries(matrix: Matrix, at: I64) -> None:
    """kvm_entry."""
    matrix[at, words.OUTCOME] = int(Outcome.REENTER_TD)
    matrix[at, words.STORED] = _SAME


def returns(matrix: Matrix, at: I64, block: Block) -> None:
    """kvm_userspace_exit, alone."""
    reason, errno = block.a, block.b
    failed = errno != 0
    known = np.full(len(at), records.KNOWN_ERRNO, np.uint64)
    errno = errno.copy()
    for number, only in FAILED.items():
        which = ~(block.b != 0) & (reason == int(number))
        failed |= which
        errno[which] = only
        if not only:
            known[which] = 0
    run = ~((block.b != 0) & (reason == 0))
    matrix[at, 0] |= np.where(run, _u64(layout.STEP_RUN << 8), _u64(0))
    matrix[at, words.KNOWN] = known
    matrix[at, words.OUTCOME] = np.where(failed, _u64(_ERROR), _u64(0))
    matrix[at, words.ERRNO] = errno
    matrix[at, words.REASON] = np.where(run, reason, _u64(0))
    matrix[at, words.STORED] = _SAME


def accesses(matrix: Matrix, at: I64, reason: U64, asked: Block) -> None:
    """What the guest asked for, where KVM returned with it."""
    pio = np.flatnonzero((reason == int(kvm.Exit.IO)) & (asked.kind == columns.PIO))
    _io(matrix, at[pio], asked.take(pio), kvm.EXIT_IO_OUT)
    mmio = (reason == int(kvm.Exit.MMIO)) & (asked.kind == columns.MMIO)
    write = asked.a == columns.MMIO_WRITE
    at_write = np.flatnonzero(mmio & write)
    _mmio_write(matrix, at[at_write], asked.take(at_write))
    at_read = np.flatnonzero(mmio & ~write)
    _mmio_read(matrix, at[at_read], asked.take(at_read))


def reads(matrix: Matrix, at: I64, answered: Block) -> None:
    """KVM_EXIT_IO of a read, which only its answer tells; nothing else is in the records yet."""
    _io(matrix, at, answered, kvm.EXIT_IO_IN)


def _io(matrix: Matrix, at: I64, pio: Block, direction: int) -> None:
    size, count = pio.c, pio.d
    union = _u64(direction) | size << _u64(8) | pio.b << _u64(16) | count << _u64(32)
    stored = significant(union)
    payload = Words(matrix, at, words.STEP_PAYLOAD)
    payload.put(union, 0)
    # The known bytes: up to the port, or up to the count.
    run = np.where(count > 0, _u64(7 << 8), _u64(3 << 8))
    payload.put(run, stored, 2)
    data = np.zeros(len(at), np.uint64)
    if direction == kvm.EXIT_IO_OUT:
        data = size
        payload.put(_cut(pio.e, size), stored + _u64(2), 4)
    matrix[at, words.REASON] |= stored << _u64(_STORED_UNION)
    matrix[at, words.STORED] = _u64(_ONE_RUN) | data
    matrix[at, words.LENGTH] = (stored + _u64(2) + data) << _u64(32)


def _mmio_write(matrix: Matrix, at: I64, mmio: Block) -> None:
    size = mmio.c
    start = words.STEP_PAYLOAD
    matrix[at, start] = mmio.b
    matrix[at, start + 1] = _cut(mmio.e, size)
    # Behind the length and is_write: the known bytes, in one run when all of `data` is.
    whole = size == 8
    runs = np.where(whole, _u64(20 << 8), (size + _u64(7)) << _u64(8) | _u64(0x0410_0000))
    matrix[at, start + 2] = size | _u64(1 << 32)
    Words(matrix, at, start).put(runs, 21, 4)
    matrix[at, words.REASON] |= _u64(21 << _STORED_UNION)
    matrix[at, words.STORED] = np.where(whole, _u64(_ONE_RUN), _u64(_TWO_RUNS))
    matrix[at, words.LENGTH] = np.where(whole, _u64(23 << 32), _u64(25 << 32))


def _mmio_read(matrix: Matrix, at: I64, mmio: Block) -> None:
    start = words.STEP_PAYLOAD
    matrix[at, start] = mmio.b
    matrix[at, start + 2] = mmio.c | _u64(0x0410_0700 << 8)
    matrix[at, words.REASON] |= _u64(17 << _STORED_UNION)
    matrix[at, words.STORED] = _u64(_TWO_RUNS)
    matrix[at, words.LENGTH] = _u64(21 << 32)


def map_gpa(matrix: Matrix, at: I64, hypercall: Block) -> None:
    """KVM_EXIT_HYPERCALL with the number and three arguments."""
    numbers = (hypercall.a, hypercall.b, hypercall.c, hypercall.d)
    stored = np.zeros(len(at), np.uint64)
    for place, value in enumerate(numbers):
        matrix[at, words.STEP_PAYLOAD + place] = value
        stored = np.where(value > 0, significant(value) + _u64(8 * place), stored)
    Words(matrix, at, words.STEP_PAYLOAD).put(np.full(len(at), 31 << 8, np.uint64), stored, 2)
    matrix[at, words.REASON] |= stored << _u64(_STORED_UNION)
    matrix[at, words.STORED] = _u64(_ONE_RUN)
    matrix[at, words.LENGTH] = (stored + _u64(2)) << _u64(32)


def answers(matrix: Matrix, at: I64, block: Block) -> None:
    """The value that userspace gave to a read."""
    is_pio = block.kind == columns.PIO
    matrix[at, words.KNOWN] = _u64(records.KNOWN_ANSWER)
    matrix[at, words.ANSWER] = np.where(is_pio, _u64(_IO_ANSWER), _u64(_MMIO_ANSWER))
    matrix[at, words.ANSWER_PAYLOAD] = _cut(block.e, block.c)
    matrix[at, words.LENGTH] = block.c << _u64(32)


def _cut(value: U64, size: U64) -> U64:
    """The low `size` bytes, of which there are up to 8."""
    bits = _u64(64) - (size << _u64(3))
    low: U64 = (value << bits) >> bits
    return low
