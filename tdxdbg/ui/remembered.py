"""Which recordings were open before: small JSON files in the user's state folder.

Each says `version`, `path` and `title`; its time is when the recording was last
closed. What does not look right is left out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import platformdirs

_VERSION: Final = 1
_LARGEST: Final = 1 << 18


class Recent(NamedTuple):
    """A recording that is remembered: where it was, and when, in seconds of the epoch.

    `title` is what the recording says of itself: anybody's text.
    """

    path: str
    title: str
    when: float


def memory_folder() -> Path:
    """Where the files are."""
    return platformdirs.user_state_path("tdxdbg") / "traces"


def recent_traces(most: int = 20) -> list[Recent]:
    """The recordings that are remembered and have a place, the latest first."""
    found = []
    for when, file in _newest_first(memory_folder()):
        data = _read(file)
        path, title = data.get("path"), data.get("title")
        if isinstance(path, str) and os.path.isabs(path):
            found.append(Recent(path, title if isinstance(title, str) else "", when))
        if len(found) == most:
            break
    return found


def _newest_first(folder: Path) -> Iterator[tuple[float, Path]]:
    files = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                if entry.name.endswith(".json") and entry.is_file(follow_symlinks=False):
                    files.append((entry.stat().st_mtime, Path(entry.path)))
    yield from sorted(files, reverse=True)


def _read(file: Path) -> dict[str, object]:
    with suppress(OSError, ValueError, RecursionError), file.open("rb") as opened:
        text = opened.read(_LARGEST + 1)
        data = json.loads(text) if len(text) <= _LARGEST else None
        if isinstance(data, dict) and data.get("version") == _VERSION:
            return data
    return {}
