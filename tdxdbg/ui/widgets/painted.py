"""A strip that says to the terminal only what changes from one segment to the next.

Textual writes every attribute and both colours before each piece of text, and a
reset after it: seven eighths of all that a screen sends. Here a piece of text
costs the colour that differs, and blanks nothing where they would look the same.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from rich.color import ColorSystem
from rich.console import COLOR_SYSTEMS, Console
from rich.style import Style
from textual.strip import Strip


class _Codes(NamedTuple):
    """The SGR parameters of a style; `marks`: whether it shows on a blank too."""

    attributes: tuple[str, ...]
    colour: tuple[str, ...]
    behind: tuple[str, ...]
    marks: bool


_PLAIN = _Codes((), (), (), False)


class PaintedStrip(Strip):
    """A strip for terminals; what is cut out of it is a plain one, which looks the same."""

    def render(self, console: Console) -> str:
        """The sequences for the terminal; they begin and end in the terminal's plain look."""
        if self._render_cache is None:
            system = COLOR_SYSTEMS.get(console.color_system or "", ColorSystem.STANDARD)
            self._render_cache = _rendered(self, system)
        return self._render_cache


def _rendered(strip: Strip, system: ColorSystem) -> str:
    parts: list[str] = []
    now = _PLAIN
    for text, style, _ in strip:
        codes = _codes(style, system) if style is not None else _PLAIN
        if codes is not now and not (text.isspace() and _same_on_blanks(codes, now)):
            parts.append(_change(now, codes))
            now = codes
        parts.append(text)
    if now is not _PLAIN:
        parts.append("\x1b[0m")
    return "".join(parts)


def _same_on_blanks(one: _Codes, other: _Codes) -> bool:
    return one.behind == other.behind and not one.marks and not other.marks


def _change(now: _Codes, then: _Codes) -> str:
    """From one look to another; attributes are only ever taken away all together."""
    gone = (now.colour and not then.colour) or (now.behind and not then.behind)
    if gone or now.attributes != then.attributes:
        reset = ("0",) if now is not _PLAIN else ()
        codes = (*reset, *then.attributes, *then.colour, *then.behind)
    else:
        codes = then.colour if now.colour != then.colour else ()
        codes += then.behind if now.behind != then.behind else ()
    return f"\x1b[{';'.join(codes)}m" if codes else ""


@lru_cache(maxsize=1024)
def _codes(style: Style, system: ColorSystem) -> _Codes:
    flags = (style.bold, style.dim, style.italic, style.underline, style.reverse)
    attributes = tuple(code for code, on in zip("12347", flags, strict=True) if on)
    colour = style.color.downgrade(system).get_ansi_codes() if style.color else ()
    behind = style.bgcolor.downgrade(system).get_ansi_codes(False) if style.bgcolor else ()
    return _Codes(attributes, colour, behind, bool(style.underline or style.reverse))
