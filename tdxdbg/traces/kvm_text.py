"""The text of KVM's tracepoints, as the kernel prints it (facts: kvm_and_traces B1).

`parse` turns the text of one event into numbers; the line around it is the
importers' business.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from tdxdbg.abi.vmx import (
    EXIT_REASON_NAMES,
    FAILED_VMENTRY,
    NO_EXIT_REASON,
    NO_EXIT_REASON_7_3,
)


class Exit(NamedTuple):
    """kvm_exit. `vcpu` and `reason` are None where the text does not tell."""

    vcpu: int | None
    reason: int | None
    info1: int
    info2: int
    intr_info: int


class Entry(NamedTuple):
    """kvm_entry."""

    vcpu: int | None


class UserspaceExit(NamedTuple):
    """kvm_userspace_exit: `reason` is a KVM_EXIT_*; `errno` positive when KVM_RUN failed.

    `reason` is 0 when it failed, but for the errors that come with a valid exit.
    """

    reason: int
    errno: int


class Pio(NamedTuple):
    """kvm_pio. `value` is that of the first of `elements`, each `size` bytes; 0: not told."""

    write: bool
    port: int
    size: int
    elements: int
    value: int


class Mmio(NamedTuple):
    """kvm_mmio. `kind` is write, read or unsatisfied-read; `size` in bytes."""

    kind: str
    size: int
    gpa: int
    value: int


class Msr(NamedTuple):
    """kvm_msr."""

    write: bool
    number: int
    value: int


class Hypercall(NamedTuple):
    """kvm_hypercall: the number and a0 to a3."""

    number: int
    args: tuple[int, ...]


class PageFault(NamedTuple):
    """kvm_page_fault: the faulting GPA."""

    address: int


class Instruction(NamedTuple):
    """kvm_emulate_insn: a new instruction starts."""


Event = Exit | Entry | UserspaceExit | Pio | Mmio | Msr | Hypercall | PageFault | Instruction

_REASONS: Final = {name.encode(): number for number, name in EXIT_REASON_NAMES.items()}
_INSTRUCTION: Final = Instruction()
_U16: Final = 0xFFFF
_U32: Final = 0xFFFF_FFFF

# No number in these texts has more digits than its field can hold.
_EXIT: Final = re.compile(
    rb"\s*(?:vcpu (\d{1,10}) )?reason (.{1,64}?) rip (?:0x)?[0-9a-f]{1,16} "
    rb"info1? (?:0x)?([0-9a-f]{1,16}) (?:info2 )?(?:0x)?([0-9a-f]{1,16})"
    rb"(?: intr_info (?:0x)?([0-9a-f]{1,8}))?(?: |$)"
)
_ENTRY: Final = re.compile(rb"\s*vcpu (\d{1,10})\b")
_USERSPACE_EXIT: Final = re.compile(rb"\s*reason (\S{1,64}) \((\d{1,10})\)")
_PIO: Final = re.compile(
    rb"\s*pio_(read|write) at 0x([0-9a-f]{1,4}) size (\d) count (\d{1,9}) val 0x([0-9a-f]{1,8})\b"
)
_MMIO: Final = re.compile(
    rb"\s*mmio (write|read|unsatisfied-read) len (\d{1,9}) gpa 0x([0-9a-f]{1,16})"
    rb" val 0x([0-9a-f]{1,16})\b"
)
_MSR: Final = re.compile(rb"\s*msr_(read|write) ([0-9a-f]{1,8}) = 0x([0-9a-f]{1,16})\b")
_HYPERCALL: Final = re.compile(
    rb"\s*nr 0x([0-9a-f]{1,16})" + b"".join(rb" a%d 0x([0-9a-f]{1,16})" % at for at in range(4))
)
_PAGE_FAULT: Final = re.compile(
    rb"\s*(?:vcpu \d{1,10} rip (?:0x)?[0-9a-f]{1,16} )?address (?:0x)?([0-9a-f]{1,16})"
    rb" error_code (?:0x)?[0-9a-f]{1,16}\b"
)


def parse(name: bytes, text: bytes) -> Event | None:
    """The event's numbers; None when the text is not as the kernel prints it.

    Raises KeyError for an event that carries nothing for an exit.
    """
    pattern, make = PARSERS[name]
    found = pattern.match(text)
    return None if found is None else make(found)


def _reason(text: bytes) -> int | None:
    """A VMX exit reason by name or number, with the flags behind it."""
    number = _REASONS.get(text)
    if number is not None:
        return number
    first, *flags = text.split(b" ")
    if flags and flags[0].startswith(b"("):
        # Older tools: "UNKNOWN (77)".
        first, flags = flags[0].strip(b"()"), []
    number = _REASONS.get(first)
    try:
        if number is None:
            number = int(first, 0)
        for flag in flags:
            number |= FAILED_VMENTRY if flag == b"FAILED_VMENTRY" else int(flag, 0)
    except ValueError:
        return None
    return valid_reason(number)


def valid_reason(number: int) -> int | None:
    """None for what KVM shows when there was no exit reason, and for what is none."""
    return number if 0 <= number < NO_EXIT_REASON and number != NO_EXIT_REASON_7_3 else None


def name_of(text: bytes) -> bytes:
    """The event that prints such a text, as far as it carries something for an exit."""
    found = (name for name, pattern in _STARTS if pattern.match(text))
    return next(found, b"events without a name")


def _exit(found: re.Match[bytes]) -> Event:
    vcpu, reason, info1, info2, intr_info = found.groups()
    return Exit(
        None if vcpu is None else int(vcpu),
        _reason(reason),
        int(info1, 16),
        int(info2, 16),
        int(intr_info or b"0", 16),
    )


def _userspace_exit(found: re.Match[bytes]) -> Event | None:
    word, number = found[1], int(found[2])
    if number > _U32:
        return None
    if word in (b"restart", b"error"):
        return UserspaceExit(0, number)
    return UserspaceExit(number, 0)


def _pio(found: re.Match[bytes]) -> Event | None:
    write, port, size, count, value = found.groups()
    return pio(write == b"write", int(port, 16), int(size), int(count), int(value, 16))


def pio(write: bool, port: int, size: int, elements: int, value: int) -> Pio | None:
    """None when these cannot be the numbers of a port I/O."""
    if size not in (1, 2, 4) or not 0 <= port <= _U16 or not 0 <= elements <= _U32:
        return None
    return Pio(write, port, size, elements, value)


def _mmio(found: re.Match[bytes]) -> Event | None:
    kind, size, gpa, value = found.groups()
    return mmio(kind.decode(), int(size), int(gpa, 16), int(value, 16))


def mmio(kind: str, size: int, gpa: int, value: int) -> Mmio | None:
    """None when these cannot be the numbers of an MMIO."""
    return Mmio(kind, size, gpa, value) if 1 <= size <= 8 else None


#: How the texts start where no name is given. A kvm_exit may have any reason.
_STARTS: Final = (
    (b"kvm_userspace_exit", re.compile(rb"reason \S{1,64} \(\d{1,10}\)\s*$")),
    (b"kvm_exit", re.compile(rb"(?:vcpu \d{1,10} )?reason .{1,64} rip ")),
    (b"kvm_page_fault", re.compile(rb"(?:vcpu \d{1,10} rip \w{1,18} )?address ")),
    (b"kvm_entry", re.compile(rb"vcpu \d{1,10},? rip ")),
    (b"kvm_pio", re.compile(rb"pio_(?:read|write) at ")),
    (b"kvm_mmio", re.compile(rb"mmio ")),
    (b"kvm_msr", re.compile(rb"msr_(?:read|write) ")),
    (b"kvm_hypercall", re.compile(rb"nr 0x[0-9a-f]{1,16} a0 ")),
)
_Parser = tuple[re.Pattern[bytes], Callable[[re.Match[bytes]], Event | None]]
#: By event: its pattern, and what makes numbers of a match.
PARSERS: Final[dict[bytes, _Parser]] = {
    b"kvm_exit": (_EXIT, _exit),
    b"kvm_entry": (_ENTRY, lambda found: Entry(int(found[1]))),
    b"kvm_userspace_exit": (_USERSPACE_EXIT, _userspace_exit),
    b"kvm_pio": (_PIO, _pio),
    b"kvm_mmio": (_MMIO, _mmio),
    b"kvm_msr": (
        _MSR,
        lambda found: Msr(found[1] == b"write", int(found[2], 16), int(found[3], 16)),
    ),
    b"kvm_hypercall": (
        _HYPERCALL,
        lambda found: Hypercall(
            int(found[1], 16), tuple(int(item, 16) for item in found.groups()[1:])
        ),
    ),
    b"kvm_page_fault": (_PAGE_FAULT, lambda found: PageFault(int(found[1], 16))),
    b"kvm_emulate_insn": (re.compile(rb""), lambda _: _INSTRUCTION),
}
