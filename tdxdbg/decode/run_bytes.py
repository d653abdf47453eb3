"""struct kvm_run as bytes: exit_reason, flags, the union, and the page of port I/O data."""

from __future__ import annotations

from typing import NamedTuple

from tdxdbg.abi.kvm import (
    PIO_PAGE_OFFSET,
    RUN_EXIT_REASON_OFFSET,
    RUN_FLAGS_OFFSET,
    RUN_UNION_OFFSET,
    RUN_UNION_SIZE,
)
from tdxdbg.engine.kvm_run import KvmRun

#: A row of bytes never goes over such a border.
ALIGNMENT = 16


class RunByte(NamedTuple):
    """`value` is None where nobody knows it; `written`: KVM wrote it at this exit."""

    value: int | None
    written: bool


def run_bytes(run: KvmRun, run_flags: int | None = 0) -> dict[int, RunByte]:
    """Every byte by its offset from the start of struct kvm_run, in order.

    Of the first 32 bytes only exit_reason and flags are here; `run_flags` None:
    not recorded. Bytes of the data page are there for KVM_EXIT_IO.
    """
    found: dict[int, RunByte] = {}
    reason = (run.exit_reason & 0xFFFF_FFFF).to_bytes(4, "little")
    _put(found, RUN_EXIT_REASON_OFFSET, reason)
    if run_flags is not None:
        _put(found, RUN_FLAGS_OFFSET, (run_flags & 0xFFFF).to_bytes(2, "little"))
    for at in range(RUN_UNION_SIZE):
        value = run.union[at] if run.valid >> at & 1 else None
        found[RUN_UNION_OFFSET + at] = RunByte(value, bool(run.written >> at & 1))
    _put(found, PIO_PAGE_OFFSET, run.pio)
    return found


def _put(found: dict[int, RunByte], offset: int, data: bytes) -> None:
    for at, value in enumerate(data):
        found[offset + at] = RunByte(value, True)
