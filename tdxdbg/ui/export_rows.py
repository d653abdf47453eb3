"""A process that writes exits to a file, so that the screen never waits for it.

A job in JSON comes on standard input; the file goes to standard output. Standard
error says how far it is (`row written`, both numbers), or, last, what went
wrong. Nothing of the screen is imported here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Final, TypedDict

from tdxdbg import report
from tdxdbg.decode.text import safe
from tdxdbg.engine import BY_NAME
from tdxdbg.errors import TdxdbgError, TraceError
from tdxdbg.export import FORMATS, Output, Selection, to_stream
from tdxdbg.export import Job as ExportJob
from tdxdbg.export.selection import Looked, selected
from tdxdbg.filters import Filter, FilterError, compile_filter
from tdxdbg.timeline import Timeline
from tdxdbg.traces import open_trace

#: Seconds between two words of progress.
_OFTEN: Final = 0.1


#: The form that is not one of `tdxdbg export`: what the panes show, a JSON object a line.
DECODED: Final = "decoded"


class Job(TypedDict):
    """What to write.

    The file of the recording, the generation's name, a filter or nothing, and
    the form: DECODED or one of `export.FORMATS`.
    """

    trace: str
    kernel: str
    filter: str | None
    to: str


def row_lines(
    timeline: Timeline, wanted: Filter | None, looked: Looked | None = None
) -> Iterator[tuple[int, str]]:
    """Each row that the filter selects, with its line."""
    for row in selected(timeline, Selection(wanted=wanted), looked):
        try:
            found = report.json_object(timeline.summary(row), report.row_moments(timeline, row))
        except TraceError as error:
            found = {"row": row, "problem": safe(str(error))}
        yield row, json.dumps(found)


class _Words:
    """Says how far it is, not too often."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._since = 0.0
        self.written = 0

    def progress(self, row: int, written: int) -> None:
        self.written = written
        if monotonic() - self._since > _OFTEN:
            self._since = monotonic()
            self._say(f"{row} {written}\n")


def write_rows(job: Job, out: Output, say: Callable[[str], object]) -> None:
    """Do the job; raises TdxdbgError and OSError."""
    wanted = compile_filter(job["filter"]) if job["filter"] else None
    words = _Words(say)
    with open_trace(job["trace"]) as trace:
        timeline = Timeline(trace, BY_NAME[job["kernel"]])
        if job["to"] == DECODED:
            written = _write_decoded(timeline, wanted, out, words)
        else:
            asked = ExportJob(timeline, Selection(wanted=wanted), None, words.progress)
            written = FORMATS[job["to"]].write(asked, out).exits
        say(f"{len(timeline)} {written}\n")


def _write_decoded(timeline: Timeline, wanted: Filter | None, out: Output, words: _Words) -> int:
    for row, text in row_lines(timeline, wanted, lambda row: words.progress(row, words.written)):
        out.write(f"{text}\n".encode())
        words.progress(row + 1, words.written + 1)
    return words.written


def main() -> int:
    """The exit status: 0 when everything was written."""

    def say(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()

    try:
        with to_stream(sys.stdout.buffer, "the file") as out:
            write_rows(json.load(sys.stdin), out, say)
    except (TdxdbgError, FilterError) as error:
        say(f"{safe(str(error))}\n")
        return 1
    except OSError as error:
        say(f"{safe(error.strerror or str(error))}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
