"""Source lines of addresses, and the text of these lines.

Sources are only looked for beside the image, by the part of their path that
names no folder above: an image cannot make the debugger open a file elsewhere.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import Final, NamedTuple

from tdxdbg.backends.bzimage import is_bzimage
from tdxdbg.backends.debug_info import Row, debug_info
from tdxdbg.backends.elf import GuestFile

__all__ = ["Lines", "Place", "Row", "lines_of"]

_LARGEST_SOURCE: Final = 4 << 20
_MOST_SOURCES: Final = 256


class Place(NamedTuple):
    """A line of a source, counted from 1; `file` is raw text of the image."""

    file: str
    line: int


class Lines:
    """Addresses to lines and back; `folder` has the sources, None: nowhere.

    `problem` says in a line why there are none, or not all; else it is empty.
    """

    def __init__(
        self, rows: Iterable[Row] = (), folder: Path | None = None, problem: str = ""
    ) -> None:
        self._rows = sorted(rows)
        self._addresses = [row.address for row in self._rows]
        self._folder = folder
        self._sources: dict[str, tuple[str, ...]] = {}
        self.problem = problem

    def at(self, address: int) -> Place | None:
        """The line that `address` (linear) belongs to."""
        index = bisect_right(self._addresses, address) - 1
        if index < 0:
            return None
        row = self._rows[index]
        return Place(row.file, row.line) if address < row.end else None

    def find(self, file: str, line: int) -> list[int]:
        """Where the code of a line begins, ascending; `file` may leave out folders."""
        wanted = PurePosixPath(file).parts
        starts: list[int] = []
        end = -1
        for row in self._rows:
            if row.line == line and PurePosixPath(row.file).parts[-len(wanted) :] == wanted:
                if row.address != end:
                    starts.append(row.address)
                end = row.end
        return starts

    def text(self, place: Place) -> str | None:
        """The text of a line, raw, without its end; None when the source is not there."""
        if place.file not in self._sources:
            if len(self._sources) >= _MOST_SOURCES:
                self._sources.clear()
            self._sources[place.file] = self._read(place.file)
        lines = self._sources[place.file]
        return lines[place.line - 1] if 0 < place.line <= len(lines) else None

    def _read(self, file: str) -> tuple[str, ...]:
        path = self._path(file)
        if path is None:
            return ()
        try:
            with path.open("rb") as source:
                data = source.read(_LARGEST_SOURCE)
        except OSError:
            return ()
        return tuple(line.rstrip("\r") for line in data.decode("utf-8", "replace").split("\n"))

    def _path(self, file: str) -> Path | None:
        """The source in the folder of the image: with its folders, or else without."""
        if self._folder is None or "\0" in file:
            return None
        name = PurePosixPath(file)
        for candidate in (name, PurePosixPath(name.name)):
            if candidate.is_absolute() or ".." in candidate.parts or not candidate.parts:
                continue
            try:
                home = self._folder.resolve()
                path = (home / candidate).resolve()
                if path.is_relative_to(home) and S_ISREG(path.stat().st_mode):
                    return path
            except (OSError, ValueError, RuntimeError):
                continue
        return None


def lines_of(file: GuestFile) -> Lines:
    """The lines of an image, with its sources beside it; see `symbols_of`."""
    if is_bzimage(file.data):
        # Nobody expects them of a distribution's kernel, so there is nothing to say.
        return Lines()
    info = debug_info(file)
    loaded = [(each.address, each.address + each.size) for each in file.segments]
    # What the linker left out is at 0.
    rows = [row for row in info.rows if any(low <= row.address < high for low, high in loaded)]
    return Lines(rows, None if file.path is None else file.path.parent, info.no_rows)
