"""Layouts that a user saved by name: a small JSON file each, in the settings folder.

A file may be of another version, cut off, or written by somebody else: what
makes no sense in it is left out, and what is no layout at all is said.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import Final

from tdxdbg.errors import TdxdbgError
from tdxdbg.traces.meta import load_json
from tdxdbg.ui.layout import QUEUE, Sizes, View

#: The layout that every screen begins with.
DEFAULT: Final = "default"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_VERSION: Final = 1
#: Bytes of a file, weights of a shape, shapes, and the largest weight.
_LARGEST: Final = 1 << 14
_MOST: Final = 16
_HEAVIEST: Final = 10_000
_DEPTH: Final = 8
_SUFFIX: Final = ".json"


class LayoutError(TdxdbgError):
    """A layout that cannot be used or saved: one line."""


# --- a view as plain data -------------------------------------------------------------------


def to_data(view: View) -> dict[str, object]:
    """A view as JSON takes it."""
    return {
        "version": _VERSION,
        "focus": view.focus,
        "front": list(view.recent),
        "zoomed": view.zoomed,
        "sizes": {
            shape: {"bands": list(sizes.bands), "places": [list(row) for row in sizes.places]}
            for shape, sizes in view.sizes.items()
        },
    }


def from_data(data: object, panes: Collection[str]) -> View:
    """A view out of anything, for a screen with these panes; raises LayoutError for no layout."""
    if not isinstance(data, dict) or data.get("version") != _VERSION:
        raise LayoutError(f"is no layout of version {_VERSION}")
    front, sizes = data.get("front"), data.get("sizes")
    recent = [name for name in _list(front) if isinstance(name, str) and name in panes]
    focus = data.get("focus")
    if not isinstance(focus, str) or focus not in panes:
        focus = QUEUE
    known = sizes if isinstance(sizes, dict) else {}
    return View(
        focus=focus,
        recent=tuple(dict.fromkeys((focus, *recent))),
        zoomed=data.get("zoomed") is True,
        sizes={
            shape: found
            for shape, item in list(known.items())[:_MOST]
            if (found := _sizes(item)) is not None
        },
    )


def _list(value: object) -> list[object]:
    return value[:_MOST] if isinstance(value, list) else []


def _sizes(item: object) -> Sizes | None:
    """Weights, if all of them are; whether they fit the panes is seen when they are used."""
    if not isinstance(item, dict):
        return None
    bands, places = _weights(item.get("bands")), item.get("places")
    if bands is None or not isinstance(places, list) or len(places) != len(bands):
        return None
    rows = [_weights(row) for row in places]
    return Sizes(bands, tuple(row for row in rows if row)) if all(rows) else None


def _weights(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list) or not 1 <= len(value) <= _MOST:
        return None
    good = all(type(item) is int and 1 <= item <= _HEAVIEST for item in value)
    return tuple(value) if good else None


# --- files ----------------------------------------------------------------------------------


def layouts_folder() -> Path:
    """Where the files are."""
    import platformdirs

    return platformdirs.user_config_path("tdxdbg") / "layouts"


def layout_names(folder: Path | None = None) -> list[str]:
    """The saved layouts by name."""
    folder = folder or layouts_folder()
    with suppress(OSError), os.scandir(folder) as entries:
        names = [
            entry.name.removesuffix(_SUFFIX) for entry in entries if entry.name.endswith(_SUFFIX)
        ]
        return sorted(name for name in names if _NAME.fullmatch(name))
    return []


def wrong_name(name: str) -> str:
    """Why a layout cannot have this name, in one line; nothing when it can."""
    if name == DEFAULT:
        return f"{DEFAULT} is how every screen begins: take another name"
    if not _NAME.fullmatch(name):
        return "a name has lower-case letters, digits and dashes, at most 40 of them"
    return ""


def save_layout(name: str, view: View, folder: Path | None = None) -> None:
    """Write it, all or nothing; raises LayoutError."""
    folder = folder or layouts_folder()
    problem = wrong_name(name)
    if problem:
        raise LayoutError(problem)
    text = json.dumps(to_data(view), indent=1).encode() + b"\n"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(folder / f"{name}{_SUFFIX}", text)
    except OSError as error:
        raise LayoutError(f"layout {name} not saved: {error.strerror or error}") from None


def read_layout(name: str, panes: Collection[str], folder: Path | None = None) -> View:
    """A saved layout, or the default one; raises LayoutError."""
    if name == DEFAULT:
        return View()
    folder = folder or layouts_folder()
    known = layout_names(folder)
    if name not in known:
        names = ", ".join([DEFAULT, *known])
        raise LayoutError(f"there is no layout {name[:40]}; layouts: {names}")
    try:
        text = _read(folder / f"{name}{_SUFFIX}")
        data = load_json(text, _DEPTH)
    except OSError as error:
        raise LayoutError(f"layout {name} not read: {error.strerror or error}") from None
    except ValueError:
        raise LayoutError(f"layout {name}: the file is no JSON: save it again") from None
    try:
        return from_data(data, panes)
    except LayoutError as error:
        raise LayoutError(f"layout {name}: {error}: save it again") from None


def delete_layout(name: str, folder: Path | None = None) -> None:
    """Forget a saved layout; raises LayoutError."""
    folder = folder or layouts_folder()
    if name not in layout_names(folder):
        raise LayoutError(f"there is no saved layout {name[:40]}")
    try:
        (folder / f"{name}{_SUFFIX}").unlink(missing_ok=True)
    except OSError as error:
        raise LayoutError(f"layout {name} not deleted: {error.strerror or error}") from None


def _read(path: Path) -> bytes:
    """At most as much as a layout has; raises OSError, and ValueError for what is no file."""
    # A pipe in place of the file would have no end.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("no file")
        text = file.read(_LARGEST + 1)
    if len(text) > _LARGEST:
        raise ValueError("too large")
    return text


def _write(path: Path, text: bytes) -> None:
    number, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(text)
        os.replace(name, path)
    except OSError:
        with suppress(OSError):
            os.unlink(name)
        raise
