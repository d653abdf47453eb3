"""What QEMU would answer to an exit of a recording, when nobody recorded what it did.

Without guest memory, devices or a past there is less to say than `Vmm` says:
only the exit itself counts. Source: facts kernel_exits 6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tdxdbg.abi.ghci import Status, SubFunction
from tdxdbg.abi.kvm import Exit, exit_name
from tdxdbg.engine import (
    HypercallAnswer,
    IoAnswer,
    KvmRun,
    MmioAnswer,
    MsrAnswer,
    TdxAnswer,
    TdxRawAnswer,
)
from tdxdbg.engine.kvm_run import TDX_RAW
from tdxdbg.vmm.ask import Reply
from tdxdbg.vmm.qemu import EVENT_NOTIFY

AssumedReply = Callable[[KvmRun], Reply]


def assumed_reply(run: KvmRun) -> Reply:
    """It converts and never writes hypercall.ret; it stops on fatal exits."""
    handler = _HANDLERS.get(run.exit_reason)
    return handler(run) if handler is not None else Reply(stop=exit_name(run.exit_reason))


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
        return Reply(TdxAnswer(Status.SUCCESS, EVENT_NOTIFY, 0, 0, 0))
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


def _nothing(run: KvmRun) -> Reply:
    return Reply()


def _msr(run: KvmRun) -> Reply:
    return Reply(MsrAnswer(error=1))


_HANDLERS: Final[dict[int, AssumedReply]] = {
    # It converts the range and never writes hypercall.ret.
    Exit.HYPERCALL: lambda _: Reply(HypercallAnswer()),
    Exit.IO: _io,
    Exit.MMIO: _mmio,
    Exit.TDX: _tdx,
    Exit.X86_RDMSR: _msr,
    Exit.X86_WRMSR: _msr,
    Exit.X86_BUS_LOCK: _nothing,
    Exit.INTR: _nothing,
    # KVM_RUN again tells the engine that the page was converted.
    Exit.MEMORY_FAULT: _nothing,
}
