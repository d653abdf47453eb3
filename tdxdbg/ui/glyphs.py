"""Glyphs outside ASCII that this program draws, and what stands for each with `--ascii`.

Each takes one cell. Text is built with the glyphs, and translated when a strip
is made, so nothing else knows about the mode.
"""

from __future__ import annotations

from typing import Final

ASCII_FOR: Final[dict[str, str]] = {
    # page states
    "▓": "#",
    "░": ".",
    "▒": "%",
    "▀": '"',
    # marks
    "▶": ">",
    "◆": "*",
    "‼": "!",
    "↻": "~",
    "✓": "+",
    "→": ">",
    "←": "<",
    "·": "-",
    "●": "o",
    "≠": "!",
    "≡": "=",
    "◇": "?",
    "✗": "x",
    "▪": "=",
    # trees
    "▼": "v",
    "▸": ">",
    "├": "|",
    "└": "`",
    "│": "|",
    "─": "-",
    # frames
    "┌": "+",
    "┐": "+",
    "┘": "+",
    "╔": "+",
    "╗": "+",
    "╚": "+",
    "╝": "+",
    "═": "=",
    "║": "|",
    "█": "#",
    "┃": "#",
    "…": "~",
    "↑": "^",
    "↓": "v",
    "×": "x",
}

#: For `str.translate`.
TO_ASCII: Final = str.maketrans(ASCII_FOR)
