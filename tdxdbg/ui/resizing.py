"""Borders that a user moves: other weights for the shape that is on the screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tdxdbg.ui.layout import LEAST_HEIGHT, LEAST_WIDTH, Arrangement, Sizes, View


def resized(
    view: View, seen: Arrangement, pane: str, *, wider: int = 0, higher: int = 0
) -> View | None:
    """The view with that pane wider and higher by so many cells, as far as its neighbours can give.

    None when nothing can move: the pane is alone in its row or column, nothing
    is left to give, or panes stand one at a time.
    """
    band = next((at for at, names in enumerate(seen.grid) if pane in names), None)
    if band is None:
        return None
    now = _now(seen)
    heights = moved(now.bands, band, higher, LEAST_HEIGHT)
    column = seen.grid[band].index(pane)
    widths = moved(now.places[band], column, wider, LEAST_WIDTH)
    places = tuple(widths if at == band else row for at, row in enumerate(now.places))
    if (heights, places) == (now.bands, now.places):
        return None
    return replace(view, sizes={**view.sizes, seen.shape: Sizes(heights, places)})


def dragged(
    view: View, seen: Arrangement, pane: str, edges: tuple[int, int], x: int, y: int
) -> View | None:
    """The view with edges of a pane moved to a cell of the screen; None when nothing moves.

    `edges`: -1 the left (upper) one, 1 the right (lower) one, 0 none.
    """
    band = next((at for at, names in enumerate(seen.grid) if pane in names), None)
    if band is None:
        return None
    column = seen.grid[band].index(pane)
    across, along = edges
    # A left edge is the right one of the pane before, and so are the upper ones.
    before = column - (across < 0), band - (along < 0)
    changed = view
    if across and 0 <= before[0] < len(seen.grid[band]) - 1:
        name = seen.grid[band][before[0]]
        place = seen.places[name]
        spare = _spare((seen.places[other].width for other in seen.grid[band][before[0] + 1 :]),
                       LEAST_WIDTH)  # fmt: skip
        wider = min(x + (across > 0) - place.x - place.width, spare)
        changed = resized(changed, seen, name, wider=wider) or changed
    if along and 0 <= before[1] < len(seen.grid) - 1:
        name = seen.grid[before[1]][0]
        place = seen.places[name]
        spare = _spare((seen.places[names[0]].height for names in seen.grid[before[1] + 1 :]),
                       LEAST_HEIGHT)  # fmt: skip
        higher = min(y + (along > 0) - place.y - place.height, spare)
        changed = _higher(changed, seen, before[1], higher)
    return None if changed is view else changed


def _spare(sizes: Iterable[int], least: int) -> int:
    """What the panes beyond a border can give: it moves no other border."""
    return sum(max(size - least, 0) for size in sizes)


def _higher(view: View, seen: Arrangement, band: int, by: int) -> View:
    """A band higher, its widths and those of the others as the view has them now."""
    now = _now(seen)
    heights = moved(now.bands, band, by, LEAST_HEIGHT)
    if heights == now.bands:
        return view
    places = view.sizes[seen.shape].places if seen.shape in view.sizes else now.places
    return replace(view, sizes={**view.sizes, seen.shape: Sizes(heights, places)})


def reset(view: View) -> View:
    """The view with the sizes of the plan, for every shape."""
    return replace(view, sizes={})


def _now(seen: Arrangement) -> Sizes:
    """Heights and widths in cells, which are weights too."""
    rows = [[seen.places[name] for name in names] for names in seen.grid]
    return Sizes(
        tuple(places[0].height for places in rows),
        tuple(tuple(place.width for place in places) for places in rows),
    )


def moved(sizes: Sequence[int], at: int, by: int, least: int) -> tuple[int, ...]:
    """Sizes with that one larger by `by` (negative: smaller), taken from the next ones, then back.

    None gets below `least`, nor smaller where it is below that already; the sum stays.
    """
    result = list(sizes)
    others = [*range(at + 1, len(sizes)), *reversed(range(at))]
    if not others:
        return tuple(result)
    if by < 0:
        given = min(-by, max(result[at] - least, 0))
        result[at] -= given
        result[others[0]] += given
        return tuple(result)
    for other in others:
        given = min(by, max(result[other] - least, 0))
        result[other] -= given
        result[at] += given
        by -= given
    return tuple(result)
