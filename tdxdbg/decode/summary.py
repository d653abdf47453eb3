"""What one row of the queue knows: the values that filters, columns and lists use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Final, Protocol

from tdxdbg.abi import kvm, vmx
from tdxdbg.abi.ghci import FATAL_GPA_VALID, Status, SubFunction
from tdxdbg.abi.regs import R10, R11, REG_NAMES, Regs
from tdxdbg.decode.fatal import event_text, fatal_text
from tdxdbg.decode.known import Seen, seen
from tdxdbg.decode.reply import Call, call_of
from tdxdbg.decode.values import exit_reason_of, is_error_reply
from tdxdbg.engine.kvm_run import KvmRun
from tdxdbg.engine.recorded import KNOWN_EFFECTS, KNOWN_ERRNO, Kind
from tdxdbg.engine.state import VM_BUGGED, Outcome, Step, Td, TdExit

_EIO: Final = 5
FATAL_EXITS: Final = frozenset(
    {kvm.Exit.SHUTDOWN, kvm.Exit.FAIL_ENTRY, kvm.Exit.INTERNAL_ERROR, kvm.Exit.SYSTEM_EVENT}
)


class Record(Protocol):
    """A record of a journal, as far as a summary reads it."""

    @property
    def kind(self) -> int: ...
    @property
    def vcpu(self) -> int: ...
    @property
    def time(self) -> int | None: ...
    @property
    def body(self) -> Any: ...
    @property
    def known(self) -> int: ...


@dataclass(frozen=True, slots=True)
class RowSummary:
    """One row: a TD exit and everything until the TD is entered again.

    An attribute for each field of the display filter, None where the recording
    does not say. Registers are what KVM sees at the TD exit, so one that RCX
    hides is 0; `rax` is what TDH.VP.ENTER returned. `time` is in ns, `size` in
    bytes, `gpa` has no shared bit. `private` and `shared` are the state that a
    conversion asks for, or the kind of GPA that is accessed. `status` is R10
    as the guest gets it. `outcome` is where the row ended: guest, userspace,
    error (KVM_RUN failed) or dead (the VM is bugged). `error`: a status that
    says so, a failed KVM_RUN, or an exit after which the TD cannot go on; a
    memory fault is none. `message` is the text of ReportFatalError as the guest
    wrote it (bytes as Latin-1): for `safe` before anybody sees it.
    """

    index: int
    time: int | None = None
    vcpu: int | None = None
    reason: int | None = None
    leaf: int | None = None
    r8: int | None = None
    r9: int | None = None
    r10: int | None = None
    r11: int | None = None
    r12: int | None = None
    r13: int | None = None
    r14: int | None = None
    r15: int | None = None
    rax: int | None = None
    rbx: int | None = None
    rcx: int | None = None
    rdx: int | None = None
    rsi: int | None = None
    rdi: int | None = None
    gpa: int | None = None
    size: int | None = None
    direction: int | None = None
    status: int | None = None
    outcome: str | None = None
    #: Every KVM_EXIT_* of the row, in order; empty when userspace saw none.
    exit: tuple[int, ...] | None = None
    port: int | None = None
    kernel: bool | None = None
    private: bool | None = None
    shared: bool | None = None
    retry: bool | None = None
    error: bool | None = None
    message: str | None = None
    finding: str | None = None
    # Beyond the filter's fields: what a line of the queue shows.
    #: R10 was not 0: a vendor-specific call.
    vendor: bool | None = None
    #: What a write to a port or MMIO writes, as wide as `size`.
    value: int | None = None
    #: R11 as the guest gets it.
    reply: int | None = None
    #: Why KVM_RUN failed, a positive number.
    errno: int | None = None
    #: The number of a hypercall that went to userspace.
    hypercall: int | None = None


FIELD_NAMES: Final = tuple(field.name for field in fields(RowSummary))


def call_of_row(summary: RowSummary, before: Regs, before_known: int, td: Td) -> Call:
    """The call of a row from its summary and the registers of its TD exit.

    For any step of the row: `before` is what the guest asked with.
    """
    ret = summary.reason if summary.rax is None else summary.rax
    how = Seen.NOTHING if ret is None else Seen.ALL
    return call_of(TdExit(0, ret or 0, before), before_known, td, how)


def summarise(row: int, records: Iterable[Record], td: Td | None = None) -> RowSummary:
    """The summary of row `row` from its records, in journal order.

    Records of other kinds than TD exit, userspace exit and TD entry are
    skipped, so a bounded or an incomplete list gives what it knows.
    """
    found: dict[str, Any] = {"index": row}
    exits: list[int] = []
    call: Call | None = None
    first = True
    for record in records:
        if first:
            found["time"], found["vcpu"] = record.time, record.vcpu
            first = False
        if record.kind == Kind.TD_EXIT:
            call = _td_exit(found, record, td)
        elif record.kind in (Kind.USERSPACE_EXIT, Kind.TD_ENTRY):
            _step(found, exits, record, call, td or Td())
    if "outcome" in found:
        found["exit"] = tuple(exits)
    _verdict(found)
    return RowSummary(**found)


def _td_exit(found: dict[str, Any], record: Record, td: Td | None) -> Call:
    td_exit: TdExit = record.body
    how = seen(record.known)
    call = call_of(td_exit, record.known, td, how)
    ops = call.ops
    if how is Seen.NOTHING:
        known = td_exit.known & record.known
        ops = ops._replace(known=known)
    for name in REG_NAMES:
        if name not in ("rax", "rsp", "rbp"):
            found[name] = ops.get(name)
    if how is Seen.ALL:
        found["rax"] = td_exit.vp_enter_ret
    if how is not Seen.NOTHING:
        reason = exit_reason_of(td_exit.vp_enter_ret)
        found["reason"] = None if reason is None else reason & vmx.BASIC_MASK
    found["leaf"], found["vendor"] = call.leaf, call.vendor
    _operands(found, call)
    return call


def _gpa(found: dict[str, Any], gpa: int | None, td: Td) -> None:
    if gpa is None:
        return
    found["gpa"] = gpa & ~td.shared_mask
    found["shared"] = bool(gpa & td.shared_mask)
    found["private"] = not found["shared"]


def _operands(found: dict[str, Any], call: Call) -> None:
    """gpa, size, direction, port, message out of the guest's operands."""
    get, td, leaf = call.ops.get, call.ops.td, call.leaf
    if leaf in (SubFunction.MAP_GPA, SubFunction.GET_QUOTE):
        _gpa(found, get("r12"), td)
        found["size"] = get("r13")
    elif leaf == SubFunction.MMIO:
        _gpa(found, get("r14"), td)
        found["size"], found["direction"] = _low32(get("r12")), _flag(_low32(get("r13")))
        _written(found, get("r15"))
    elif leaf == SubFunction.IO:
        port = get("r14")
        found["port"] = None if port is None else port & 0xFFFF
        found["size"], found["direction"] = get("r12"), _flag(get("r13"))
        _written(found, get("r15"))
    elif leaf == SubFunction.REPORT_FATAL_ERROR:
        text = fatal_text(call.ops)
        found["message"] = None if text is None else text.decode("latin-1")
        if (get("r12") or 0) & FATAL_GPA_VALID:
            _gpa(found, get("r13"), td)
    elif call.vendor and get("r10") == kvm.HC_MAP_GPA_RANGE:
        _map_gpa_range(found, get("r11"), get("r12"), get("r13"), td)
    elif found.get("reason") in (vmx.EPT_VIOLATION, vmx.EPT_MISCONFIG):
        _gpa(found, get("r8"), td)


def _written(found: dict[str, Any], value: int | None) -> None:
    """R15 of a write, without what a guest leaks above the size."""
    size = found["size"]
    if value is not None and found["direction"] == kvm.EXIT_IO_OUT and size in (1, 2, 4, 8):
        found["value"] = value & ((1 << 8 * size) - 1)


def _low32(value: int | None) -> int | None:
    # KVM truncates size and direction of an MMIO call (facts: kernel_exits 4.5).
    return None if value is None else value & 0xFFFF_FFFF


def _flag(value: int | None) -> int | None:
    return value if value in (0, 1) else None


def _map_gpa_range(
    found: dict[str, Any], gpa: int | None, pages: int | None, attributes: int | None, td: Td
) -> None:
    """KVM_HC_MAP_GPA_RANGE: the wanted state is in the attributes, not in the GPA."""
    if gpa is not None:
        found["gpa"] = gpa & ~td.shared_mask
    if pages is not None:
        found["size"] = pages * kvm.PAGE_SIZE
    if attributes is not None:
        found["private"] = bool(attributes & kvm.MAP_GPA_RANGE_ENCRYPTED)
        found["shared"] = not found["private"]


# --- steps ------------------------------------------------------------------------------


def _step(
    found: dict[str, Any], exits: list[int], record: Record, call: Call | None, td: Td
) -> None:
    step: Step = record.body
    if step.run is not None:
        exits.append(step.run.exit_reason)
        _from_run(found, step.run, td)
    if step.outcome is Outcome.REENTER_TD:
        _entry(found, step, record.known, call)
    elif step.outcome is Outcome.KVM_ERROR:
        found["errno"] = step.errno if record.known & KNOWN_ERRNO else None
        found["outcome"] = "dead" if found["errno"] == _EIO else "error"
    else:
        found["outcome"] = "userspace"
    if step.effects & VM_BUGGED and record.known & KNOWN_EFFECTS:
        found["outcome"] = "dead"


def _entry(found: dict[str, Any], step: Step, known: int, call: Call | None) -> None:
    found["outcome"] = "guest"
    if call is not None and call.tdcall is False:
        return
    if known >> R10 & 1:
        found["status"] = step.regs.r10
    if known >> R11 & 1:
        found["reply"] = step.regs.r11


def _from_run(found: dict[str, Any], run: KvmRun, td: Td) -> None:
    """What only the exit to userspace tells, where the guest's registers were not recorded."""

    def learn(name: str, value: int | str | bool | None) -> None:
        if found.get(name) is None:
            found[name] = value

    reason = run.exit_reason
    if reason == kvm.Exit.IO:
        learn("port", run.get("port"))
        learn("size", run.get("size"))
        learn("direction", run.get("direction"))
        if run.pio and run.get("direction") == kvm.EXIT_IO_OUT:
            learn("value", int.from_bytes(run.pio[: run.get("size")], "little"))
    elif reason == kvm.Exit.MMIO:
        learn("gpa", run.get("phys_addr"))
        learn("size", run.get("len"))
        learn("direction", run.get("is_write"))
        data = [run.get("data", at) for at in range(min(run.get("len") or 0, 8))]
        if data and run.get("is_write") and None not in data:
            learn("value", int.from_bytes(bytes(byte or 0 for byte in data), "little"))
    elif reason == kvm.Exit.HYPERCALL:
        learn("hypercall", run.get("nr"))
        if run.get("nr") == kvm.HC_MAP_GPA_RANGE and found.get("gpa") is None:
            gpa, pages, attributes = (run.get("args", at) for at in range(3))
            told: dict[str, Any] = {}
            _map_gpa_range(told, gpa, pages, attributes, td)
            for name, value in told.items():
                learn(name, value)
    elif reason == kvm.Exit.MEMORY_FAULT:
        flags = run.get("flags")
        learn("gpa", run.get("gpa"))
        learn("size", run.get("size"))
        if flags is not None:
            learn("private", bool(flags & kvm.MEMORY_EXIT_FLAG_PRIVATE))
            learn("shared", not flags & kvm.MEMORY_EXIT_FLAG_PRIVATE)
    elif reason == kvm.Exit.SYSTEM_EVENT and found.get("message") is None:
        text = event_text(run)
        found["message"] = None if text is None else text.decode("latin-1")


def replies(reason: int | None, rax: int | None) -> bool:
    """Whether R10 is a reply to the guest, as far as the TD exit tells: it may be a TDVMCALL."""
    return reason == vmx.TDCALL or (reason is None and rax is None)


def _verdict(found: dict[str, Any]) -> None:
    """kernel, retry, error: out of what the row did."""
    outcome, status = found.get("outcome"), found.get("status")
    if outcome is None:
        return
    exits = found["exit"]
    found["kernel"] = outcome == "guest" and not exits
    if outcome == "guest":
        if status is None and replies(found.get("reason"), found.get("rax")):
            return
        vendor = bool(found.get("vendor"))
        found["retry"] = status == Status.RETRY and not vendor
        found["error"] = status is not None and is_error_reply(status, vendor=vendor)
        return
    found["retry"] = False
    # KVM_RUN fails with EFAULT on every implicit conversion: userspace converts and runs again.
    harmless = bool(exits) and exits[-1] in (kvm.Exit.MEMORY_FAULT, kvm.Exit.INTR)
    failed = outcome in ("error", "dead") and not (harmless and outcome == "error")
    found["error"] = failed or any(reason in FATAL_EXITS for reason in exits)
