"""A process that writes exits as JSON Lines, so that the screen never waits for it.

A job in JSON comes on standard input; the lines go to standard output. Standard
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
from tdxdbg.filters import Filter, FilterError, compile_filter
from tdxdbg.timeline import Timeline
from tdxdbg.traces import open_trace

#: Seconds between two words of progress.
_OFTEN: Final = 0.1


class Job(TypedDict):
    """What to write: the file of the recording, the generation's name, a filter or nothing."""

    trace: str
    kernel: str
    filter: str | None


def row_lines(timeline: Timeline, wanted: Filter | None) -> Iterator[tuple[int, str | None]]:
    """Each row with its line; None where the filter does not select it."""
    for row in range(len(timeline)):
        try:
            summary = timeline.summary(row)
            if wanted is not None and not wanted.matches(summary):
                yield row, None
                continue
            found = report.json_object(summary, report.row_moments(timeline, row))
        except TraceError as error:
            found = {"row": row, "problem": safe(str(error))}
        yield row, json.dumps(found)


def write_rows(job: Job, write: Callable[[str], object], say: Callable[[str], object]) -> None:
    """Do the job; raises TdxdbgError and OSError."""
    wanted = compile_filter(job["filter"]) if job["filter"] else None
    with open_trace(job["trace"]) as trace:
        timeline = Timeline(trace, BY_NAME[job["kernel"]])
        written, at, since = 0, 0, 0.0
        for row, text in row_lines(timeline, wanted):
            at = row + 1
            if text is not None:
                write(text + "\n")
                written += 1
            if monotonic() - since > _OFTEN:
                since = monotonic()
                say(f"{at} {written}\n")
        say(f"{at} {written}\n")


def main() -> int:
    """The exit status: 0 when everything was written."""

    def say(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()

    try:
        write_rows(json.load(sys.stdin), sys.stdout.write, say)
        sys.stdout.flush()
    except (TdxdbgError, FilterError) as error:
        say(f"{safe(str(error))}\n")
        return 1
    except OSError as error:
        say(f"{safe(error.strerror or str(error))}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
