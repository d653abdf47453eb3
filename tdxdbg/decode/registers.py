"""The register file before and after a step, one row a register."""

from __future__ import annotations

from typing import Final, NamedTuple

from tdxdbg.abi.regs import KNOWN_ALL, R10, REG_NAMES, Regs
from tdxdbg.decode.node import Node
from tdxdbg.decode.rcx import selected_names
from tdxdbg.decode.reply import Call, r10_meaning, reply_meaning
from tdxdbg.decode.td_exit import decode_exit
from tdxdbg.decode.text import Safe, safe
from tdxdbg.decode.values import NOT_RECORDED, hypercall_name, leaf_name
from tdxdbg.engine.state import TdExit

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
    asked = _asked(call)
    rows = []
    for number, name in enumerate(REG_NAMES):
        old = before[number] if before_known >> number & 1 else None
        new = after[number] if after is not None and after_known >> number & 1 else None
        selected = not call.ops.hidden(name)
        changed = selected and old is not None and new is not None and old != new
        meaning = safe(_hidden(name))
        if selected:
            meaning = _meaning(call, asked, name, old, new, r10)
        rows.append(
            RegRow(
                safe(name.upper()),
                _digits(old),
                _digits(new),
                changed,
                selected,
                old is not None,
                meaning,
            )
        )
    return rows


def _digits(value: int | None) -> Safe | None:
    return None if value is None else safe(f"{value:x}")


def _hidden(name: str) -> str:
    return _NEVER.get(name, "hidden by the RCX mask")


def _meaning(
    call: Call, asked: dict[str, Safe], name: str, old: int | None, new: int | None,
    r10: int | None,
) -> Safe:  # fmt: skip
    if call.tdcall is False:
        return asked.get(name, safe(_ASYNC.get(name, "")))
    if new is not None and (old != new or name == "r10"):
        text = r10_meaning(call, new) if name == "r10" else reply_meaning(call, name, new, r10)
        if text:
            return safe(text)
    if old is None:
        return safe(NOT_RECORDED)
    return asked.get(name) or safe(_said(call, name, old))


def _said(call: Call, name: str, value: int) -> str:
    """What the registers that every call has say to KVM."""
    if name == "rcx":
        return f"mask: {selected_names(value & KNOWN_ALL)}"
    if name == "r10":
        return hypercall_name(value) if value else "standard call"
    if name == "r11" and value == call.leaf:
        return leaf_name(value)
    return ""


def _asked(call: Call) -> dict[str, Safe]:
    """What the decode tree says about the operands, by register."""
    if call.tdcall is None:
        return {}
    ops = call.ops
    tree = decode_exit(TdExit(0, ops.reason, ops.regs), ops.known, ops.td)
    found: dict[str, Safe] = {}
    for row in tree.children:
        label, _, rest = row.name.rpartition(" (")
        name = rest.removesuffix(")").lower()
        if label and name in REG_NAMES and name not in ("r10", "r11"):
            found[name] = _of_node(label, row)
    return found


def _of_node(label: str, row: Node) -> Safe:
    # All parts are safe already; once more would double backslashes.
    if len(row.children) == 2 and row.children[0].name.startswith("shared bit"):
        # The bit first: what follows may be cut.
        state = "shared" if row.children[0].raw == "1" else "private"
        return Safe(f"{state} {label} {row.children[1].raw}")
    return Safe(f"{label} {row.meaning}".rstrip())
