"""What is kept of a row, and the columns that filters ask for, made of it.

This module imports numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from tdxdbg.abi.ghci import Status
from tdxdbg.filters.columns import KNOWN, Column
from tdxdbg.filters.fields import FIELDS, OUTCOMES

# Bits of `flags`.
ASK: Final = 1
REASON: Final = 2
LEAF: Final = 4
VERDICT: Final = 8
RETRY: Final = 16
ERROR: Final = 32

NO_STATUS: Final = 0xFF
STATUSES: Final = tuple(int(status) for status in Status)
_STATUS_OF: Final = np.zeros(256, np.uint64)
_STATUS_OF[: len(STATUSES)] = STATUSES

#: What is kept of a row.
ROW: Final = np.dtype(
    [
        ("exit", "<u8"),
        ("leaf", "<u4"),
        ("vcpu", "<u2"),
        ("reason", "<u2"),
        ("flags", "<u2"),
        ("status", "u1"),
        ("outcome", "u1"),
    ]
)
Rows = npt.NDArray[np.void]
Bools = npt.NDArray[np.bool_]

GUEST: Final = OUTCOMES.index("guest")
DEAD: Final = OUTCOMES.index("dead")


def ask(rows: Rows) -> Bools:
    """The rows that the columns do not know."""
    found: Bools = (rows["flags"] & ASK) != 0
    return found


def columns_of(rows: Rows, first: int, fields: Iterable[str] = FIELDS) -> dict[str, Column]:
    """Columns for `Filter.candidates`, of these fields as far as they have one.

    `first` is the number of the first row. One column is always there.
    """
    found: dict[str, Column] = {"vcpu": rows["vcpu"]}
    for name in fields:
        made = _COLUMNS.get(name)
        if made is not None:
            found[name] = made(rows)
        known = _KNOWN_OF.get(name)
        if known is not None:
            found[name + KNOWN] = known(rows)
    if "index" in fields:
        found["index"] = np.arange(first, first + len(rows), dtype=np.uint64)
    return found


def _has(bit: int) -> Callable[[Rows], Bools]:
    def test(rows: Rows) -> Bools:
        found: Bools = (rows["flags"] & bit) != 0
        return found

    return test


_COLUMNS: Final[dict[str, Callable[[Rows], Column]]] = {
    "reason": lambda rows: rows["reason"],
    "leaf": lambda rows: rows["leaf"],
    "status": lambda rows: _STATUS_OF[rows["status"]],
    "outcome": lambda rows: rows["outcome"],
    "exit": lambda rows: rows["exit"],
    "kernel": lambda rows: (rows["outcome"] == GUEST) & (rows["exit"] == 0),
    "retry": _has(RETRY),
    "error": _has(ERROR),
}
_KNOWN_OF: Final[dict[str, Callable[[Rows], Bools]]] = {
    "reason": _has(REASON),
    "leaf": _has(LEAF),
    "status": lambda rows: rows["status"] != NO_STATUS,
    "retry": _has(VERDICT),
    "error": _has(VERDICT),
}
