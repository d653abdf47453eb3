"""What the guest gets back: R10 and the registers with results, by the call that asked."""

from __future__ import annotations

from typing import NamedTuple

from tdxdbg.abi.ghci import SUB_FUNCTION_NAMES, Status, SubFunction
from tdxdbg.abi.regs import KNOWN_ALL, NO_REGS, U64
from tdxdbg.decode.known import Seen
from tdxdbg.decode.node import Operands, is_tdcall, operands
from tdxdbg.decode.values import hexa, leaf_name, reply_name, size_text
from tdxdbg.engine.state import Td, TdExit


class Call(NamedTuple):
    """The TDVMCALL of a row; what was not recorded is None.

    `tdcall`: the TD exit is a TDVMCALL; `vendor`: R10 is not 0; `leaf` is R11
    of a standard call. `ops` are the guest's operands.
    """

    tdcall: bool | None
    vendor: bool | None
    leaf: int | None
    ops: Operands


def call_of(
    td_exit: TdExit | None, known: int = KNOWN_ALL, td: Td | None = None, how: Seen = Seen.ALL
) -> Call:
    """Which call a TD exit is; None for a row whose TD exit was not recorded."""
    td = td or Td()
    if td_exit is None or how is Seen.NOTHING:
        regs = NO_REGS if td_exit is None else td_exit.regs
        return Call(None, None, None, Operands(regs, 0, None, td))
    ops = operands(td_exit, known, td)
    if not is_tdcall(td_exit):
        return Call(False, None, None, ops)
    r10 = ops.get("r10")
    vendor = None if r10 is None else bool(r10)
    return Call(True, vendor, ops.get("r11") if vendor is False else None, ops)


def r10_meaning(call: Call, r10: int) -> str:
    """The name of what R10 says to the guest after a TDVMCALL."""
    if call.vendor:
        return f"result {reply_name(r10, vendor=True)}"
    return reply_name(r10, vendor=False)


_RESULTS: dict[tuple[int, str], str] = {
    (SubFunction.CPUID, "r12"): "EAX",
    (SubFunction.CPUID, "r13"): "EBX",
    (SubFunction.CPUID, "r14"): "ECX",
    (SubFunction.CPUID, "r15"): "EDX",
    (SubFunction.RDMSR, "r11"): "value read",
    (SubFunction.IO, "r11"): "value read",
    (SubFunction.MMIO, "r11"): "value read",
    (SubFunction.GET_TD_VM_CALL_INFO, "r11"): "optional calls",
    (SubFunction.GET_TD_VM_CALL_INFO, "r12"): "optional instruction calls",
    (SubFunction.GET_TD_VM_CALL_INFO, "r13"): "",
    (SubFunction.GET_TD_VM_CALL_INFO, "r14"): "",
}


def reply_meaning(call: Call, name: str, value: int, r10: int | None) -> str:
    """What a register other than R10 says to the guest (facts: kernel_exits 2, 4)."""
    leaf = call.leaf
    if leaf is None:
        return ""
    if leaf == SubFunction.MAP_GPA and name == "r11":
        return _map_gpa_r11(call, value, r10)
    if name == "r11" and value == leaf and not _reads(call):
        return f"unchanged: {leaf_name(leaf)}" if leaf in SUB_FUNCTION_NAMES else "unchanged"
    if r10 == Status.SUCCESS:
        return _RESULTS.get((leaf, name), "")
    return ""


def _reads(call: Call) -> bool:
    """Whether R11 brings a value: RDMSR, and a read of a port or MMIO."""
    if call.leaf in (SubFunction.IO, SubFunction.MMIO):
        return call.ops.get("r13") == 0
    return call.leaf in (SubFunction.RDMSR, SubFunction.GET_TD_VM_CALL_INFO)


def _map_gpa_r11(call: Call, value: int, r10: int | None) -> str:
    if r10 == Status.SUCCESS and value == call.leaf:
        return "unchanged: MapGPA"
    if r10 is None or r10 == Status.SUCCESS:
        return ""
    gpa = hexa(value & ~call.ops.td.shared_mask)
    words = "resume here" if r10 == Status.RETRY else "stopped here"
    done, size = progress(call, value), call.ops.get("r13")
    if done is None or size is None:
        return f"{words}: GPA {gpa}"
    return f"{words}: GPA {gpa}, {size_text(done)} of {size_text(size)} done"


def progress(call: Call, r11: int) -> int | None:
    """Bytes that MapGPA converted before R11; None when R11 is outside the range."""
    gpa, size = call.ops.get("r12"), call.ops.get("r13")
    if gpa is None or size is None:
        return None
    done = (r11 - gpa) & U64
    return done if done <= size else None
