"""The screen as an SVG file that loads nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

#: rich's template loads its font from a CDN; a picture must not.
_FONT_FACE: Final = re.compile(r"@font-face\s*\{.*?\}\s*", re.DOTALL)
_FONT: Final = re.compile(r"font-family:\s*Fira Code,\s*monospace")
_FAMILY: Final = 'font-family: "Fira Code", "DejaVu Sans Mono", Menlo, Consolas, monospace'
_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)
_MOST: Final = 10_000


def offline_svg(svg: str) -> str:
    """`svg` without remote fonts, and without the address of the library that drew it."""
    return _FONT.sub(_FAMILY, _FONT_FACE.sub("", _COMMENT.sub("", svg, count=1)))


def write_svg(svg: str, folder: Path) -> Path:
    """Write to the first free `tdxdbg-<n>.svg` of the folder; raises OSError."""
    for number in range(1, _MOST):
        path = folder / f"tdxdbg-{number}.svg"
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(svg)
        except FileExistsError:
            continue
        return path
    raise FileExistsError(f"there are {_MOST - 1} pictures in this folder")
