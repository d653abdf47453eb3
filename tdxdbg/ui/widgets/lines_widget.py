"""The one widget that draws: safe lines to strips."""

from __future__ import annotations

from typing import ClassVar, Final

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from tdxdbg.ui.glyphs import TO_ASCII
from tdxdbg.ui.lines import BLANK, Line
from tdxdbg.ui.palette import Palette

_CACHED: Final = 2048
#: Frames do not take the look of the line that they stand beside.
_FRAMES: Final = frozenset({"frame", "frame_focus"})


class LinesWidget(Widget):
    """Draws one `Line` a row by the Line API; nothing reaches the screen in another way.

    `palette` and `ascii_only` are set by the app before the first frame.
    """

    ALLOW_SELECT: ClassVar[bool] = False
    palette: Palette
    ascii_only: bool = False

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._strips: dict[tuple[Line, int], Strip] = {}

    def dress(self, palette: Palette, ascii_only: bool) -> None:
        """Take another look."""
        self.palette, self.ascii_only = palette, ascii_only
        self._strips.clear()
        self.refresh()

    def line_for(self, y: int) -> Line:
        """What stands in row `y` of the widget, exactly as wide as it is or less."""
        return BLANK

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
        return Strip(segments, width)
