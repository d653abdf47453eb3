"""How the map, its words and its list share a pane, by size alone so that nothing jumps."""

from __future__ import annotations

from typing import Final, NamedTuple

#: Cells of the widest list, and what it needs at least.
_LIST_WIDEST: Final = 46
_LIST_NARROWEST: Final = 30
#: From this width on the list stands beside the map.
_BESIDE: Final = 76
_FEWEST: Final = 8
_BRACKETS: Final = 2
#: Between the map and the list beside it.
GAP: Final = 1
#: What is said below the map: legend, the exit, what changed, the cursor.
_WORDS: Final = 4
_TITLE: Final = 1
#: From this height on there is an overview above the map.
_ROOMY: Final = 14


class Layout(NamedTuple):
    """Sizes in characters. `digits` of addresses, 0: none; `beside`: where the list stands.

    `words` is how many lines below the map have room, in order of their use.
    """

    digits: int
    columns: int
    lines: int
    words: int
    overview: bool
    beside: bool
    list_width: int
    list_rows: int

    @property
    def map_width(self) -> int:
        """Characters of a row of the map, its address and brackets among them."""
        return self.digits + _BRACKETS + self.columns


def arranged(width: int, height: int, digits: int) -> Layout:
    """The parts of a pane of this size, with the map in front."""
    if width < digits + _BRACKETS + _FEWEST:
        digits = 0
    beside = width >= _BESIDE
    room = width - digits - _BRACKETS - (GAP + _LIST_NARROWEST if beside else 0)
    columns = _FEWEST
    while columns * 2 <= room:
        columns *= 2
    words = min(_WORDS, max(height - 3, 0))
    overview = height >= _ROOMY
    rest = max(height - words - overview, 1)
    if beside:
        list_width = min(room - columns + _LIST_NARROWEST, _LIST_WIDEST)
        list_rows = max(overview + rest - _TITLE, 0)
        return Layout(digits, columns, rest, words, overview, True, list_width, list_rows)
    listed = rest // 3 if rest >= 6 else 0
    list_rows = max(listed - _TITLE, 0)
    return Layout(digits, columns, rest - listed, words, overview, False, width, list_rows)


def list_alone(width: int, height: int, digits: int) -> Layout:
    """The same with the list in front: where it does not stand beside the map, it is alone."""
    layout = arranged(width, height, digits)
    if layout.beside:
        return layout
    return layout._replace(lines=0, words=0, overview=False, list_rows=max(height - _TITLE, 0))
