"""Opens text as a recording."""

from __future__ import annotations

import io

from tdxdbg.traces import FORMATS, Trace
from tdxdbg.traces.records import Record


def opened(text: str) -> Trace:
    """By the one format that recognises it."""
    data = text.encode()
    (form,) = (item for item in FORMATS if item.sniff(data))
    return form.read(io.BytesIO(data), "x.txt")


def told(trace: Trace) -> list[Record]:
    return [record for _, record in trace.records()]
