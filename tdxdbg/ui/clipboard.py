"""The terminal's clipboard, by OSC 52: nothing is sent but base64 of safe text.

No terminal says whether it took the text, so the screen says that it was sent.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Final

from tdxdbg.decode.text import Safe
from tdxdbg.ui.lines import concat, own, part

#: Characters that are copied: the base64 of more is cut off by some terminals.
MOST: Final = 48 * 1024
_CUT: Final = own("...\n")


def fitting(text: Safe) -> Safe:
    """The text, or as much of it as terminals take."""
    return text if len(text) <= MOST else concat(part(text, 0, MOST - len(_CUT)), _CUT)


def osc52(text: Safe) -> str:
    """The control sequence that puts a text into the clipboard."""
    return f"\x1b]52;c;{b64encode(fitting(text).encode()).decode('ascii')}\x07"
