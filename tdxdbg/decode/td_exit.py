"""TDH.VP.ENTER returned: what a TD exit is, for every kind of TD exit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tdxdbg.abi import vmx
from tdxdbg.abi.regs import KNOWN_ALL, REG_NAMES
from tdxdbg.abi.tdx_module import EXT_EXIT_QUAL_PENDING, EXT_EXIT_QUAL_TYPE_MASK
from tdxdbg.decode.known import Seen
from tdxdbg.decode.node import Node, Operands, node, operands
from tdxdbg.decode.qualification import (
    access_text,
    ept_qualification,
    ext_qualification,
    intr_info,
    msmi_text,
)
from tdxdbg.decode.status import vp_enter_ret
from tdxdbg.decode.tdvmcall import decode_tdvmcall, gpa_rows
from tdxdbg.decode.values import (
    exit_reason_name,
    exit_reason_text,
    hexa,
    tdx_status,
    vector_name,
)
from tdxdbg.engine.state import Td, TdExit


def decode_exit(
    td_exit: TdExit, known: int = KNOWN_ALL, td: Td | None = None, how: Seen = Seen.ALL
) -> Node:
    """The decode tree of a TD exit.

    `known` has bit n set when register n was recorded (together with
    `td_exit.known`); `how` says as much for vp_enter_ret. Registers that RCX
    does not select are marked hidden, others without a value "not recorded".
    """
    td = td or Td()
    ret = vp_enter_ret(td_exit.vp_enter_ret, how)
    if how is Seen.NOTHING:
        ops = Operands(td_exit.regs, td_exit.known & known, None, td)
        return node("TD exit", "", "which kind was not recorded", ret, *_recorded(ops))
    ops = operands(td_exit, known, td)
    value = td_exit.vp_enter_ret if how is Seen.ALL else td_exit.vp_enter_ret & 0xFFFF_FFFF
    status = tdx_status(value)
    reason = status.exit_reason
    if reason is None:
        return _refused(ops, ret, value)
    if reason & vmx.BASIC_MASK == vmx.TDCALL:
        call = decode_tdvmcall(ops)
        return call._replace(children=(ret, *call.children))
    handler = _BY_REASON.get(reason & vmx.BASIC_MASK, _other)
    title, meaning, rows = handler(ops)
    if reason & vmx.FAILED_VMENTRY:
        meaning = "VM entry failed: the guest did not run"
    if status.flags:
        meaning = f"{status.name}: {meaning}" if meaning else status.name
    return node(
        title,
        hexa(value),
        meaning,
        ret,
        *rows,
        where=f"reason == {reason & vmx.BASIC_MASK}",
    )


Exit = tuple[str, str, tuple[Node, ...]]


def _recorded(ops: Operands) -> tuple[Node, ...]:
    return tuple(ops.row("", name) for at, name in enumerate(REG_NAMES) if ops.known >> at & 1)


def _refused(ops: Operands, ret: Node, value: int) -> Node:
    status = tdx_status(value)
    meaning = "TDH.VP.ENTER failed: the guest did not run, the registers are stale"
    if not status.is_error:
        meaning = "the TD exited"
    rows: tuple[Node, ...] = ()
    if value >> 32 in (0x80000008, 0x90000009):
        meaning = "a call to a service TD's target failed"
        rows = (
            ops.row("cross-TD status", "rdx", lambda word: tdx_status(word).text),
            ops.row("target TDR", "r8"),
        )
    return node(status.name, hexa(value), meaning, ret, *rows)


def _ept_violation(ops: Operands) -> Exit:
    gpa, qualification, extended = ops.get("r8"), ops.get("rcx"), ops.get("rdx")
    kind = "" if gpa is None else ("shared GPA" if gpa & ops.td.shared_mask else "private GPA")
    access = "" if qualification is None else access_text(qualification)
    meaning = " of a ".join(part for part in (access, kind) if part)
    if extended is not None and extended & EXT_EXIT_QUAL_TYPE_MASK == EXT_EXIT_QUAL_PENDING:
        meaning += ", a page that the guest has not accepted"
    rows = (*gpa_rows(ops, "GPA", "r8"), ept_qualification(ops), ext_qualification(ops))
    return "EPT violation", meaning, rows


def _ept_misconfig(ops: Operands) -> Exit:
    meaning = "the host's EPT entry is wrong: a host bug"
    return "EPT misconfiguration", meaning, gpa_rows(ops, "GPA", "r8")


def _exception(ops: Operands) -> Exit:
    info = ops.get("r9")
    meaning = "NMI or exception"
    if info is not None and info & vmx.INTR_INFO_VALID:
        meaning = vector_name(info & vmx.INTR_INFO_VECTOR_MASK)
    return "exception or NMI", meaning, (intr_info(ops), ops.row("exit qualification", "rcx"))


def _interrupt(ops: Operands) -> Exit:
    return "external interrupt", "for the host", (intr_info(ops),)


def _triple_fault(ops: Operands) -> Exit:
    meaning = "the vCPU cannot run again"
    return "triple fault", meaning, (ops.row("exit qualification", "rcx"),)


def _smi(ops: Operands) -> Exit:
    meaning = msmi_text(ops.reason, ops.get("rcx"))
    return "SMI", meaning, (ops.row("exit qualification", "rcx"), intr_info(ops))


def _notify(ops: Operands) -> Exit:
    def context(value: int) -> str:
        invalid = value & vmx.NOTIFY_VM_CONTEXT_INVALID
        return "VM context invalid" if invalid else "VM context valid"

    meaning = "no interrupt window for too long"
    return "notify VM exit", meaning, (ops.row("exit qualification", "rcx", context),)


def _bus_lock(ops: Operands) -> Exit:
    return "bus lock", "the guest locked the bus", (ops.row("exit qualification", "rcx"),)


def _entry_failure(ops: Operands) -> Exit:
    if ops.reason & vmx.FAILED_VMENTRY:
        rows = (ops.row("exit qualification", "rcx"),)
    else:
        rows = (ext_qualification(ops),)
    meaning = "the TDX module could not load the vCPU's state"
    return exit_reason_name(ops.reason), meaning, rows


def _other(ops: Operands) -> Exit:
    rows = (ops.row("exit qualification", "rcx"), ext_qualification(ops), intr_info(ops))
    return exit_reason_text(ops.reason), "KVM has no handler for this in a TD", rows


_BY_REASON: Final[dict[int, Callable[[Operands], Exit]]] = {
    vmx.EXCEPTION_NMI: _exception,
    vmx.EXTERNAL_INTERRUPT: _interrupt,
    vmx.TRIPLE_FAULT: _triple_fault,
    vmx.OTHER_SMI: _smi,
    33: _entry_failure,
    34: _entry_failure,
    41: _entry_failure,
    42: _smi,
    vmx.EPT_VIOLATION: _ept_violation,
    vmx.EPT_MISCONFIG: _ept_misconfig,
    vmx.BUS_LOCK: _bus_lock,
    vmx.NOTIFY: _notify,
}
