"""The union in struct kvm_run: 256 raw bytes, and views of them.

Members of the union alias: offset 88 is `hypercall.ret`, `tdx.r14` and v19's
`in_r15`, and kernels differ in what they leave stale. So a vCPU keeps the raw
bytes, and beside them two masks with one bit a byte: what KVM wrote at this
exit, and what has a known value at all (written by KVM or by userspace at any
time). Layout: facts kernel_exits 1.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from tdxdbg.abi.ghci import SubFunction
from tdxdbg.abi.kvm import PIO_PAGE_OFFSET, RUN_UNION_OFFSET, RUN_UNION_SIZE, Exit

EMPTY_UNION: Final = bytes(RUN_UNION_SIZE)
ALL_BYTES: Final = (1 << RUN_UNION_SIZE) - 1


@dataclass(frozen=True, slots=True)
class Field:
    """One member: byte offset in struct kvm_run, size in bytes, array length (0: no array)."""

    name: str
    offset: int
    size: int
    count: int = 0

    @property
    def mask(self) -> int:
        """The bytes of the union that this field covers, one bit a byte."""
        length = self.size * (self.count or 1)
        return ((1 << length) - 1) << (self.offset - RUN_UNION_OFFSET)


class Layout(NamedTuple):
    """The member of the union that one exit reason uses."""

    member: str
    fields: tuple[Field, ...]


def _layout(member: str, *fields: tuple[str, int, int] | tuple[str, int, int, int]) -> Layout:
    return Layout(member, tuple(Field(*field) for field in fields))


EMPTY: Final = _layout("")
EX: Final = _layout("ex", ("exception", 32, 4), ("error_code", 36, 4))
IO: Final = _layout(
    "io",
    ("direction", 32, 1),
    ("size", 33, 1),
    ("port", 34, 2),
    ("count", 36, 4),
    ("data_offset", 40, 8),
)
HYPERCALL: Final = _layout(
    "hypercall", ("nr", 32, 8), ("args", 40, 8, 6), ("ret", 88, 8), ("flags", 96, 8)
)
MMIO: Final = _layout(
    "mmio", ("phys_addr", 32, 8), ("data", 40, 1, 8), ("len", 48, 4), ("is_write", 52, 1)
)
FAIL_ENTRY: Final = _layout("fail_entry", ("hardware_entry_failure_reason", 32, 8), ("cpu", 40, 4))
INTERNAL: Final = _layout("internal", ("suberror", 32, 4), ("ndata", 36, 4), ("data", 40, 8, 16))
SYSTEM_EVENT: Final = _layout(
    "system_event", ("type", 32, 4), ("ndata", 36, 4), ("data", 40, 8, 16)
)
MSR: Final = _layout("msr", ("error", 32, 1), ("reason", 40, 4), ("index", 44, 4), ("data", 48, 8))
NOTIFY: Final = _layout("notify", ("flags", 32, 4))
MEMORY_FAULT: Final = _layout("memory_fault", ("flags", 32, 8), ("gpa", 40, 8), ("size", 48, 8))
TDX_UNKNOWN: Final = _layout(
    "tdx", ("flags", 32, 8), ("nr", 40, 8), ("ret", 48, 8), ("data", 56, 8, 5)
)
TDX_GET_QUOTE: Final = _layout(
    "tdx", ("flags", 32, 8), ("nr", 40, 8), ("ret", 48, 8), ("gpa", 56, 8), ("size", 64, 8)
)
TDX_GET_TDVMCALL_INFO: Final = _layout(
    "tdx",
    ("flags", 32, 8),
    ("nr", 40, 8),
    ("ret", 48, 8),
    ("leaf", 56, 8),
    ("r11", 64, 8),
    ("r12", 72, 8),
    ("r13", 80, 8),
    ("r14", 88, 8),
)
TDX_SETUP_EVENT_NOTIFY: Final = _layout(
    "tdx", ("flags", 32, 8), ("nr", 40, 8), ("ret", 48, 8), ("vector", 56, 8)
)
#: The registers of v19's raw exit, in the order of its struct.
RAW_REGISTERS: Final = (
    "r10",
    "r11",
    "r12",
    "r13",
    "r14",
    "r15",
    "rbx",
    "rdi",
    "rsi",
    "r8",
    "r9",
    "rdx",
)
TDX_RAW: Final = Layout(
    "tdx",
    (
        Field("type", 32, 4),
        Field("in_rcx", 40, 8),
        *(Field(f"in_{name}", 48 + 8 * at, 8) for at, name in enumerate(RAW_REGISTERS)),
        *(Field(f"out_{name}", 144 + 8 * at, 8) for at, name in enumerate(RAW_REGISTERS)),
    ),
)

_BY_REASON: Final[dict[int, Layout]] = {
    Exit.EXCEPTION: EX,
    Exit.IO: IO,
    Exit.HYPERCALL: HYPERCALL,
    Exit.MMIO: MMIO,
    Exit.FAIL_ENTRY: FAIL_ENTRY,
    Exit.INTERNAL_ERROR: INTERNAL,
    Exit.SYSTEM_EVENT: SYSTEM_EVENT,
    Exit.X86_RDMSR: MSR,
    Exit.X86_WRMSR: MSR,
    Exit.NOTIFY: NOTIFY,
    Exit.MEMORY_FAULT: MEMORY_FAULT,
}
_BY_TDX_NR: Final[dict[int, Layout]] = {
    SubFunction.GET_QUOTE: TDX_GET_QUOTE,
    SubFunction.GET_TD_VM_CALL_INFO: TDX_GET_TDVMCALL_INFO,
    SubFunction.SETUP_EVENT_NOTIFY_INTERRUPT: TDX_SETUP_EVENT_NOTIFY,
}


def layout_of(exit_reason: int, union: bytes) -> Layout:
    """The member that this exit uses.

    KVM_EXIT_TDX has the same number in v19 and in 6.16 with incompatible
    layouts; they are told apart by the first word, which is the type 1 in v19
    and flags 0 in 6.16 (facts: kernel_exits 1.5).
    """
    if exit_reason != Exit.TDX:
        return _BY_REASON.get(exit_reason, EMPTY)
    if int.from_bytes(union[:8], "little") & 0xFFFF_FFFF == 1:
        return TDX_RAW
    return _BY_TDX_NR.get(int.from_bytes(union[8:16], "little"), TDX_UNKNOWN)


FieldValue = int | list[int | None] | str | None


class KvmRun(NamedTuple):
    """What userspace finds in struct kvm_run after an exit.

    `union` are the 256 bytes at offset 32; `written` the bytes that KVM wrote
    at this exit and `valid` those with a known value, one bit a byte; `pio`
    the first bytes of the data page at offset 0x1000 (KVM_EXIT_IO only).
    """

    exit_reason: int
    layout: Layout
    union: bytes
    written: int = ALL_BYTES
    valid: int = ALL_BYTES
    pio: bytes = b""

    def get(self, name: str, index: int = 0) -> int | None:
        """A member's value, an element of an array by index; None when no value is known.

        Raises KeyError when the exit's member has no such field.
        """
        for field in self.layout.fields:
            if field.name == name:
                return self.value(field, index)
        raise KeyError(name)

    def value(self, field: Field, index: int = 0) -> int | None:
        """One field (or array element), or None when not all its bytes are known."""
        start = field.offset - RUN_UNION_OFFSET + index * field.size
        mask = ((1 << field.size) - 1) << start
        if self.valid & mask != mask:
            return None
        return int.from_bytes(self.union[start : start + field.size], "little")

    def was_written(self, field: Field, index: int = 0) -> bool:
        """Whether KVM wrote this field at this exit; if not, it is stale."""
        start = field.offset - RUN_UNION_OFFSET + index * field.size
        mask = ((1 << field.size) - 1) << start
        return self.written & mask == mask

    def values(self) -> dict[str, FieldValue]:
        """All fields by name, as in the test vectors: arrays as lists, None where unknown.

        `data` of system_event and internal is cut to `ndata`; `data` of an io
        exit is the hex text of the data page.
        """
        result: dict[str, FieldValue] = {}
        for field in self.layout.fields:
            if field.count:
                result[field.name] = [self.value(field, at) for at in range(field.count)]
            else:
                result[field.name] = self.value(field)
        ndata, data = result.get("ndata"), result.get("data")
        if isinstance(ndata, int) and isinstance(data, list):
            result["data"] = data[:ndata]
        if self.layout is IO:
            result["data"] = self.pio.hex()
        return result


def recorded_run(exit_reason: int, union: bytes, valid: int, pio: bytes = b"") -> KvmRun:
    """A run as a recording saw it: nothing is known about what KVM left stale."""
    padded = union.ljust(RUN_UNION_SIZE, b"\0")
    return KvmRun(exit_reason, layout_of(exit_reason, padded), padded, valid, valid, pio)


PIO_DATA_OFFSET: Final = PIO_PAGE_OFFSET
