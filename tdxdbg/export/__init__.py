"""Recordings, or a part of them, in the forms that other tools read.

`FORMATS` is the table of forms; each writes a `Job` to an `Output`, headless and
in bounded memory. `excerpt` makes traces that tdxdbg opens again, `exits` and
`columns` tables, `perfetto` a time line. `redaction` comes before all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from tdxdbg.export import csv_lines, parquet, perfetto, recording
from tdxdbg.export.job import Done, Job
from tdxdbg.export.redaction import LEVELS, Level
from tdxdbg.export.selection import Selection
from tdxdbg.traces.output import Output, to_file, to_stream

__all__ = [
    "FORMATS",
    "LEVELS",
    "Done",
    "Format",
    "Job",
    "Level",
    "Output",
    "Selection",
    "format_of",
    "to_file",
    "to_stream",
]


class Format(NamedTuple):
    """A form: the endings of its files' names, and what can be made of it.

    `is_text`: a terminal can show it; `can_compute`: also of another kernel
    than the recorded one.
    """

    name: str
    endings: tuple[str, ...]
    is_text: bool
    can_compute: bool
    write: Callable[[Job, Output], Done]


#: In the order in which they are listed.
FORMATS: Final[dict[str, Format]] = {
    each.name: each
    for each in (
        Format("tdxt", (".tdxt",), False, False, recording.write_native),
        Format("tdxt.zst", (".tdxt.zst",), False, False, recording.write_archive),
        Format("jsonl", (".jsonl", ".ndjson"), True, False, recording.write_lines),
        Format("csv", (".csv",), True, True, csv_lines.write),
        Format("parquet", (".parquet",), False, True, parquet.write),
        Format("perfetto", (".json", ".perfetto"), True, True, perfetto.write),
    )
}


def format_of(path: str) -> Format | None:
    """The form that a file's name ends with."""
    lower = path.lower()
    return next((each for each in FORMATS.values() if lower.endswith(each.endings)), None)
