"""What may stay in a record that is redacted: registers by the call, fields by the exit.

Everything here names what stays; see `redaction` for the two levels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from tdxdbg.abi import regs as r
from tdxdbg.abi.ghci import ARGUMENTS, FATAL_TEXT_REGISTERS, SUB_FUNCTION_NAMES, Status, SubFunction
from tdxdbg.abi.kvm import HC_MAP_GPA_RANGE, HYPERCALL_NAMES
from tdxdbg.abi.regs import EXPOSABLE, REG_NAMES, Regs
from tdxdbg.abi.vmx import BASIC_MASK, TDCALL
from tdxdbg.decode.known import Seen, seen
from tdxdbg.decode.values import exit_reason_of
from tdxdbg.engine import kvm_run
from tdxdbg.engine.kvm_run import KvmRun
from tdxdbg.engine.state import TdExit


def _mask(*names: str) -> int:
    return sum(1 << REG_NAMES.index(name) for name in names)


_CALL: Final = _mask("rcx", "r10", "r11")
DATA_CALLS: Final = frozenset({SubFunction.IO, SubFunction.MMIO})
#: Operands that hold data.
DATA: Final[dict[int, int]] = {
    SubFunction.IO: _mask("r15"),
    SubFunction.MMIO: _mask("r15"),
    SubFunction.REPORT_FATAL_ERROR: _mask(*FATAL_TEXT_REGISTERS),
}
#: Operands of a call by its R11, without data.
_OPERANDS: Final[dict[int, int]] = {
    leaf: _mask(*(name for name, _ in operands)) & ~DATA.get(leaf, 0)
    for leaf, operands in ARGUMENTS.items()
}
#: Results beside R10.
_RESULTS: Final[dict[int, int]] = {
    SubFunction.CPUID: _mask("r11", "r12", "r13", "r14", "r15"),
    SubFunction.GET_TD_VM_CALL_INFO: _mask("r11", "r12", "r13", "r14"),
    SubFunction.IO: 0,
    SubFunction.MMIO: 0,
    SubFunction.REPORT_FATAL_ERROR: 0,
}
_VENDOR: Final = _CALL | _mask("r12", "r13", "r14")
_ASYNCHRONOUS: Final = _mask("rcx", "rdx", "r8", "r9")

#: Operands that are sizes and directions, by R11.
_SIZES: Final[dict[int, int]] = {
    SubFunction.IO: _mask("r12", "r13"),
    SubFunction.MMIO: _mask("r12", "r13"),
    SubFunction.MAP_GPA: _mask("r13"),
    SubFunction.GET_QUOTE: _mask("r13"),
}
_WIDTHS: Final = (1, 2, 4, 8)
#: Bits 3:0 are a page size, bit 4 says encrypted.
_MAX_ATTRIBUTES: Final = 0x1F
_MAX_SIZE: Final = 1 << 52
_MAX_ERRNO: Final = 4096
_STATUSES: Final = frozenset(int(status) for status in Status)


class Call(NamedTuple):
    """What a TD exit asked, as far as it decides what may stay in its row.

    `known`: the call is known; else everything that might be data goes.
    `leaf`: R11 of a standard call with a name; `vendor`: R10 of another one.
    """

    known: bool = False
    tdcall: bool = False
    leaf: int | None = None
    vendor: int | None = None


UNKNOWN: Final = Call()


def call_of(body: TdExit, known: int) -> Call:
    """What this TD exit asks; `known` is its record's."""
    how = seen(known)
    if how is Seen.NOTHING:
        return UNKNOWN
    reason = exit_reason_of(body.vp_enter_ret)
    if reason is not None and reason & BASIC_MASK != TDCALL:
        return Call(known=True)
    both = known >> r.R10 & 1 and known >> r.R11 & 1
    if reason is None or not both:
        return Call(tdcall=reason is not None)
    if body.regs.r10:
        return Call(known=True, tdcall=True, vendor=body.regs.r10)
    named = body.regs.r11 in SUB_FUNCTION_NAMES
    return Call(known=named, tdcall=True, leaf=body.regs.r11 if named else None)


# --- registers ------------------------------------------------------------------------


def asked(call: Call) -> int:
    """Registers of a TD exit that are operands and no data."""
    if call.leaf is not None:
        return _CALL | _OPERANDS.get(call.leaf, 0)
    if call.vendor is not None:
        return _VENDOR
    return _ASYNCHRONOUS if call.known and not call.tdcall else _CALL


def given(call: Call) -> int:
    """Registers of a TD entry that are operands or results, and no data."""
    if call.leaf is not None:
        r11 = 1 << r.R11
        return asked(call) & ~r11 | 1 << r.R10 | _RESULTS.get(call.leaf, r11)
    return asked(call) if call.known else 1 << r.RCX | 1 << r.R10


def reply(r10: int, call: Call) -> int:
    """R10 of a TD entry, where it is the status of a TDVMCALL."""
    answers = call.tdcall or not call.known
    return 1 << r.R10 if answers and is_status(r10) else 0


def kinds(call: Call, regs: Regs) -> int:
    """Registers of a TD exit that say of which kind and how large the call is."""
    if not call.tdcall:
        return 0
    stays = 0 if regs.rcx & ~EXPOSABLE else 1 << r.RCX
    if call.vendor is not None:
        named = call.vendor in HYPERCALL_NAMES
        pages = call.vendor == HC_MAP_GPA_RANGE and regs.r12 <= _MAX_SIZE >> 12
        return stays | named << r.R10 | pages << r.R12
    if call.leaf is None:
        return stays
    stays |= 1 << r.R10 | 1 << r.R11
    if call.leaf in DATA_CALLS:
        sound = regs.r12 in _WIDTHS and regs.r13 <= 1
    else:
        sound = regs.r13 <= _MAX_SIZE
    return stays | (_SIZES.get(call.leaf, 0) if sound else 0)


def is_status(value: int) -> bool:
    """Whether it is a status of the GHCI, or 0 or an errno of a hypercall: no data."""
    return value in _STATUSES or value < _MAX_ERRNO or value > r.U64 - _MAX_ERRNO


# --- fields of struct kvm_run ----------------------------------------------------------------

#: Whether a field stays: its name, its value, its run, registers of the TD exit that stay.
_Rule = Callable[[str, int, KvmRun, int], bool]


def _everything(name: str, value: int, run: KvmRun, asked: int) -> bool:
    return True


def _names(*allowed: str) -> _Rule:
    def rule(name: str, value: int, run: KvmRun, asked: int) -> bool:
        return name in allowed

    return rule


def _tdx_without_data(name: str, value: int, run: KvmRun, asked: int) -> bool:
    """Of v19's raw exit, which is the register file, what may stay of the TD exit."""
    if run.layout is kvm_run.TDX_RAW:
        side, _, register = name.partition("_")
        return name == "type" or (side == "in" and bool(_mask(register) & asked))
    return not name.startswith("data[")


def _hypercall(name: str, value: int, run: KvmRun, asked: int) -> bool:
    if name == "nr":
        return value in HYPERCALL_NAMES
    if name == "ret":
        return is_status(value)
    is_map = run.get("nr") == HC_MAP_GPA_RANGE
    if name == "args[1]":
        return is_map and value <= _MAX_SIZE >> 12
    if name == "args[2]":
        return is_map and value <= _MAX_ATTRIBUTES
    return name == "flags" and value <= 1


def _tdx(name: str, value: int, run: KvmRun, asked: int) -> bool:
    if name == "nr":
        return value in SUB_FUNCTION_NAMES
    if name == "ret":
        return is_status(value)
    if name == "size":
        return value <= _MAX_SIZE
    return name in ("flags", "type") and value <= 1


def _mmio(name: str, value: int, run: KvmRun, asked: int) -> bool:
    return name in ("len", "is_write") and value <= max(_WIDTHS)


TEXT_FREE: Final[dict[str, _Rule]] = {
    "ex": _everything,
    "io": _everything,
    "hypercall": _everything,
    "mmio": _names("phys_addr", "len", "is_write"),
    "fail_entry": _everything,
    "internal": _names("suberror", "ndata"),
    "system_event": _names("type", "ndata"),
    "msr": _everything,
    "notify": _everything,
    "memory_fault": _everything,
    "tdx": _tdx_without_data,
}
KIND_FIELDS: Final[dict[str, _Rule]] = {
    "ex": _names("exception"),
    "io": _names("direction", "size", "count"),
    "hypercall": _hypercall,
    "mmio": _mmio,
    "fail_entry": _names("hardware_entry_failure_reason", "cpu"),
    "internal": _names("suberror", "ndata"),
    "system_event": _names("type", "ndata"),
    "msr": _names("error", "reason"),
    "notify": _names("flags"),
    "memory_fault": _names("flags", "size"),
    "tdx": _tdx,
}
