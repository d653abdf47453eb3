"""What one input did: what userspace saw, what the guest got, and why."""

from __future__ import annotations

from typing import Final

from tdxdbg.abi.kvm import HC_MAP_GPA_RANGE, exit_name
from tdxdbg.abi.regs import KNOWN_ALL, REG_NAMES, Regs
from tdxdbg.decode.node import Node, node
from tdxdbg.decode.reply import Call, r10_meaning, reply_meaning
from tdxdbg.decode.uapi import UNWRITTEN_ARGUMENTS, UapiRow, decode_run
from tdxdbg.decode.values import NOT_RECORDED, UNKNOWN, errno_text, hexa
from tdxdbg.engine.kvm_run import KvmRun
from tdxdbg.engine.recorded import KNOWN_COMPLETER, KNOWN_EFFECTS, KNOWN_ERRNO, KNOWN_RUN_FLAGS
from tdxdbg.engine.state import (
    EVENTS_CHECKED,
    HALTED,
    VM_BUGGED,
    WARNED,
    Completer,
    Outcome,
    Step,
)

#: A Step of which everything is known, as one that the engine computed.
STEP_KNOWN: Final = KNOWN_ALL | KNOWN_COMPLETER | KNOWN_EFFECTS | KNOWN_RUN_FLAGS | KNOWN_ERRNO

_EFFECTS: Final = (
    (WARNED, "warning in the kernel log"),
    (VM_BUGGED, "VM bugged: it never runs again"),
    (HALTED, "vCPU halted until an event"),
    (EVENTS_CHECKED, "looked for pending events"),
)


def decode_step(
    step: Step, call: Call, known: int = STEP_KNOWN, before: Regs | None = None
) -> Node:
    """One step as a tree; `call` is what the row's TD exit asked (`call_of`).

    `known` is a record's mask: registers of `step.regs` by number, and what
    else was recorded. `before` are the registers when the input came; with
    them only registers that changed are shown beside R10 and R11.
    """
    details = (*_completer(step, known), *_effects(step, known), *note_nodes(step))
    if step.outcome is Outcome.REENTER_TD:
        return _entry(step, call, known, before, details)
    if step.outcome is Outcome.IOCTL_DONE:
        return node("KVM_SET_MEMORY_ATTRIBUTES", "0", "done", *details)
    rows = run_nodes(step, call, known)
    if step.outcome is Outcome.KVM_ERROR:
        return node("KVM_RUN", *_errno(step, known), *rows, *details)
    if step.run is None:
        return node("userspace exit", UNKNOWN, "which was not recorded", *details)
    reason = step.run.exit_reason
    return node(
        "userspace exit",
        exit_name(reason),
        "KVM_RUN = 0",
        *rows,
        *details,
        where=exit_filter(reason),
    )


def exit_filter(reason: int) -> str:
    """The display filter for exits to userspace with this reason."""
    name = exit_name(reason)
    return f"exit == {name if name.isidentifier() else reason}"


def _errno(step: Step, known: int) -> tuple[str, str]:
    if not known & KNOWN_ERRNO:
        return UNKNOWN, "failed, errno not recorded"
    return f"-{errno_text(step.errno)}", "failed"


def run_nodes(step: Step, call: Call, known: int = STEP_KNOWN) -> tuple[Node, ...]:
    """The fields of struct kvm_run as rows; flags that are 0 are left out."""
    if step.run is None:
        return ()
    flags = step.run_flags if known & KNOWN_RUN_FLAGS else None
    return tuple(
        Node(row.field, row.raw, row.meaning)
        for row in decode_run(step.run, flags, call.ops.td)
        if (row.field != "flags" or row.raw != "0x0") and not _unused(step.run, row)
    )


def _unused(run: KvmRun, row: UapiRow) -> bool:
    """Arguments of KVM_HC_MAP_GPA_RANGE that KVM leaves alone."""
    return row.field in UNWRITTEN_ARGUMENTS and run.get("nr") == HC_MAP_GPA_RANGE


def _entry(
    step: Step, call: Call, known: int, before: Regs | None, details: tuple[Node, ...]
) -> Node:
    r10 = step.regs.r10 if known >> REG_NAMES.index("r10") & 1 else None
    if call.tdcall is False:
        return node("TD entry", "", "resume: no register changes", *details)
    if r10 is None:
        return node("TD entry", "", f"R10 {NOT_RECORDED}", *details)
    rows = [node("R10", hexa(r10), r10_meaning(call, r10), where=f"status == {hexa(r10)}")]
    for number, name in enumerate(REG_NAMES):
        if not known >> number & 1 or name in ("r10", "rcx", "rax"):
            continue
        value = step.regs[number]
        same = before is None or before[number] == value
        meaning = reply_meaning(call, name, value, r10)
        if name != "r11" and same:
            continue
        if call.ops.hidden(name) and not same:
            meaning = f"{meaning or 'changed'}, but RCX does not select it: lost"
        rows.append(node(name.upper(), hexa(value), meaning))
    lost = "RCX does not select R10: the guest does not see it" if call.ops.hidden("r10") else ""
    return node("TD entry", r10_meaning(call, r10), lost, *rows, *details)


def _completer(step: Step, known: int) -> tuple[Node, ...]:
    if step.outcome is not Outcome.EXIT_TO_USERSPACE:
        return ()
    if not known & KNOWN_COMPLETER:
        return (node("complete_userspace_io", UNKNOWN, NOT_RECORDED),)
    if step.completer is Completer.NONE:
        return (node("complete_userspace_io", "NULL", "KVM_RUN will only enter the TD"),)
    return (node("complete_userspace_io", step.completer.name, "pending"),)


def _effects(step: Step, known: int) -> tuple[Node, ...]:
    if not known & KNOWN_EFFECTS:
        return ()
    return tuple(node("effect", "", text) for bit, text in _EFFECTS if step.effects & bit)


def note_nodes(step: Step) -> tuple[Node, ...]:
    """Why: the checks that decided, with the kernel function that each mirrors."""
    return tuple(node("why", note.function, note.text) for note in step.notes)
