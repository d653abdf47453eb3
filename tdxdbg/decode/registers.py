"""The register file before and after a step, one row a register."""

from __future__ import annotations

from typing import Final, NamedTuple

from tdxdbg.abi.ghci import ARGUMENTS
from tdxdbg.abi.regs import KNOWN_ALL, R10, REG_NAMES, Regs
from tdxdbg.decode.rcx import selected_names
from tdxdbg.decode.reply import Call, r10_meaning, reply_meaning
from tdxdbg.decode.text import Safe, safe
from tdxdbg.decode.values import NOT_RECORDED, hypercall_name, leaf_name

#: Registers that never cross by TDG.VP.VMCALL (facts: ghci_and_guest 1.3).
_NEVER: Final = {
    "rax": "set to 0 by the TDX module",
    "rsp": "never crosses",
    "rbp": "never crosses (NO_RBP_MOD)",
}
_ASYNC: Final = {
    "rcx": "exit qualification",
    "rdx": "extended exit qualification",
    "r8": "GPA",
    "r9": "interruption information",
}


class RegRow(NamedTuple):
    """A register: hex digits, or None for a value that nobody recorded.

    `after` is None too when the vCPU did not enter the TD. `selected`: RCX lets
    KVM see it; `known`: the value before was recorded; `changed`: the guest
    gets another value than it gave.
    """

    name: Safe
    before: Safe | None
    after: Safe | None
    changed: bool
    selected: bool
    known: bool
    meaning: Safe


def register_rows(
    call: Call,
    before: Regs,
    after: Regs | None,
    before_known: int = KNOWN_ALL,
    after_known: int = KNOWN_ALL,
) -> list[RegRow]:
    """RAX to R15 in x86 order.

    `before` is what KVM held when the input came, `after` what TDH.VP.ENTER
    loads (None: no TD entry); the masks have bit n set when register n of the
    file was recorded.
    """
    r10 = after.r10 if after is not None and after_known >> R10 & 1 else None
    rows = []
    for number, name in enumerate(REG_NAMES):
        old = before[number] if before_known >> number & 1 else None
        new = after[number] if after is not None and after_known >> number & 1 else None
        selected = not call.ops.hidden(name)
        changed = selected and old is not None and new is not None and old != new
        meaning = _meaning(call, name, old, new, r10) if selected else _hidden(name)
        rows.append(
            RegRow(
                safe(name.upper()),
                _digits(old),
                _digits(new),
                changed,
                selected,
                old is not None,
                safe(meaning),
            )
        )
    return rows


def _digits(value: int | None) -> Safe | None:
    return None if value is None else safe(f"{value:x}")


def _hidden(name: str) -> str:
    return _NEVER.get(name, "hidden by the RCX mask")


def _meaning(call: Call, name: str, old: int | None, new: int | None, r10: int | None) -> str:
    if call.tdcall is False:
        return _ASYNC.get(name, "")
    if new is not None and (old != new or name == "r10"):
        text = r10_meaning(call, new) if name == "r10" else reply_meaning(call, name, new, r10)
        if text:
            return text
    if old is None:
        return NOT_RECORDED
    return _asked(call, name, old)


def _asked(call: Call, name: str, value: int) -> str:
    """What a register says to KVM."""
    if name == "rcx":
        return f"mask: {selected_names(value & KNOWN_ALL)}"
    if name == "r10":
        return hypercall_name(value) if value else "standard call"
    if call.leaf is None:
        return ""
    if name == "r11":
        return leaf_name(value) if value == call.leaf else ""
    return dict(ARGUMENTS.get(call.leaf, ())).get(name, "")
