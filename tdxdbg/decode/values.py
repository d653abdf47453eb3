"""Numbers as text: the only place that formats registers, addresses, sizes, codes.

Every function takes any number, because a guest can write any number: what
has no name is shown in hex, and nothing raises.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tdxdbg.abi import tdx_module, vmx
from tdxdbg.abi.ghci import SUB_FUNCTION_NAMES, SUB_FUNCTION_SHORT, Status
from tdxdbg.abi.kvm import HYPERCALL_NAMES, errno_name
from tdxdbg.decode.names import (
    INTR_TYPES,
    KVM_ERRORS,
    MSR_FAMILIES,
    MSRS,
    PORTS,
    VECTORS,
)

#: What stands for a value that no recording saw.
UNKNOWN: Final = "?"
NOT_RECORDED: Final = "not recorded"

_SIZE_UNITS: Final = ((50, "PiB"), (40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB"))
_STATUSES: Final[dict[int, str]] = {int(member): member.name for member in Status}


def hexa(value: int) -> str:
    """`0x10001`."""
    return f"{value:#x}"


def address(gpa: int) -> str:
    """A GPA in 16 digits, for columns: `0000000040000000`."""
    return f"{gpa:016x}"


def size_text(size: int) -> str:
    """Bytes in the largest unit that divides them: `5 MiB`, `4 KiB`, `4097 bytes`."""
    for shift, unit in _SIZE_UNITS:
        if size and size & ((1 << shift) - 1) == 0:
            return f"{size >> shift} {unit}"
    return "1 byte" if size == 1 else f"{size} bytes"


def short_size(size: int) -> str:
    """The same for a narrow column: `8M`, `4K`, `4097B`."""
    text = size_text(size)
    number, unit = text.split()
    return number + (unit[0] if unit.endswith("iB") else "B")


def time_text(time: int | None) -> str:
    """Nanoseconds as seconds with six places; `?` when not recorded."""
    if time is None:
        return UNKNOWN
    seconds, rest = divmod(abs(time), 1_000_000_000)
    return f"{'-' if time < 0 else ''}{seconds}.{rest // 1000:06d}"


def named(value: int, names: dict[int, str]) -> str:
    """A name for an open enumeration: a guest can write any number."""
    return names.get(value) or hexa(value)


def status_name(r10: int) -> str:
    """GHCI status in R10 of a standard TDVMCALL: `RETRY`, or hex."""
    return named(r10, _STATUSES)


def vendor_result(r10: int) -> str:
    """R10 after a vendor-specific call: `-KVM_ENOSYS`, `-3`, or the number."""
    signed = r10 - (1 << 64) if r10 >> 63 else r10
    if -4096 < signed < 0:
        name = KVM_ERRORS.get(-signed)
        return f"-{name}" if name else str(signed)
    return str(r10) if r10 < 10 else hexa(r10)


def reply_name(r10: int, *, vendor: bool) -> str:
    """What R10 tells the guest: a GHCI status, or KVM's result of a hypercall."""
    return vendor_result(r10) if vendor else status_name(r10)


def is_error_reply(r10: int, *, vendor: bool) -> bool:
    """Whether this reply says that the call failed; RETRY does not."""
    if vendor:
        return r10 >> 63 == 1
    return r10 not in (Status.SUCCESS, Status.RETRY)


def leaf_name(r11: int) -> str:
    """The GHCI's name of a sub-function: `Instruction.IO`, `MapGPA`, or hex."""
    return named(r11, SUB_FUNCTION_NAMES)


def leaf_short(r11: int) -> str:
    """The same for a column and the filter language: `IO`, `MapGPA`, or hex."""
    return named(r11, SUB_FUNCTION_SHORT)


def hypercall_name(number: int) -> str:
    """`KVM_HC_MAP_GPA_RANGE` for 12, or hex."""
    return named(number, HYPERCALL_NAMES)


def errno_text(number: int) -> str:
    """`EAGAIN (11)`; a number without a name as it is."""
    name = errno_name(number)
    return name if name == str(number) else f"{name} ({number})"


def msr_name(index: int) -> str:
    """`IA32_X2APIC_ICR` for 0x830; empty when the MSR has no name here."""
    if index in MSRS:
        return MSRS[index]
    for first, last, names, number in MSR_FAMILIES:
        if first <= index <= last:
            turn = index - first
            return names[turn % len(names)].format(number + turn // len(names))
    return ""


def port_name(port: int) -> str:
    """`COM1` for 0x3f8; empty when the port has no usual owner."""
    return next((name for first, last, name in PORTS if first <= port <= last), "")


def with_name(value: int, name: str) -> str:
    """`0x3f8 COM1`, or only the number."""
    return f"{hexa(value)} {name}" if name else hexa(value)


def vector_name(vector: int) -> str:
    """`#PF` for 14, or `vector 0x20`."""
    return VECTORS.get(vector) or f"vector {hexa(vector)}"


def intr_type_name(intr_info: int) -> str:
    """Bits 10:8 of the interruption information."""
    kind = intr_info >> 8 & 7
    return INTR_TYPES.get(kind) or f"type {kind}"


# --- VMX exit reasons ----------------------------------------------------------------

#: Flag bits of the 32-bit exit reason (facts: kernel_exits 1.3, ghci_and_guest 6.1).
EXIT_REASON_FLAGS: Final[tuple[tuple[int, str], ...]] = (
    (vmx.BUS_LOCK_DETECTED, "bus lock detected"),
    (1 << 27, "enclave interruption"),
    (1 << 28, "pending MTF"),
    (1 << 29, "parallel"),
    (vmx.FAILED_VMENTRY, "VM entry failed"),
)


def exit_reason_name(reason: int) -> str:
    """The basic reason (bits 15:0): `TDCALL` for 77, or `exit reason 0x..`."""
    basic = reason & vmx.BASIC_MASK
    return vmx.EXIT_REASON_NAMES.get(basic) or f"exit reason {hexa(basic)}"


def exit_reason_flags(reason: int) -> tuple[str, ...]:
    """The names of the flag bits that are set."""
    return tuple(name for bit, name in EXIT_REASON_FLAGS if reason & bit)


def exit_reason_text(reason: int) -> str:
    """`TDCALL (77)`, `INVALID_STATE (33), VM entry failed`."""
    head = f"{exit_reason_name(reason)} ({reason & vmx.BASIC_MASK})"
    return ", ".join((head, *exit_reason_flags(reason)))


# --- TDX module statuses --------------------------------------------------------------

_FLAGS: Final = (
    (tdx_module.ERROR, "ERROR"),
    (tdx_module.NON_RECOVERABLE, "NON_RECOVERABLE"),
    (tdx_module.FATAL, "FATAL"),
    (tdx_module.HOST_RECOVERABILITY_HINT, "HOST_RECOVERABILITY_HINT"),
)

#: Upper halves whose low half is an exit reason: as the module has them
#: (facts: ghci_and_guest 6.1), as KVM has them (kernel_exits 1.4), and those
#: that TDG.VP.ENTER and exits of an L2 VM give (ghci_and_guest 1.2, 6.1).
EXIT_REASON_HALVES: Final = tdx_module.HAS_EXIT_REASON | {
    0x6000_0002_0000_0000,
    0xE000_0007_0000_0000,
    0x6000_000A_0000_0000,
    0x0000_1100_0000_0000,
    0x0000_1101_0000_0000,
    0x0000_1102_0000_0000,
    0x0000_1140_0000_0000,
    0x0000_1141_0000_0000,
    0x0000_1142_0000_0000,
}
#: ... a level of the secure EPT, an MSR (facts: ghci_and_guest 5).
_LEVEL_HALVES: Final = frozenset({0x0000_0B0A_0000_0000, 0xC000_0B0B_0000_0000})
_MSR_HALVES: Final = frozenset({0xC000_0920_0000_0000, 0xC000_0921_0000_0000})
#: ... an operand even when it is 0, which RAX and "none" share.
_OPERAND_HALVES: Final = frozenset(
    {0xC000_0100_0000_0000, 0xC000_0101_0000_0000, tdx_module.OPERAND_BUSY}
)
_SOFTWARE: Final[dict[int, str]] = {
    tdx_module.SW_ERROR: "TDX_SW_ERROR",
    tdx_module.SW_ERROR + 6: "TDX_SEAMCALL_UD",
    tdx_module.SW_ERROR + 13: "TDX_SEAMCALL_GP",
    tdx_module.SW_ERROR + 0xFFFF_0000: "TDX_SEAMCALL_VMFAILINVALID",
    (1 << 64) - 1: "never set by the TDX module",
}


class TdxStatus(NamedTuple):
    """A status of the TDX module, taken apart.

    `kind` says what the low 32 bits (`detail`) are: `exit reason`, `operand`,
    `level`, `MSR`, `software`, `detail` (of a code without a name), or empty when
    they are 0 and mean nothing; `detail_name` is their name.
    """

    value: int
    name: str
    flags: tuple[str, ...]
    status_class: int
    class_name: str
    kind: str
    detail: int
    detail_name: str

    @property
    def exit_reason(self) -> int | None:
        """The 32-bit VMX exit reason, flag bits and all, when there is one."""
        return self.detail if self.kind == "exit reason" else None

    @property
    def is_error(self) -> bool:
        """Bit 63; a status without it is a success even when it is not 0."""
        return bool(self.value & tdx_module.ERROR)

    @property
    def text(self) -> str:
        """One line: `TDX_OPERAND_BUSY, SEPT_TREE`."""
        return f"{self.name}, {self.detail_name}" if self.detail_name else self.name


def exit_reason_of(value: int) -> int | None:
    """The 32-bit VMX exit reason in what TDH.VP.ENTER returned, where there is one."""
    if value & tdx_module.STATUS_MASK in EXIT_REASON_HALVES:
        return value & 0xFFFF_FFFF
    return None


def tdx_status(value: int) -> TdxStatus:
    """Any 64-bit RAX of TDH.VP.ENTER, another SEAMCALL or a TDCALL."""
    upper = value & tdx_module.STATUS_MASK
    status_class = value >> 40 & 0xFF
    name = _SOFTWARE.get(value) or _status_name(upper)
    kind, detail_name = _detail(value, upper)
    return TdxStatus(
        value,
        name or f"TDX status {hexa(upper)}",
        tuple(name for bit, name in _FLAGS if value & bit),
        status_class,
        tdx_module.STATUS_CLASSES.get(status_class) or f"class {hexa(status_class)}",
        kind,
        value & 0xFFFF_FFFF,
        detail_name,
    )


def _status_name(upper: int) -> str:
    # The module adds the hint to a trap-like status, and forces FATAL onto some
    # (facts: ghci_and_guest 5), so a code is also known without those bits.
    hint, fatal = tdx_module.HOST_RECOVERABILITY_HINT, tdx_module.FATAL
    for candidate in (upper, upper & ~hint, upper & ~fatal, upper & ~(hint | fatal)):
        if name := tdx_module.STATUS_NAMES.get(candidate):
            return name
    if upper & tdx_module.SW_ERROR == tdx_module.SW_ERROR:
        return "TDX_SW_ERROR"
    return ""


def _detail(value: int, upper: int) -> tuple[str, str]:
    low = value & 0xFFFF_FFFF
    if value & tdx_module.SW_ERROR == tdx_module.SW_ERROR:
        return "software", "" if value in _SOFTWARE else hexa(low)
    if upper in EXIT_REASON_HALVES:
        return "exit reason", exit_reason_text(low)
    if upper in _LEVEL_HALVES:
        return "level", f"level {low} ({level_size(low)})"
    if upper in _MSR_HALVES:
        return "MSR", f"MSR {with_name(low, msr_name(low))}"
    if upper & ~tdx_module.HOST_RECOVERABILITY_HINT in _OPERAND_HALVES and low == 0:
        return "operand", "RAX or no operand"
    if low == 0:
        return "", ""
    if not _status_name(upper):
        return "detail", hexa(low)
    return "operand", tdx_module.OPERAND_IDS.get(low) or f"operand {hexa(low)}"


def level_size(level: int) -> str:
    """The page size of a secure EPT level: 0 is 4 KiB, 1 is 2 MiB, 2 is 1 GiB."""
    return size_text(1 << (12 + 9 * level)) if 0 <= level <= 4 else "no such level"
