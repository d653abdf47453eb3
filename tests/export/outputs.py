"""What an exporter writes, in memory."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

from tdxdbg.export import Done, Job, Output, to_stream


def written(write: Callable[[Job, Output], Done], job: Job) -> bytes:
    """The bytes of the whole file."""
    file = BytesIO()
    with to_stream(file, "memory") as out:
        write(job, out)
        assert out.size == len(file.getvalue())
    return file.getvalue()
