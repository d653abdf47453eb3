"""Themes: TOML files, checked key by key; a bad one is one line and is left out."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from textual.theme import Theme

from tdxdbg.errors import TdxdbgError
from tdxdbg.resources import themes_dir
from tdxdbg.ui.palette import COLOURS, Palette

DEFAULT: Final = "tdx-dark"
_KEYS: Final = frozenset({"name", "title", "dark", "colors"})
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
                palette = read_theme(path)
            except ThemeError as error:
                problems.append(str(error))
            else:
                palettes[palette.name] = palette
    return Themes(palettes, tuple(problems))


def choose(themes: Themes, name: str | None) -> Palette:
    """The named theme; raises ThemeError naming those that exist."""
    wanted = name or DEFAULT
    if wanted not in themes.palettes:
        known = ", ".join(sorted(themes.palettes)) or "none"
        raise ThemeError(f"there is no theme {wanted!r}; themes: {known}")
    return themes.palettes[wanted]


def read_theme(path: Path) -> Palette:
    """One theme file; raises ThemeError."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise ThemeError(f"{path.name}: larger than a theme can be")
        return parse_theme(data.decode(), path.name)
    except OSError as error:
        raise ThemeError(f"{path.name}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ThemeError(f"{path.name}: is not UTF-8") from None


def parse_theme(text: str, name: str) -> Palette:
    """A theme out of TOML; `name` is the file's, for messages. Raises ThemeError."""
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ThemeError(f"{name}: not TOML: {error}") from None
    for key in data:
        if key not in _KEYS:
            raise ThemeError(f"{name}: unknown key {key!r}; keys: {', '.join(sorted(_KEYS))}")
    title, dark, colours = data.get("name"), data.get("dark"), data.get("colors")
    if not isinstance(title, str) or not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", title):
        raise ThemeError(f"{name}: name must be lower-case letters, digits and dashes")
    if not isinstance(dark, bool):
        raise ThemeError(f"{name}: dark must be true or false")
    if not isinstance(colours, dict):
        raise ThemeError(f"{name}: the table [colors] is missing")
    return Palette(title, dark, _colours(colours, name))


def _colours(colours: dict[str, object], name: str) -> dict[str, str]:
    for key, value in colours.items():
        if key not in COLOURS:
            known = ", ".join(COLOURS)
            raise ThemeError(f"{name}: unknown key colors.{key!s}; colours: {known}")
        if not isinstance(value, str) or not _COLOUR.fullmatch(value):
            raise ThemeError(f"{name}: colors.{key}: {value!r} is not a colour such as #e69f00")
    missing = [key for key in COLOURS if key not in colours]
    if missing:
        raise ThemeError(f"{name}: colors.{missing[0]} is missing ({COLOURS[missing[0]]})")
    return {key: str(colours[key]) for key in COLOURS}


def textual_theme(palette: Palette) -> Theme:
    """What textual itself draws with: behind the panes, and dialogs."""
    colours = palette.colours
    return Theme(
        name=palette.name,
        dark=palette.dark,
        primary=colours["focus"],
        warning=colours["retry"],
        error=colours["error"],
        success=colours["ok"],
        foreground=colours["text"],
        background=colours["background"],
        surface=colours["background"],
        panel=colours["background"],
    )
