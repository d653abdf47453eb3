"""Rows of cells as text, in one of two ways.

With colours to mix, a character is two cells, one above the other: a half
block where they differ, and the glyph of their state as a faint texture where
they are alike. Without, a character is one cell, and its glyph says what it is.
"""

from __future__ import annotations

from itertools import groupby
from typing import Final, NamedTuple

from tdxdbg.ui.gpa_map.cells import BEYOND, MIXED, PRIVATE, SHARED, STATES, UNMAPPED
from tdxdbg.ui.gpa_map.window import Window
from tdxdbg.ui.lines import Line, Span, line, own, repeat, right, width_of, word
from tdxdbg.ui.palette import CELLS

#: GPA, size in bytes, private.
Asked = tuple[int, int, bool]

#: Marks of a cell, in the order of `palette.CELLS`: a code is a state and 5 times a mark.
_LIT, _NOW, _HERE = 1, 2, 3

GLYPHS: Final = {
    SHARED: own("▓"), PRIVATE: own("░"), MIXED: own("▒"), UNMAPPED: own("·"), BEYOND: own(" "),
}  # fmt: skip
_HALF: Final = own("▀")
#: The cursor among glyphs; a reversed one would look like another state.
_POINT: Final = own("◆")
_CURSOR: Final = len(STATES) * _HERE
_MARKED: Final = {
    mark: bytes(code % 5 + 5 * mark if code < len(CELLS) else code for code in range(256))
    for mark in (_LIT, _NOW, _HERE)
}
_PAIRS: Final = [[f"{upper}/{lower}" for lower in CELLS] for upper in CELLS]


def _single(code: int) -> str:
    """The role of a cell that is a glyph."""
    mark, state = divmod(code, len(STATES))
    if state in (UNMAPPED, BEYOND):
        # Dim is for text: not every theme has a colour for what lies behind text.
        return ("dim", "dim_lit", "private_now", "focus")[mark]
    return ("{}", "{}_lit", "{}_now", "focus")[mark].format(STATES[state])


#: Roles of cells that are glyphs, by code.
SINGLES: Final = [_single(code) for code in range(len(CELLS))]
_SPACE: Final = own(" ")
_OPEN: Final = own("[")
_CLOSE: Final = own("]")
_UP: Final = own("↑")
_DOWN: Final = own("↓")
_KEPT: Final = 1024


class Marks(NamedTuple):
    """What stands out: the range of the exit, what was just converted, the cursor's cell."""

    asked: Asked | None
    changed: Asked | None
    here: int | None = None


class Painter:
    """Draws the rows of a window; rows that look as before are not made again."""

    def __init__(self) -> None:
        self._rows: dict[tuple[object, ...], tuple[Span, ...]] = {}

    def lines(
        self, states: bytearray, window: Window, marks: Marks, digits: int, halves: bool
    ) -> list[tuple[Span, ...]]:
        """One a row, or one two rows; `digits` is the width of the addresses, 0 for none."""
        marked = _marked(states, window, marks)
        asked = window.cells(*marks.asked[:2]) if marks.asked is not None else range(0)
        height = 2 if halves else 1
        step = window.columns * height
        result = []
        for start in range(0, len(marked), step):
            upper = bytes(marked[start : start + window.columns])
            lower = bytes(marked[start + window.columns : start + step]) if halves else None
            edge = _edge(asked, start, step) or self._beyond(window, marks, start, step)
            gpa = window.start + start * window.cell
            key = (upper, lower, edge, gpa, digits)
            found = self._rows.get(key)
            if found is None:
                if len(self._rows) >= _KEPT:
                    self._rows.clear()
                found = self._rows[key] = _row(upper, lower, edge, gpa, digits)
            result.append(found)
        return result

    def strip(
        self, states: bytearray, window: Window, marks: Marks, halves: bool
    ) -> tuple[Span, ...]:
        """One row of a character a cell, without address."""
        row = bytes(_marked(states, window, marks))
        # Half as high as the map, so that it does not look like a part of it.
        return _row(row, bytes((BEYOND,)) * len(row) if halves else None, "", 0, 0)

    def _beyond(self, window: Window, marks: Marks, start: int, step: int) -> str:
        """An arrow in the first or the last row where the range of the exit is outside."""
        if marks.asked is None:
            return ""
        if start == 0 and marks.asked[0] + marks.asked[1] <= window.start:
            return "above"
        last = start + step >= window.columns * window.rows
        return "below" if last and marks.asked[0] >= window.end else ""


def _marked(states: bytearray, window: Window, marks: Marks) -> bytearray:
    """States with marks, the last one on top."""
    found = bytearray(states)
    for mark, gpa, size in (
        *((_LIT, *item[:2]) for item in (marks.asked,) if item is not None),
        *((_NOW, *item[:2]) for item in (marks.changed,) if item is not None),
        *((_HERE, gpa, 1) for gpa in (marks.here,) if gpa is not None),
    ):
        cells = window.cells(gpa, size)
        part = slice(cells.start, cells.stop)
        found[part] = found[part].translate(_MARKED[mark])
    return found


def _edge(asked: range, start: int, step: int) -> str:
    return "inside" if asked.start < start + step and start < asked.stop else ""


_EDGES: Final = {
    "": (_SPACE, _SPACE), "inside": (_OPEN, _CLOSE), "above": (_UP, _UP), "below": (_DOWN, _DOWN),
}  # fmt: skip


def _row(upper: bytes, lower: bytes | None, edge: str, gpa: int, digits: int) -> tuple[Span, ...]:
    before, after = _EDGES[edge]
    spans: list[Span] = []
    if digits:
        there = any(code != BEYOND for code in upper)
        spans.append((right(word(f"{gpa:x}" if there else "")[0], digits), "dim"))
    spans.append((before, "focus"))
    if lower is None:
        for code, same in groupby(upper):
            glyph = GLYPHS[code % len(STATES)] if code < _CURSOR else _POINT
            spans.append((repeat(glyph, sum(1 for _ in same)), SINGLES[code]))
    else:
        for (one, other), pairs in groupby(zip(upper, lower, strict=True)):
            glyph = GLYPHS[one % len(STATES)] if one == other else _HALF
            spans.append((repeat(glyph, sum(1 for _ in pairs)), _PAIRS[one][other]))
    return (*spans, (after, "focus"))


# --- the legend ---------------------------------------------------------------------------

_WORDS: Final = (
    ((SHARED, own(" shared")), (PRIVATE, own(" private")), (MIXED, own(" mixed")),
     (UNMAPPED, own(" not mapped"))),
    ((SHARED, own(" shared")), (PRIVATE, own(" private")), (MIXED, own(" mixed")),
     (UNMAPPED, own(" none"))),
    ((SHARED, own(" shar")), (PRIVATE, own(" priv")), (MIXED, own(" mix")),
     (UNMAPPED, own(" none"))),
    ((SHARED, own("S")), (PRIVATE, own("P")), (MIXED, own("M")), (UNMAPPED, own("-"))),
)  # fmt: skip
_EXIT: Final = (own("[ ]"), own(" this exit "))
_CHANGED: Final = own(" changed ")


def legend(width: int, halves: bool) -> Line:
    """What the cells mean, in the longest words that fit; marks where there is room."""
    spans: list[Span] = []
    for words in _WORDS:
        spans = []
        for state, text in words:
            spans += [_sample(state, halves), (text, "dim"), (_SPACE, "dim")]
        if width_of(spans) <= width + 1:
            break
    changed = _sample(SHARED + len(STATES) * _NOW, halves)
    for more in ([(_EXIT[0], "focus"), (_EXIT[1], "dim")], [changed, (_CHANGED, "dim")]):
        if width_of(spans) + width_of(more) <= width + 1:
            spans += more
    return line(*spans)


def _sample(code: int, halves: bool) -> Span:
    return GLYPHS[code % len(STATES)], _PAIRS[code][code] if halves else SINGLES[code]
