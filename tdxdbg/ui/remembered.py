"""What is remembered of a recording from one time to the next: a small JSON file each.

The files lie in the user's state folder, named by a digest of the metadata and
the first records, so that a recording which was moved or copied is known
again. One with fewer records (which may still be growing) is known by its
place. A file may be of another version, cut off, or made up by somebody: what
does not look right is left out, here or by the feature whose it is.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from stat import S_ISREG
from typing import Final, NamedTuple, TypeVar

from tdxdbg.traces import Trace
from tdxdbg.traces.meta import dump_json, load_json

_VERSION: Final = 1
#: Bytes of a file; more is neither read nor written.
LARGEST: Final = 1 << 18
#: Files kept; the oldest are deleted.
KEPT: Final = 200
#: Records that a recording is known by.
_RECORDS: Final = 64
_LONGEST_PATH: Final = 4096
_LONGEST_TITLE: Final = 400
_DEPTH: Final = 16
_SUFFIX: Final = ".json"
#: What is remembered of a live guest, which is built again all the time, is named by its path.
_GUEST: Final = "guest-"


class Saved(NamedTuple):
    """One thing that is remembered, by two methods of the app.

    `save() -> object` gives JSON, None when there is nothing to say.
    `load(value) -> str` takes what some file has there, which may be anything:
    it raises ValueError on what makes no sense, clamps what does, and returns
    a few words for the user ("exit 415"), or none.
    """

    name: str
    save: str
    load: str


#: What is remembered of a recording, in the order in which it is taken up again.
SAVED: Final[tuple[Saved, ...]] = (
    Saved("history", "save_history", "load_history"),
    Saved("kernel", "save_kernel", "load_kernel"),
    Saved("filter", "save_filter", "load_filter"),
    Saved("cursor", "save_cursor", "load_cursor"),
    Saved("stops", "save_stops", "load_stops"),
    Saved("view", "save_view", "load_view"),
)
#: The same of a live guest: its run is a new one each time, so no place in it.
LIVE_SAVED: Final[tuple[Saved, ...]] = (Saved("history", "save_history", "load_history"),)


class Recent(NamedTuple):
    """A recording that is remembered: where it was, and when, in seconds of the epoch.

    `title` is what the recording says of itself: anybody's text.
    """

    path: str
    title: str
    when: float


class Memory:
    """What is remembered of one recording or guest. `saved` by the names of the table.

    `names` are the files that may have it, the first being where it is written.
    """

    def __init__(self, folder: Path, names: Sequence[str], path: str = "", title: str = "") -> None:
        self._folder = folder
        self._names = names
        self._path = path[:_LONGEST_PATH]
        self._title = title[:_LONGEST_TITLE]
        found = (_read(folder / f"{name}{_SUFFIX}") for name in names)
        data = next((item for item in found if item is not None), None)
        #: Whether there was anything.
        self.existed = data is not None
        saved = (data or {}).get("saved")
        self.saved: dict[str, object] = saved if isinstance(saved, dict) else {}
        if data is None:
            self.saved = self._history_of_another()

    def _history_of_another(self) -> dict[str, object]:
        """What was typed the last time, elsewhere: a new recording begins with it."""
        for _, _, data in _newest_first(self._folder):
            saved = data.get("saved")
            if isinstance(saved, dict) and "history" in saved:
                return {"history": saved["history"]}
        return {}

    def save(self, saved: Mapping[str, object]) -> str:
        """Write it; returns one line about why it could not be, or nothing."""
        data = {"version": _VERSION, "path": self._path, "title": self._title, "saved": dict(saved)}
        try:
            text = json.dumps(data, ensure_ascii=True, allow_nan=False).encode()
            if len(text) > LARGEST:
                return f"not remembered: {len(text)} bytes are more than is kept of a recording"
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write(self._folder / f"{self._names[0]}{_SUFFIX}", text)
            self._delete(self._names[1:])
        except OSError as error:
            return f"not remembered: {error.strerror or error}: {self._folder}"
        with suppress(OSError):
            _prune(self._folder)
        return ""

    def forget(self) -> str:
        """Delete it; returns one line about why it could not be, or nothing."""
        self.existed = False
        self.saved = {}
        try:
            self._delete(self._names)
        except OSError as error:
            return f"not forgotten: {error.strerror or error}: {self._folder}"
        return ""

    def _delete(self, names: Sequence[str]) -> None:
        for name in names:
            (self._folder / f"{name}{_SUFFIX}").unlink(missing_ok=True)


def memory_folder() -> Path:
    """Where the files are."""
    import platformdirs

    return platformdirs.user_state_path("tdxdbg") / "traces"


def memory_of_trace(trace: Trace, path: str) -> Memory:
    """What is remembered of a recording; `path` is "-" for one without a place."""
    place = "" if path == "-" else os.path.realpath(path)
    meta = sha256(dump_json(trace.meta.to_json()).encode())
    names = []
    if trace.n_records >= _RECORDS:
        known = meta.copy()
        known.update(trace.slots(0, _RECORDS))
        names.append(known.hexdigest()[:32])
    meta.update(b"\0" + os.fsencode(place))
    names.append(meta.hexdigest()[:32])
    return Memory(memory_folder(), names, place, trace.meta.title)


def memory_of_guest(path: Path) -> Memory:
    """What is remembered of a guest that is run live, by the place of its image."""
    place = os.path.realpath(path)
    return Memory(memory_folder(), [_GUEST + sha256(os.fsencode(place)).hexdigest()[:32]], place)


def recent_traces(most: int = 20) -> list[Recent]:
    """The recordings that are remembered and have a place, the latest first."""
    found = []
    for name, when, data in _newest_first(memory_folder()):
        path, title = data.get("path"), data.get("title")
        if name.startswith(_GUEST) or not isinstance(path, str) or not os.path.isabs(path):
            continue
        found.append(Recent(path, title if isinstance(title, str) else "", when))
        if len(found) == most:
            break
    return found


# --- files --------------------------------------------------------------------------------


def _read(path: Path) -> dict[str, object] | None:
    """What a file says; None when there is none, or it makes no sense."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            text = file.read(LARGEST + 1)
        data = load_json(text, _DEPTH) if len(text) <= LARGEST else None
    except (OSError, ValueError):
        return None
    if not isinstance(data, dict) or data.get("version") != _VERSION:
        return None
    return data


def _without_waiting(path: str, flags: int) -> int:
    """A pipe in place of the file would have no end."""
    return os.open(path, flags | os.O_NONBLOCK)


def _newest_first(folder: Path) -> Iterator[tuple[str, float, dict[str, object]]]:
    """Name, time and content of the files that make sense."""
    for when, path in _by_age(folder):
        data = _read(path) if path.suffix == _SUFFIX else None
        if data is not None:
            yield path.name, when, data


def _by_age(folder: Path) -> list[tuple[float, Path]]:
    """Every file of the folder with its time, the newest first."""
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                found.append((entry.stat(follow_symlinks=False).st_mtime, Path(entry.path)))
    return sorted(found, reverse=True)


def _write(path: Path, text: bytes) -> None:
    """All of it or nothing; raises OSError."""
    number, name = tempfile.mkstemp(prefix=f"{path.stem}.", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(text)
        os.replace(name, path)
    except OSError:
        with suppress(OSError):
            os.unlink(name)
        raise


def _prune(folder: Path) -> None:
    for _, path in _by_age(folder)[KEPT:]:
        path.unlink(missing_ok=True)


# --- what features check their values with ------------------------------------------------

Item = TypeVar("Item")


def a_number(value: object, most: int = (1 << 63) - 1) -> int:
    """A number from 0 on, no more than `most`; raises ValueError."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("not a number from 0 on")
    return min(value, most)


def a_text(value: object, longest: int = 400) -> str:
    """A text; raises ValueError for anything else, and for one that is too long."""
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError(f"not a text of up to {longest} characters")
    return value


def a_list(value: object, check: Callable[[object], Item], most: int = 1000) -> list[Item]:
    """The items of a list that pass `check`, at most so many; raises ValueError for no list."""
    if not isinstance(value, list):
        raise ValueError("not a list")
    good = []
    for item in value[:most]:
        with suppress(ValueError):
            good.append(check(item))
    return good
