"""From a role to the look of text: built once from a theme."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from rich.style import Style

#: The colours that a theme gives, each with what it is for.
COLOURS: Final[dict[str, str]] = {
    "background": "behind everything",
    "cursor": "behind the line of the cursor",
    "lit": "behind the range of this exit in the GPA map",
    "text": "plain text",
    "dim": "what is there for order: offsets, column heads, zeros",
    "frame": "frames of panes",
    "focus": "frame of the focused pane, and keys",
    "name": "names of registers and fields",
    "value": "values",
    "changed": "what changed",
    "shared": "shared pages",
    "private": "private pages",
    "mixed": "cells of the map with both",
    "error": "errors, differences, refused calls",
    "retry": "RETRY",
    "ok": "success",
    "unknown": "what was not recorded, or is stale",
    "why": "the reason of a decision, with the kernel function",
}

#: What a theme can say instead of #rrggbb: a colour of the terminal's own palette. `faint` is
#: plain text, dimmed; `reverse`, of what lies behind, turns the colours of the text around.
TERMINAL_COLOURS: Final = (
    "default", "faint", "reverse",
    "black", "red", "green", "yellow", "blue", "magenta", "cyan", "white",
    "bright_black", "bright_red", "bright_green", "bright_yellow",
    "bright_blue", "bright_magenta", "bright_cyan", "bright_white",
)  # fmt: skip
#: Colours that lie behind text.
BEHIND: Final = frozenset({"background", "cursor", "lit"})

#: Roles are the colours that text can have, and these, made of them.
_BOLD: Final = frozenset({"changed", "error", "focus"})
_EXTRA: Final[dict[str, tuple[str, str]]] = {
    "frame_focus": ("focus", ""),
    "title": ("text", "bold"),
    "tab": ("dim", ""),
    "badge": ("text", "reverse bold"),
    "ok_badge": ("ok", "reverse bold"),
    "retry_badge": ("retry", "reverse bold"),
    "unknown_badge": ("unknown", "reverse bold"),
    "past_badge": ("mixed", "reverse bold"),
    "warning": ("error", "reverse bold"),
    "italic": ("why", "italic"),
}
_STATES: Final = ("shared", "private", "mixed")
#: Solid cells of the GPA map by state.
_CELLS: Final[dict[str, str]] = {
    "private": "private",
    "shared": "shared",
    "mixed": "mixed",
    "unmapped": "frame",
    "beyond": "background",
}
#: What a mark mixes into the colour of a cell, and how much of it: the range of the
#: exit has the full colour, among fainter ones.
_MARKS: Final[dict[str, tuple[str, float]]] = {
    "": ("background", 0.35),
    "lit": ("changed", 0.1),
    "now": ("changed", 0.55),
    "here": ("changed", 1.0),
}
#: Cells of the map: a state, and a mark where there is one. Two of them with a slash
#: between are a role too, where a palette mixes.
CELLS: Final = tuple(f"{state}_{mark}" if mark else state for mark in _MARKS for state in _CELLS)
#: How dark the texture of a cell is.
_TEXTURE: Final = 0.3


@dataclass(frozen=True)
class Palette:
    """The styles of a theme by role. `dark` says which way its contrast goes.

    `plain`: no colour at all, for NO_COLOR; attributes and glyphs say what
    colours would have.
    """

    name: str
    dark: bool
    colours: dict[str, str]
    title: str = ""
    plain: bool = False
    _styles: dict[tuple[str, bool], Style] = field(default_factory=dict, repr=False, compare=False)

    @property
    def ansi(self) -> bool:
        """Whether it follows the terminal's own palette, at least in part."""
        named = set(self.colours.values()) & set(TERMINAL_COLOURS)
        return self.plain or bool(named - {"reverse"})

    def without_colour(self) -> Palette:
        """The same in the terminal's plain colours."""
        return replace(self, plain=True, _styles={})

    def style(self, role: str, current: bool = False) -> Style:
        """The full style of a role; `current`: on the line of the cursor."""
        key = (role, current)
        found = self._styles.get(key)
        if found is None:
            found = self._styles[key] = self._make(role, current)
        return found

    @property
    def mixes(self) -> bool:
        """Whether colours can be mixed, as cells of the map are that stand two in a character."""
        used = {*_CELLS.values(), *(towards for towards, _ in _MARKS.values())}
        return all(self.colours[name].startswith("#") for name in used)

    def _make(self, role: str, current: bool) -> Style:
        upper, two, lower = role.partition("/")
        if two:
            return self._two(upper, lower)
        colour, attributes = _EXTRA.get(role, (role, "bold" if role in _BOLD else ""))
        behind = "cursor" if current else "background"
        turned = False
        if role.endswith("_lit"):
            colour, behind, attributes = role.removesuffix("_lit"), "lit", "underline"
        elif role.endswith("_now"):
            # Never reversed: a reversed ▓ is a ░.
            colour, behind = "changed", role.removesuffix("_now")
            attributes = "bold underline" if self.plain else "bold"
        words = attributes.split()
        front, back = self.colours[colour], self.colours[behind]
        if back == "reverse":
            # One bar, whatever the colours of what stands in it.
            front, back = self.colours["text"], self.colours["background"]
            turned = True
        turned ^= current and self.plain
        reverse = ("reverse" in words) ^ turned
        return Style(
            color=None if self.plain else "default" if front == "faint" else front,
            bgcolor=None if self.plain else back,
            bold="bold" in words or current or None,
            dim=(front == "faint" and not self.plain and not reverse) or None,
            italic="italic" in words or None,
            reverse=reverse or None,
            underline="underline" in words or None,
        )

    def _two(self, upper: str, lower: str) -> Style:
        """Two cells in one character, or the texture of two that are alike."""
        one, other = self._cell(upper), self._cell(lower)
        if upper == lower:
            other = mixed(one, self.colours["background"], _TEXTURE)
            if not upper.startswith("shared"):
                one, other = other, one
        return Style(color=one, bgcolor=other)

    def _cell(self, name: str) -> str:
        state, _, mark = name.partition("_")
        towards, share = _MARKS[mark]
        return mixed(self.colours[_CELLS[state]], self.colours[towards], share)


def mixed(one: str, other: str, share: float) -> str:
    """A colour #rrggbb between two, `share` of the way to the other."""
    parts = (
        round(int(one[at : at + 2], 16) * (1 - share) + int(other[at : at + 2], 16) * share)
        for at in (1, 3, 5)
    )
    return "#" + "".join(f"{part:02x}" for part in parts)


ROLES: Final = (
    frozenset(COLOURS)
    | frozenset(_EXTRA)
    | {f"{name}_{how}" for name in _STATES for how in ("lit", "now")}
    | {"dim_lit"}
)
