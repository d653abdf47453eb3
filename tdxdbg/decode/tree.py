"""Everything that decodes, by one name: the rooms above import from here.

* `decode_exit`: a TD exit; `call_of`: which call it is, which the others take.
* `decode_run`, `decode_answer`: struct kvm_run and what userspace wrote into it.
* `decode_step`: what one input did, and why. `register_rows`: before and after.
* `decode_status`, `decode_registers`: numbers that somebody typed.
"""

from __future__ import annotations

from collections.abc import Mapping

from tdxdbg.abi import vmx
from tdxdbg.abi.regs import NO_REGS, REG_NAMES, Regs
from tdxdbg.decode.node import Node
from tdxdbg.decode.registers import RegRow, register_rows
from tdxdbg.decode.reply import Call, call_of
from tdxdbg.decode.status import decode_status
from tdxdbg.decode.step import STEP_KNOWN, decode_step, exit_filter, note_nodes
from tdxdbg.decode.td_exit import decode_exit
from tdxdbg.decode.uapi import UapiRow, decode_answer, decode_run
from tdxdbg.engine.state import Td, TdExit

__all__ = [
    "STEP_KNOWN",
    "Call",
    "Node",
    "RegRow",
    "UapiRow",
    "call_of",
    "decode_answer",
    "decode_exit",
    "decode_registers",
    "decode_run",
    "decode_status",
    "decode_step",
    "exit_filter",
    "note_nodes",
    "register_rows",
]


def decode_registers(
    values: Mapping[str, int], vp_enter_ret: int = vmx.TDCALL, td: Td | None = None
) -> Node:
    """A register set that somebody typed: names (`r10`) to 64-bit values.

    Registers that are left out are unknown, with two exceptions, because they
    are what people mean: without `r10` the call is a standard one when `r11` is
    there. Raises KeyError for a name that is no register.
    """
    known = 0
    regs = list(NO_REGS)
    given = dict(values)
    if "r11" in given:
        given.setdefault("r10", 0)
    for name, value in given.items():
        if name not in REG_NAMES:
            raise KeyError(name)
        number = REG_NAMES.index(name)
        regs[number] = value
        known |= 1 << number
    return decode_exit(TdExit(0, vp_enter_ret, Regs(*regs), known), known, td)
