"""RCX of TDG.VP.VMCALL: which registers the guest lets KVM see (facts: ghci_and_guest 1.3)."""

from __future__ import annotations

from typing import Final

from tdxdbg.abi.regs import EXPOSABLE, RBP, RCX_ILLEGAL, REG_NAMES
from tdxdbg.decode.node import Node, Operands, node
from tdxdbg.decode.values import hexa

_GUESTS: Final[dict[int, str]] = {
    0xFFCC: "as Linux and EDK2",
    0xFC00: "as older Linux and td-shim",
    0x0D04: "as a Hyper-V hypercall",
}


def selected_names(mask: int) -> str:
    """`RDX RBX R8..R15`: the general-purpose registers of an RCX bitmap."""
    names = [name.upper() for number, name in enumerate(REG_NAMES) if mask >> number & 1]
    if mask & 0xFF00 == 0xFF00:
        return " ".join([*names[:-8], "R8..R15"])
    return " ".join(names) or "none"


def decode_rcx(ops: Operands) -> Node:
    """The bitmap of registers that the guest lets KVM see (facts: ghci_and_guest 1.3)."""
    mask = ops.get("rcx")
    if mask is None:
        return node("RCX bitmap", "?", "not recorded: which registers are hidden is unknown")
    rows = [node("selected", hexa(mask & EXPOSABLE), selected_names(mask & EXPOSABLE))]
    if mask >> 16 & 0xFFFF:
        chosen = [f"XMM{number}" for number in range(16) if mask >> (16 + number) & 1]
        rows.append(node("XMM", hexa(mask >> 16 & 0xFFFF), " ".join(chosen)))
    if mask >> 32 & 3:
        rows.append(node("VM (bits 33:32)", str(mask >> 32 & 3), "an L2 VM of the TD"))
    # Bits 33:32 are the VM number on the host's side, so they are not the guest's doing.
    illegal = mask & RCX_ILLEGAL & ~(3 << 32)
    if illegal:
        rows.append(
            node(
                "illegal bits",
                hexa(illegal),
                f"{_illegal_names(illegal)}: the TDX module"
                " refuses them with TDX_OPERAND_INVALID, RCX, without a TD exit",
            )
        )
    missing = [name.upper() for name in ("r10", "r11") if ops.hidden(name)]
    if missing:
        rows.append(
            node(
                "not selected",
                "",
                f"{' and '.join(missing)}: KVM reads 0, and the guest does not get the reply",
            )
        )
    guest = _GUESTS.get(mask, "")
    names = selected_names(mask & EXPOSABLE)
    return node("RCX bitmap", hexa(mask), f"{names} ({guest})" if guest else names, *rows)


def _illegal_names(bits: int) -> str:
    names = [name.upper() for number, name in enumerate(REG_NAMES) if bits >> number & 1]
    if bits >> RBP & 1:
        names[names.index("RBP")] = "RBP (NO_RBP_MOD)"
    if bits >> 32:
        names.append("bits 63:34")
    return " ".join(names)
