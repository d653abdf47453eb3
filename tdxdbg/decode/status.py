"""A 64-bit status as a tree: of the TDX module, and of the GHCI where it could be one."""

from __future__ import annotations

from tdxdbg.abi.ghci import Status
from tdxdbg.abi.vmx import BASIC_MASK
from tdxdbg.decode.known import Seen
from tdxdbg.decode.node import Node, node
from tdxdbg.decode.values import (
    EXIT_REASON_FLAGS,
    TdxStatus,
    exit_reason_name,
    exit_reason_text,
    hexa,
    status_name,
    tdx_status,
    vendor_result,
)


def decode_status(value: int) -> Node:
    """Any status word: RAX of TDH.VP.ENTER, of another SEAMCALL or a TDCALL, or R10.

    A number can mean something in several places; each reading is a row.
    """
    status = tdx_status(value)
    readings = [node("as a TDX module status", hexa(value), status.text, *status_rows(status))]
    if value in {int(member) for member in Status}:
        readings.append(node("as R10 of a standard TDVMCALL", hexa(value), status_name(value)))
    if (1 << 64) - 4096 < value < (1 << 64) - 1:
        readings.append(node("as R10 of a vendor-specific call", hexa(value), vendor_result(value)))
    return node("status", hexa(value), status.text, *readings)


def vp_enter_ret(value: int, how: Seen = Seen.ALL) -> Node:
    """RAX of TDH.VP.ENTER (facts: ghci_and_guest 6.1)."""
    if how is Seen.NOTHING:
        return node("TDH.VP.ENTER returned", "?", "not recorded")
    if how is Seen.REASON:
        reason = value & 0xFFFF_FFFF
        return node(
            "TDH.VP.ENTER returned",
            f"0x????????{reason:08x}",
            f"{exit_reason_text(reason)}; the status above it was not recorded",
            *_reason_rows(reason),
        )
    status = tdx_status(value)
    return node("TDH.VP.ENTER returned", hexa(value), status.text, *status_rows(status))


def status_rows(status: TdxStatus) -> tuple[Node, ...]:
    """Class, flag bits and details of a status."""
    upper = node("status (63:32)", hexa(status.value >> 32), status.name)
    flags = node(
        "flags (63:60)", hexa(status.value >> 60), ", ".join(status.flags) or "none: a success"
    )
    kind = node("class (47:40)", hexa(status.status_class), status.class_name)
    rows = [upper, flags, kind]
    if status.exit_reason is not None:
        rows += _reason_rows(status.exit_reason)
    elif status.kind:
        rows.append(node(f"{status.kind} (31:0)", hexa(status.detail), status.detail_name))
    return tuple(rows)


def _reason_rows(reason: int) -> list[Node]:
    basic = reason & BASIC_MASK
    name = exit_reason_name(reason)
    rows = [node("exit reason (15:0)", str(basic), name, where=f"reason == {basic}")]
    for number, (mask, label) in enumerate(EXIT_REASON_FLAGS):
        if reason & mask:
            rows.append(node(f"bit {EXIT_REASON_FLAGS[number][0].bit_length() - 1}", "1", label))
    return rows
