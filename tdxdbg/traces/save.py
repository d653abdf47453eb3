"""Writes a whole trace to a new `.tdxt` file, with what is known of its import."""

from __future__ import annotations

import os
from dataclasses import replace
from types import MappingProxyType
from typing import NoReturn

from tdxdbg.errors import BackendError, TraceError
from tdxdbg.traces.copies import Progress
from tdxdbg.traces.header import pack_header
from tdxdbg.traces.layout import RECORD_SIZE
from tdxdbg.traces.native import Trace
from tdxdbg.traces.output import Output, to_file
from tdxdbg.traces.unread import import_to_json


def refuse_existing(path: str) -> None:
    """Raises TraceError when something has that name."""
    if os.path.lexists(path):
        _refuse(path)


def save(trace: Trace, path: str, progress: Progress | None = None) -> None:
    """Raises TraceError when the file exists or cannot be written; nothing is left then."""
    refuse_existing(path)
    try:
        with to_file(path) as out:
            write(trace, out, progress)
    except FileExistsError:
        _refuse(path)
    except BackendError as problem:
        raise TraceError(str(problem)) from None


def _refuse(path: str) -> NoReturn:
    raise TraceError(f"{path}: already exists; give another name, or remove it first") from None


def write(trace: Trace, out: Output, progress: Progress | None = None) -> None:
    """The bytes of a `.tdxt` file. `progress`: bytes of records, written and in all."""
    out.write(_header(trace))
    done, total = 0, trace.n_records * RECORD_SIZE
    for part in trace.pieces():
        done += out.write(part)
        if progress is not None:
            progress(done, total)


def _header(trace: Trace) -> bytes | memoryview:
    if trace.imported is None:
        return trace.head
    meta = trace.meta
    extra = {**meta.extra, "imported": import_to_json(trace.imported, trace)}
    return pack_header(replace(meta, extra=MappingProxyType(extra)))
