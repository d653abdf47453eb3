"""struct kvm_run as userspace sees it: one row a field, with its meaning.

Offsets and members: facts kernel_exits 1.5; what the fields mean: section 4.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tdxdbg.abi import kvm
from tdxdbg.decode.meanings import MEANINGS, At
from tdxdbg.decode.text import Safe, safe
from tdxdbg.decode.values import NOT_RECORDED, UNKNOWN, hexa
from tdxdbg.engine import kvm_run
from tdxdbg.engine.kvm_run import Field, KvmRun
from tdxdbg.engine.state import (
    Answer,
    HypercallAnswer,
    IoAnswer,
    MmioAnswer,
    MsrAnswer,
    Td,
    TdxAnswer,
    TdxRawAnswer,
)

STALE: Final = "stale: KVM did not write it at this exit"
NEVER_WRITTEN: Final = "KVM does not write it"

#: Arguments that no generation writes (facts: kernel_exits 4.1, 4.2).
UNWRITTEN_ARGUMENTS: Final = frozenset(
    {"hypercall.args[3]", "hypercall.args[4]", "hypercall.args[5]"}
)

SHOWN_BYTES: Final = 32


class UapiRow(NamedTuple):
    """One field of struct kvm_run.

    `offset` and `size` are in bytes, from its start; `written`: KVM wrote it at this
    exit; `known`: its value is known; `answer`: userspace writes here what KVM's
    completion reads.
    """

    offset: int
    field: Safe
    raw: Safe
    meaning: Safe
    written: bool
    known: bool
    answer: bool
    size: int = 0


def _row(
    offset: int,
    field: str,
    raw: str,
    meaning: str = "",
    *,
    size: int,
    written: bool = True,
    known: bool = True,
    answer: bool = False,
) -> UapiRow:
    return UapiRow(offset, safe(field), safe(raw), safe(meaning), written, known, answer, size)


def decode_run(run: KvmRun, run_flags: int | None = 0, td: Td | None = None) -> list[UapiRow]:
    """exit_reason, flags, then the member of the union that this exit uses.

    `run_flags` is kvm_run.flags, None when it was not recorded.
    """
    rows = [
        _row(
            kvm.RUN_EXIT_REASON_OFFSET,
            "exit_reason",
            str(run.exit_reason),
            kvm.exit_name(run.exit_reason),
            size=4,
        ),
        _flags(run_flags),
    ]
    for field in run.layout.fields:
        rows += _field_rows(run, field, td or Td())
    if run.layout is kvm_run.IO:
        rows.append(_pio_row(run))
    return rows


_RUN_FLAGS: Final = ((1, "KVM_RUN_X86_SMM"), (2, "KVM_RUN_X86_BUS_LOCK"), (4, "GUEST_MODE"))


def _flags(flags: int | None) -> UapiRow:
    if flags is None:
        return _row(kvm.RUN_FLAGS_OFFSET, "flags", UNKNOWN, NOT_RECORDED, size=2, known=False)
    names = " ".join(name for mask, name in _RUN_FLAGS if flags & mask)
    return _row(kvm.RUN_FLAGS_OFFSET, "flags", hexa(flags), names, size=2)


def _field_rows(run: KvmRun, field: Field, td: Td) -> list[UapiRow]:
    if not field.count:
        return [_value_row(run, field, td)]
    if field.size == 1:
        return [_bytes_row(run, field)]
    return [_value_row(run, field, td, at) for at in range(_length(run, field))]


def _length(run: KvmRun, field: Field) -> int:
    """How much of an array an exit uses: `ndata` of it, where there is one."""
    try:
        used = run.get("ndata")
    except KeyError:
        return field.count
    return field.count if used is None else min(used, field.count)


#: Counts and small enumerations, which headers write in decimal.
_DECIMAL: Final = frozenset(
    {
        "hypercall.nr",
        "io.direction",
        "io.size",
        "io.count",
        "mmio.len",
        "mmio.is_write",
        "system_event.type",
        "system_event.ndata",
        "internal.suberror",
        "internal.ndata",
        "msr.error",
        "msr.reason",
        "ex.exception",
    }
)


def _value_row(run: KvmRun, field: Field, td: Td, index: int = 0) -> UapiRow:
    value = run.value(field, index)
    offset = field.offset + index * field.size
    title = f"{run.layout.member}.{field.name}" + (f"[{index}]" if field.count else "")
    written = run.was_written(field, index)
    answer = is_answer(run, field.name)
    if value is None:
        why = NEVER_WRITTEN if title in UNWRITTEN_ARGUMENTS else NOT_RECORDED
        return _row(
            offset,
            title,
            UNKNOWN,
            why,
            size=field.size,
            written=written,
            known=False,
            answer=answer,
        )
    meaning = field_meaning(field.name, At(run, td, value, index)) if written else STALE
    raw = str(value) if title in _DECIMAL else hexa(value)
    return _row(offset, title, raw, meaning, size=field.size, written=written, answer=answer)


def field_meaning(name: str, at: At) -> str:
    """What a value says in this field of this exit; empty where the number says it all."""
    entry = MEANINGS.get((at.run.layout.member, name))
    return entry(at) if entry else ""


def _bytes_row(run: KvmRun, field: Field) -> UapiRow:
    """mmio.data: the bytes in memory order, those beyond `len` left out."""
    length = run.get("len")
    count = field.count if length is None else min(length, field.count)
    values = [run.value(field, at) for at in range(count)]
    raw = " ".join("??" if value is None else f"{value:02x}" for value in values)
    known = all(value is not None for value in values)
    written = all(run.was_written(field, at) for at in range(count))
    answer = is_answer(run, field.name)
    meaning = "" if known else NOT_RECORDED
    if known and not written:
        meaning = STALE
    elif known:
        data = bytes(value for value in values if value is not None)
        meaning = bytes_meaning(data)
    return _row(
        field.offset,
        f"{run.layout.member}.{field.name}",
        raw or UNKNOWN,
        meaning,
        size=count,
        written=written,
        known=known,
        answer=answer,
    )


def _pio_row(run: KvmRun) -> UapiRow:
    offset = run.get("data_offset")
    size, count = run.get("size"), run.get("count")
    length = (size or 0) * (1 if count is None else count)
    data = run.pio[:length] if 0 < length <= len(run.pio) else run.pio
    answer = is_answer(run, "data")
    meaning = "userspace fills this" if answer else bytes_meaning(data)
    where = kvm.PIO_PAGE_OFFSET if offset is None or offset > 1 << 16 else offset
    if not data:
        return _row(
            where, "io data", UNKNOWN, NOT_RECORDED, size=length, known=False, answer=answer
        )
    return _row(where, "io data", hex_bytes(data), meaning, size=len(data), answer=answer)


def hex_bytes(data: bytes) -> str:
    """Bytes in memory order, the first few of a long string."""
    text = data[:SHOWN_BYTES].hex(" ")
    return text if len(data) <= SHOWN_BYTES else f"{text} ...+{len(data) - SHOWN_BYTES}"


def bytes_meaning(data: bytes) -> str:
    """The value of little-endian bytes, and their text when that is printable."""
    if not data or len(data) > 8:
        return ""
    value = hexa(int.from_bytes(data, "little"))
    printable = all(0x20 <= byte < 0x7F for byte in data)
    return f"{value} '{data.decode('ascii')}'" if printable else value


# --- what userspace answers -------------------------------------------------------------

_ANSWERS: Final[dict[int, frozenset[str]]] = {
    kvm.Exit.HYPERCALL: frozenset({"ret"}),
    kvm.Exit.X86_RDMSR: frozenset({"error", "data"}),
    kvm.Exit.X86_WRMSR: frozenset({"error"}),
}
_TDX_ANSWERS: Final = frozenset({"ret", "r11", "r12", "r13", "r14"})


def is_answer(run: KvmRun, field: str) -> bool:
    """Whether KVM's completion of this exit reads this field."""
    if run.exit_reason == kvm.Exit.TDX:
        return field in _TDX_ANSWERS or field.startswith("out_")
    if run.exit_reason == kvm.Exit.IO:
        return field == "data" and run.get("direction") == kvm.EXIT_IO_IN
    if run.exit_reason == kvm.Exit.MMIO:
        return field == "data" and run.get("is_write") == 0
    return field in _ANSWERS.get(run.exit_reason, frozenset())


def decode_answer(
    answer: Answer | None, run: KvmRun | None, *, known: bool = True, td: Td | None = None
) -> list[UapiRow]:
    """What userspace wrote before KVM_RUN: one row for each field that it can answer with.

    `answer` None, or a field of it None, leaves the field as KVM wrote it.
    With `known` false nobody saw what userspace wrote.
    """
    if run is None:
        return []
    return [
        _answered(row, answer, run, td or Td())
        if known
        else row._replace(raw=safe(UNKNOWN), meaning=safe(NOT_RECORDED), known=False)
        for row in decode_run(run, td=td)
        if row.answer
    ]


def _written_value(answer: Answer | None, name: str) -> int | bytes | None:
    if isinstance(answer, (IoAnswer, MmioAnswer)):
        return answer.data
    if isinstance(answer, (HypercallAnswer, MsrAnswer, TdxAnswer, TdxRawAnswer)):
        value: int | None = getattr(answer, name.removeprefix("out_"), None)
        return value
    return None


def _answered(row: UapiRow, answer: Answer | None, run: KvmRun, td: Td) -> UapiRow:
    name = row.field.rpartition(".")[2]
    value = _written_value(answer, name)
    if value is None:
        left = "left as KVM wrote it" if row.written else "left as it was"
        # Both parts are safe already; once more would double backslashes.
        meaning = Safe(f"{left}: {row.meaning}") if row.meaning and row.known else Safe(left)
        return row._replace(meaning=meaning)
    if isinstance(value, bytes):
        raw, says = hex_bytes(value), bytes_meaning(value)
    else:
        raw, says = hexa(value), field_meaning(name, At(run, td, value))
    return row._replace(raw=safe(raw), meaning=safe(says), written=False, known=True)
