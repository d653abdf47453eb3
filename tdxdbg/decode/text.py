"""The one way from text of a trace or a guest to a screen, a file or a log.

Terminal libraries pass ESC, C1, DEL and bidi controls on to the terminal, and
treat `[...]` as markup. So everything that somebody else wrote becomes 7-bit
printable text first, and what shows text takes `Safe` only, which mypy tells
from `str`.

The form of the output:

* 0x20..0x7e stand for themselves, except the backslash, which is doubled; so
  `\\x1b` in the output is an escaped ESC and `\\\\x1b` is four characters that
  the guest wrote.
* Every other character of a `str` is `\\xNN`, `\\uNNNN` or `\\UNNNNNNNN`, the
  shortest that holds it: C0, C1, DEL, bidi and zero-width characters, private
  use, lone surrogates, and also letters, because a letter that looks like
  another one deceives as well as a control character does. Bytes are `\\xNN`.
* Text whose output would be longer than the limit is cut between two escapes
  and ends with `...+N`, N being the characters (or bytes) of input left out.
"""

from __future__ import annotations

import re
from typing import Final, NewType

#: Text made of 0x20..0x7e and of this program's own glyphs only.
Safe = NewType("Safe", str)

#: Characters of output after which text is cut.
LIMIT: Final = 4096

_PIECES: Final = re.compile(r"[ -\[\]-~]+|[^ -\[\]-~]")
_PLAIN: Final = re.compile(r"[ -\[\]-~]*")


def safe(text: str | bytes, limit: int = LIMIT) -> Safe:
    """`text` as printable ASCII, at most `limit` characters and a `...+N` marker.

    Two texts whose output is not cut have different outputs when they differ.
    """
    if isinstance(text, str) and len(text) <= limit and _PLAIN.fullmatch(text):
        return Safe(text)
    return Safe("".join(piece for piece, _ in safe_spans(text, limit)))


def safe_spans(text: str | bytes, limit: int = LIMIT) -> list[tuple[Safe, bool]]:
    """The pieces of `safe(text)`, each with whether it is an escape or the cut marker.

    The pieces joined equal `safe(text, limit)`; neighbours differ in the flag.
    """
    # Latin-1 maps each byte to the character of that number, which escapes as \xNN.
    # A character gives at least one of output, so nothing behind the limit matters.
    head = text[: limit + 1]
    source = head.decode("latin-1") if isinstance(head, bytes) else head
    spans: list[tuple[Safe, bool]] = []
    room, used = limit, 0
    for match in _PIECES.finditer(source):
        piece = match[0]
        escaped = len(piece) == 1 and not _PLAIN.fullmatch(piece)
        shown = _escape(piece) if escaped else piece[:room]
        if len(shown) > room or not shown:
            break
        _append(spans, shown, escaped)
        room -= len(shown)
        used += 1 if escaped else len(shown)
    if used < len(text):
        _append(spans, f"...+{len(text) - used}", True)
    return spans


def _append(spans: list[tuple[Safe, bool]], piece: str, escaped: bool) -> None:
    if spans and spans[-1][1] == escaped:
        piece = spans.pop()[0] + piece
    spans.append((Safe(piece), escaped))


def _escape(character: str) -> str:
    number = ord(character)
    if character == "\\":
        return "\\\\"
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
