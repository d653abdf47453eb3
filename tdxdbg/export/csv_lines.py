"""CSV: a line an exit, the columns of `columns.COLUMNS`, a header line, UTF-8 that is ASCII.

Numbers of 64 bits that are no counts are hex, because spreadsheets lose the low
bits of long decimals. Text of a guest is escaped, always in quotes, and its
first character is escaped too where a spreadsheet would take it for a formula.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tdxdbg.export.columns import COLUMNS, Exit, Type
from tdxdbg.export.exits import exits
from tdxdbg.export.job import Done, Job
from tdxdbg.traces.output import Output

_FORMULA: Final = "=+-@"
#: Lines that are written at once.
_LINES: Final = 512


def write(job: Job, out: Output) -> Done:
    """Write the table; raises BackendError."""
    count = 0
    lines = [",".join(column.name for column in COLUMNS)]
    for exit_ in exits(job):
        lines.append(line(exit_))
        count += 1
        if len(lines) >= _LINES:
            out.write(_joined(lines))
            lines.clear()
    out.write(_joined(lines))
    return Done(count)


def _joined(lines: list[str]) -> bytes:
    return "".join(f"{text}\n" for text in lines).encode("ascii")


def line(exit_: Exit) -> str:
    """One exit, without the line's end."""
    return ",".join(
        ["" if (value := get(exit_)) is None else write(value) for get, write in _CELLS]
    )


def text_cell(text: str) -> str:
    """A cell of text that is printable ASCII already, in quotes.

    A spreadsheet does not take it for a formula: the first character is
    written as an escape (`\\x3d` for `=`), which is what it stands for.
    """
    if text and text[0] in _FORMULA:
        text = f"\\x{ord(text[0]):02x}{text[1:]}"
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def _hex(value: int) -> str:
    return f"{value:#x}"


def _boolean(value: int) -> str:
    return "true" if value else "false"


_WRITERS: Final[dict[Type, Callable[[Any], str]]] = {
    Type.U8: str,
    Type.U16: str,
    Type.U32: str,
    Type.U64: str,
    Type.HEX: _hex,
    Type.BOOLEAN: _boolean,
    Type.NAME: str,
    Type.NAMES: " ".join,
    Type.TEXT: text_cell,
}
_CELLS: Final = tuple((column.get, _WRITERS[column.type]) for column in COLUMNS)
