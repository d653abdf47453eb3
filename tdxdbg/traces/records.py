"""A trace is a journal, and a journal is records: what went into KVM and came out.

A *row* is one TD exit and everything until the TD is entered again. Rows are
numbered from 0 in the order of their first record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from tdxdbg.engine.recorded import (
    DERIVED_SHIFT,
    KNOWN_ANSWER,
    KNOWN_COMPLETER,
    KNOWN_EFFECTS,
    KNOWN_ERRNO,
    KNOWN_HAS_EVENTS,
    KNOWN_REASON,
    KNOWN_REGS,
    KNOWN_RUN_FLAGS,
    KNOWN_VP_ENTER_RET,
    Kind,
)
from tdxdbg.engine.state import Outcome, Reentry, SetMemoryAttributes, Step, TdExit
from tdxdbg.traces.meta import ORIGINS, Json, TraceMeta

__all__ = [
    "COMPLETE",
    "KNOWN_ANSWER",
    "KNOWN_COMPLETER",
    "KNOWN_EFFECTS",
    "KNOWN_ERRNO",
    "KNOWN_HAS_EVENTS",
    "KNOWN_NAMES",
    "KNOWN_REASON",
    "KNOWN_REGS",
    "KNOWN_RUN_FLAGS",
    "KNOWN_VP_ENTER_RET",
    "DERIVED_SHIFT",
    "MAX_VCPU",
    "ORIGINS",
    "Body",
    "Kind",
    "Record",
    "TraceMeta",
    "answer",
    "checkpoint",
    "memory_attributes",
    "step_record",
    "td_exit",
]

#: Names of the bits that are not registers.
KNOWN_NAMES: Final[dict[str, int]] = {
    "vp_enter_ret": KNOWN_VP_ENTER_RET,
    "completer": KNOWN_COMPLETER,
    "effects": KNOWN_EFFECTS,
    "run_flags": KNOWN_RUN_FLAGS,
    "has_events": KNOWN_HAS_EVENTS,
    "answer": KNOWN_ANSWER,
    "errno": KNOWN_ERRNO,
    "reason": KNOWN_REASON,
}

MAX_VCPU: Final = 0xFFFF


_STEP: Final = KNOWN_REGS | KNOWN_COMPLETER | KNOWN_EFFECTS | KNOWN_RUN_FLAGS | KNOWN_ERRNO

#: What `known` is when nothing is missing.
COMPLETE: Final[dict[int, int]] = {
    Kind.TD_EXIT: KNOWN_REGS | KNOWN_VP_ENTER_RET,
    Kind.USERSPACE_EXIT: _STEP,
    Kind.ANSWER: KNOWN_ANSWER | KNOWN_HAS_EVENTS,
    Kind.TD_ENTRY: _STEP,
    Kind.MEMORY_ATTRIBUTES: 0,
    Kind.CHECKPOINT: 0,
    Kind.CONTINUATION: 0,
}

#: A checkpoint's body is its JSON object; a continuation has none of its own.
Body = TdExit | Reentry | SetMemoryAttributes | Step | Mapping[str, object] | None


class Record(NamedTuple):
    """One record of a journal.

    `time` is in ns or None; `known` a mask of what was really seen (KNOWN_*);
    `source` the line or offset in the file that it was imported from, 0 for
    none. The row of a checkpoint means nothing.
    """

    kind: Kind
    row: int
    vcpu: int
    time: int | None
    body: Body
    known: int
    source: int = 0


# A recording makes four of them an exit, and each look-up in an Enum counts.
_new: Final = tuple.__new__
_TD_EXIT: Final = Kind.TD_EXIT
_USERSPACE_EXIT: Final = Kind.USERSPACE_EXIT
_ANSWER: Final = Kind.ANSWER
_TD_ENTRY: Final = Kind.TD_ENTRY
_REENTER_TD: Final = Outcome.REENTER_TD


def td_exit(row: int, body: TdExit, time: int | None = None, *, source: int = 0) -> Record:
    """TDH.VP.ENTER returned; registers are known as `body.known` says."""
    known = body.known | KNOWN_VP_ENTER_RET
    return _new(Record, (_TD_EXIT, row, body.vcpu, time, body, known, source))


def step_record(
    row: int,
    vcpu: int,
    body: Step,
    time: int | None = None,
    *,
    known: int = _STEP,
    source: int = 0,
) -> Record:
    """What KVM did: a TD_ENTRY when it enters the TD, else a USERSPACE_EXIT.

    A KVM_RUN that failed with an errno returns to userspace too.
    """
    kind = _TD_ENTRY if body.outcome is _REENTER_TD else _USERSPACE_EXIT
    return _new(Record, (kind, row, vcpu, time, body, known, source))


def answer(
    row: int,
    body: Reentry,
    time: int | None = None,
    *,
    known: int = COMPLETE[Kind.ANSWER],
    source: int = 0,
) -> Record:
    """KVM_RUN was called again."""
    return _new(Record, (_ANSWER, row, body.vcpu, time, body, known, source))


def memory_attributes(
    row: int, vcpu: int, body: SetMemoryAttributes, time: int | None = None, *, source: int = 0
) -> Record:
    """KVM_SET_MEMORY_ATTRIBUTES, while this vCPU was in userspace in this row."""
    return Record(Kind.MEMORY_ATTRIBUTES, row, vcpu, time, body, 0, source)


def checkpoint(state: Json, time: int | None = None) -> Record:
    """The state after every record before this one, as a JSON object."""
    return Record(Kind.CHECKPOINT, 0, 0, time, state, 0)
