"""The ranges as lines, as many as are seen."""

from __future__ import annotations

from typing import Final

from tdxdbg.ui.gpa_map.draw import Asked
from tdxdbg.ui.gpa_map.ranges import Item, Ranges
from tdxdbg.ui.gpa_map.words import size_about, state_span
from tdxdbg.ui.lines import Line, Span, line, own, right, word

_HERE: Final = own("▶")
_EXIT: Final = own("[")
_SPACE: Final = own(" ")
_ALL_PRIVATE: Final = (own("all private"), "title")


class RangeList:
    """Scrolls over the ranges; `top` is the first one that is seen."""

    def __init__(self) -> None:
        self.top = 0
        self._shown = -1

    def show(self, index: int, rows: int, count: int) -> None:
        """Have this range in view; where it already was, a scrolled list stays as it is."""
        if index != self._shown:
            self._shown = index
            margin = min(1, (rows - 1) // 2)
            self.top = min(self.top, index - margin)
            self.top = max(self.top, index - rows + 1 + margin)
        self.scroll(0, rows, count)

    def scroll(self, lines: int, rows: int, count: int) -> None:
        """Without the cursor."""
        self.top = min(max(self.top + lines, 0), max(count - rows, 0))

    def lines(
        self, ranges: Ranges, rows: int, marks: tuple[Asked | None, Asked | None], here: int
    ) -> list[Line]:
        """The title and the ranges that are seen; `here` is the one under the cursor, or -1."""
        stop = min(self.top + rows, ranges.count)
        seen = [ranges[index] for index in range(self.top, stop)]
        widths = (
            max((len(f"{item.start:x}") for item in seen), default=0),
            max((len(size_about(item.size)) for item in seen), default=0),
        )
        lines = [_title(ranges, self.top, stop)]
        for index, item in enumerate(seen, self.top):
            lines.append(_line(item, widths, marks, index == here))
        return lines


def _title(ranges: Ranges, top: int, stop: int) -> Line:
    shared, count = ranges.shared_count, ranges.count
    spans: list[Span] = [_ALL_PRIVATE]
    if shared:
        size = size_about(ranges.shared_bytes)
        spans = [word(f"{shared:,} shared range{'s' * (shared > 1)}, {size}", "title")]
    if top < stop and stop - top < count:
        spans.append(word(f"  {top + 1:,}-{stop:,} of {count:,}", "dim"))
    return line(*spans)


def _line(
    item: Item, widths: tuple[int, int], marks: tuple[Asked | None, Asked | None], here: bool
) -> Line:
    asked, changed = (_touches(item, mark) for mark in marks)
    start = right(word(f"{item.start:x}")[0], widths[0])
    return line(
        (_HERE if here else _EXIT if asked else _SPACE, "focus"),
        (start, "badge" if here else "changed" if changed else "value"),
        word(f" +{size_about(item.size):<{widths[1]}} ", "text"),
        state_span(item.state),
    )


def _touches(item: Item, mark: Asked | None) -> bool:
    return mark is not None and item.start < mark[0] + mark[1] and mark[0] < item.end
