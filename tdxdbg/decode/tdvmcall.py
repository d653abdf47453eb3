"""TDG.VP.VMCALL: one decoder a sub-function, and the vendor-specific calls.

Operands and their checks: facts ghci_and_guest 2, kernel_exits 4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tdxdbg.abi.ghci import FATAL_GPA_VALID, FATAL_TEXT_REGISTERS, SubFunction
from tdxdbg.abi.kvm import PAGE_SIZE
from tdxdbg.abi.regs import U64
from tdxdbg.decode.fatal import fatal_text
from tdxdbg.decode.hypercall import decode_vendor
from tdxdbg.decode.names import MIGTD_FUNCTIONS
from tdxdbg.decode.node import Node, Operands, node
from tdxdbg.decode.rcx import decode_rcx
from tdxdbg.decode.values import (
    hexa,
    leaf_name,
    leaf_short,
    msr_name,
    port_name,
    size_text,
    vector_name,
)
from tdxdbg.engine.state import Td

PAGE_MASK: Final = PAGE_SIZE - 1
CHUNK: Final = 2 << 20
OTHER_REGISTERS: Final = ("r12", "r13", "r14", "r15", "rbx", "rdi", "rsi", "r8", "r9", "rdx")

Rows = tuple[Node, ...]


def decode_tdvmcall(ops: Operands) -> Node:
    """The call of a TD exit with reason TDCALL."""
    r10, r11 = ops.get("r10"), ops.get("r11")
    rcx = decode_rcx(ops)
    if r10 is None:
        unknown = ops.row("call type", "r10")
        return node(
            "TDG.VP.VMCALL",
            "",
            "standard or vendor-specific: R10 not recorded",
            rcx,
            unknown,
            *(ops.row("", name) for name in ("r11", *OTHER_REGISTERS)),
        )
    if r10:
        return decode_vendor(ops, rcx, r10)
    kind = ops.row("call type", "r10", "standard GHCI call")
    if r11 is None:
        return node(
            "TDG.VP.VMCALL",
            "",
            "sub-function: R11 not recorded",
            rcx,
            kind,
            *(ops.row("", name) for name in OTHER_REGISTERS),
        )
    rows = SUB_FUNCTIONS.get(r11, _unknown)(ops)
    known = r11 in SUB_FUNCTIONS
    return node(
        f"TDG.VP.VMCALL<{leaf_name(r11)}>",
        f"R11={hexa(r11)}",
        PURPOSE.get(r11, "") if known else "a sub-function that the GHCI does not define",
        rcx,
        kind,
        *rows,
        where=f"leaf == {leaf_short(r11)}",
    )


# --- standard calls ---------------------------------------------------------------------


def gpa_rows(
    ops: Operands, label: str, name: str, *, wanted: bool = False, about: bool = True
) -> Rows:
    """A GPA operand: the register, and the shared bit in it; `about`: the exit is about it."""
    td, value = ops.td, ops.get(name)
    if value is None or ops.hidden(name):
        return (ops.row(label, name),)
    shared = bool(value & td.shared_mask)
    state = "shared" if shared else "private"
    bare = value & ~td.shared_mask
    where = f"gpa == {hexa(bare)}" if about else None
    row = ops.row(
        label,
        name,
        f"{hexa(bare)}, {state}" + _off_page(value),
        node(
            f"shared bit ({td.gpaw - 1})",
            str(int(shared)),
            f"{state} wanted" if wanted else state,
            where=state if about else None,
        ),
        node("GPA", hexa(bare), "without the shared bit", where=where),
        where=where,
    )
    return (row,)


def _off_page(value: int) -> str:
    return ", not a multiple of 4 KiB" if value & PAGE_MASK else ""


def _map_gpa(ops: Operands) -> Rows:
    rows = (*gpa_rows(ops, "GPA", "r12", wanted=True), ops.row("size", "r13", _map_size))
    gpa, size = ops.get("r12"), ops.get("r13")
    if gpa is None or size is None:
        return rows
    return (*rows, node("end", hexa(gpa + size & U64), _range_end(gpa, size, ops.td)))


def _map_size(size: int) -> str:
    chunks = -(-size // CHUNK)
    plural = "" if chunks == 1 else "s"
    return f"{size_text(size)}, {chunks} chunk{plural} of 2 MiB" + _off_page(size)


def _range_end(gpa: int, size: int, td: Td) -> str:
    if size == 0:
        return "empty range"
    if gpa + size > U64:
        return "the range wraps"
    last = gpa + size - 1
    if (gpa ^ last) & td.shared_mask:
        return "the range crosses the shared bit"
    return f"last byte {hexa(last & ~td.shared_mask)} without the shared bit"


def _width(*sizes: int, bits: int = 64) -> Callable[[int], str]:
    """The meaning of a size operand; KVM looks at its low `bits` bits."""

    def meaning(value: int) -> str:
        size = value & ((1 << bits) - 1)
        if size in sizes:
            return size_text(size)
        return f"not {', '.join(map(str, sizes[:-1]))} or {sizes[-1]}"

    return meaning


def _direction(read: str, write: str) -> Callable[[int], str]:
    def meaning(value: int) -> str:
        return {0: read, 1: write}.get(value, f"neither 0 ({read}) nor 1 ({write})")

    return meaning


def io_value(value: int, size: int | None) -> str:
    """The bytes of a port or MMIO write as text, when they are printable ASCII."""
    if size not in (1, 2, 4, 8):
        return ""
    low = value & ((1 << 8 * size) - 1)
    data = low.to_bytes(size, "little")
    text = f"'{data.decode('ascii')}'" if all(0x20 <= byte < 0x7F for byte in data) else ""
    spare = f"bits above {8 * size - 1} are set and ignored" if value >> 8 * size else ""
    return ", ".join(part for part in (text, spare) if part)


def _data_row(ops: Operands, size_bits: int = 64) -> Node:
    size, direction = ops.get("r12"), ops.get("r13")
    if direction == 0:
        return ops.row("value", "r15", "not used by a read")
    width = None if size is None else size & ((1 << size_bits) - 1)
    return ops.row("value", "r15", lambda value: io_value(value, width))


def _io(ops: Operands) -> Rows:
    def port(value: int) -> str:
        name = port_name(value & 0xFFFF)
        return name if value <= 0xFFFF else f"KVM uses {hexa(value & 0xFFFF)} {name}".rstrip()

    return (
        ops.row("size", "r12", _width(1, 2, 4)),
        ops.row("direction", "r13", _direction("in", "out")),
        ops.row("port", "r14", port, where=f"port == {hexa((ops.get('r14') or 0) & 0xFFFF)}"),
        _data_row(ops),
    )


def _mmio(ops: Operands) -> Rows:
    return (
        ops.row("size", "r12", _width(1, 2, 4, 8, bits=32)),
        ops.row("direction", "r13", _direction("read", "write")),
        *gpa_rows(ops, "GPA", "r14"),
        _data_row(ops, 32),
    )


def _cpuid(ops: Operands) -> Rows:
    def leaf(value: int) -> str:
        return "hypervisor leaf" if value >> 28 == 4 else ""

    return (ops.row("leaf (EAX)", "r12", leaf), ops.row("sub-leaf (ECX)", "r13"))


def _hlt(ops: Operands) -> Rows:
    def blocked(value: int) -> str:
        return "interrupts blocked" if value else "interrupts enabled"

    return (ops.row("interrupts blocked", "r12", blocked),)


def _msr_index(ops: Operands) -> Node:
    return ops.row("MSR", "r12", lambda value: msr_name(value & 0xFFFF_FFFF) or "no name here")


def _rdmsr(ops: Operands) -> Rows:
    return (_msr_index(ops),)


def _wrmsr(ops: Operands) -> Rows:
    return (_msr_index(ops), ops.row("value", "r13"))


def _wbinvd(ops: Operands) -> Rows:
    return (ops.row("instruction", "r12", _direction("WBINVD", "WBNOINVD")),)


def _pconfig(ops: Operands) -> Rows:
    return tuple(ops.row("operand", name) for name in ("r12", "r13", "r14", "r15"))


def _info(ops: Operands) -> Rows:
    def leaf(value: int) -> str:
        return {0: "are the base calls there", 1: "which optional calls are there"}.get(
            value, "not a leaf of the GHCI"
        )

    return (ops.row("leaf", "r12", leaf),)


def _get_quote(ops: Operands) -> Rows:
    return (
        *gpa_rows(ops, "buffer GPA", "r12"),
        ops.row("buffer size", "r13", lambda size: size_text(size) + _off_page(size)),
    )


def _vector(value: int) -> str:
    return vector_name(value) if 32 <= value <= 255 else "not in 32..255"


def _notify(ops: Operands) -> Rows:
    return (ops.row("vector", "r12", _vector),)


def _service(ops: Operands) -> Rows:
    def vector(value: int) -> str:
        return "blocking call" if value == 0 else _vector(value)

    return (
        *gpa_rows(ops, "command GPA", "r12", about=False),
        *gpa_rows(ops, "response GPA", "r13", about=False),
        ops.row("notify vector", "r14", vector),
        ops.row("timeout", "r15", lambda value: "" if value else "infinite"),
    )


def _migtd(ops: Operands) -> Rows:
    r12 = ops.get("r12")
    head = ops.row("function", "r12", _migtd_function)
    if r12 is None or r12 & 0xFFFF not in MIGTD_FUNCTIONS:
        return (head,)
    _, arguments = MIGTD_FUNCTIONS[r12 & 0xFFFF]
    return (head, *(ops.row(label, name) for name, label in arguments))


def _migtd_function(value: int) -> str:
    name = MIGTD_FUNCTIONS.get(value & 0xFFFF, ("unknown function", ()))[0]
    return f"{name}, version {value >> 16 & 0xFF}"


def _unknown(ops: Operands) -> Rows:
    return tuple(ops.row("", name) for name in OTHER_REGISTERS)


def _fatal(ops: Operands) -> Rows:
    text = fatal_text(ops)
    words = tuple(
        ops.row("text", name, lambda value: value.to_bytes(8, "little").decode("latin-1"))
        for name in FATAL_TEXT_REGISTERS
    )
    shown = "not recorded" if text is None else text.decode("latin-1")
    r12 = ops.get("r12")
    code = (
        ()
        if r12 is None
        else (
            node(
                "code (31:0)",
                hexa(r12 & 0xFFFF_FFFF),
                "panic" if r12 & 0xFFFF_FFFF == 0 else "reserved by the GHCI",
            ),
            node("extended code (62:32)", hexa(r12 >> 32 & 0x7FFF_FFFF), ""),
            node(
                "GPA valid (63)",
                str(r12 >> 63),
                "R13 is the GPA of a text page" if r12 >> 63 else "R13 is not used",
            ),
        )
    )
    page = (
        gpa_rows(ops, "text page", "r13")
        if r12 is not None and r12 & FATAL_GPA_VALID
        else (ops.row("text page", "r13", "not used"),)
    )
    return (
        ops.row("error code", "r12", "", *code),
        *page,
        node("text", "" if text is None else f"{len(text)} bytes", shown, *words),
    )


SUB_FUNCTIONS: Final[dict[int, Callable[[Operands], Rows]]] = {
    SubFunction.CPUID: _cpuid,
    SubFunction.HLT: _hlt,
    SubFunction.IO: _io,
    SubFunction.RDMSR: _rdmsr,
    SubFunction.WRMSR: _wrmsr,
    SubFunction.MMIO: _mmio,
    SubFunction.WBINVD: _wbinvd,
    SubFunction.PCONFIG: _pconfig,
    SubFunction.GET_TD_VM_CALL_INFO: _info,
    SubFunction.MAP_GPA: _map_gpa,
    SubFunction.GET_QUOTE: _get_quote,
    SubFunction.REPORT_FATAL_ERROR: _fatal,
    SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT: _notify,
    SubFunction.SERVICE: _service,
    SubFunction.MIGTD: _migtd,
}

PURPOSE: Final[dict[int, str]] = {
    SubFunction.CPUID: "read a CPUID leaf",
    SubFunction.HLT: "halt until an interrupt",
    SubFunction.IO: "port I/O",
    SubFunction.RDMSR: "read an MSR",
    SubFunction.WRMSR: "write an MSR",
    SubFunction.MMIO: "read or write device memory",
    SubFunction.WBINVD: "write back caches",
    SubFunction.PCONFIG: "platform configuration",
    SubFunction.GET_TD_VM_CALL_INFO: "ask which sub-functions exist",
    SubFunction.MAP_GPA: "convert pages between private and shared",
    SubFunction.GET_QUOTE: "have a TDREPORT signed",
    SubFunction.REPORT_FATAL_ERROR: "the guest gives up",
    SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT: "name a vector for notifications",
    SubFunction.SERVICE: "send a command to a service TD",
    SubFunction.MIGTD: "migration service",
}
