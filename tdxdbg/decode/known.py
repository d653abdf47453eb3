"""How much of TDH.VP.ENTER's return value a recording has."""

from __future__ import annotations

from enum import IntEnum

from tdxdbg.engine.recorded import KNOWN_REASON, KNOWN_VP_ENTER_RET


class Seen(IntEnum):
    """How much of TDH.VP.ENTER's return value was recorded."""

    NOTHING = 0
    #: The low 32 bits: the exit reason without the status class above it.
    REASON = 1
    ALL = 2


def seen(known: int) -> Seen:
    """The same out of a record's `known`."""
    if known & KNOWN_VP_ENTER_RET:
        return Seen.ALL
    return Seen.REASON if known & KNOWN_REASON else Seen.NOTHING
