"""Themes: TOML files, checked key by key; a bad one is one line and is left out.

The shipped ones lie in `themes/`, those of the user in the folder `themes` of
the settings, where one of the same name takes the place of a shipped one.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from platformdirs import user_config_path
from rich.console import Console
from textual import constants
from textual.theme import BUILTIN_THEMES, Theme

from tdxdbg.errors import TdxdbgError
from tdxdbg.resources import themes_dir
from tdxdbg.ui.palette import BEHIND, COLOURS, TERMINAL_COLOURS, Palette

DEFAULT: Final = "tdx-dark"
#: Where the terminal has 16 colours: others would come out as whatever is near.
DEFAULT_16: Final = "tdx-16"
_KEYS: Final = frozenset({"name", "title", "dark", "base", "colors"})
_COLOUR: Final = re.compile(r"#[0-9a-fA-F]{6}")
_LARGEST: Final = 1 << 16


class ThemeError(TdxdbgError):
    """A theme that cannot be used: file, key and what is wrong with it."""


class Themes(NamedTuple):
    """What was found: palettes by name, and a line for each file left out."""

    palettes: dict[str, Palette]
    problems: tuple[str, ...]


def load_themes(folders: Iterable[Path] | None = None) -> Themes:
    """Every `*.toml` in the folders (the shipped ones by default); later ones win."""
    palettes: dict[str, Palette] = {}
    problems: list[str] = []
    for folder in folders if folders is not None else (themes_dir(),):
        for path in sorted(folder.glob("*.toml")):
            try:
                palette = read_theme(path, palettes)
            except ThemeError as error:
                problems.append(str(error))
            else:
                palettes[palette.name] = palette
    return Themes(palettes, tuple(problems))


def all_themes() -> Themes:
    """The shipped themes and those of the user."""
    return load_themes((themes_dir(), user_themes_dir()))


def user_themes_dir() -> Path:
    """Where a user's own themes lie; the folder need not exist."""
    return user_config_path("tdxdbg", appauthor=False) / "themes"


def notice(themes: Themes) -> str:
    """What is said of themes that were left out, in one line; empty when there are none."""
    more = len(themes.problems) - 1
    return "" if more < 0 else themes.problems[0] + (f" (and {more} more)" if more else "")


def for_terminal(themes: Themes, name: str | None, environ: Mapping[str, str]) -> Palette:
    """The named theme, or the one that suits the terminal; without colours under NO_COLOR.

    Raises ThemeError.
    """
    palette = choose(themes, name or suited(environ))
    return palette.without_colour() if environ.get("NO_COLOR") else palette


def suited(environ: Mapping[str, str]) -> str:
    """The theme for a terminal whose colours are as TERM and COLORTERM say."""
    settings = {key: text for key, text in environ.items() if key != "NO_COLOR"}
    system: Any = constants.COLOR_SYSTEM
    console = Console(color_system=system, force_terminal=True, _environ=settings)
    return DEFAULT if console.color_system in ("256", "truecolor") else DEFAULT_16


def choose(themes: Themes, name: str | None) -> Palette:
    """The named theme; raises ThemeError naming those that exist."""
    wanted = name or DEFAULT
    if wanted not in themes.palettes:
        known = ", ".join(sorted(themes.palettes)) or "none"
        raise ThemeError(f"there is no theme {wanted!r}; themes: {known}")
    return themes.palettes[wanted]


def read_theme(path: Path, bases: Mapping[str, Palette] | None = None) -> Palette:
    """One theme file, `bases` being those that it can build on; raises ThemeError."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise ThemeError(f"{path.name}: larger than a theme can be")
        return parse_theme(data.decode(), path.name, bases)
    except OSError as error:
        raise ThemeError(f"{path.name}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ThemeError(f"{path.name}: is not UTF-8") from None


def parse_theme(text: str, name: str, bases: Mapping[str, Palette] | None = None) -> Palette:
    """A theme out of TOML; `name` is the file's, for messages. Raises ThemeError."""
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ThemeError(f"{name}: not TOML: {error}") from None
    for key in data:
        if key not in _KEYS:
            raise ThemeError(f"{name}: unknown key {key!r}; keys: {', '.join(sorted(_KEYS))}")
    called, dark, colours = data.get("name"), data.get("dark"), data.get("colors")
    if not isinstance(called, str) or not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", called):
        raise ThemeError(f"{name}: name must be lower-case letters, digits and dashes")
    if not isinstance(dark, bool):
        raise ThemeError(f"{name}: dark must be true or false")
    if not isinstance(colours, dict):
        raise ThemeError(f"{name}: the table [colors] is missing")
    title = data.get("title", "")
    if not isinstance(title, str):
        raise ThemeError(f"{name}: title must be text")
    given = _base(data["base"], name, bases or {}) if "base" in data else {}
    return Palette(called, dark, _colours({**given, **colours}, name), title)


def _base(base: object, name: str, bases: Mapping[str, Palette]) -> dict[str, str]:
    """The colours of another theme, for those that a theme does not give."""
    if not isinstance(base, str) or base not in bases:
        known = ", ".join(sorted(bases)) or "none"
        raise ThemeError(f"{name}: base: there is no theme {base!r}; themes: {known}")
    return bases[base].colours


def _colours(colours: dict[str, object], name: str) -> dict[str, str]:
    for key, value in colours.items():
        if key not in COLOURS:
            known = ", ".join(COLOURS)
            raise ThemeError(f"{name}: unknown key colors.{key!s}; colours: {known}")
        if not isinstance(value, str) or not _is_colour(key, value):
            raise ThemeError(
                f"{name}: colors.{key}: {value!r} is not a colour such as #e69f00 or bright_red"
            )
    missing = [key for key in COLOURS if key not in colours]
    if missing:
        raise ThemeError(f"{name}: colors.{missing[0]} is missing ({COLOURS[missing[0]]})")
    return {key: str(colours[key]) for key in COLOURS}


def _is_colour(key: str, value: str) -> bool:
    wrong = "faint" if key in BEHIND else "reverse"
    return bool(_COLOUR.fullmatch(value)) or (value in TERMINAL_COLOURS and value != wrong)


def textual_theme(palette: Palette) -> Theme:
    """What textual itself draws with: behind the panes, and dialogs."""
    colours = {key: _css(palette, colour) for key, colour in palette.colours.items()}
    return Theme(
        name=palette.name,
        dark=palette.dark,
        ansi=palette.ansi,
        # Its style sheets want more of these than of others.
        variables=dict(BUILTIN_THEMES["ansi-dark"].variables) if palette.ansi else {},
        primary=colours["focus"],
        warning=colours["retry"],
        error=colours["error"],
        success=colours["ok"],
        foreground=colours["text"],
        background=colours["background"],
        surface=colours["background"],
        panel=colours["background"],
    )


def _css(palette: Palette, colour: str) -> str:
    """A colour as textual's style sheets write it."""
    if palette.plain or colour in ("faint", "reverse"):
        return "ansi_default"
    return f"ansi_{colour}" if colour in TERMINAL_COLOURS else colour
