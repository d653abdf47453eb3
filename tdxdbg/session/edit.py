"""Editing userspace's answer: the fields of an exit's answer, by name.

The names are those of the answer types (`engine.state`): `ret`; `data`; `error`
and `data`; `ret`, `r11`..`r14`; v19's `r10`, ... `None` leaves a field as KVM
wrote it.
"""

from __future__ import annotations

from typing import Any, Final

from tdxdbg.abi.ghci import Status
from tdxdbg.abi.kvm import Exit
from tdxdbg.engine import (
    Answer,
    HypercallAnswer,
    IoAnswer,
    KvmRun,
    MmioAnswer,
    MsrAnswer,
    TdxAnswer,
    TdxRawAnswer,
)
from tdxdbg.engine.kvm_run import TDX_RAW
from tdxdbg.errors import SessionError
from tdxdbg.vmm import Reply

_TYPES: Final[dict[int, type[Answer]]] = {
    Exit.HYPERCALL: HypercallAnswer,
    Exit.IO: IoAnswer,
    Exit.MMIO: MmioAnswer,
    Exit.X86_RDMSR: MsrAnswer,
    Exit.X86_WRMSR: MsrAnswer,
}
#: Fields narrower than 64 bits, in bits. Source: include/uapi/linux/kvm.h.
_BITS: Final = {"error": 8}
#: Bytes that `data` can have: the PIO page's first, and mmio.data.
_DATA: Final = 8


def answer_type(run: KvmRun) -> type[Answer] | None:
    """What answers this exit; None: nothing but KVM_RUN does."""
    if run.exit_reason == Exit.TDX:
        return TdxRawAnswer if run.layout is TDX_RAW else TdxAnswer
    return _TYPES.get(run.exit_reason)


def fields_of(run: KvmRun, answer: Answer | None) -> dict[str, Any]:
    """Every field that the exit's answer has, and its value; empty when it has none."""
    kind = answer_type(run)
    if kind is None:
        return {}
    return (answer if answer is not None else kind())._asdict()


def edited(run: KvmRun, reply: Reply, proposed: Reply, fields: dict[str, Any]) -> Reply:
    """The reply with other values; without any, what was proposed.

    With an error in the answer to MapGPA nothing is converted. Raises
    SessionError that names the field and what it takes.
    """
    if not fields:
        return proposed
    kind = answer_type(run)
    if kind is None:
        raise SessionError("this exit has no answer to edit: userspace only calls KVM_RUN")
    for name, value in fields.items():
        _check(kind, name, value)
    values = {**fields_of(run, reply.answer), **fields}
    answer = kind(**values)
    # v19's RETRY comes with what was converted before it.
    failed = values.get("ret") or values.get("r10") not in (None, Status.SUCCESS, Status.RETRY)
    convert = () if failed else proposed.convert
    return Reply(answer, convert)


def _check(kind: type[Answer], name: str, value: Any) -> None:
    if name not in kind._fields:
        raise SessionError(
            f"no field {name!r} in the answer to this exit: it has {', '.join(kind._fields)}"
        )
    if value is None:
        return
    # A bit of the exit decides how many bytes count; the rest is ignored, as KVM does.
    if name == "data" and kind in (IoAnswer, MmioAnswer):
        if not isinstance(value, bytes) or not 1 <= len(value) <= _DATA:
            raise SessionError(f"data takes 1 to {_DATA} bytes, the guest's lowest first")
        return
    bits = _BITS.get(name, 64)
    if type(value) is not int or not 0 <= value < 1 << bits:
        raise SessionError(f"{name} takes an unsigned number of {bits} bits")
