"""Where everything stands, as a pure function of the size of the terminal.

Five shapes: nothing but words (below 20x5), one pane (below 60x15), the queue
over two halves with tabs (80x24), the queue over a grid (narrow and tall), all
five panes (from 112x30).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

QUEUE: Final = "queue"
DECODE: Final = "decode"
UAPI: Final = "uapi"
REGISTERS: Final = "registers"
GPA_MAP: Final = "gpa_map"
STATUS: Final = "status"
HINTS: Final = "hints"

#: Panes that share one place when there is little room.
LEFT_TABS: Final = (DECODE, UAPI)
RIGHT_TABS: Final = (REGISTERS, GPA_MAP)


class Rect(NamedTuple):
    """A place on the screen, in cells."""

    x: int
    y: int
    width: int
    height: int


class Arrangement(NamedTuple):
    """`places` by widget; `tabs` says which panes stand behind each shown one; `shape` its name."""

    shape: str
    places: dict[str, Rect]
    tabs: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class View:
    """What the user chose: the focused pane, the front tabs, and the pane shown alone."""

    focus: str = QUEUE
    left: str = DECODE
    right: str = REGISTERS
    zoomed: bool = False

    def focused(self, pane: str) -> View:
        """The view after that pane got the focus, its tab in front."""
        left = pane if pane in LEFT_TABS else self.left
        right = pane if pane in RIGHT_TABS else self.right
        return replace(self, focus=pane, left=left, right=right)


def shape_of(width: int, height: int) -> str:
    """The name of the shape that a terminal of this size gets."""
    if width < 20 or height < 5:
        return "words"
    if width < 60 or height < 15:
        return "single"
    if width >= 112 and height >= 30:
        return "wide" if width >= 160 else "full"
    return "tall" if height >= 44 else "tabs"


def arrange(width: int, height: int, view: View) -> Arrangement:
    """The place of every visible widget; they cover the terminal without overlap."""
    width, height = max(width, 1), max(height, 1)
    shape = shape_of(width, height)
    if shape == "words":
        return Arrangement(shape, {HINTS: Rect(0, 0, width, height)}, {})
    inner = Rect(0, 1, width, height - 2)
    ends = {STATUS: Rect(0, 0, width, 1), HINTS: Rect(0, height - 1, width, 1)}
    if view.zoomed or shape == "single":
        return Arrangement(shape, {**ends, view.focus: inner}, {})
    places, tabs = _SHAPES[shape](inner, view)
    return Arrangement(shape, {**ends, **places}, tabs)


Placed = tuple[dict[str, Rect], dict[str, tuple[str, ...]]]


def _tabs(area: Rect, view: View) -> Placed:
    queue, below = _rows(area, max(6, area.height * 9 // 22))
    left, right = _columns(below, (below.width + 1) // 2)
    places = {QUEUE: queue, view.left: left, view.right: right}
    return places, {view.left: LEFT_TABS, view.right: RIGHT_TABS}


def _tall(area: Rect, view: View) -> Placed:
    queue, below = _rows(area, area.height * 2 // 5)
    upper, lower = _rows(below, (below.height + 1) // 2)
    decode, registers = _columns(upper, (upper.width + 1) // 2)
    uapi, gpa_map = _columns(lower, (lower.width + 1) // 2)
    return {
        QUEUE: queue, DECODE: decode, REGISTERS: registers, UAPI: uapi, GPA_MAP: gpa_map,
    }, {}  # fmt: skip


def _full(area: Rect, view: View) -> Placed:
    top, below = _rows(area, area.height * 9 // 19)
    queue, registers = _columns(top, top.width - max(44, top.width * 3 // 8))
    decode, rest = _columns(below, below.width * 3 // 8)
    uapi, gpa_map = _columns(rest, (rest.width + 6) // 2)
    return {
        QUEUE: queue, REGISTERS: registers, DECODE: decode, UAPI: uapi, GPA_MAP: gpa_map,
    }, {}  # fmt: skip


def _wide(area: Rect, view: View) -> Placed:
    top, below = _rows(area, area.height // 2)
    queue, rest = _columns(top, top.width // 2)
    registers, gpa_map = _columns(rest, (rest.width + 1) // 2)
    decode, uapi = _columns(below, below.width // 2)
    return {
        QUEUE: queue, REGISTERS: registers, GPA_MAP: gpa_map, DECODE: decode, UAPI: uapi,
    }, {}  # fmt: skip


_SHAPES: Final = {"tabs": _tabs, "tall": _tall, "full": _full, "wide": _wide}


def _rows(area: Rect, height: int) -> tuple[Rect, Rect]:
    x, y, width, total = area
    return Rect(x, y, width, height), Rect(x, y + height, width, total - height)


def _columns(area: Rect, width: int) -> tuple[Rect, Rect]:
    x, y, total, height = area
    return Rect(x, y, width, height), Rect(x + width, y, total - width, height)
