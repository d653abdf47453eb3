"""The columns of CSV and Parquet: one table, a row an exit, names that stay.

A column has the name of the display filter's field where there is one. None is
what the recording does not say: an empty cell in CSV, a null in Parquet.
`tdxdbg export --columns` shows the table.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

from tdxdbg.abi.kvm import exit_name
from tdxdbg.decode.summary import RowSummary
from tdxdbg.decode.text import safe
from tdxdbg.decode.values import exit_reason_name, leaf_short, reply_name
from tdxdbg.engine.recorded import DERIVED_SHIFT
from tdxdbg.filters.fields import FIELDS
from tdxdbg.traces.records import Kind, Record

Value = int | str | tuple[str, ...] | None


class Type(Enum):
    """What a column holds, by the name that its documentation uses."""

    U8 = "unsigned, 8 bits"
    U16 = "unsigned, 16 bits"
    U32 = "unsigned, 32 bits"
    U64 = "unsigned, 64 bits"
    #: The same, in hex where it is text.
    HEX = "unsigned, 64 bits, hex in CSV"
    BOOLEAN = "true or false"
    #: One of few texts.
    NAME = "name"
    #: Several of them, in order.
    NAMES = "names; in CSV with a blank between"
    TEXT = "text, escaped: printable ASCII"


class Exit(NamedTuple):
    """What a row of the table is made from; `records` are those of the exit, in order.

    `computed`: by another kernel's engine. `assumed` and `diverged` are said of
    such exits only (see `timeline.whatif`).
    """

    summary: RowSummary
    records: list[Record]
    computed: bool = False
    assumed: bool | None = None
    diverged: bool | None = None


class Column(NamedTuple):
    """A column: what it says, and how it is read from an exit."""

    name: str
    type: Type
    doc: str
    get: Callable[[Exit], Value]


def _field(name: str, type_: Type) -> Column:
    """A field of the display filter."""
    return Column(name, type_, FIELDS[name].doc, lambda exit_: getattr(exit_.summary, name))


def _more(name: str, type_: Type, doc: str) -> Column:
    """An attribute of the summary that is no field."""
    return Column(name, type_, doc, lambda exit_: getattr(exit_.summary, name))


def _duration(exit_: Exit) -> int | None:
    first, last = exit_.summary.time, exit_.records[-1] if exit_.records else None
    if first is None or last is None or last.kind is not Kind.TD_ENTRY or last.time is None:
        return None
    return last.time - first if last.time >= first else None


def _reason_name(exit_: Exit) -> str | None:
    reason = exit_.summary.reason
    return None if reason is None else exit_reason_name(reason)


def _leaf_name(exit_: Exit) -> str | None:
    leaf = exit_.summary.leaf
    return None if leaf is None else leaf_short(leaf)


def _status_name(exit_: Exit) -> str | None:
    """Without the minus of an errno, which a spreadsheet would take for a formula."""
    status = exit_.summary.status
    if status is None:
        return None
    name = reply_name(status, vendor=bool(exit_.summary.vendor))
    errno = name.removeprefix("-")
    return f"errno {errno}" if name.startswith("-") and errno.isdecimal() else errno


def _exits(exit_: Exit) -> tuple[str, ...] | None:
    exits = exit_.summary.exit
    return None if exits is None else tuple(exit_name(reason).replace(" ", "_") for reason in exits)


def _message(exit_: Exit) -> str | None:
    message = exit_.summary.message
    return None if message is None else safe(message)


def _known(exit_: Exit) -> int:
    """Of the TD exit; without one nothing is."""
    first = exit_.records[0] if exit_.records else None
    return first.known if first is not None and first.kind is Kind.TD_EXIT else 0


def _source(exit_: Exit) -> int | None:
    return (exit_.records[0].source or None) if exit_.records else None


#: In the order of the columns. New ones go to the end.
COLUMNS: Final = (
    _field("index", Type.U64),
    _field("vcpu", Type.U16),
    Column("time", Type.U64, f"{FIELDS['time'].doc}, in ns", lambda exit_: exit_.summary.time),
    Column("duration", Type.U64, "until the TD was entered again, in ns", _duration),
    _field("reason", Type.U16),
    Column("reason_name", Type.NAME, "the name of that reason", _reason_name),
    _field("leaf", Type.HEX),
    Column("leaf_name", Type.NAME, "the name of that sub-function", _leaf_name),
    _more("vendor", Type.BOOLEAN, "R10 was not 0: a vendor-specific call, a KVM hypercall"),
    *(
        _field(name, Type.HEX)
        for name in (
            *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"),
            *("rax", "rbx", "rcx", "rdx", "rsi", "rdi"),
        )
    ),
    _field("gpa", Type.HEX),
    _field("size", Type.HEX),
    _field("direction", Type.U8),
    _field("port", Type.HEX),
    _more("value", Type.HEX, "what a write to a port or to MMIO writes"),
    _field("private", Type.BOOLEAN),
    _field("shared", Type.BOOLEAN),
    Column("exit", Type.NAMES, FIELDS["exit"].doc, _exits),
    _more("hypercall", Type.HEX, "number of a hypercall that went to userspace"),
    _field("outcome", Type.NAME),
    _field("kernel", Type.BOOLEAN),
    _field("status", Type.HEX),
    Column(
        "status_name", Type.NAME, "the name of that status; of a hypercall its errno", _status_name
    ),
    _more("reply", Type.HEX, "what the guest gets in R11"),
    _field("retry", Type.BOOLEAN),
    _field("error", Type.BOOLEAN),
    _more("errno", Type.U32, "why KVM_RUN failed, a positive number"),
    Column("message", Type.TEXT, "text of a ReportFatalError", _message),
    Column(
        "known",
        Type.HEX,
        "what was recorded of the TD exit: bit n is register n (RAX is 0, R15 is 15), 16 all of"
        " what TDH.VP.ENTER returned, 23 only the exit reason in it",
        lambda exit_: _known(exit_) & 0xFFFF_FFFF,
    ),
    Column(
        "derived",
        Type.HEX,
        "registers that were not recorded, but follow from what was: bit n is register n",
        lambda exit_: _known(exit_) >> DERIVED_SHIFT,
    ),
    Column("source", Type.U64, "line or offset in the file that it was imported from", _source),
    Column(
        "computed",
        Type.BOOLEAN,
        "what KVM does is the engine's answer for another kernel (--kernel), not recorded",
        lambda exit_: exit_.computed,
    ),
    Column(
        "assumed",
        Type.BOOLEAN,
        "computed, with an answer of userspace that nobody recorded",
        lambda exit_: exit_.assumed,
    ),
    Column(
        "diverged",
        Type.BOOLEAN,
        "computed, behind a reply that the recorded guest did not get",
        lambda exit_: exit_.diverged,
    ),
)
