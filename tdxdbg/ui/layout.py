"""Where everything stands, as a pure function of the size of the terminal.

Five shapes: nothing but words (below 20x5), one pane (below 60x15), the queue
over two halves with tabs (80x24), the queue over a grid (narrow and tall), all
panes (from 112x30). A `Plan` says how a screen fills them: that of a recording
has five panes, that of a live run three more and a line of news.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

QUEUE: Final = "queue"
DECODE: Final = "decode"
UAPI: Final = "uapi"
REGISTERS: Final = "registers"
GPA_MAP: Final = "gpa_map"
CODE: Final = "code"
MEMORY: Final = "memory"
CONSOLE: Final = "console"
STATUS: Final = "status"
NEWS: Final = "news"
HINTS: Final = "hints"


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
    """What the user chose: the focused pane, and the pane shown alone.

    `recent`: panes that were brought to the front, the last one first.
    """

    focus: str = QUEUE
    recent: tuple[str, ...] = ()
    zoomed: bool = False

    def focused(self, pane: str) -> View:
        """The view after that pane got the focus, its tab in front."""
        return replace(self.raised(pane), focus=pane)

    def raised(self, pane: str) -> View:
        """The view with that pane's tab in front, the focus where it was."""
        others = tuple(name for name in self.recent if name != pane)
        return replace(self, recent=(pane, *others))

    def front(self, group: tuple[str, ...]) -> str:
        """Which of the panes of a place is seen."""
        return next((name for name in self.recent if name in group), group[0])


Placed = tuple[dict[str, Rect], dict[str, tuple[str, ...]]]


class Plan(NamedTuple):
    """How a screen is filled: its panes in order, and a function for each shape."""

    panes: tuple[str, ...]
    shapes: Mapping[str, Callable[[Rect, View], Placed]]
    news: bool = False


def shape_of(width: int, height: int) -> str:
    """The name of the shape that a terminal of this size gets."""
    if width < 20 or height < 5:
        return "words"
    if width < 60 or height < 15:
        return "single"
    if width >= 112 and height >= 30:
        return "wide" if width >= 160 else "full"
    return "tall" if height >= 44 else "tabs"


def arrange(width: int, height: int, view: View, plan: Plan | None = None) -> Arrangement:
    """The place of every visible widget; they cover the terminal without overlap."""
    plan = plan or REPLAY
    width, height = max(width, 1), max(height, 1)
    shape = shape_of(width, height)
    if shape == "words":
        return Arrangement(shape, {HINTS: Rect(0, 0, width, height)}, {})
    below = 2 if plan.news and height > 6 else 1
    inner = Rect(0, 1, width, height - 1 - below)
    ends = {STATUS: Rect(0, 0, width, 1), HINTS: Rect(0, height - 1, width, 1)}
    if below == 2:
        ends[NEWS] = Rect(0, height - 2, width, 1)
    if view.zoomed or shape == "single":
        return Arrangement(shape, {**ends, view.focus: inner}, {})
    places, tabs = plan.shapes[shape](inner, view)
    return Arrangement(shape, {**ends, **places}, tabs)


def _halves(area: Rect, view: View, left: tuple[str, ...], right: tuple[str, ...]) -> Placed:
    """The queue over two places with tabs."""
    queue, below = _rows(area, max(6, area.height * 9 // 22))
    one, other = _columns(below, (below.width + 1) // 2)
    fronts = view.front(left), view.front(right)
    places = {QUEUE: queue, fronts[0]: one, fronts[1]: other}
    return places, {fronts[0]: left, fronts[1]: right}


# --- a recording ------------------------------------------------------------------------


def _tabs(area: Rect, view: View) -> Placed:
    return _halves(area, view, (DECODE, UAPI), (REGISTERS, GPA_MAP))


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


# --- a live run -------------------------------------------------------------------------


def _live_tabs(area: Rect, view: View) -> Placed:
    return _halves(area, view, (UAPI, DECODE, CODE), (CONSOLE, REGISTERS, GPA_MAP, MEMORY))


def _live_tall(area: Rect, view: View) -> Placed:
    queue, below = _rows(area, area.height * 2 // 7)
    places = {QUEUE: queue}
    groups = (((DECODE,), (REGISTERS,)), ((UAPI,), (GPA_MAP,)), ((CODE,), (CONSOLE, MEMORY)))
    tabs: dict[str, tuple[str, ...]] = {}
    for number, pair in enumerate(groups):
        band, below = _rows(below, below.height // (len(groups) - number))
        for group, place in zip(pair, _columns(band, (band.width + 1) // 2), strict=True):
            front = view.front(group)
            places[front] = place
            tabs[front] = group
    return places, tabs


def _live_full(area: Rect, view: View) -> Placed:
    top, below = _rows(area, area.height // 3)
    middle, bottom = _rows(below, (below.height + 1) // 2)
    queue, registers = _columns(top, top.width - max(44, top.width * 3 // 8))
    places = {QUEUE: queue, REGISTERS: registers}
    decode, rest = _columns(middle, middle.width * 3 // 8)
    places[DECODE] = decode
    places[UAPI], places[GPA_MAP] = _columns(rest, (rest.width + 6) // 2)
    code, other = _columns(bottom, bottom.width * 3 // 8)
    places[CODE] = code
    places[MEMORY], places[CONSOLE] = _columns(other, (other.width + 6) // 2)
    return places, {}


def _live_wide(area: Rect, view: View) -> Placed:
    top, below = _rows(area, area.height * 3 // 8)
    middle, bottom = _rows(below, (below.height + 1) // 2)
    queue, rest = _columns(top, top.width // 2)
    places = {QUEUE: queue}
    places[REGISTERS], places[GPA_MAP] = _columns(rest, (rest.width + 1) // 2)
    places[DECODE], places[UAPI] = _columns(middle, middle.width // 2)
    places[CODE], rest = _columns(bottom, bottom.width * 3 // 8)
    places[MEMORY], places[CONSOLE] = _columns(rest, (rest.width + 14) // 2)
    return places, {}


REPLAY: Final = Plan(
    (QUEUE, DECODE, UAPI, REGISTERS, GPA_MAP),
    {"tabs": _tabs, "tall": _tall, "full": _full, "wide": _wide},
)
LIVE: Final = Plan(
    (*REPLAY.panes, CODE, MEMORY, CONSOLE),
    {"tabs": _live_tabs, "tall": _live_tall, "full": _live_full, "wide": _live_wide},
    news=True,
)


def _rows(area: Rect, height: int) -> tuple[Rect, Rect]:
    x, y, width, total = area
    return Rect(x, y, width, height), Rect(x, y + height, width, total - height)


def _columns(area: Rect, width: int) -> tuple[Rect, Rect]:
    x, y, total, height = area
    return Rect(x, y, width, height), Rect(x + width, y, total - width, height)
