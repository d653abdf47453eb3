"""One record as a JSON object, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, cast

from tdxdbg.abi.kvm import Exit
from tdxdbg.abi.regs import KNOWN_ALL, NO_REGS
from tdxdbg.engine import state
from tdxdbg.engine.kvm_run import KvmRun
from tdxdbg.engine.state import (
    Answer,
    Completer,
    InKernel,
    IoAnswer,
    MmioAnswer,
    Outcome,
    Reentry,
    SetMemoryAttributes,
    Step,
    TdExit,
)
from tdxdbg.traces.json_fields import (
    KNOWN_BITS,
    FieldError,
    Fields,
    checked_number,
    names_of,
    regs_from_json,
    regs_to_json,
    shown,
)
from tdxdbg.traces.json_run import run_from_json, run_to_json
from tdxdbg.traces.layout import NO_TIME
from tdxdbg.traces.pack import ANSWER_TYPES
from tdxdbg.traces.records import (
    COMPLETE,
    KNOWN_COMPLETER,
    KNOWN_EFFECTS,
    KNOWN_ERRNO,
    KNOWN_REGS,
    KNOWN_RUN_FLAGS,
    MAX_VCPU,
    Body,
    Kind,
    Record,
)

Json = dict[str, object]

U16: Final = 0xFFFF
U32: Final = 0xFFFF_FFFF
_MAX_DATA: Final = 1 << 16

_KINDS: Final = {kind.name.lower(): kind for kind in Kind if kind is not Kind.CONTINUATION}
_OUTCOMES: Final = {outcome.name.lower(): int(outcome) for outcome in Outcome}
_COMPLETERS: Final = {completer.name.lower(): int(completer) for completer in Completer}
_EFFECTS: Final = {
    "warned": state.WARNED,
    "vm_bugged": state.VM_BUGGED,
    "halted": state.HALTED,
    "events_checked": state.EVENTS_CHECKED,
}
_EXITS: Final = {f"KVM_EXIT_{member.name}": int(member) for member in Exit}
_EXIT_NAMES: Final = {value: name for name, value in _EXITS.items()}
_STEP_BITS: Final = {
    "regs": KNOWN_REGS,
    "completer": KNOWN_COMPLETER,
    "effects": KNOWN_EFFECTS,
    "run_flags": KNOWN_RUN_FLAGS,
}
_ANSWER_NAMES: Final[tuple[object, ...]] = (
    None,
    "hypercall",
    "io",
    "mmio",
    "msr",
    "tdx",
    "tdx_raw",
)


def record_to_json(record: Record) -> Json:
    """A JSON object with readable names; what has its usual value is left out."""
    kind = record.kind
    result: Json = {"kind": kind.name.lower()}
    if kind is not Kind.CHECKPOINT:
        result["row"] = record.row
    if kind is not Kind.CHECKPOINT or record.vcpu:
        result["vcpu"] = record.vcpu
    if record.time is not None:
        result["time"] = record.time
    result.update(_WRITERS[kind](record))
    if record.known != _usual_known(kind, result):
        result["known"] = names_of(record.known, KNOWN_BITS)
    if record.source:
        result["source"] = record.source
    return result


def record_from_json(items: Mapping[str, object]) -> Record:
    """The record; raises FieldError. A checkpoint's row is 0."""
    fields = Fields(items)
    if "kind" not in fields:
        raise FieldError("", f"kind is missing; it is one of {', '.join(_KINDS)}")
    kind = Kind(fields.name("kind", _KINDS, 0))
    row = 0 if kind is Kind.CHECKPOINT else fields.number("row")
    vcpu = fields.number("vcpu", 0, MAX_VCPU)
    time = fields.optional("time", NO_TIME - 1)
    source = fields.number("source", 0)
    fields.vcpu = vcpu
    fields.known = fields.bits("known", KNOWN_BITS, _usual_known(kind, items))
    body = _READERS[kind](fields)
    fields.done()
    return Record(kind, row, vcpu, time, body, fields.known, source)


def _usual_known(kind: Kind, items: Mapping[str, object]) -> int:
    """What is known when the line does not say: of a step, what it names."""
    if kind is Kind.USERSPACE_EXIT or kind is Kind.TD_ENTRY:
        return sum(bit for name, bit in _STEP_BITS.items() if name in items) | KNOWN_ERRNO
    return COMPLETE[kind]


# --- bodies ------------------------------------------------------------------------------


def _write_td_exit(record: Record) -> Json:
    body = cast(TdExit, record.body)
    result: Json = {"vp_enter_ret": hex(body.vp_enter_ret), "regs": regs_to_json(body.regs)}
    if body.in_kernel is not None:
        handled, value, errno = body.in_kernel
        result["in_kernel"] = {"handled": handled, "value": shown(value), "errno": errno}
    if body.signal_pending:
        result["signal_pending"] = True
    return result


def _read_td_exit(fields: Fields) -> Body:
    if "vp_enter_ret" not in fields:
        raise FieldError("", 'vp_enter_ret is missing; it is "0x4d" for a TDCALL')
    in_kernel = None
    items = fields.object("in_kernel")
    if items is not None:
        inner = Fields(items)
        in_kernel = InKernel(
            inner.flag("handled"), inner.number("value", 0), inner.number("errno", 0, U32)
        )
        inner.done()
    return TdExit(
        fields.vcpu,
        fields.number("vp_enter_ret"),
        regs_from_json(fields),
        fields.known & KNOWN_ALL,
        in_kernel,
        fields.flag("signal_pending"),
    )


def _usual_outcome(kind: Kind, errno: int) -> Outcome:
    if kind is Kind.TD_ENTRY:
        return Outcome.REENTER_TD
    return Outcome.KVM_ERROR if errno else Outcome.EXIT_TO_USERSPACE


def _write_step(record: Record) -> Json:
    step = cast(Step, record.body)
    result: Json = {}
    if step.outcome is not _usual_outcome(record.kind, step.errno):
        result["outcome"] = step.outcome.name.lower()
    if step.errno:
        result["errno"] = step.errno
    if step.run is not None:
        reason = step.run.exit_reason
        result["exit"] = _EXIT_NAMES.get(reason, reason)
        result["run"] = run_to_json(step.run)
    known = record.known
    if step.run_flags or known & KNOWN_RUN_FLAGS:
        result["run_flags"] = step.run_flags
    if step.regs != NO_REGS or known & KNOWN_REGS:
        result["regs"] = regs_to_json(step.regs)
    if step.completer or known & KNOWN_COMPLETER:
        result["completer"] = step.completer.name.lower()
    if step.effects or known & KNOWN_EFFECTS:
        result["effects"] = names_of(step.effects, _EFFECTS)
    return result


def _read_run(fields: Fields) -> KvmRun | None:
    value = fields.raw("exit")
    items = fields.object("run")
    if value is None:
        if items is not None:
            raise FieldError("run", "run needs exit, the KVM_EXIT_... that it belongs to")
        return None
    if isinstance(value, str) and value in _EXITS:
        reason = _EXITS[value]
    elif isinstance(value, str) and not value.startswith("0x"):
        raise FieldError("exit", f"exit {value[:40]!r} is no KVM_EXIT_...; give its number")
    else:
        reason = checked_number("exit", value, U32)
    return run_from_json(reason, items or {})


def _read_step(kind: Kind) -> Callable[[Fields], Body]:
    def read(fields: Fields) -> Body:
        errno = fields.number("errno", 0, U32)
        return Step(
            Outcome(fields.name("outcome", _OUTCOMES, _usual_outcome(kind, errno))),
            regs_from_json(fields),
            _read_run(fields),
            fields.number("run_flags", 0, U16),
            Completer(fields.name("completer", _COMPLETERS, 0)),
            errno,
            fields.bits("effects", _EFFECTS, 0, U32),
        )

    return read


def _write_answer(record: Record) -> Json:
    body = cast(Reentry, record.body)
    result: Json = {}
    answer = body.answer
    if isinstance(answer, IoAnswer | MmioAnswer):
        result["type"] = _ANSWER_NAMES[ANSWER_TYPES.index(type(answer))]
        if answer.data is not None:
            result["data"] = answer.data.hex()
    elif answer is not None:
        result["type"] = _ANSWER_NAMES[ANSWER_TYPES.index(type(answer))]
        for name, value in zip(answer._fields, answer, strict=True):
            if value is not None:
                result[name] = shown(value)
    for name in ("has_events", "immediate_exit", "signal_pending"):
        if getattr(body, name):
            result[name] = True
    return result


def _read_answer(fields: Fields) -> Body:
    name = fields.raw("type")
    if name not in _ANSWER_NAMES:
        names = ", ".join(str(item) for item in _ANSWER_NAMES if item)
        raise FieldError("type", f"type must be one of {names}, or missing for no answer")
    kind = ANSWER_TYPES[_ANSWER_NAMES.index(name)]
    answer: Answer | None = None
    if kind is IoAnswer or kind is MmioAnswer:
        answer = kind(fields.data("data", _MAX_DATA))
    elif kind is not None:
        values = [fields.optional(field) for field in kind._fields]
        answer = tuple.__new__(kind, values)
    return Reentry(
        fields.vcpu,
        answer,
        fields.flag("has_events"),
        fields.flag("immediate_exit"),
        fields.flag("signal_pending"),
    )


def _write_memory_attributes(record: Record) -> Json:
    body = cast(SetMemoryAttributes, record.body)
    return {"gpa": hex(body.gpa), "size": hex(body.size), "private": body.private}


def _read_memory_attributes(fields: Fields) -> Body:
    if "private" not in fields:
        raise FieldError("", "private is missing; it is true or false")
    return SetMemoryAttributes(fields.number("gpa"), fields.number("size"), fields.flag("private"))


def _write_checkpoint(record: Record) -> Json:
    return {"state": record.body}


def _read_checkpoint(fields: Fields) -> Body:
    body = fields.object("state")
    if body is None:
        raise FieldError("", "state is missing; it is a JSON object")
    return body


_WRITERS: Final[dict[Kind, Callable[[Record], Json]]] = {
    Kind.TD_EXIT: _write_td_exit,
    Kind.USERSPACE_EXIT: _write_step,
    Kind.ANSWER: _write_answer,
    Kind.TD_ENTRY: _write_step,
    Kind.MEMORY_ATTRIBUTES: _write_memory_attributes,
    Kind.CHECKPOINT: _write_checkpoint,
}
_READERS: Final[dict[Kind, Callable[[Fields], Body]]] = {
    Kind.TD_EXIT: _read_td_exit,
    Kind.USERSPACE_EXIT: _read_step(Kind.USERSPACE_EXIT),
    Kind.ANSWER: _read_answer,
    Kind.TD_ENTRY: _read_step(Kind.TD_ENTRY),
    Kind.MEMORY_ATTRIBUTES: _read_memory_attributes,
    Kind.CHECKPOINT: _read_checkpoint,
}
