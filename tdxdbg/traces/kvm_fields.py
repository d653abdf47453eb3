"""Events as `name=value` pairs: raw fields of KVM's tracepoints, and dynamic events.

Raw fields are what `trace-cmd report -R`, the tracefs option fields and tools
that cannot parse an event print. Dynamic events (kprobes, uprobes) carry
registers of the TD under the registers' own names (facts: kvm_and_traces B1, B3).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from typing import Final

from tdxdbg.abi import kvm
from tdxdbg.abi.regs import REG_NAMES, U64, Regs
from tdxdbg.traces import kvm_text
from tdxdbg.traces.probes import Event, ProbedEntry, ProbedExit

Fields = dict[bytes, int]

#: An event has far fewer fields.
_MAX_FIELDS: Final = 64
_U32: Final = 0xFFFF_FFFF
_S32: Final = 0x7FFF_FFFF

# "name=0x1f (31)", "name=31", and "name=(31)" for a byte.
_PAIR: Final = re.compile(rb"\b(\w{1,32})=(?:\((-?\d{1,20})\)|(-?(?:0x)?[0-9a-fA-F]{1,20})\b)")
#: Fields that the tools print in hex also where no "0x" says so.
_HEX: Final = frozenset(
    b"info1 info2 intr_info error_code gpa val port ecx data nr a0 a1 a2 a3 fault_address".split()
)
_REGISTERS: Final = {name.encode(): number for number, name in enumerate(REG_NAMES)}
_HEX_DIGITS: Final = re.compile(rb"[a-fA-F]")
#: "(tdx_handle_exit+0x0/0x1234 [kvm_intel])", or an address alone.
_PLACE: Final = re.compile(rb"\s{0,32}\(([^()]{1,256})\)")
_ENTRY: Final = re.compile(rb"reply|entry|enter|vcpu_run")
#: Exits that a KVM_RUN which failed comes with.
FAILED_RUNS: Final = (kvm.Exit.INTR, kvm.Exit.MEMORY_FAULT)
_MMIO_KINDS: Final = {0: "unsatisfied-read", 1: "read", 2: "write"}


def fields(text: bytes) -> Fields:
    """The pairs of a text by name; the first of a name counts."""
    result: Fields = {}
    for found in islice(_PAIR.finditer(text), _MAX_FIELDS):
        name, small, value = found.groups()
        if name not in result:
            result[name] = int(small) if small else _number(name, value)
    return result


def _number(name: bytes, value: bytes) -> int:
    if name in _HEX or b"x" in value or _HEX_DIGITS.search(value):
        return int(value, 16)
    return int(value)


def raw(name: bytes, text: bytes) -> Event | None:
    """The event of a tracepoint's raw fields; None when one is missing or impossible."""
    make = _RAW.get(name)
    if make is None:
        return None
    try:
        return make(fields(text))
    except (KeyError, ValueError):
        return None


def dynamic(name: bytes, text: bytes) -> Event | None:
    """The event of a probe that recorded registers of the TD; None for any other text."""
    found = fields(text)
    values = [0] * 16
    known = 0
    for field, value in found.items():
        register = _REGISTERS.get(field)
        if register is not None:
            values[register] = value & U64
            known |= 1 << register
    if not known:
        return None
    place = _PLACE.match(text)
    where = name if place is None else place[1] + b" " + name
    vcpu = found.get(b"vcpu", found.get(b"vcpu_id"))
    if vcpu is not None and vcpu < 0:
        return None
    regs = Regs._make(values)
    if _ENTRY.search(where) and b"exit" not in where:
        return ProbedEntry(vcpu, regs, known)
    ret = found.get(b"ret", found.get(b"vp_enter_ret"))
    return ProbedExit(vcpu, None if ret is None else ret & U64, regs, known)


def _exit(found: Fields) -> Event:
    reason = None
    # Of an AMD machine (isa 2) the numbers mean something else.
    if found.get(b"isa", 1) == 1:
        reason = kvm_text.valid_reason(found[b"exit_reason"] & _U32)
    return kvm_text.Exit(
        found.get(b"vcpu_id"),
        reason,
        found[b"info1"] & U64,
        found[b"info2"] & U64,
        found.get(b"intr_info", 0) & _U32,
    )


def _userspace_exit(found: Fields) -> Event:
    errno = found[b"errno"] & _U32
    # An int, which some print as if it had no sign.
    return returned(found[b"reason"] & _U32, (1 << 32) - errno if errno > _S32 else 0)


def returned(reason: int, errno: int) -> Event:
    """KVM_RUN returned with this KVM_EXIT_* and, when it failed, this positive errno.

    What it left in kvm_run of an earlier exit says nothing, but for the two
    exits that come with an errno.
    """
    stale = errno and reason not in FAILED_RUNS
    return kvm_text.UserspaceExit(0 if stale else reason, errno)


def _pio(found: Fields) -> Event | None:
    size, port = found[b"size"], found[b"port"]
    count = found.get(b"count", 0)
    return kvm_text.pio(bool(found[b"rw"]), port, size, count, found[b"val"] & _U32)


def _mmio(found: Fields) -> Event | None:
    kind = _MMIO_KINDS[found[b"type"]]
    return kvm_text.mmio(kind, found[b"len"], found[b"gpa"] & U64, found[b"val"] & U64)


def _msr(found: Fields) -> Event:
    return kvm_text.Msr(bool(found[b"write"]), found[b"ecx"] & _U32, found[b"data"] & U64)


def _hypercall(found: Fields) -> Event:
    args = tuple(found[b"a%d" % at] & U64 for at in range(4))
    return kvm_text.Hypercall(found[b"nr"] & U64, args)


def _page_fault(found: Fields) -> Event:
    return kvm_text.PageFault(found[b"fault_address"] & U64)


_RAW: Final[dict[bytes, Callable[[Fields], Event | None]]] = {
    b"kvm_exit": _exit,
    b"kvm_entry": lambda found: kvm_text.Entry(found[b"vcpu_id"]),
    b"kvm_userspace_exit": _userspace_exit,
    b"kvm_pio": _pio,
    b"kvm_mmio": _mmio,
    b"kvm_msr": _msr,
    b"kvm_hypercall": _hypercall,
    b"kvm_page_fault": _page_fault,
}
