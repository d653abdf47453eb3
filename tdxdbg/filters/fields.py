"""The fields of the display filter: one table.

A new field is one row of `FIELDS` and one attribute of `decode.summary.RowSummary`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from tdxdbg.abi import ghci, kvm, vmx

Value = int | str


class Type(Enum):
    """What a field holds. `INTEGERS` is a set of integers."""

    INTEGER = "integer"
    BOOLEAN = "boolean"
    TEXT = "text"
    INTEGERS = "set of integers"

    @property
    def phrase(self) -> str:
        """With its article, for a sentence."""
        return f"an {self.value}" if self is Type.INTEGER else f"a {self.value}"


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its type, one line about it, and the names of its values.

    `names` are the names that are shown, in the order in which they are
    offered; `aliases` are understood as well. `base` is how its numbers are
    written, 10 or 16; `nanoseconds`: it is a time and takes ns, us, ms and s.
    """

    name: str
    type: Type
    doc: str
    names: Mapping[str, Value] = field(default_factory=dict)
    aliases: Mapping[str, Value] = field(default_factory=dict)
    base: int = 10
    nanoseconds: bool = False
    #: Every name and alias in lower case, with the spelling that is offered.
    known: Mapping[str, tuple[str, Value]] = field(init=False, repr=False, compare=False)
    #: The first name of each value.
    shown: Mapping[Value, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        every = {**self.aliases, **self.names}
        known = {name.lower(): (name, value) for name, value in every.items()}
        shown = {value: name for name, value in reversed([*self.names.items()])}
        object.__setattr__(self, "known", known)
        object.__setattr__(self, "shown", shown)

    def value_of(self, name: str) -> Value | None:
        """The value that a name stands for, whatever its case; None: no such name."""
        found = self.known.get(name.lower())
        return found[1] if found else None


#: `outcome`, in the order of the codes that a column of it uses.
OUTCOMES: Final = ("guest", "userspace", "error", "dead")

_LEAVES: Final = {name: int(number) for number, name in ghci.SUB_FUNCTION_SHORT.items()}
_FULL_LEAVES: Final = {name: int(number) for number, name in ghci.SUB_FUNCTION_NAMES.items()}
_STATUSES: Final = {status.name: int(status) for status in ghci.Status}
_REASONS: Final = {name: number for number, name in vmx.EXIT_REASON_NAMES.items()}
_EXITS: Final = {reason.name: int(reason) for reason in kvm.Exit}


def _prefixed(prefix: str, names: Mapping[str, int]) -> dict[str, Value]:
    return {prefix + name: value for name, value in names.items()}


_BOOLEANS: Final[dict[str, Value]] = {"true": 1, "false": 0}


def _integer(name: str, doc: str) -> Field:
    return Field(name, Type.INTEGER, doc)


def _hex(name: str, doc: str) -> Field:
    return Field(name, Type.INTEGER, doc, base=16)


def _register(name: str) -> Field:
    return _hex(name, f"{name.upper()} as KVM sees it at the TD exit")


def _boolean(name: str, doc: str) -> Field:
    return Field(name, Type.BOOLEAN, doc, _BOOLEANS)


_TABLE: Final = (
    _integer("index", "number of the row, from 0"),
    Field("time", Type.INTEGER, "when the row began, on the recording's clock", nanoseconds=True),
    _integer("vcpu", "index of the vCPU"),
    Field(
        "reason",
        Type.INTEGER,
        "VMX exit reason of the TD exit (bits 15:0)",
        {**_REASONS},
        _prefixed("EXIT_REASON_", _REASONS),
    ),
    Field(
        "leaf",
        Type.INTEGER,
        "sub-function of a TDG.VP.VMCALL (R11 where R10 is 0)",
        {**_LEAVES},
        {**_FULL_LEAVES},
        base=16,
    ),
    _register("r8"),
    _register("r9"),
    _register("r10"),
    _register("r11"),
    _register("r12"),
    _register("r13"),
    _register("r14"),
    _register("r15"),
    _hex("rax", "RAX: what TDH.VP.ENTER returned"),
    _register("rbx"),
    _register("rcx"),
    _register("rdx"),
    _register("rsi"),
    _register("rdi"),
    _hex("gpa", "guest physical address that the exit is about, without the shared bit"),
    _hex("size", "bytes that the exit is about"),
    Field(
        "direction",
        Type.INTEGER,
        "of port I/O and MMIO, as the guest sees it",
        {"in": 0, "out": 1, "read": 0, "write": 1},
    ),
    Field(
        "status",
        Type.INTEGER,
        "what the guest gets in R10",
        {**_STATUSES},
        _prefixed("TDVMCALL_STATUS_", _STATUSES),
        base=16,
    ),
    Field(
        "outcome",
        Type.TEXT,
        "where the row ended: guest, userspace, error (KVM_RUN failed), dead (the VM is bugged)",
        {name: name for name in OUTCOMES},
    ),
    Field(
        "exit",
        Type.INTEGERS,
        "the KVM_EXIT_* that userspace saw; none, one or several in a row",
        _prefixed("KVM_EXIT_", _EXITS),
        {**_EXITS},
    ),
    _hex("port", "I/O port"),
    _boolean("kernel", "KVM handled it and entered the TD again, userspace saw nothing"),
    _boolean("private", "a conversion to private, else an access by a private GPA"),
    _boolean("shared", "a conversion to shared, else an access by a shared GPA"),
    _boolean("retry", "the guest was told RETRY"),
    _boolean(
        "error", "a status of failure, a failed KVM_RUN, or an exit after which the TD cannot go on"
    ),
    Field("message", Type.TEXT, "text of a ReportFatalError, a byte a character"),
    Field("finding", Type.TEXT, "what a diagnosis says about the row"),
)

FIELDS: Final[Mapping[str, Field]] = {row.name: row for row in _TABLE}
