"""The sample guests: small TDs to run, and what each of them is about.

A guest is NAME.S (GNU assembler), the image NAME.elf that `make guests` makes of
it, and NAME.toml: its story, its vCPUs, and the exits that userspace sees under
each kernel generation, written by hand from the sources (README.md).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from tdxdbg.errors import SessionError

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest that is shipped; `story` is one line, `vcpus` how many it is made for."""

    name: str
    story: str
    vcpus: int
    image: Path
    source: Path


def guests() -> tuple[Guest, ...]:
    """All of them, by name."""
    return tuple(_read(path) for path in sorted(FOLDER.glob("*.toml")))


def find(name: str) -> Guest:
    """The guest of that name; raises SessionError."""
    path = FOLDER / f"{name}.toml"
    if not name.isidentifier() or not path.is_file():
        known = sorted(path.stem for path in FOLDER.glob("*.toml"))
        near = get_close_matches(name, known, n=3, cutoff=0.5)
        which = f"did you mean {' or '.join(near)}?" if near else "tdxdbg guests lists them"
        raise SessionError(f"there is no guest {name!r}; {which}")
    return _read(path)


def _read(path: Path) -> Guest:
    text = tomllib.loads(path.read_text(encoding="utf-8"))
    return Guest(
        path.stem,
        text["story"],
        text.get("vcpus", 1),
        path.with_suffix(".elf"),
        path.with_suffix(".S"),
    )
