"""What is written to files: always a new one, whole or not at all."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from tdxdbg.traces.output import first_free, new_part

#: rich's template loads its font from a CDN; a picture must not.
_FONT_FACE: Final = re.compile(r"@font-face\s*\{.*?\}\s*", re.DOTALL)
_FONT: Final = re.compile(r"font-family:\s*Fira Code,\s*monospace")
_FAMILY: Final = 'font-family: "Fira Code", "DejaVu Sans Mono", Menlo, Consolas, monospace'
_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)


def offline_svg(svg: str) -> str:
    """`svg` without remote fonts, and without the address of the library that drew it."""
    return _FONT.sub(_FAMILY, _FONT_FACE.sub("", _COMMENT.sub("", svg, count=1)))


def write_new(text: str, folder: Path, suffix: str) -> Path:
    """Write to the first free `tdxdbg-<n>.<suffix>` of the folder; raises OSError."""
    part = new_part(folder)
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        return keep(part, suffix)
    finally:
        with suppress(OSError):
            part.unlink()


def keep(part: Path, suffix: str) -> Path:
    """Give a whole file its name: the first that is free; raises OSError."""
    path = first_free(lambda number: part.parent / f"tdxdbg-{number}.{suffix}")
    try:
        # The name is ours, so that nobody's file is replaced.
        os.replace(part, path)
    except OSError:
        with suppress(OSError):
            path.unlink()
        raise
    return path
