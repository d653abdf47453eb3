"""JSON Lines: the form of a trace that a person writes by hand and diffs.

The first line is {"tdxt": 1, "meta": {...}}, then one object per record. Rows
may carry any numbers; where some are missing they are numbered anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final, TextIO

from tdxdbg.errors import TraceError
from tdxdbg.traces.builder import Builder
from tdxdbg.traces.json_fields import FieldError
from tdxdbg.traces.json_records import record_from_json, record_to_json
from tdxdbg.traces.meta import MAX_DEPTH, TraceMeta, dump_json, load_json, number
from tdxdbg.traces.native import Trace
from tdxdbg.traces.records import Kind, Record
from tdxdbg.traces.unread import Unread

VERSION: Final = 1
#: A longer line is left out without being kept; the longest are checkpoints.
MAX_LINE: Final = 8 << 20
#: A line of more values than this is left out: each takes memory many times its size.
_MAX_VALUES: Final = 1 << 20


def sniff(head: bytes) -> bool:
    """Whether a file starts like this form."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and b'"tdxt"' in head


def lines(trace: Trace) -> Iterator[str]:
    """The trace as lines, without line ends. Damaged records are left out."""
    return lines_of(trace.meta, (record for _, record in trace.records()))


def lines_of(meta: TraceMeta, records: Iterable[Record]) -> Iterator[str]:
    """A journal as lines, without line ends."""
    yield dump_json({"tdxt": VERSION, "meta": meta.to_json()})
    for record in records:
        yield dump_json(record_to_json(record))


def write(trace: Trace, file: TextIO) -> None:
    """Writes the whole trace to a text file that is open."""
    for line in lines(trace):
        file.write(line + "\n")


def read(file: BinaryIO, name: str) -> Trace:
    """The trace of a file; bad lines are counted and left out, a bad header is a TraceError."""
    unread = Unread()
    numbered = _lines(file, unread)
    meta = _header(numbered, name)
    try:
        new = Builder(meta, name)
    except ValueError as problem:
        raise TraceError(f"{name}: line 1: {problem}; take it out of meta") from None
    with new as builder:
        rows = _Rows()
        for at, text in numbered:
            try:
                rows.add(builder, _object(text))
            except FieldError as problem:
                column = text.find(f'"{problem.key}"'.encode()) + 1 if problem.key else 1
                unread.add(at, text, f"line {at}, column {max(column, 1)}: {problem}")
            except ValueError as problem:
                unread.add(at, text, f"line {at}: {problem}")
        trace = builder.finish([*unread.problems(), *rows.problems()])
    trace.unread.extend(unread.lines)
    return trace


def _lines(file: BinaryIO, unread: Unread) -> Iterator[tuple[int, bytes]]:
    """Numbered lines that are not blank; too long ones are passed over in pieces."""
    at = 0
    while text := file.readline(MAX_LINE):
        at += 1
        if len(text) == MAX_LINE and not text.endswith(b"\n"):
            unread.add(at, text, f"line {at}: longer than {MAX_LINE >> 20} MiB; split it")
            while text and not text.endswith(b"\n"):
                text = file.readline(MAX_LINE)
            continue
        if at == 1:
            text = text.removeprefix(b"\xef\xbb\xbf")
        if text.strip():
            yield at, text


def _header(numbered: Iterator[tuple[int, bytes]], name: str) -> TraceMeta:
    at, text = next(numbered, (1, b"{}"))
    try:
        items = _object(text)
    except ValueError as problem:
        raise TraceError(
            f'{name}: line {at}: {problem}; the first line is {{"tdxt": 1, "meta": {{...}}}}'
        ) from None
    version = number(items.get("tdxt"))
    if version is None or version == 0:
        raise TraceError(
            f'{name}: line {at}: no trace; the first line is {{"tdxt": 1, "meta": {{...}}}}'
        )
    if version > VERSION:
        raise TraceError(
            f"{name}: format version {version} is newer than {VERSION}, "
            "which this tdxdbg reads; update tdxdbg"
        )
    try:
        return TraceMeta.from_json(items.get("meta", {}))
    except TraceError as problem:
        raise TraceError(f"{name}: line {at}: {problem}") from None


def _object(text: bytes) -> dict[str, object]:
    """The JSON object of a line; raises ValueError with the column."""
    if text.count(b",") + text.count(b"[") + text.count(b"{") > _MAX_VALUES:
        raise ValueError(f"more than {_MAX_VALUES} values in a line; split it")
    try:
        # Metadata and checkpoints lie one deeper than in a .tdxt file.
        value = load_json(text.decode(), MAX_DEPTH + 1)
    except UnicodeDecodeError as problem:
        raise ValueError(f"column {problem.start + 1}: not UTF-8") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object {...}")
    return value


class _Rows:
    """Gives rows the numbers 0, 1, 2, ... in the order of their first record.

    Nothing is kept while the file's own numbers are just that.
    """

    def __init__(self) -> None:
        self._base: int | None = None
        self._rows: dict[int, int] = {}
        self._first_missing = 0

    def add(self, builder: Builder, items: dict[str, object]) -> None:
        """Adds a line's record to the trace; raises ValueError, and is unchanged, if it is bad."""
        record = record_from_json(items)
        started = builder.rows
        label = record.row
        if record.kind is Kind.CHECKPOINT or (
            label < started if self._base is None else label < self._base
        ):
            builder.add(record)
            return
        row = self._rows.get(label, started)
        builder.add(record._replace(row=row))
        if self._base is None and label != started:
            self._base = started
            self._first_missing = started
        if self._base is not None:
            self._rows[label] = row

    def problems(self) -> list[str]:
        if self._base is None:
            return []
        return [f"row {self._first_missing} is missing: the rows after it are numbered anew"]
