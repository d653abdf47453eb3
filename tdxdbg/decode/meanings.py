"""What the fields of struct kvm_run's union mean: one table.

Key: (member of the union, field); value: a function of the exit, the index in
an array, and the value. Source: facts kernel_exits 1.5, 4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from tdxdbg.abi import kvm, vmx
from tdxdbg.abi.ghci import FATAL_GPA_VALID, FATAL_TEXT_REGISTERS
from tdxdbg.decode.fatal import fatal_registers
from tdxdbg.decode.hypercall import map_gpa_range_attributes
from tdxdbg.decode.qualification import access_text
from tdxdbg.decode.rcx import selected_names
from tdxdbg.decode.values import (
    errno_text,
    exit_reason_text,
    hexa,
    hypercall_name,
    leaf_name,
    msr_name,
    named,
    port_name,
    size_text,
    status_name,
    tdx_status,
    vector_name,
)
from tdxdbg.engine.kvm_run import KvmRun
from tdxdbg.engine.state import Td


class At(NamedTuple):
    """A value in a field of an exit; `item` counts within an array."""

    run: KvmRun
    td: Td
    value: int
    item: int = 0


#: The meaning of a field.
Meaning = Callable[[At], str]


def _fixed(text: str) -> Meaning:
    return lambda _: text


def _text(render: Callable[[int], str]) -> Meaning:
    """For fields whose meaning depends on nothing but their value."""
    return lambda at: render(at.value)


def _gpa(at: At) -> str:
    shared = ", has the shared bit" if at.value & at.td.shared_mask else ""
    return "GPA" + shared


def _hypercall_arg(at: At) -> str:
    if at.run.get("nr") != kvm.HC_MAP_GPA_RANGE:
        return f"a{at.item}"
    if at.item == 0:
        return _gpa(at)
    if at.item == 1:
        return f"pages: {size_text(at.value * kvm.PAGE_SIZE)}"
    return map_gpa_range_attributes(at.value) if at.item == 2 else ""


def errno_of_ret(value: int) -> str:
    """hypercall.ret: 0 or a positive errno is what KVM expects (facts: kernel_exits 4.2)."""
    if value == 0:
        return "success"
    signed = value - (1 << 64) if value >> 63 else value
    if -4096 < signed < 4096:
        name = errno_text(abs(signed))
        return f"-{name}" if signed < 0 else name
    return ""


def _long_mode(value: int) -> str:
    return "long mode" if value & kvm.HYPERCALL_LONG_MODE else ""


def _direction(value: int) -> str:
    return {kvm.EXIT_IO_IN: "KVM_EXIT_IO_IN", kvm.EXIT_IO_OUT: "KVM_EXIT_IO_OUT"}.get(value, "")


def _system_event(value: int) -> str:
    return kvm.SYSTEM_EVENT_NAMES.get(value, "")


def _fatal_code(value: int) -> str:
    page = ", R13 is valid" if value & FATAL_GPA_VALID else ""
    return f"error code {hexa(value & 0xFFFF_FFFF)}{page}"


def _system_event_data(at: At) -> str:
    if at.run.get("type") != kvm.SYSTEM_EVENT_TDX_FATAL:
        return ""
    names = fatal_registers(at.run.get("ndata") or 0)
    name = names[at.item]
    title = name.upper()
    if name == "r12":
        return f"{title}: {_fatal_code(at.value)}"
    if name == "r13":
        return f"{title}: GPA of the text page"
    if name in FATAL_TEXT_REGISTERS:
        return (
            f"{title}: text '{at.value.to_bytes(8, 'little').rstrip(bytes(1)).decode('latin-1')}'"
        )
    if name == "rax":
        return f"{title}: {tdx_status(at.value).text}"
    return f"{title}: selects {selected_names(at.value)}" if name == "rcx" else title


def _internal_data(at: At) -> str:
    if at.run.get("suberror") != kvm.INTERNAL_ERROR_UNEXPECTED_EXIT_REASON or at.item > 1:
        return ""
    return tdx_status(at.value).text if at.item == 0 else "last CPU"


def _fault_flags(value: int) -> str:
    return "private" if value & kvm.MEMORY_EXIT_FLAG_PRIVATE else "shared"


_MSR_REASONS: Final = {
    kvm.MSR_EXIT_REASON_INVAL: "KVM_MSR_EXIT_REASON_INVAL",
    kvm.MSR_EXIT_REASON_UNKNOWN: "KVM_MSR_EXIT_REASON_UNKNOWN",
    kvm.MSR_EXIT_REASON_FILTER: "KVM_MSR_EXIT_REASON_FILTER",
}


def _exception(at: At) -> str:
    return vector_name(at.value)


def _error_code(at: At) -> str:
    # Only v19's shared fetch has one: #PF with the EPT qualification (facts: kernel_exits 4.9).
    if at.run.get("exception") != vmx.PF_VECTOR or not at.value:
        return ""
    return f"EPT qualification: {access_text(at.value)}"


def _raw_type(value: int) -> str:
    return "KVM_EXIT_TDX_VMCALL" if value == kvm.TDX_VMCALL else ""


def _raw_leaf(at: At) -> str:
    return leaf_name(at.value) if at.run.get("in_r10") == 0 else "a0"


def _raw_r10(value: int) -> str:
    return "standard GHCI call" if value == 0 else hypercall_name(value)


MEANINGS: Final[dict[tuple[str, str], Meaning]] = {
    ("ex", "exception"): _exception,
    ("ex", "error_code"): _error_code,
    ("io", "direction"): _text(_direction),
    ("io", "size"): _text(size_text),
    ("io", "port"): _text(port_name),
    ("io", "data_offset"): _fixed("of the data, from the start of kvm_run"),
    ("mmio", "phys_addr"): _gpa,
    ("mmio", "len"): _text(size_text),
    ("mmio", "is_write"): _text(lambda value: "write" if value else "read"),
    ("hypercall", "nr"): _text(hypercall_name),
    ("hypercall", "args"): _hypercall_arg,
    ("hypercall", "ret"): _text(errno_of_ret),
    ("hypercall", "flags"): _text(_long_mode),
    ("fail_entry", "hardware_entry_failure_reason"): _text(exit_reason_text),
    ("fail_entry", "cpu"): _fixed("last CPU"),
    ("internal", "suberror"): _text(lambda value: named(value, kvm.INTERNAL_ERROR_NAMES)),
    ("internal", "data"): _internal_data,
    ("system_event", "type"): _text(_system_event),
    ("system_event", "data"): _system_event_data,
    ("msr", "error"): _text(lambda value: "#GP for the guest" if value else "no error"),
    ("msr", "reason"): _text(lambda value: named(value, _MSR_REASONS)),
    ("msr", "index"): _text(msr_name),
    ("notify", "flags"): _text(
        lambda value: "KVM_NOTIFY_CONTEXT_INVALID" if value & kvm.NOTIFY_CONTEXT_INVALID else ""
    ),
    ("memory_fault", "flags"): _text(_fault_flags),
    ("memory_fault", "gpa"): _gpa,
    ("memory_fault", "size"): _text(size_text),
    ("tdx", "nr"): _text(leaf_name),
    ("tdx", "ret"): _text(status_name),
    ("tdx", "gpa"): _gpa,
    ("tdx", "size"): _text(size_text),
    ("tdx", "vector"): _text(vector_name),
    ("tdx", "type"): _text(_raw_type),
    ("tdx", "in_rcx"): _text(selected_names),
    ("tdx", "in_r10"): _text(_raw_r10),
    ("tdx", "in_r11"): _raw_leaf,
    ("tdx", "out_r10"): _text(status_name),
}
