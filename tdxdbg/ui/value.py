"""A value in every way that it could be meant, over the panes."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Final

from textual.binding import Binding, BindingType

from tdxdbg.decode.readings import readings
from tdxdbg.decode.text import Safe
from tdxdbg.engine import Td
from tdxdbg.ui.dialogs import Dialog
from tdxdbg.ui.lines import BLANK, About, Line, blanks, concat, line, own, pad, word, wrap
from tdxdbg.ui.palette import Palette

_WIDEST: Final = 76
_LABEL: Final = 25
_GAP: Final = own("  ")
_IS: Final = own(" = ")
_FILTER: Final = own("filter on this: ")
_ENTER: Final = own("Enter  ")
_F: Final = own("f  ")
_NO_NUMBER: Final = own("no number: only its text can be copied")


class ValueDialog(Dialog):
    """What a line is about, read in every way; the answer is what to do with it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f,slash", "done('filter')"),
        Binding("y", "done('copy')"),
    ]

    def __init__(
        self,
        about: About,
        td: Td,
        width: int,
        palette: Palette,
        ascii_only: bool,
        *,
        filters: bool,
    ) -> None:
        """`filters`: Enter filters on the value where it can."""
        self._enter = "filter" if filters and about.filter is not None else None
        self._filters = about.filter is not None
        made = partial(_read, about, td, _ENTER if filters else _F)
        super().__init__(title_of(about, _room(width)), made, palette, ascii_only)
        self.foot = ((own("y copies  Esc closes"), "dim"),)

    def action_enter(self) -> None:
        _ = self.dismiss(self._enter)

    def action_done(self, what: str) -> None:
        if what == "copy" or self._filters:
            _ = self.dismiss(what)


def _room(width: int) -> int:
    return max(min(width - 4, _WIDEST), 16)


def _read(about: About, td: Td, key: Safe, width: int) -> list[Line]:
    """The filter, where there is one, and the readings."""
    room = _room(width)
    lines = value_lines(about, td, room)
    if about.filter is None:
        return lines
    pieces = wrap(concat(_FILTER, word(about.filter)[0]), room - len(key))
    head = line((key, "focus"), (pieces[0], "ok"))
    rest = [line((blanks(len(key)), "dim"), (piece, "ok")) for piece in pieces[1:]]
    return [head, *rest, *([BLANK, *lines] if lines else [])]


def title_of(about: About, room: int) -> Safe:
    """`r12 = 0x800040000000`, or only the name where that is too long."""
    both = concat(about.name, _IS, about.text)
    return both if len(both) <= room - 4 else about.name


def value_lines(about: About, td: Td, room: int) -> list[Line]:
    """The readings of a value, each in as many lines of `room` cells as it needs."""
    if about.value is None:
        return [] if about.filter is not None else [line((_NO_NUMBER, "dim"))]
    lines: list[Line] = []
    label = min(_LABEL, room // 3)
    for row in readings(about.value, td):
        text = (
            concat(row.raw, _GAP, row.meaning)
            if row.raw and row.meaning
            else (row.raw or row.meaning)
        )
        first = wrap(row.name, label - 1)
        below = wrap(text, room - label)
        for number in range(max(len(first), len(below))):
            name = first[number] if number < len(first) else own("")
            value = below[number] if number < len(below) else own("")
            lines.append(line((pad(name, label), "name"), (value, "value")))
    return lines
