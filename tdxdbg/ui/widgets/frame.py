"""The frame of a pane: title or tabs above, a foot below, a thumb that says where one is."""

from __future__ import annotations

from typing import Final, NamedTuple

from tdxdbg.decode.text import Safe
from tdxdbg.ui.lines import Line, Span, blanks, crop, own, repeat, width_of

#: Top left, top right, bottom left, bottom right, horizontal, vertical.
_PLAIN: Final = (own("┌"), own("┐"), own("└"), own("┘"), own("─"), own("│"))
_FOCUSED: Final = (own("╔"), own("╗"), own("╚"), own("╝"), own("═"), own("║"))
_THUMB: Final = own("┃")
_POINTED: Final = own("▶")
_SPACE: Final = own(" ")
_BETWEEN: Final = own(" │ ")


class Tab(NamedTuple):
    """A pane that shares the place; `front` is the one that is seen."""

    pane: str
    title: Safe
    front: bool


class Frame(NamedTuple):
    """A frame of a size; `width` and `height` are those of the whole pane in cells."""

    width: int
    height: int
    focused: bool

    @property
    def _glyphs(self) -> tuple[Safe, ...]:
        return _FOCUSED if self.focused else _PLAIN

    @property
    def _role(self) -> str:
        return "frame_focus" if self.focused else "frame"

    def top(self, tabs: tuple[Tab, ...]) -> Line:
        """The upper edge with the titles in it."""
        left, right, _, _, edge, _ = self._glyphs
        spans: list[Span] = [(left, self._role), (edge, self._role), (_SPACE, self._role)]
        for number, tab in enumerate(tabs):
            if number:
                spans.append((_BETWEEN, self._role))
            spans.append((tab.title, "title" if tab.front else "tab"))
        spans.append((_SPACE, self._role))
        return self._edge(spans, [], edge, right)

    def bottom(self, foot: tuple[Span, ...]) -> Line:
        """The lower edge; `foot` stands at its right."""
        _, _, left, right, edge, _ = self._glyphs
        end: list[Span] = []
        if foot and width_of(foot) + 6 <= self.width:
            end = [(_SPACE, self._role), *foot, (_SPACE, self._role), (edge, self._role)]
        return self._edge([(left, self._role)], end, edge, right)

    def _edge(self, start: list[Span], end: list[Span], edge: Safe, corner: Safe) -> Line:
        room = self.width - 1
        end = end if width_of(start) + width_of(end) <= room else []
        start = list(crop(start, 0, room))
        gap = room - width_of(start) - width_of(end)
        return Line((*start, (repeat(edge, gap), self._role), *end, (corner, self._role)))

    def body(
        self,
        spans: tuple[Span, ...],
        left: int,
        current: bool,
        thumb: bool,
        pointed: bool = False,
        mark: Span | None = None,
    ) -> Line:
        """A line between the edges, seen from `left` cells in.

        `pointed`: the cursor is on it; `mark` stands in the right edge.
        """
        bar = self._glyphs[5]
        room = self.width - 2
        inner = crop(spans, left, room)
        fill = room - width_of(inner)
        role = self._role
        end = mark or ((_THUMB, role) if thumb else (bar, role))
        start = (_POINTED, "focus") if pointed else (bar, role)
        return Line((start, *inner, (blanks(fill), "text"), end), current)


def top_width(tabs: tuple[Tab, ...]) -> int:
    """Cells that the upper edge takes with these titles in full."""
    return sum(len(tab.title) for tab in tabs) + len(_BETWEEN) * (len(tabs) - 1) + 5


def thumb_rows(top: int, rows: int, total: int) -> range:
    """Which of `rows` visible rows the thumb takes, when `total` lines start at `top`."""
    if total <= rows or rows <= 0:
        return range(0)
    length = max(1, rows * rows // total)
    start = min(rows - length, top * (rows - length) // max(total - rows, 1))
    return range(start, start + length)
