"""One line of the exit queue: cells with a role each, which a theme gives a style."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final, NamedTuple

from tdxdbg.abi import kvm, vmx
from tdxdbg.abi.ghci import SubFunction
from tdxdbg.decode.summary import RowSummary, replies
from tdxdbg.decode.tdvmcall import io_value
from tdxdbg.decode.text import Safe, safe
from tdxdbg.decode.values import (
    UNKNOWN,
    address,
    errno_text,
    exit_reason_name,
    hexa,
    hypercall_name,
    leaf_short,
    msr_name,
    reply_name,
    short_size,
    tdx_status,
    time_text,
    with_name,
)


class Role(StrEnum):
    """What a cell is; the last six are kinds of result."""

    INDEX = "index"
    TIME = "time"
    VCPU = "vcpu"
    NAME = "name"
    ARGUMENTS = "arguments"
    OK = "ok"
    KERNEL = "kernel"
    RETRY = "retry"
    ERROR = "error"
    USERSPACE = "userspace"
    UNKNOWN = "unknown"


class Cell(NamedTuple):
    """A column of the line."""

    text: Safe
    role: Role


def queue_line(summary: RowSummary, *, ascii_only: bool = False) -> list[Cell]:
    """index, time in seconds, vCPU, name, arguments, result: always these six cells."""
    result, role = _result(summary)
    vcpu = UNKNOWN if summary.vcpu is None else f"v{summary.vcpu}"
    return [
        Cell(safe(str(summary.index)), Role.INDEX),
        Cell(safe(time_text(summary.time)), Role.TIME),
        Cell(safe(vcpu), Role.VCPU),
        Cell(safe(row_name(summary)), Role.NAME),
        Cell(_arguments(summary, ascii_only=ascii_only), Role.ARGUMENTS),
        Cell(safe(result), role),
    ]


def delta_text(before: int | None, now: int | None) -> Safe:
    """`+0.000047`: seconds from one time to another, both in ns; `?` when not recorded."""
    if before is None or now is None:
        return safe(UNKNOWN)
    text = time_text(now - before)
    return safe(text if text.startswith("-") else f"+{text}")


def gpa_text(summary: RowSummary) -> Safe:
    """The GPA in 16 digits, blank where the row has none."""
    return safe("" if summary.gpa is None else address(summary.gpa))


def size_cell(summary: RowSummary) -> Safe:
    """The size as `8M`, blank where the row has none."""
    return safe("" if summary.size is None else short_size(summary.size))


def exits_text(summary: RowSummary) -> Safe:
    """What userspace saw: `HYPERCALL x4`, or the last and how many more: `MEMORY_FAULT +1`."""
    exits = summary.exit
    if not exits:
        return safe(UNKNOWN if exits is None else "")
    name = kvm.exit_name(exits[-1]).removeprefix("KVM_EXIT_")
    if len(exits) == 1:
        return safe(name)
    return safe(f"{name} x{len(exits)}" if len(set(exits)) == 1 else f"{name} +{len(exits) - 1}")


#: Names that would not fit a column.
_SHORT: Final[dict[int, str]] = {
    SubFunction.REPORT_FATAL_ERROR: "FATAL",
    SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT: "EventNotify",
    SubFunction.GET_TD_VM_CALL_INFO: "VmCallInfo",
}


def row_name(summary: RowSummary) -> str:
    """`MapGPA`, `HC_MAP_GPA_RANGE`, `EPT_VIOLATION`, or what userspace saw of it."""
    if summary.leaf is not None:
        return _SHORT.get(summary.leaf) or leaf_short(summary.leaf)
    if summary.vendor and summary.r10 is not None:
        return _hypercall(summary.r10)
    if summary.reason == vmx.TDCALL:
        return "TDVMCALL"
    if summary.reason is not None:
        return exit_reason_name(summary.reason)
    if summary.rax is not None:
        return tdx_status(summary.rax).name.removeprefix("TDX_")
    if summary.exit:
        return kvm.exit_name(summary.exit[0])
    return UNKNOWN


def _hypercall(number: int) -> str:
    name = hypercall_name(number)
    return name.removeprefix("KVM_") if name.startswith("KVM_") else f"HC {name}"


# --- arguments --------------------------------------------------------------------------


def _arguments(summary: RowSummary, *, ascii_only: bool) -> Safe:
    conversion = _conversion(summary)
    if conversion is not None:
        # The arrow is ours; everything else of the cell is escaped.
        arrow = ("P>S " if ascii_only else "P→S ", "S>P " if ascii_only else "S→P ")
        known = summary.shared is not None
        head = arrow[0 if summary.shared else 1] if known else f"{UNKNOWN} "
        return Safe(head + safe(conversion))
    if summary.leaf is not None:
        return safe(_BY_LEAF.get(summary.leaf, _unknown_leaf)(summary))
    if summary.vendor:
        return safe(_words(("r11", summary.r11), ("r12", summary.r12)))
    if summary.port is not None:
        return safe(_io(summary))
    if summary.message is not None:
        return safe(_fatal(summary))
    if summary.gpa is not None and summary.direction is not None:
        return safe(_mmio(summary))
    if summary.gpa is not None:
        return safe(f"{_gpa_kind(summary)} {address(summary.gpa)}".lstrip())
    return safe("")


def _conversion(summary: RowSummary) -> str | None:
    hypercall = kvm.HC_MAP_GPA_RANGE
    by_hypercall = summary.hypercall == hypercall or (summary.vendor and summary.r10 == hypercall)
    if summary.leaf != SubFunction.MAP_GPA and not by_hypercall:
        return None
    gpa = UNKNOWN * 16 if summary.gpa is None else address(summary.gpa)
    size = UNKNOWN if summary.size is None else short_size(summary.size)
    return f"{gpa} +{size}"


def _gpa_kind(summary: RowSummary) -> str:
    if summary.shared is None:
        return ""
    return "shared" if summary.shared else "private"


def _words(*pairs: tuple[str, int | None]) -> str:
    return " ".join(f"{name} {hexa(value)}" for name, value in pairs if value is not None)


def _number(value: int | None) -> str:
    return UNKNOWN if value is None else hexa(value)


def _side(summary: RowSummary, zero: str, one: str) -> str:
    if summary.direction is None:
        return UNKNOWN
    return one if summary.direction else zero


def _width(summary: RowSummary) -> str:
    return UNKNOWN if summary.size is None else f"{min(summary.size, 9999)}B"


def _io(summary: RowSummary) -> str:
    side = f"{_side(summary, 'in', 'out'):3}"
    return f"{side} port {_number(summary.port)} {_width(summary)} {_value(summary)}".rstrip()


def _value(summary: RowSummary) -> str:
    if summary.value is None:
        return ""
    return io_value(summary.value, summary.size) or hexa(summary.value)


def _mmio(summary: RowSummary) -> str:
    gpa = UNKNOWN if summary.gpa is None else address(summary.gpa)
    side = _side(summary, "read", "write")
    return f"{side} {gpa} {_width(summary)} {_value(summary)}".rstrip()


def _cpuid(summary: RowSummary) -> str:
    tail = f" sub-leaf {hexa(summary.r13)}" if summary.r13 else ""
    return f"leaf {_number(summary.r12)}{tail}"


def _hlt(summary: RowSummary) -> str:
    if summary.r12 is None:
        return "if=?"
    return f"if={int(summary.r12 == 0)}"


def _msr(summary: RowSummary) -> str:
    if summary.r12 is None:
        return UNKNOWN
    index = summary.r12 & 0xFFFF_FFFF
    text = with_name(index, msr_name(index))
    return f"{text} = {_number(summary.r13)}" if summary.leaf == SubFunction.WRMSR else text


def _fatal(summary: RowSummary) -> str:
    code = UNKNOWN if summary.r12 is None else hexa(summary.r12 & 0xFFFF_FFFF)
    text = "?" if summary.message is None else f'"{summary.message}"'
    return f"code {code} msg {text}"


def _buffer(summary: RowSummary) -> str:
    size = UNKNOWN if summary.size is None else short_size(summary.size)
    return f"{UNKNOWN if summary.gpa is None else address(summary.gpa)} +{size}"


def _vector(summary: RowSummary) -> str:
    return f"vector {_number(summary.r12)}"


def _unknown_leaf(summary: RowSummary) -> str:
    return _words(("r12", summary.r12), ("r13", summary.r13))


_BY_LEAF: Final[dict[int, Callable[[RowSummary], str]]] = {
    SubFunction.CPUID: _cpuid,
    SubFunction.HLT: _hlt,
    SubFunction.IO: _io,
    SubFunction.RDMSR: _msr,
    SubFunction.WRMSR: _msr,
    SubFunction.MMIO: _mmio,
    SubFunction.GET_TD_VM_CALL_INFO: lambda summary: f"leaf {_number(summary.r12)}",
    SubFunction.GET_QUOTE: _buffer,
    SubFunction.REPORT_FATAL_ERROR: _fatal,
    SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT: _vector,
}


# --- result -----------------------------------------------------------------------------

_EVENTS: Final[dict[int, str]] = {
    kvm.Exit.SYSTEM_EVENT: "event",
    kvm.Exit.SHUTDOWN: "shutdown",
    kvm.Exit.INTERNAL_ERROR: "internal error",
    kvm.Exit.FAIL_ENTRY: "fail entry",
}


def _result(summary: RowSummary) -> tuple[str, Role]:
    if summary.outcome is None:
        return UNKNOWN, Role.UNKNOWN
    if summary.outcome == "dead":
        return "VM dead", Role.ERROR
    if summary.outcome == "error":
        role = Role.ERROR if summary.error else Role.USERSPACE
        errno = UNKNOWN if summary.errno is None else f"-{errno_text(summary.errno).split()[0]}"
        return f"KVM_RUN {errno}", role
    if summary.outcome == "userspace":
        if not summary.exit:
            return "userspace", Role.USERSPACE
        last = summary.exit[-1]
        event = _EVENTS.get(last)
        return (
            (event, Role.ERROR) if event else (f"userspace: {kvm.exit_name(last)}", Role.USERSPACE)
        )
    return _entered(summary)


def _entered(summary: RowSummary) -> tuple[str, Role]:
    good = ("kernel", Role.KERNEL) if summary.kernel else ("ok", Role.OK)
    if summary.status is None:
        return (UNKNOWN, Role.UNKNOWN) if replies(summary.reason, summary.rax) else good
    if summary.error:
        return reply_name(summary.status, vendor=bool(summary.vendor)), Role.ERROR
    if summary.retry:
        return f"RETRY{_stopped(summary)}", Role.RETRY
    return good


def _stopped(summary: RowSummary) -> str:
    """` @+2M`: how far MapGPA got before the guest was told to try again."""
    start, reply, size = summary.r12, summary.reply, summary.size
    if summary.leaf != SubFunction.MAP_GPA or start is None or reply is None or size is None:
        return ""
    done = reply - start
    return f" @+{short_size(done)}" if 0 <= done <= size else f" @{hexa(reply)}"


def kind_filter(summary: RowSummary) -> str:
    """A display filter that selects exits of the same kind, this one among them."""
    if summary.leaf is not None:
        return f"leaf == {leaf_short(summary.leaf)}"
    if summary.vendor and summary.r10 is not None:
        return f"r10 == {hexa(summary.r10)} and reason == {summary.reason}"
    if summary.reason is not None:
        return f"reason == {summary.reason}"
    if summary.rax is not None:
        return f"rax == {hexa(summary.rax)}"
    return f"index == {summary.index}"
