"""What a terminal sends for a key: bytes for a guest's serial port.

As xterm has it (ctlseqs, "PC-Style Function Keys", normal mode), which Linux,
busybox and readline understand.
"""

from __future__ import annotations

import re
from typing import Final

#: Keys that send one character, whatever else is held down.
_CHARACTERS: Final[dict[str, bytes]] = {
    "enter": b"\r",
    "tab": b"\t",
    "escape": b"\x1b",
    "backspace": b"\x7f",
    "space": b" ",
}
#: Those that send CSI and a letter, and CSI, a number and a tilde.
_LETTERS: Final[dict[str, str]] = {
    "up": "A", "down": "B", "right": "C", "left": "D", "end": "F", "home": "H",
    "f1": "P", "f2": "Q", "f3": "R", "f4": "S",
}  # fmt: skip
_NUMBERS: Final[dict[str, int]] = {
    "insert": 2, "delete": 3, "pageup": 5, "pagedown": 6, "f5": 15, "f6": 17, "f7": 18,
    "f8": 19, "f9": 20, "f10": 21, "f11": 23, "f12": 24,
}  # fmt: skip
#: What Ctrl makes of a key that is no letter, by textual's names; of digits where the
#: keyboard has no such key.
_CONTROLS: Final[dict[str, bytes]] = {
    "at": b"\0", "@": b"\0", "space": b"\0", "left_square_bracket": b"\x1b",
    "backslash": b"\x1c", "right_square_bracket": b"\x1d", "circumflex_accent": b"\x1e",
    "underscore": b"\x1f", "question_mark": b"\x7f",
    "2": b"\0", "3": b"\x1b", "4": b"\x1c", "5": b"\x1d", "6": b"\x1e", "7": b"\x1f", "8": b"\x7f",
}  # fmt: skip
#: What a modifier adds to 1 in a sequence.
_MODIFIERS: Final[dict[str, int]] = {"shift": 1, "alt": 2, "ctrl": 4}
_ENDS: Final = re.compile(r"\r\n|\n")


def key_bytes(key: str, character: str | None) -> bytes:
    """What a key of textual's naming sends; b"" for one that sends nothing."""
    *held, base = key.split("+")
    if not set(held) <= _MODIFIERS.keys():
        return b""
    if base in _LETTERS or base in _NUMBERS:
        return _sequence(base, 1 + sum(_MODIFIERS[name] for name in held))
    if base == "tab" and "shift" in held:
        return b"\x1b[Z"
    plain = _plain(base, character, ctrl="ctrl" in held)
    return b"\x1b" + plain if plain and "alt" in held else plain


def _sequence(base: str, modifiers: int) -> bytes:
    if base in _NUMBERS:
        more = f";{modifiers}" if modifiers > 1 else ""
        return f"\x1b[{_NUMBERS[base]}{more}~".encode()
    if modifiers > 1:
        return f"\x1b[1;{modifiers}{_LETTERS[base]}".encode()
    return f"\x1b{'O' if base.startswith('f') else '['}{_LETTERS[base]}".encode()


def _plain(base: str, character: str | None, *, ctrl: bool) -> bytes:
    if ctrl and base in _CONTROLS:
        return _CONTROLS[base]
    if ctrl and len(base) == 1 and base.isascii() and base.isalpha():
        return bytes((ord(base) & 0x1F,))
    if base in _CHARACTERS:
        return _CHARACTERS[base]
    return _utf_8(character or (base if len(base) == 1 else ""))


def paste_bytes(text: str) -> bytes:
    """What pasted text sends: a line ends as the Enter key ends it."""
    return _utf_8(_ENDS.sub("\r", text))


def _utf_8(text: str) -> bytes:
    # A lone surrogate is no character.
    return text.encode(errors="ignore")
