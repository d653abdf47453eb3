"""What panes are made of: lines of text that is safe to send to a terminal, each with a role.

A pane never hands a `str` to a widget. It makes `Line`s out of `Safe` text:
`own` for what this program says itself (literals only, a test walks the
source), `decode.text.safe` for everything else. A role is a name in the theme.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from tdxdbg.decode.text import Safe, safe

#: Safe text and the role that gives it its look.
Span = tuple[Safe, str]


class About(NamedTuple):
    """What a line is about, for copying it, decoding it in place and filtering on it.

    `name` and `text` as they are written (`r12`, `0x800040000000`); `value` the
    number, or the bytes; `filter` a display filter for exits with this value;
    `where` the first byte in struct kvm_run and how many.
    """

    name: Safe
    text: Safe
    value: int | bytes | None = None
    filter: str | None = None
    where: tuple[int, int] | None = None


class Line(NamedTuple):
    """One line of a pane; `current` is the line that the cursor is on."""

    spans: tuple[Span, ...] = ()
    current: bool = False
    about: About | None = None

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.spans)


_PADDED: Final = re.compile(r"\b0{3,15}(?=[0-9a-f]{1,13}\b)")
BLANK: Final = Line()


def own(text: str) -> Safe:
    """This program's own words and glyphs. Only literals may be passed."""
    return Safe(text)


def word(text: str, role: str = "text") -> Span:
    """A span of any text, made safe."""
    return safe(text), role


def pad(text: Safe, width: int) -> Safe:
    """`text` filled with blanks to a column's width; every character takes one cell."""
    return Safe(text.ljust(width))


def cut(text: Safe, width: int) -> Safe:
    """`text` in at most `width` cells, with a mark where it was cut."""
    if len(text) <= width:
        return text
    return Safe(text[: max(width - 1, 0)] + "…"[:width])


def line(*spans: Span, current: bool = False, about: About | None = None) -> Line:
    """A line out of spans, empty ones left out."""
    return Line(tuple(span for span in spans if span[0]), current, about)


def wrap(text: Safe, width: int, first: int = 0) -> list[Safe]:
    """`text` broken at blanks into pieces of at most `width`; the first has `first` cells less."""
    width = max(width, 8)
    room = max(width - first, 8)
    pieces: list[Safe] = []
    current = ""
    for item in text.split(" "):
        rest = item
        if current and len(current) + 1 + len(rest) > room:
            pieces.append(Safe(current))
            current, room = "", width
        while not current and len(rest) > room:
            pieces.append(Safe(rest[:room]))
            rest, room = rest[room:], width
        current = f"{current} {rest}" if current else rest
    pieces.append(Safe(current))
    return pieces


def joined(groups: Iterable[Iterable[Span]], between: Safe, role: str = "dim") -> tuple[Span, ...]:
    """Groups of spans with a separator between them."""
    result: list[Span] = []
    for group in groups:
        if result:
            result.append((between, role))
        result.extend(group)
    return tuple(result)


def crop(spans: Iterable[Span], left: int, width: int) -> tuple[Span, ...]:
    """What a window of `width` cells, beginning `left` cells in, shows of a line."""
    result: list[Span] = []
    at = -left
    for text, role in spans:
        end = at + len(text)
        if end > 0 and at < width:
            result.append((Safe(text[max(-at, 0) : width - at]), role))
        at = end
    return tuple(result)


def width_of(spans: Iterable[Span]) -> int:
    """Cells that the spans take."""
    return sum(len(text) for text, _ in spans)


def blanks(width: int) -> Safe:
    """So many blanks, none when negative."""
    return Safe(" " * width)


def repeat(glyph: Safe, count: int) -> Safe:
    """A glyph many times."""
    return Safe(glyph * count)


def right(text: Safe, width: int) -> Safe:
    """`text` at the right of a column."""
    return Safe(text.rjust(width))


def concat(*texts: Safe) -> Safe:
    """Safe texts one after the other."""
    return Safe("".join(texts))


def stacked(texts: Iterable[Safe]) -> Safe:
    """Texts below each other, for a file or the clipboard; a widget takes lines."""
    return Safe("".join(f"{text}\n" for text in texts))


def trimmed(text: Safe) -> Safe:
    """Without the blanks around it."""
    return Safe(text.strip())


def unpadded(text: Safe) -> Safe:
    """Without the zeros before the digits of long addresses."""
    return Safe(_PADDED.sub("", text))


def part(text: Safe, start: int, stop: int | None = None) -> Safe:
    """Some characters of it."""
    return Safe(text[start:stop])
