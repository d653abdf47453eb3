"""Exit qualifications and interruption information of asynchronous TD exits.

Source: facts ghci_and_guest 3.6, 6.2, 6.3, kernel_exits 4.9.
"""

from __future__ import annotations

from typing import Final

from tdxdbg.abi import vmx
from tdxdbg.abi.tdx_module import EXT_EXIT_QUAL_TYPE_MASK, EXT_EXIT_QUAL_TYPES, SEPT_STATES
from tdxdbg.decode.node import Node, Operands, bit, node
from tdxdbg.decode.values import (
    exit_reason_name,
    hexa,
    intr_type_name,
    level_size,
    msr_name,
    vector_name,
    with_name,
)

ACCEPT: Final = 1
GPA_DETAILS: Final = 2
MSR_LOAD: Final = 3
ATTR_WR: Final = 5

_EPT_BITS: Final = (
    (0, "read", "data read", "no data read"),
    (1, "write", "data write", "no data write"),
    (2, "fetch", "instruction fetch", "no instruction fetch"),
    (3, "readable", "the GPA was readable", "the GPA was not readable"),
    (4, "writable", "the GPA was writable", "the GPA was not writable"),
    (5, "executable", "the GPA was executable", "the GPA was not executable"),
    (6, "user executable", "for ring-3 addresses", "not for ring-3 addresses"),
    (7, "GLA valid", "yes", "no"),
    (8, "translation", "the access itself", "a page walk, or GLA not valid"),
)


def access_text(qualification: int) -> str:
    """`write`, `read, fetch`: what an EPT violation's access was."""
    kinds = (
        (vmx.EPT_VIOLATION_ACC_READ, "read"),
        (vmx.EPT_VIOLATION_ACC_WRITE, "write"),
        (vmx.EPT_VIOLATION_ACC_INSTR, "fetch"),
    )
    return ", ".join(name for mask, name in kinds if qualification & mask) or "no access"


def ept_qualification(ops: Operands) -> Node:
    """RCX of an EPT violation."""
    value = ops.get("rcx")
    if value is None:
        return ops.row("exit qualification", "rcx")
    rows = [bit(label, value, number, yes, no) for number, label, yes, no in _EPT_BITS]
    if vm := value >> 32 & 3:
        rows.append(node("VM (bits 33:32)", str(vm), "an L2 VM of the TD"))
    permissions = value & vmx.EPT_VIOLATION_PROT_MASK
    tail = "" if permissions else ", no permission at all"
    return ops.row("exit qualification", "rcx", access_text(value) + tail, *rows)


def ext_qualification(ops: Operands) -> Node:
    """RDX, the TDX module's extended exit qualification."""
    value = ops.get("rdx")
    if value is None:
        return ops.row("extended exit qualification", "rdx")
    kind = value & EXT_EXIT_QUAL_TYPE_MASK
    info = value >> 32
    name = EXT_EXIT_QUAL_TYPES.get(kind) or f"type {kind}"
    rows = [node("type (3:0)", str(kind), name)]
    if kind in (ACCEPT, ATTR_WR):
        rows += _sept_rows(info)
    elif kind == GPA_DETAILS:
        rows += [_level("failing level", info >> 3 & 7), _vm(info)]
    elif kind == MSR_LOAD:
        rows.append(node("MSR", hexa(info), with_name(info, msr_name(info))))
    return ops.row("extended exit qualification", "rdx", name, *rows)


def _sept_rows(info: int) -> list[Node]:
    state = info >> 6 & 0xFF
    rows = [
        _level("failing level", info >> 3 & 7),
        node("SEPT state", str(state), SEPT_STATES.get(state) or f"state {state}"),
        node("leaf entry", str(info >> 14 & 1), "yes" if info >> 14 & 1 else "no"),
    ]
    return [_level("requested level", info & 7), *rows, *([_vm(info)] if info >> 20 & 3 else [])]


def _level(name: str, level: int) -> Node:
    return node(name, str(level), level_size(level))


def _vm(info: int) -> Node:
    return node("VM", str(info >> 20 & 3), "L1" if not info >> 20 & 3 else "an L2 VM of the TD")


def intr_info(ops: Operands) -> Node:
    """R9, the interruption information: vector, type, error code."""
    value = ops.get("r9")
    if value is None:
        return ops.row("interruption information", "r9")
    if not value & vmx.INTR_INFO_VALID:
        return ops.row("interruption information", "r9", "not valid (bit 31 is clear)")
    vector = value & vmx.INTR_INFO_VECTOR_MASK
    name = vector_name(vector) if value >> 8 & 7 else f"vector {hexa(vector)}"
    return ops.row(
        "interruption information",
        "r9",
        f"{name}, {intr_type_name(value)}",
        node("vector (7:0)", hexa(vector), name),
        node("type (10:8)", str(value >> 8 & 7), intr_type_name(value)),
        bit("error code", value, 11, "there is one", "none"),
        bit("valid", value, 31, "yes", "no"),
    )


def msmi_text(reason: int, qualification: int | None) -> str:
    """An SMI whose qualification has bit 0 set was a machine check."""
    name = exit_reason_name(reason)
    return f"{name}, MSMI" if qualification is not None and qualification & 1 else name
