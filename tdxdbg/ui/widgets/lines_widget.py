"""The one widget that draws: safe lines to strips.

A step changes every pane, but few rows of most of them. A row that comes out as
it stands on the terminal is not sent again, whatever was asked to be drawn anew;
that, and a way to the compositor without styles and filters, is what keeps a
key short, also over a slow line.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from itertools import groupby
from typing import ClassVar, Final, Self

from rich.segment import Segment
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from tdxdbg.decode.text import Safe
from tdxdbg.ui.glyphs import TO_ASCII
from tdxdbg.ui.keys import BY_ID, Key, key_of
from tdxdbg.ui.lines import BLANK, Line, word
from tdxdbg.ui.palette import Palette
from tdxdbg.ui.widgets.painted import PaintedStrip

_CACHED: Final = 2048
_KEY: Final = re.compile(r"\{([a-z_]+)\}")
#: Frames do not take the look of the line that they stand beside.
_FRAMES: Final = frozenset({"frame", "frame_focus"})


class LinesWidget(Widget):
    """Draws one `Line` a row by the Line API; nothing reaches the screen in another way.

    `palette`, `ascii_only` and `keys` are set by the app before the first frame.
    """

    ALLOW_SELECT: ClassVar[bool] = False
    palette: Palette
    ascii_only: bool = False
    #: The keys by id, which a user may have changed.
    keys: Mapping[str, Key] = BY_ID

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._strips: dict[tuple[Line, int], Strip] = {}
        #: Rows as they look now, for this size, but for those that may have changed.
        self._row_strips: dict[int, Strip] = {}
        self._strips_size = Size(0, 0)
        #: Rows that the terminal surely shows so.
        self._sent_strips: dict[int, Strip] = {}

    def dress(self, palette: Palette, ascii_only: bool) -> None:
        """Take another look."""
        self.palette, self.ascii_only = palette, ascii_only
        self._strips.clear()
        self.refresh()

    def key(self, id: str) -> str:
        """The key that does this, as help writes it."""
        return key_of(id, self.keys)

    def spoken(self, text: str) -> Safe:
        """Words with `{id}` in them for the key that does it."""
        return word(_KEY.sub(lambda found: self.key(found[1]), text))[0]

    def line_for(self, y: int) -> Line:
        """What stands in row `y` of the widget, exactly as wide as it is or less."""
        return BLANK

    def fit(self) -> None:
        """Make anew what depends on the size; called before the first row of a new size."""

    # --- rows -------------------------------------------------------------------------

    def refresh(
        self,
        *regions: Region,
        repaint: bool = True,
        layout: bool = False,
        recompose: bool = False,
    ) -> Self:
        """These regions (none: all of it) may look otherwise now."""
        if regions:
            for y in _lines(regions):
                self._row_strips.pop(y, None)
        else:
            self._row_strips.clear()
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Rows for the compositor. They need no CSS, and no filter: colours are the palette's."""
        strips = [self._unsent_strip(y) for y in crop.line_range]
        if crop.column_span != (0, self.outer_size.width):
            return [strip.crop(*crop.column_span) for strip in strips]
        return strips

    def _unsent_strip(self, y: int) -> Strip:
        """A row as it looks now; whether the terminal gets it is not known."""
        strip = self._row_strip(y)
        if self._sent_strips.get(y) is not strip:
            self._sent_strips.pop(y, None)
        return strip

    def _row_strip(self, y: int) -> Strip:
        size = self.outer_size
        if size != self._strips_size:
            self._strips_size = size
            self._row_strips.clear()
            self._sent_strips.clear()
            self.fit()
        found = self._row_strips.get(y)
        if found is None:
            found = self._row_strips[y] = self.render_line(y)
        return found

    def _exchange_repaint_regions(self) -> Collection[Region]:
        """Of what may look otherwise, the rows that do: textual sends these."""
        width = self.outer_size.width
        changed = []
        for y in sorted(_lines(super()._exchange_repaint_regions())):
            strip = self._row_strip(y)
            if self._sent_strips.get(y) is not strip:
                self._sent_strips[y] = strip
                changed.append(y)
        return [Region(0, first, width, count) for first, count in _runs(changed)]

    # --- strips -----------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One row as a strip, out of a cache."""
        return self.strip(self.line_for(y), self.outer_size.width)

    def strip(self, line: Line, width: int) -> Strip:
        """A line as a strip of `width` cells; every character of it takes one cell."""
        key = (line, width)
        found = self._strips.get(key)
        if found is None:
            if len(self._strips) >= _CACHED:
                self._strips.clear()
            found = self._strips[key] = self._make(line, width)
        return found

    def _make(self, line: Line, width: int) -> Strip:
        style = self.palette.style
        segments: list[Segment] = []
        room = width
        for text, role in line.spans:
            shown = text[:room]
            if shown:
                if self.ascii_only:
                    shown = shown.translate(TO_ASCII)
                current = line.current and role not in _FRAMES
                segments.append(Segment(shown, style(role, current)))
                room -= len(shown)
        if room:
            segments.append(Segment(" " * room, style("text", line.current)))
        return PaintedStrip(segments, width)


def _lines(regions: Iterable[Region]) -> set[int]:
    return {y for region in regions for y in region.line_range}


def _runs(rows: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending numbers as runs: the first, and how many."""
    groups = (list(run) for _, run in groupby(enumerate(rows), lambda item: item[1] - item[0]))
    return [(run[0][1], len(run)) for run in groups]
