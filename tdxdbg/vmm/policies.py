"""Policies: what a userspace VMM answers to an exit when nobody recorded it.

A policy is a function of the exit; adding one is a function and a line in
POLICIES. Source of QEMU's behaviour: facts kernel_exits 6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from tdxdbg.abi.ghci import Status, SubFunction
from tdxdbg.abi.kvm import Exit
from tdxdbg.engine import (
    Answer,
    HypercallAnswer,
    IoAnswer,
    KvmRun,
    MmioAnswer,
    MsrAnswer,
    TdxAnswer,
    TdxRawAnswer,
)
from tdxdbg.engine.kvm_run import TDX_RAW

#: GetTdVmCallInfo leaf 1, R11 bit 1: SetupEventNotifyInterrupt is there.
_EVENT_NOTIFY: Final = 1 << 1


class Reply(NamedTuple):
    """What userspace does: writes `answer` (None: nothing) and runs again, or stops the VM."""

    answer: Answer | None = None
    stop: bool = False


STOP: Final = Reply(stop=True)


class Policy(NamedTuple):
    """A named way to answer."""

    name: str
    story: str
    reply: Callable[[KvmRun], Reply]


def qemu(run: KvmRun) -> Reply:
    """QEMU: converts and never writes hypercall.ret; stops on fatal exits."""
    handler = _QEMU.get(run.exit_reason)
    return handler(run) if handler is not None else STOP


def _io(run: KvmRun) -> Reply:
    """An unassigned port reads as ones."""
    if run.get("direction"):
        return Reply()
    return Reply(IoAnswer(b"\xff" * (run.get("size") or 1)))


def _mmio(run: KvmRun) -> Reply:
    """An unassigned address reads as zeros."""
    return Reply() if run.get("is_write") else Reply(MmioAnswer(bytes(8)))


def _tdx(run: KvmRun) -> Reply:
    if run.layout is TDX_RAW:
        return Reply(_raw(run))
    if run.get("nr") == SubFunction.GET_TD_VM_CALL_INFO:
        return Reply(TdxAnswer(Status.SUCCESS, _EVENT_NOTIFY, 0, 0, 0))
    if run.get("nr") == SubFunction.GET_QUOTE:
        return Reply(TdxAnswer(_quote_status(run.get("gpa") or 0, run.get("size") or 0)))
    return Reply(TdxAnswer(Status.SUCCESS))


def _quote_status(gpa: int, size: int) -> Status:
    if not size:
        return Status.INVALID_OPERAND
    return Status.ALIGN_ERROR if (gpa | size) & 0xFFF else Status.SUCCESS


def _raw(run: KvmRun) -> TdxRawAnswer:
    """v19: userspace decodes the registers; what it does not know is INVALID_OPERAND."""
    known = (SubFunction.MAP_GPA, SubFunction.GET_QUOTE, SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT)
    status = Status.SUCCESS if run.get("in_r11") in known else Status.INVALID_OPERAND
    return TdxRawAnswer(r10=status)


_QEMU: Final[dict[int, Callable[[KvmRun], Reply]]] = {
    # It converts the range and never writes hypercall.ret.
    Exit.HYPERCALL: lambda _: Reply(HypercallAnswer()),
    Exit.IO: _io,
    Exit.MMIO: _mmio,
    Exit.TDX: _tdx,
    Exit.X86_RDMSR: lambda _: Reply(MsrAnswer(error=1)),
    Exit.X86_WRMSR: lambda _: Reply(MsrAnswer(error=1)),
    Exit.X86_BUS_LOCK: lambda _: Reply(),
    Exit.INTR: lambda _: Reply(),
    # KVM_RUN again tells the engine that the page was converted.
    Exit.MEMORY_FAULT: lambda _: Reply(),
}

POLICIES: Final[dict[str, Policy]] = {
    "qemu": Policy("qemu", "what QEMU answers, with no devices behind it", qemu),
}
DEFAULT: Final = POLICIES["qemu"]
