"""Where everything stands, as a pure function of the size of the terminal.

Six shapes: nothing but words (below 20x5), one pane (below 60x15), the queue
over two halves with tabs (80x24), the queue over a grid (narrow and tall), two
or three bands (from 112x30), and everything (from 160x38). A shape is rows of
bands, a band is columns of places, and a place holds one pane or several behind
tabs. A `Plan` says which shapes a screen has; it may name panes that a screen
has not. Heights and widths are weights, which a user can change.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

QUEUE: Final = "queue"
DECODE: Final = "decode"
UAPI: Final = "uapi"
REGISTERS: Final = "registers"
GPA_MAP: Final = "gpa_map"
CHAIN: Final = "chain"
LANES: Final = "lanes"
HEX: Final = "hex"
CODE: Final = "code"
MEMORY: Final = "memory"
CONSOLE: Final = "console"
STATUS: Final = "status"
NEWS: Final = "news"
HINTS: Final = "hints"

#: The digit that focuses a pane, the same on every screen; `@` brings the memory.
NUMBERS: Final[dict[int, str]] = {
    1: QUEUE, 2: DECODE, 3: UAPI, 4: REGISTERS, 5: GPA_MAP,
    6: CHAIN, 7: LANES, 8: HEX, 9: CODE, 0: CONSOLE,
}  # fmt: skip

#: What every place keeps, in cells, however a user draws the borders.
LEAST_WIDTH: Final = 24
LEAST_HEIGHT: Final = 4


class Rect(NamedTuple):
    """A place on the screen, in cells."""

    x: int
    y: int
    width: int
    height: int


class Arrangement(NamedTuple):
    """`places` by widget; `tabs` says which panes stand behind each shown one; `shape` its name.

    `inner` is what the panes have together; `grid` the places as bands, by the shown panes.
    """

    shape: str
    places: dict[str, Rect]
    tabs: dict[str, tuple[str, ...]]
    inner: Rect = Rect(0, 0, 0, 0)
    grid: tuple[tuple[str, ...], ...] = ()


class Place(NamedTuple):
    """A place in a band: its panes, its share of the width, and the cells that it has at least."""

    panes: tuple[str, ...]
    weight: int = 1
    least: int = LEAST_WIDTH


class Band(NamedTuple):
    """Places side by side, their share of the height, and the rows that they have at least."""

    places: tuple[Place, ...]
    weight: int = 1
    least: int = LEAST_HEIGHT


Bands = tuple[Band, ...]


class Sizes(NamedTuple):
    """Weights that a user chose: of the bands, and of the places in each."""

    bands: tuple[int, ...]
    places: tuple[tuple[int, ...], ...]

    def fits(self, bands: Bands) -> bool:
        """Whether these are weights for such bands."""
        counts = tuple(len(band.places) for band in bands)
        return len(self.bands) == len(bands) and tuple(map(len, self.places)) == counts


@dataclass(frozen=True)
class View:
    """What the user chose: the focused pane, the pane shown alone, the sizes for each shape.

    `recent`: panes that were brought to the front, the last one first.
    """

    focus: str = QUEUE
    recent: tuple[str, ...] = ()
    zoomed: bool = False
    sizes: Mapping[str, Sizes] = field(default_factory=dict)

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


class Plan(NamedTuple):
    """How a screen is filled: its panes in order, and the bands of each shape."""

    panes: tuple[str, ...]
    shapes: Mapping[str, Bands]
    news: bool = False

    def only(self, panes: Collection[str]) -> Plan:
        """The plan of a screen that has no other panes than these."""
        shapes = {name: _only(bands, panes) for name, bands in self.shapes.items()}
        return self._replace(
            panes=tuple(name for name in self.panes if name in panes), shapes=shapes
        )


def _only(bands: Bands, panes: Collection[str]) -> Bands:
    """Without the panes that are not there, nor the places and bands that then are empty."""
    kept: list[Band] = []
    for band in bands:
        groups = (
            place._replace(panes=tuple(name for name in place.panes if name in panes))
            for place in band.places
        )
        places = tuple(place for place in groups if place.panes)
        if places:
            kept.append(band._replace(places=places))
    return tuple(kept)


def shape_of(width: int, height: int) -> str:
    """The name of the shape that a terminal of this size gets."""
    if width < 20 or height < 5:
        return "words"
    if width < 60 or height < 15:
        return "single"
    if width < 112 or height < 30:
        return "tall" if height >= 44 else "tabs"
    if height < 38:
        return "flat"
    return "wide" if width >= 160 else "full"


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
        return Arrangement(shape, {**ends, view.focus: inner}, {}, inner)
    return _filled(Arrangement(shape, ends, {}, inner), view, plan.shapes[shape])


def _filled(empty: Arrangement, view: View, bands: Bands) -> Arrangement:
    """With the panes in their places."""
    inner = empty.inner
    chosen = view.sizes.get(empty.shape)
    if chosen is not None and chosen.fits(bands):
        bands = _weighted(bands, chosen)
    places, tabs, grid = dict(empty.places), dict(empty.tabs), []
    y = inner.y
    heights = share(inner.height, bands)
    for band, height in zip(bands, heights, strict=True):
        x = inner.x
        widths = share(inner.width, band.places)
        for place, width in zip(band.places, widths, strict=True):
            front = view.front(place.panes)
            places[front] = Rect(x, y, width, height)
            tabs[front] = place.panes
            x += width
        grid.append(tuple(view.front(place.panes) for place in band.places))
        y += height
    return Arrangement(empty.shape, places, tabs, inner, tuple(grid))


def _weighted(bands: Bands, sizes: Sizes) -> Bands:
    """The bands with a user's weights; only what makes a pane useless is out of reach."""
    return tuple(
        Band(
            tuple(
                Place(place.panes, weight)
                for place, weight in zip(band.places, weights, strict=True)
            ),
            height,
        )
        for band, height, weights in zip(bands, sizes.bands, sizes.places, strict=True)
    )


def share(total: int, parts: Sequence[Band] | Sequence[Place]) -> tuple[int, ...]:
    """`total` cells by weight, none below its least unless there are not enough for all."""
    count, whole = len(parts), max(sum(part.weight for part in parts), 1)
    floors = [part.least for part in parts]
    if sum(floors) > total:
        floors = [min(floor, total // count) for floor in floors]
    sizes = [total * part.weight // whole for part in parts]
    rests = sorted(range(count), key=lambda at: -(total * parts[at].weight % whole))
    for at in range(total - sum(sizes)):
        sizes[rests[at % count]] += 1
    for at in range(count):
        while sizes[at] < floors[at]:
            richest = max(range(count), key=lambda other: sizes[other] - floors[other])
            given = min(floors[at] - sizes[at], sizes[richest] - floors[richest])
            sizes[richest] -= given
            sizes[at] += given
    return tuple(sizes)


# --- a recording ------------------------------------------------------------------------

REPLAY: Final = Plan(
    (QUEUE, DECODE, UAPI, REGISTERS, GPA_MAP, CHAIN, LANES, HEX, CODE),
    {
        "tabs": (
            Band((Place((QUEUE,)),), 9, 6),
            Band((Place((DECODE, UAPI, CHAIN, HEX)), Place((REGISTERS, GPA_MAP, LANES, CODE))), 13),
        ),
        "tall": (
            Band((Place((QUEUE,)),), 10),
            Band((Place((DECODE,)), Place((REGISTERS,))), 9),
            Band((Place((UAPI,)), Place((GPA_MAP,))), 8),
            Band((Place((CHAIN, HEX)), Place((LANES, CODE))), 6),
        ),
        "flat": (
            Band((Place((QUEUE,), 5), Place((REGISTERS,), 3, 44)), 9),
            Band((
                Place((DECODE,), 9), Place((UAPI,), 8),
                Place((GPA_MAP, CHAIN, LANES, HEX, CODE), 7),
            ), 10),
        ),
        "full": (
            Band((Place((QUEUE,), 5), Place((REGISTERS,), 3, 44)), 13),
            Band((Place((DECODE,), 9), Place((UAPI,), 8), Place((GPA_MAP,), 7)), 13),
            Band((Place((CHAIN,)), Place((HEX, CODE)), Place((LANES,))), 10),
        ),
        "wide": (
            Band((Place((QUEUE,), 4), Place((REGISTERS,), 2, 44), Place((GPA_MAP,), 2)), 24),
            Band((
                Place((DECODE,), 5), Place((UAPI,), 5), Place((CHAIN,), 4), Place((HEX,), 4),
            ), 25),
            Band((Place((LANES,), 5), Place((CODE,), 3)), 8, 5),
        ),
    },
)  # fmt: skip

# --- a live run -------------------------------------------------------------------------

_LIVE_FULL: Final = (
    Band((Place((QUEUE,), 5), Place((REGISTERS,), 3, 44)), 12),
    Band((Place((DECODE,), 9), Place((UAPI,), 8), Place((GPA_MAP, CHAIN, LANES), 7)), 12),
    Band((Place((CODE,), 9), Place((MEMORY, HEX), 8), Place((CONSOLE,), 7)), 12),
)
LIVE: Final = Plan(
    (QUEUE, DECODE, UAPI, REGISTERS, GPA_MAP, CHAIN, LANES, HEX, CODE, MEMORY, CONSOLE),
    {
        "tabs": (
            Band((Place((QUEUE,)),), 9, 6),
            Band((
                Place((UAPI, DECODE, CODE, CHAIN, HEX)),
                Place((CONSOLE, REGISTERS, GPA_MAP, MEMORY, LANES)),
            ), 13),
        ),
        "tall": (
            Band((Place((QUEUE,)),), 2),
            Band((Place((DECODE,)), Place((REGISTERS,))), 2),
            Band((Place((UAPI, CHAIN)), Place((GPA_MAP, LANES, HEX))), 2),
            Band((Place((CODE,)), Place((CONSOLE, MEMORY))), 2),
        ),
        "flat": _LIVE_FULL,
        "full": _LIVE_FULL,
        "wide": (
            Band((Place((QUEUE,), 4), Place((REGISTERS,), 2, 44), Place((GPA_MAP,), 2)), 9),
            Band((Place((DECODE,), 5), Place((UAPI,), 5), Place((CHAIN,), 4), Place((HEX,), 4)), 8),
            Band((
                Place((CODE,), 7), Place((MEMORY,), 4), Place((CONSOLE,), 4), Place((LANES,), 3),
            ), 7),
        ),
    },
    news=True,
)  # fmt: skip

# --- a live run of Linux ----------------------------------------------------------------

#: Its console has the whole width of 80 columns at least, which is what a shell reckons with.
_TERMINAL: Final = 82
_LINUX_FULL: Final = (
    Band((Place((QUEUE,), 5), Place((REGISTERS,), 3, 44)), 10),
    Band((Place((DECODE,), 9), Place((UAPI,), 8), Place((GPA_MAP, CHAIN, LANES), 7)), 10),
    Band((Place((CODE, MEMORY, HEX)), Place((CONSOLE,), 2, _TERMINAL)), 16),
)
LINUX: Final = Plan(
    LIVE.panes,
    {
        "tabs": (
            Band((
                Place((QUEUE,), 3),
                Place((UAPI, DECODE, REGISTERS, CODE, GPA_MAP, MEMORY, CHAIN, LANES, HEX), 2),
            ), 8),
            Band((Place((CONSOLE,)),), 13),
        ),
        "tall": (
            Band((Place((QUEUE,)),), 2),
            Band((Place((DECODE,)), Place((REGISTERS,))), 2),
            Band((Place((UAPI, CHAIN, CODE)), Place((GPA_MAP, LANES, HEX, MEMORY))), 2),
            Band((Place((CONSOLE,)),), 4),
        ),
        "flat": _LINUX_FULL,
        "full": _LINUX_FULL,
        "wide": (
            Band((Place((QUEUE,), 4), Place((REGISTERS,), 2, 44), Place((GPA_MAP,), 2)), 8),
            Band((Place((DECODE,), 5), Place((UAPI,), 5), Place((CHAIN,), 4), Place((HEX,), 4)), 7),
            Band((
                Place((CODE,), 6), Place((MEMORY, LANES), 4), Place((CONSOLE,), 8, _TERMINAL),
            ), 10),
        ),
    },
    news=True,
)  # fmt: skip
