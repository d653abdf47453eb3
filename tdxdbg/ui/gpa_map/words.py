"""The map in words: the range of the exit, what changed, and what the cursor is on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from tdxdbg.decode.text import Safe
from tdxdbg.decode.values import short_size, size_text
from tdxdbg.ui.gpa_map.cells import BEYOND, MIXED, PRIVATE, SHARED, UNMAPPED
from tdxdbg.ui.gpa_map.draw import GLYPHS, Asked
from tdxdbg.ui.gpa_map.ranges import Item, Ranges
from tdxdbg.ui.gpa_map.window import Window
from tdxdbg.ui.keys import Key, hint
from tdxdbg.ui.lines import Line, Span, concat, joined, line, own, width_of, word

STATE_WORDS: Final = {
    SHARED: (own("shared"), "shared"),
    PRIVATE: (own("private"), "private"),
    MIXED: (own("mixed"), "mixed"),
    UNMAPPED: (own("not mapped"), "dim"),
    BEYOND: (own("beyond the GPA width"), "dim"),
}
_SHORT_WORDS: Final = {UNMAPPED: (own("none"), "dim"), BEYOND: (own("beyond"), "dim")}
#: The longest size that is written exactly, in characters.
_SHORT: Final = 9
_UNITS: Final = {10: "KiB", 20: "MiB", 30: "GiB", 40: "TiB", 50: "PiB"}
_SPACE: Final = own(" ")
_NONE: Final = own("")
_ARROW: Final = own("→ ")
_EXIT: Final = (own("[exit]  "), "focus")
_CHANGED: Final = (own("changed "), "changed")
_HERE: Final = (own("here    "), "title")
_NO_GPA: Final = (own("no GPA in this exit"), "dim")
_NOTHING: Final = (own("nothing in this step"), "dim")
_ABOVE: Final = own(" ↑ ")
_BELOW: Final = own(" ↓ ")
_BETWEEN: Final = own("  ")
_THIS_STEP: Final = (own(", in this step"), "changed")
_A_CELL: Final = own(" a cell")
_FOLLOWS: Final = (own("follows the exit"), own("follows"))
_STEP: Final = own(" ▸ ")
#: Keys by id and what they do, as said while the pane has no cursor.
_KEYS: Final = (
    (("map_in", "map_out"), own("zoom")),
    (("act",), own("list")),
    (("map_follow",), own("exit")),
)


def state_span(state: int) -> Span:
    """`▓ shared`, for a list."""
    text, role = _SHORT_WORDS.get(state) or STATE_WORDS[state]
    return concat(GLYPHS[state], _SPACE, text), role


def size_about(size: int) -> str:
    """A size for a list: exact where that is short, else `~2.0 PiB`."""
    exact = size_text(size)
    if len(exact) <= _SHORT:
        return exact
    shift = (size.bit_length() - 1) // 10 * 10
    return f"~{size / (1 << shift):.1f} {_UNITS[shift]}"


def range_text(start: int, size: int) -> str:
    """`40000000 +2 MiB`."""
    return f"{start:x} +{size_about(size)}"


def exit_line(asked: Asked | None, window: Window) -> Line:
    """The range of the exit, and how far away it is when it is not seen."""
    if asked is None:
        return line(_EXIT, _NO_GPA)
    spans = [*_asked(_EXIT, asked, _NONE)]
    start, size, _ = asked
    if start + size <= window.start:
        spans += [(_ABOVE, "focus"), word(size_about(window.start - start - size), "dim")]
    elif start >= window.end:
        spans += [(_BELOW, "focus"), word(size_about(start - window.end), "dim")]
    return line(*spans)


def changed_line(changed: Asked | None) -> Line:
    """What this step converted."""
    if changed is None:
        return line(_CHANGED, _NOTHING)
    return line(*_asked(_CHANGED, changed, _ARROW))


def _asked(label: Span, item: Asked, arrow: Safe) -> tuple[Span, ...]:
    gpa, size, private = item
    text, role = STATE_WORDS[PRIVATE if private else SHARED]
    return label, word(f"{gpa:x} ", "value"), word(f"+{size_text(size)} ", "text"), (
        concat(arrow, text), role,
    )  # fmt: skip


def here_line(ranges: Ranges, item: Item, changed: Asked | None, width: int) -> Line:
    """What a cell is: `here    40200000 +2 MiB shared, of 40000000 +64 MiB`."""
    start, size = item.start, item.size
    spans = [_HERE, word(f"{start:x} ", "value"), word(f"+{size_text(size)} ", "text")]
    spans.append(STATE_WORDS[item.state])
    count = ranges.within(start, item.end)
    around = ranges[ranges.index(start)]
    more: list[Span] = []
    if changed is not None and start < changed[0] + changed[1] and changed[0] < item.end:
        more.append(_THIS_STEP)
    if count > 1:
        more.append(word(f", {count:,} ranges", "dim"))
    elif around.size > size:
        more.append(word(f", of {range_text(around.start, around.size)}", "dim"))
    for span in more:
        if width_of(spans) + len(span[0]) <= width:
            spans.append(span)
    return line(*spans)


def keys_line(width: int, keys: Mapping[str, Key]) -> Line:
    """What one can do here, as far as there is room."""
    spans: list[Span] = []
    for ids, what in _KEYS:
        more = [word(f"{hint(ids, keys)} ", "focus"), (what, "dim"), (_BETWEEN, "dim")]
        if width_of(spans) + width_of(more) <= width:
            spans += more
    return line(*spans)


def describe(ranges: Ranges, gpa: int) -> str:
    """What is at a GPA, for who types it."""
    item = ranges[ranges.index(gpa)]
    return f"GPA {gpa:x}: {STATE_WORDS[item.state][0]}, {range_text(item.start, item.size)}"


def list_foot(key: Callable[[str], str]) -> tuple[Span, ...]:
    """How to get from the list to the map."""
    enter, stop = word(key("act"), "focus"), word(key("stop"), "focus")
    return enter, (own(" shows it  "), "dim"), stop, (own(" the exit"), "dim")


def scale_foot(window: Window, space: int, back: str, width: int) -> tuple[Span, ...]:
    """The zoom, from the whole space to a cell, and whether the exit is followed.

    `back`: the key to follow it again, where it is not.
    """
    follows = (word(f"stays, {back} follows")[0], own("stays")) if back else _FOLLOWS
    sizes = (space, window.row, window.cell)
    full = [size_text(size) for size in sizes]
    short = [short_size(size) for size in sizes]
    if window.size >= space:
        full[1] = short[1] = "whole"
    for texts, unit, state in (
        (full, _A_CELL, follows[0]),
        (full, _NONE, follows[0]),
        (short, _A_CELL, follows[1]),
        (short, _NONE, follows[1]),
    ):
        scale = joined([[word(text, "dim")] for text in texts], _STEP)
        spans = (*scale, (unit, "dim"), (_BETWEEN, "dim"), (state, "focus" if back else "dim"))
        if width_of(spans) <= width:
            return spans
    return (word(short[2], "dim"), (_BETWEEN, "dim"), (follows[1], "dim"))
