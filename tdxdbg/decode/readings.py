"""One number in every way that it could be meant: for a value that somebody points at.

A number says more than its place in a register tells: the same one can be a GPA
with the shared bit, a size, a status. Each reading that makes sense is a row,
those of any number first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from tdxdbg.abi import kvm, tdx_module, vmx
from tdxdbg.abi.ghci import SUB_FUNCTION_NAMES, Status
from tdxdbg.abi.kvm import HYPERCALL_NAMES, PAGE_SIZE, errno_name, exit_name
from tdxdbg.abi.regs import EXPOSABLE, U64
from tdxdbg.decode.names import VECTORS
from tdxdbg.decode.node import Node, node
from tdxdbg.decode.rcx import selected_names
from tdxdbg.decode.uapi import SHOWN_BYTES, hex_bytes
from tdxdbg.decode.values import (
    EXIT_REASON_FLAGS,
    exit_reason_text,
    hexa,
    msr_name,
    port_name,
    size_text,
    status_name,
    tdx_status,
    vendor_result,
)
from tdxdbg.engine.state import Td

#: Above this a number of bytes is no size that anybody means.
_LARGEST: Final = 1 << 46
_GPA_BITS: Final = 52
_SMALL: Final = 4096


def number_in(text: str) -> int | None:
    """The unsigned number that a row shows (`0x40`, `12`); None when it shows none."""
    digits = text.removeprefix("0x")
    try:
        value = int(digits, 16 if digits is not text else 10)
    except ValueError:
        return None
    return value if digits.isalnum() and 0 <= value <= U64 else None


def bytes_in(text: str) -> bytes | None:
    """The bytes that a row shows as pairs of hex digits; None when it shows none."""
    pairs = text.split(" ")
    if not all(len(pair) == 2 for pair in pairs):
        return None
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None


def readings(value: int | bytes, td: Td | None = None) -> list[Node]:
    """What a 64-bit number, or bytes of memory, could be."""
    if isinstance(value, bytes):
        return [*_of_bytes(value), *(readings(_little(value), td) if len(value) <= 8 else ())]
    value &= U64
    return [*_plain(value), *_gpa(value, td or Td()), *_size(value), *_codes(value), *_text(value)]


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _of_bytes(data: bytes) -> Iterator[Node]:
    yield node("bytes", hex_bytes(data), "in memory order")
    if len(data) > 8 and any(map(_printable, data)):
        yield node("ASCII", "", f"'{data[:SHOWN_BYTES].rstrip(bytes(1)).decode('latin-1')}'")


def _plain(value: int) -> Iterator[Node]:
    yield node("hex", _grouped(f"{value:x}", 4, "_", "0x"))
    signed = f"{value - (1 << 64)} signed" if value >> 63 else ""
    yield node("decimal", str(value), signed)
    digits = max(8, -(-value.bit_length() // 8) * 8)
    yield node("binary", _grouped(f"{value:0{digits}b}", 8, " "), _bits(value))


def _grouped(digits: str, size: int, between: str, prefix: str = "") -> str:
    """Digits in groups from the right."""
    first = len(digits) % size or size
    groups = [digits[:first], *(digits[at : at + size] for at in range(first, len(digits), size))]
    return prefix + between.join(groups)


def _bits(value: int) -> str:
    """`bits 51, 30`, as long as they are few."""
    numbers = [str(number) for number in range(63, -1, -1) if value >> number & 1]
    if not 0 < len(numbers) <= 8:
        return ""
    return f"bit{'s' * (len(numbers) > 1)} {', '.join(numbers)}"


def _gpa(value: int, td: Td) -> Iterator[Node]:
    if value < PAGE_SIZE or value >> _GPA_BITS:
        return
    shared = bool(value & td.shared_mask)
    bit = f"shared bit {td.gpaw - 1} is {'set' if shared else 'clear'}"
    offset = value & (PAGE_SIZE - 1)
    place = f", {hexa(offset)} into its page" if offset else ""
    state = "shared" if shared else "private"
    yield node("as a GPA", hexa(value & ~td.shared_mask), f"{state}: {bit}{place}")
    turned = value ^ td.shared_mask
    yield node(f"{'without' if shared else 'with'} the shared bit", hexa(turned))


def _size(value: int) -> Iterator[Node]:
    if not 0 < value <= _LARGEST:
        return
    # A number of single bytes is what the decimal says.
    if value % 1024 == 0:
        pages = f"{value // PAGE_SIZE} pages of 4 KiB" if value % PAGE_SIZE == 0 else ""
        yield node("as a size", size_text(value), pages)
    if value * PAGE_SIZE <= _LARGEST:
        yield node("as pages", size_text(value * PAGE_SIZE))


def _codes(value: int) -> Iterator[Node]:
    """What the number names, in the order in which a guest's reader meets them."""
    for title, name in _NAMES:
        text = name(value)
        if text:
            yield node(title, hexa(value), text)


def _status(value: int) -> str:
    return status_name(value) if value in {int(member) for member in Status} else ""


def _module_status(value: int) -> str:
    if value & tdx_module.STATUS_MASK == 0:
        return ""
    status = tdx_status(value)
    return "" if status.name.startswith("TDX status ") else status.text


def _vendor(value: int) -> str:
    return vendor_result(value) if U64 - _SMALL < value < U64 else ""


def _exit_reason(value: int) -> str:
    basic = value & ~sum(flag for flag, _ in EXIT_REASON_FLAGS)
    return exit_reason_text(value) if basic in vmx.EXIT_REASON_NAMES else ""


def _kvm_exit(value: int) -> str:
    return exit_name(value) if value in {int(member) for member in kvm.Exit} else ""


def _mask(value: int) -> str:
    return selected_names(value) if value and not value & ~EXPOSABLE else ""


def _errno(value: int) -> str:
    name = errno_name(value) if 0 < value < _SMALL else ""
    return "" if name == str(value) else name


_NAMES: Final[tuple[tuple[str, Callable[[int], str]], ...]] = (
    ("as R10 of a TDVMCALL", _status),
    ("as a sub-function (R11)", lambda value: SUB_FUNCTION_NAMES.get(value, "")),
    ("as RCX of a TDVMCALL", _mask),
    ("as a TDX module status", _module_status),
    ("as a hypercall's result", _vendor),
    ("as a hypercall", lambda value: HYPERCALL_NAMES.get(value, "")),
    ("as a VMX exit reason", _exit_reason),
    ("as kvm_run.exit_reason", _kvm_exit),
    ("as an MSR", msr_name),
    ("as an I/O port", lambda value: port_name(value) if value <= 0xFFFF else ""),
    ("as a vector", lambda value: VECTORS.get(value, "")),
    ("as an errno", _errno),
)


def _printable(byte: int) -> bool:
    return 0x20 <= byte < 0x7F


def _text(value: int) -> Iterator[Node]:
    data = value.to_bytes(8, "little").rstrip(bytes(1))
    if sum(map(_printable, data)) >= 2:
        yield node("as text", "", f"'{data.decode('latin-1')}'")
