"""A guest's serial output as text for standard output."""

from __future__ import annotations

from typing import Final

from tdxdbg.decode.text import safe

#: Characters of an escaped byte.
_ESCAPED: Final = 4
_TAB: Final = 8


class ConsoleText:
    """Escapes what a guest wrote; the text is the same wherever the bytes are cut."""

    def __init__(self) -> None:
        #: 0 at the start of a line; else 1 to 8, which is enough for tabs.
        self._column = 0
        #: A carriage return of which it is not known what follows.
        self._rest = b""

    def feed(self, data: bytes) -> str:
        """The text of more bytes."""
        data = (self._rest + data).replace(b"\r\n", b"\n")
        self._rest = b"\r" if data.endswith(b"\r") else b""
        lines = data.removesuffix(self._rest).split(b"\n")
        return "\n".join(self._line(line, number) for number, line in enumerate(lines))

    def _line(self, line: bytes, number: int) -> str:
        """The first one of a piece goes on where the last one was; tabs are 8 columns."""
        column = 0 if number else self._column
        expanded = (b" " * column + line).expandtabs(_TAB)
        self._column = (len(expanded) - 1) % _TAB + 1 if expanded else 0
        return safe(expanded[column:], len(line) * _TAB * _ESCAPED)

    def end(self) -> str:
        """The text after which whatever comes next begins a line."""
        rest, self._rest = safe(self._rest, _ESCAPED), b""
        middle, self._column = self._column, 0
        return f"{rest}\n" if rest or middle else ""
