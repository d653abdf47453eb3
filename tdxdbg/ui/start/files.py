"""Which file: what a path that is being typed means, and what it could become."""

from __future__ import annotations

import os
from contextlib import suppress
from stat import S_ISDIR, S_ISREG
from typing import Final

from tdxdbg.decode.values import size_text
from tdxdbg.ui.prompt import Verdict

#: Names looked at in a folder.
_MOST: Final = 4096


def judge_file(text: str, cursor: int) -> Verdict:
    """Of a path that is typed: what is there, and how it can go on from the cursor."""
    start, words = completions(text[:cursor])
    if not text.strip():
        return Verdict(False, "", start, words)
    good, says = _what_is(expanded(text))
    return Verdict(good, says, start, words)


def expanded(text: str) -> str:
    """A path as it was typed, with the home folder in the place of ~."""
    return os.path.expanduser(text.strip())


def completions(text: str) -> tuple[int, tuple[str, ...]]:
    """Where the last part of a path begins, and what could stand from there: folders last."""
    folder, part = os.path.split(text)
    found: list[tuple[bool, str]] = []
    with suppress(OSError), os.scandir(os.path.expanduser(folder) or ".") as entries:
        for _, entry in zip(range(_MOST), entries, strict=False):
            name = entry.name
            # Of ASCII, as all that is typed in a prompt.
            if not (name.startswith(part) and name.isascii() and name.isprintable()):
                continue
            if name.startswith(".") and not part.startswith("."):
                continue
            with suppress(OSError):
                is_folder = entry.is_dir()
                found.append((is_folder, name + "/" * is_folder))
    return len(text) - len(part), tuple(name for _, name in sorted(found))


def _what_is(path: str) -> tuple[bool, str]:
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        return False, (why or "not a path").lower()
    if S_ISDIR(found.st_mode):
        return False, "a folder: go on typing, Tab completes"
    if not S_ISREG(found.st_mode):
        return False, "neither a file nor a folder"
    return True, f"opens a file of {size_text(found.st_size)}"
