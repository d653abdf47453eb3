"""What QEMU answers to each exit: the VMM below all policies.

Source: facts kernel_exits 6; QEMU's target/i386/kvm and accel/kvm.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from struct import Struct
from typing import Final, NamedTuple

from tdxdbg.abi import kvm
from tdxdbg.abi.ghci import Status, SubFunction
from tdxdbg.abi.kvm import Exit
from tdxdbg.engine import (
    HypercallAnswer,
    IoAnswer,
    KvmRun,
    MmioAnswer,
    MsrAnswer,
    Outcome,
    TdxAnswer,
)
from tdxdbg.engine.kvm_run import TDX_RAW
from tdxdbg.vmm import fatal, quote, raw
from tdxdbg.vmm.ask import Ask, Board, Reply, number
from tdxdbg.vmm.conversion import convert
from tdxdbg.vmm.devices import Devices

#: GetTdVmCallInfo leaf 1, R11 bit 1: SetupEventNotifyInterrupt is there.
EVENT_NOTIFY: Final = 1 << 1
#: Bytes of data in an answer.
_DATA: Final = 8

# An Enum's members are slow to look up.
_KVM_ERROR: Final = Outcome.KVM_ERROR
#: To an exit that wants no answer.
_DONE: Final = Reply()

# The members of kvm_run that matter, from their start (engine/kvm_run.py).
_IO: Final = Struct("<BBHI")  # direction, size, port, count
_MMIO: Final = Struct("<Q8sIB")  # phys_addr, data, len, is_write
_HYPERCALL: Final = Struct("<4Q")  # nr, args[0..2]


class Notify(NamedTuple):
    """SetupEventNotifyInterrupt: who called it last; vector 0: nobody."""

    vcpu: int = 0
    vector: int = 0


class Qemu:
    """State: `notify`, `requests` and the devices'."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.devices = Devices(board)
        self.notify = Notify()
        #: Quotes on their way, oldest first.
        self.requests: tuple[quote.Request, ...] = ()
        self._handlers: dict[int, Callable[[Ask, KvmRun], Reply]] = {
            Exit.IO: self._io,
            Exit.MMIO: self._mmio,
            Exit.HYPERCALL: self._hypercall,
            Exit.TDX: self._tdx,
            Exit.MEMORY_FAULT: self._memory_fault,
            Exit.SYSTEM_EVENT: self._system_event,
            Exit.X86_RDMSR: _msr,
            Exit.X86_WRMSR: _msr,
            Exit.X86_BUS_LOCK: _nothing,
            Exit.INTR: _nothing,
            Exit.NOTIFY: _notify,
            Exit.SHUTDOWN: _shutdown,
            Exit.INTERNAL_ERROR: _internal_error,
            Exit.FAIL_ENTRY: _fail_entry,
            Exit.EXCEPTION: _exception,
        }

    def reply(self, ask: Ask) -> Reply:
        """The reply to one exit; never raises for anything a guest does."""
        step = ask.step
        run = step.run
        if step.outcome is _KVM_ERROR:
            if step.errno in (errno.EINTR, errno.EAGAIN):
                return Reply()
            if run is None or step.errno != errno.EFAULT or run.exit_reason != Exit.MEMORY_FAULT:
                return Reply(stop=f"KVM_RUN failed: {kvm.errno_name(step.errno)}")
        if run is None:
            return Reply()
        return self._handlers.get(run.exit_reason, _unknown)(ask, run)

    # --- devices ----------------------------------------------------------------------

    def _io(self, ask: Ask, run: KvmRun) -> Reply:
        """A string (only recordings have one) is so many accesses to the same port."""
        direction, size, port, count = _IO.unpack_from(run.union)
        size = min(size, _DATA) or 1
        devices = self.devices
        devices.now.ns = ask.time
        if direction == kvm.EXIT_IO_IN:
            items = [devices.ports.read(port, size) for _ in range(min(count, _DATA // size))]
            devices.interrupt(ask.events)
            return Reply(IoAnswer(b"".join(items)))
        pio = run.pio
        if count == 1 and len(pio) == size:
            stop = devices.ports.write(port, pio)
        else:
            stop = ""
            for at in range(0, min(count * size, len(pio)), size):
                stop = stop or devices.ports.write(port, pio[at : at + size])
        if devices.fw_cfg.due >= 0:
            devices.fw_cfg.transfer(ask.memory)
        devices.interrupt(ask.events)
        return Reply(stop=stop) if stop else _DONE

    def _mmio(self, ask: Ask, run: KvmRun) -> Reply:
        gpa, data, size, is_write = _MMIO.unpack_from(run.union)
        devices = self.devices
        if is_write:
            stop = devices.memory.write(gpa, data[:size])
            devices.interrupt(ask.events)
            return Reply(stop=stop)
        data = devices.memory.read(gpa, min(size, _DATA))
        return Reply(MmioAnswer(data.ljust(_DATA, b"\0")))

    # --- conversions ------------------------------------------------------------------

    def _hypercall(self, ask: Ask, run: KvmRun) -> Reply:
        """It converts and never writes hypercall.ret; a conversion that fails stops the VM.

        KVM's own hypercall has the guest's GPA as it is: with the shared bit
        in it, there is no RAM.
        """
        nr, gpa, pages, attributes = _HYPERCALL.unpack_from(run.union)
        if nr != kvm.HC_MAP_GPA_RANGE:
            return Reply(stop=f"KVM_EXIT_HYPERCALL with number {nr}, not KVM_HC_MAP_GPA_RANGE")
        size = pages * kvm.PAGE_SIZE & 0xFFFF_FFFF_FFFF_FFFF
        private = bool(attributes & kvm.MAP_GPA_RANGE_ENCRYPTED)
        done = convert(self.board, gpa, size, private=private)
        return Reply(HypercallAnswer(), done.attributes, done.error)

    def _memory_fault(self, ask: Ask, run: KvmRun) -> Reply:
        flags = number(run, "flags")
        if flags & ~kvm.MEMORY_EXIT_FLAG_PRIVATE:
            return Reply(stop=f"KVM_EXIT_MEMORY_FAULT with unknown flags {flags:#x}")
        private = bool(flags & kvm.MEMORY_EXIT_FLAG_PRIVATE)
        done = convert(self.board, number(run, "gpa"), number(run, "size"), private=private)
        return Reply(None, done.attributes, done.error)

    # --- KVM_EXIT_TDX -----------------------------------------------------------------

    def _tdx(self, ask: Ask, run: KvmRun) -> Reply:
        if run.layout is TDX_RAW:
            return self._raw(ask, run)
        nr = number(run, "nr")
        if nr == SubFunction.GET_TD_VM_CALL_INFO:
            return Reply(TdxAnswer(Status.SUCCESS, EVENT_NOTIFY, 0, 0, 0))
        if nr == SubFunction.GET_QUOTE:
            return Reply(TdxAnswer(self._get_quote(ask, number(run, "gpa"), number(run, "size"))))
        if nr == SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT:
            return Reply(TdxAnswer(self._set_up_notify(ask, number(run, "vector"))))
        # KVM has put there what a userspace says that does not know the call.
        return Reply()

    def _raw(self, ask: Ask, run: KvmRun) -> Reply:
        """v19: what QEMU does not know is INVALID_OPERAND."""
        function, r12, r13 = (number(run, f"in_{name}") for name in ("r11", "r12", "r13"))
        if function == SubFunction.MAP_GPA:
            return raw.map_gpa(self.board, run)
        if function == SubFunction.REPORT_FATAL_ERROR:
            return self._fatal(ask, fatal.of_raw(run))
        if function == SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT:
            return raw.status(self._set_up_notify(ask, r12))
        if function == SubFunction.GET_QUOTE and r12 & self.board.shared_mask:
            gpa = r12 & ~self.board.shared_mask
            return raw.status(self._get_quote(ask, gpa, r13))
        return raw.status(Status.INVALID_OPERAND)

    def _set_up_notify(self, ask: Ask, vector: int) -> Status:
        if not 32 <= vector <= 255:
            return Status.INVALID_OPERAND
        self.notify = Notify(ask.vcpu, vector)
        return Status.SUCCESS

    def _get_quote(self, ask: Ask, gpa: int, size: int) -> Status:
        delay = self.board.quote_delay
        status, request = quote.check(ask.memory, gpa, size, delay)
        if request is None:
            return status
        if not self.board.quoting_service:
            written = quote.mark(ask.memory, request, quote.UNAVAILABLE)
            return Status.SUCCESS if written else Status.INVALID_OPERAND
        if len(self.requests) >= quote.MOST:
            return Status.RETRY
        if not quote.mark(ask.memory, request, quote.IN_FLIGHT):
            return Status.INVALID_OPERAND
        if delay:
            self.requests += (request,)
        else:
            self._finish(ask, request)
        return Status.SUCCESS

    def _finish(self, ask: Ask, request: quote.Request) -> None:
        quote.finish(ask.memory, request)
        if self.notify.vector:
            ask.events.raise_vector(*self.notify)

    def tick(self, ask: Ask) -> None:
        """An exit came: quotes on their way are so much nearer."""
        requests = [request._replace(left=request.left - 1) for request in self.requests]
        for request in requests:
            if request.left <= 0:
                self._finish(ask, request)
        self.requests = tuple(request for request in requests if request.left > 0)

    # --- the end ----------------------------------------------------------------------

    def _system_event(self, ask: Ask, run: KvmRun) -> Reply:
        kind = number(run, "type")
        if kind == kvm.SYSTEM_EVENT_TDX_FATAL:
            return self._fatal(ask, fatal.of_event(run))
        return Reply(stop=kvm.SYSTEM_EVENT_NAMES.get(kind, f"KVM_EXIT_SYSTEM_EVENT {kind}"))

    def _fatal(self, ask: Ask, report: fatal.Fatal) -> Reply:
        return Reply(stop=fatal.why(report, ask.memory, self.board.shared_mask))


def _nothing(ask: Ask, run: KvmRun) -> Reply:
    return Reply()


def _msr(ask: Ask, run: KvmRun) -> Reply:
    """None that QEMU has something to say about."""
    return Reply(MsrAnswer(error=1))


def _notify(ask: Ask, run: KvmRun) -> Reply:
    """A vCPU that lets no event in for long; it goes on if its context is sound."""
    if number(run, "flags") & kvm.NOTIFY_CONTEXT_INVALID:
        return Reply(stop="KVM_EXIT_NOTIFY with an invalid context")
    return Reply()


def _shutdown(ask: Ask, run: KvmRun) -> Reply:
    return Reply(stop="KVM_EXIT_SHUTDOWN (triple fault): a TD cannot be reset")


def _internal_error(ask: Ask, run: KvmRun) -> Reply:
    kind = number(run, "suberror")
    name = kvm.INTERNAL_ERROR_NAMES.get(kind, f"suberror {kind}")
    return Reply(stop=f"KVM_EXIT_INTERNAL_ERROR: {name}, data[0] {number(run, 'data', 0):#x}")


def _fail_entry(ask: Ask, run: KvmRun) -> Reply:
    reason = number(run, "hardware_entry_failure_reason")
    return Reply(stop=f"KVM_EXIT_FAIL_ENTRY: hardware reason {reason:#x}")


def _exception(ask: Ask, run: KvmRun) -> Reply:
    vector, code = number(run, "exception"), number(run, "error_code")
    return Reply(stop=f"KVM_EXIT_EXCEPTION: vector {vector}, error code {code:#x}")


def _unknown(ask: Ask, run: KvmRun) -> Reply:
    return Reply(stop=f"{kvm.exit_name(run.exit_reason)}, which QEMU does not handle")
