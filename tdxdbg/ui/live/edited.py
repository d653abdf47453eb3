"""A line of serial output as a terminal shows it: after what edits a line has edited it.

A shell that lets one edit its line sends backspaces, carriage returns and a few
control sequences (ECMA-48 8.3; busybox libbb/lineedit.c, readline's redisplay). These
are done, to the one line that they are in. SGR, the bell, bracketed paste and the
question where the cursor is are dropped; nobody answers it. Everything else is text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

#: Cells that a line has at most, and that one sequence moves by.
_WIDEST: Final = 4096
_FARTHEST: Final = 512
_TAB: Final = 8
#: Bytes that are not one character: each is a cell, and comes out as it was.
_ODD: Final = "surrogateescape"

_PIECES: Final = re.compile(
    r"(?P<text>[^\x07-\x09\r\x1b]+)"
    r"|(?P<control>[\x08\t\r])"
    r"|\x1b\[(?P<count>\d{0,4})(?P<does>[CDGHJKP@])"
    r"|(?P<dropped>\x07|\x1b\[(?:[\d;:]{0,64}m|6n|\?2004[hl]))"
    r"|(?P<other>\x1b)"
)


class Edited(NamedTuple):
    """The text before the cursor, the character under it (empty: it is at the end), the rest."""

    before: bytes = b""
    under: bytes = b""
    after: bytes = b""

    @property
    def text(self) -> bytes:
        """All of it."""
        return self.before + self.under + self.after


@lru_cache(maxsize=1024)
def edited(line: bytes) -> Edited:
    """The line that is left of these bytes, which have no line feed; linear in their number."""
    cells: list[str] = []
    at = 0
    for piece in _PIECES.finditer(line.decode(errors=_ODD)):
        if text := piece["text"] or piece["other"]:
            at = _write(cells, at, text)
        elif does := piece["does"]:
            at = _SEQUENCES[does](cells, at, piece["count"])
        elif control := piece["control"]:
            at = _CONTROLS[control](at)
    under = cells[at : at + 1]
    return Edited(*map(_bytes, (_padded(cells, at), under, cells[at + 1 :])))


def _bytes(cells: list[str]) -> bytes:
    return "".join(cells).encode(errors=_ODD)


def _padded(cells: list[str], at: int) -> list[str]:
    """The cells before the cursor; there are blanks where it jumped over nothing."""
    return cells[:at] + [" "] * (at - len(cells))


def _write(cells: list[str], at: int, text: str) -> int:
    """Over what is there, as far as the line goes."""
    text = text[: _WIDEST - at]
    cells.extend(" " * (at - len(cells)))
    cells[at : at + len(text)] = text
    return at + len(text)


# --- control characters ---------------------------------------------------------------------

_CONTROLS: Final[dict[str, Callable[[int], int]]] = {
    "\b": lambda at: max(at - 1, 0),
    "\t": lambda at: min(at - at % _TAB + _TAB, _WIDEST),
    "\r": lambda at: 0,
}


# --- control sequences ----------------------------------------------------------------------


def _number(count: str) -> int:
    """How far, or how many: 0 and nothing are 1."""
    return min(int(count or "1"), _FARTHEST) or 1


def _forward(cells: list[str], at: int, count: str) -> int:
    return min(at + _number(count), _WIDEST)


def _back(cells: list[str], at: int, count: str) -> int:
    return max(at - _number(count), 0)


def _column(cells: list[str], at: int, count: str) -> int:
    return _number(count) - 1


def _home(cells: list[str], at: int, count: str) -> int:
    """The first column of the first line: what a shell does before it clears the screen."""
    return 0


def _erase(cells: list[str], at: int, count: str) -> int:
    """EL and ED are the same in one line: from the cursor on, up to it, or all."""
    if count in ("", "0"):
        del cells[at:]
    elif count == "1":
        cells[: at + 1] = " " * len(cells[: at + 1])
    else:
        cells.clear()
    return at


def _delete(cells: list[str], at: int, count: str) -> int:
    del cells[at : at + _number(count)]
    return at


def _insert(cells: list[str], at: int, count: str) -> int:
    cells[at:at] = " " * _number(count)
    del cells[_WIDEST:]
    return at


_SEQUENCES: Final[dict[str, Callable[[list[str], int, str], int]]] = {
    "C": _forward,
    "D": _back,
    "G": _column,
    "H": _home,
    "J": _erase,
    "K": _erase,
    "P": _delete,
    "@": _insert,
}
