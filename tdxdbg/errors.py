"""The errors a user can meet, each one line: what, where, the remedy.

Two more kinds exist and are not here: a guest's mistake is a status in R10,
and a driver's mistake is `engine.ProtocolError`.
"""

from __future__ import annotations

_LONGEST = 400


class TdxdbgError(Exception):
    """Shown to the user without a traceback."""

    def __init__(self, message: str) -> None:
        """`message` becomes one line; a very long one loses its middle, never the cause."""
        line = " ".join(message.split())
        if len(line) > _LONGEST:
            half = (_LONGEST - 3) // 2
            line = f"{line[:half]}...{line[-half:]}"
        super().__init__(line)


class TraceError(TdxdbgError):
    """A bad trace file, or one that cannot be written (exit status 3)."""


class BackendError(TdxdbgError):
    """A missing machine or permission (exit status 4)."""


class SessionError(TdxdbgError):
    """What a live run was asked for cannot be done here (exit status 2)."""
