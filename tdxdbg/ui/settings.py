"""The settings file: TOML, checked key by key; what is wrong is one line and is left out.

theme = "tdx-light"
ascii = true

[keys]               # ids and keys as :settings and help show them
next_row = "j,Ctrl-n"
zoom = ""            # no key

[layout]
default = "wide"
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tdxdbg.ui.keymap import KeyMap, key_named
from tdxdbg.ui.keys import BY_ID

FILE: Final = "settings.toml"
_LARGEST: Final = 1 << 16
_LONGEST_NAME: Final = 80
#: What the file may hold, and what each is.
_KINDS: Final[dict[str, tuple[type, str]]] = {
    "theme": (str, "the name of a theme"),
    "ascii": (bool, "true or false"),
    "keys": (dict, "a table: [keys]"),
    "layout": (dict, "a table: [layout]"),
}


@dataclass(frozen=True)
class Settings:
    """What a user wants everywhere. Empty texts: not said. `keys` by id, in textual's names."""

    theme: str = ""
    ascii: bool = False
    keys: KeyMap = field(default_factory=dict)
    layout: str = ""


def settings_path() -> Path:
    """Where the file is, or would be."""
    import platformdirs

    return platformdirs.user_config_path("tdxdbg") / FILE


def load_settings(path: Path | None = None) -> tuple[Settings, tuple[str, ...]]:
    """The settings and a line for each thing that is wrong; never raises.

    Without a file: the defaults, and nothing wrong.
    """
    path = path or settings_path()
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return Settings(), ()
    except OSError as error:
        return Settings(), (f"{path.name}: cannot be read: {error.strerror or error}",)
    if len(data) > _LARGEST:
        return Settings(), (f"{path.name}: larger than settings can be",)
    try:
        return parse_settings(data.decode())
    except UnicodeDecodeError:
        return Settings(), (f"{path.name}: is not UTF-8",)


def parse_settings(text: str) -> tuple[Settings, tuple[str, ...]]:
    """Settings out of TOML, and what is wrong with it; never raises."""
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        return Settings(), (f"{FILE}: not TOML: {error}",)
    problems: list[str] = []
    good = {name: value for name, value in data.items() if _is_good(name, value, problems)}
    settings = Settings(
        theme=good.get("theme", ""),
        ascii=good.get("ascii", False),
        keys=dict(_keys(good.get("keys", {}), problems)),
        layout=_layout(good.get("layout", {}), problems),
    )
    return settings, tuple(f"{FILE}: {line}" for line in problems)


def _is_good(name: str, value: object, problems: list[str]) -> bool:
    if name not in _KINDS:
        problems.append(unknown("setting", name, _KINDS))
        return False
    kind, what = _KINDS[name]
    if not isinstance(value, kind) or (kind is str and len(str(value)) > _LONGEST_NAME):
        problems.append(f"{name} must be {what}")
        return False
    return True


def _keys(table: dict[str, Any], problems: list[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for id, value in table.items():
        if id not in BY_ID:
            problems.append(unknown("key", id, BY_ID, "keys."))
        elif "{key}" in BY_ID[id].action:
            problems.append(f"keys.{id}: the digits stay where they are")
        elif not isinstance(value, str):
            problems.append(f'keys.{id} must be keys in quotes: "x", or "x,Ctrl-n"')
        else:
            names = [item.strip() for item in value.split(",") if item.strip()]
            found = {name: key_named(name) for name in names}
            wrong = [name for name, key in found.items() if key is None]
            if wrong:
                problems.append(f"keys.{id}: there is no key {wrong[0][:_LONGEST_NAME]!r}")
            else:
                yield id, tuple(dict.fromkeys(key for key in found.values() if key is not None))


def _layout(table: dict[str, Any], problems: list[str]) -> str:
    problems += [
        unknown("setting", name, ("default",), "layout.") for name in table if name != "default"
    ]
    default = table.get("default", "")
    if isinstance(default, str) and len(default) <= _LONGEST_NAME:
        return default
    problems.append("layout.default must be the name of a layout")
    return ""


def unknown(kind: str, name: str, known: Iterable[str], table: str = "") -> str:
    """One line about a name that means nothing, with the nearest that does."""
    near = difflib.get_close_matches(name, list(known), 1)
    hint = f"; did you mean {table}{near[0]}?" if near else ""
    return f"there is no {kind} {table}{name[:_LONGEST_NAME]}{hint}"
