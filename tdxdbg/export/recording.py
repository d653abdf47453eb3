"""A recording, or a part of it, as a recording: the native form and JSON Lines.

The whole of one without anything taken out is copied as it is. Of a part the
metadata say what it is a part of (`excerpt`), what was taken out (`redacted`)
and both in words (`remarks`), which a reader shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePath
from types import MappingProxyType
from typing import Final, Protocol

from tdxdbg.decode.text import safe
from tdxdbg.errors import TraceError
from tdxdbg.export.excerpt import Excerpt
from tdxdbg.export.job import Done, Job
from tdxdbg.export.redaction import LEVELS, Level, Redaction
from tdxdbg.traces import jsonl
from tdxdbg.traces.header import pack_header
from tdxdbg.traces.layout import RECORD_SIZE
from tdxdbg.traces.meta import TraceMeta
from tdxdbg.traces.native import Trace
from tdxdbg.traces.output import Output
from tdxdbg.traces.records import Record

#: Lines of JSON, or records, that are written at once.
_TOGETHER: Final = 256
_OFTEN: Final = 4096
#: Of the problems of a damaged recording so many are passed on.
_MOST_REMARKS: Final = 20

_REDACTED: Final = {
    Level.TEXT: "what guest and devices wrote as data was taken out: messages of ReportFatalError, "
    "bytes of port I/O and MMIO, registers that are no operand, and what KVM left stale",
    Level.REGISTERS: "register values were taken out, and what follows from them: GPAs, ports, "
    "data, messages; which pages are shared is not known",
}


def write_native(job: Job, out: Output) -> Done:
    """Write a `.tdxt` file; raises BackendError and TraceError."""
    return _write_native(job, out)


def write_archive(job: Job, out: Output) -> Done:
    """Write a `.tdxt.zst`; raises BackendError and TraceError."""
    from tdxdbg.traces.archive import ArchiveWriter

    writer = ArchiveWriter(out.write)
    done = _write_native(job, writer)
    writer.finish()
    return done


class _Sink(Protocol):
    """What takes the bytes of a trace, of which the first it is given are the header."""

    def write(self, data: bytes | memoryview) -> int: ...


def _write_native(job: Job, out: _Sink) -> Done:
    trace = job.timeline.trace
    if _is_whole(job):
        out.write(_head(trace))
        done = 0
        for part in trace.pieces():
            done += out.write(part) // RECORD_SIZE
            _say(job, done * len(trace) // trace.n_records)
        return Done(len(trace))
    excerpt = Excerpt(job)
    out.write(_packed(_meta(job), trace))
    pieces: list[bytes] = []
    for record in excerpt:
        pieces.append(excerpt.pack(record))
        if len(pieces) == _TOGETHER:
            out.write(b"".join(pieces))
            pieces.clear()
    out.write(b"".join(pieces))
    return Done(excerpt.exits)


def write_lines(job: Job, out: Output) -> Done:
    """Write JSON Lines; raises BackendError and TraceError."""
    trace = job.timeline.trace
    if _is_whole(job):
        meta = _with_remarks(trace.meta, _of_the_source(trace)) if _has_more(trace) else trace.meta
        _write_json(out, meta, _whole(job))
        return Done(len(trace))
    excerpt = Excerpt(job)
    _write_json(out, _meta(job), _counted(excerpt))
    return Done(excerpt.exits)


def _write_json(out: Output, meta: TraceMeta, records: Iterable[Record]) -> None:
    lines: list[str] = []
    for line in jsonl.lines_of(meta, records):
        lines.append(line)
        if len(lines) == _TOGETHER:
            out.write("".join(f"{text}\n" for text in lines).encode())
            lines.clear()
    out.write("".join(f"{text}\n" for text in lines).encode())


def _whole(job: Job) -> Iterable[Record]:
    for place, record in job.timeline.trace.records():
        if place % _OFTEN == 0:
            _say(job, record.row)
        yield record


def _counted(excerpt: Excerpt) -> Iterable[Record]:
    """The records; packed too, since places in the file are counted in the native form."""
    for record in excerpt:
        excerpt.pack(record)
        yield record


def _say(job: Job, row: int) -> None:
    if job.progress is not None:
        job.progress(row, row)


# --- metadata -----------------------------------------------------------------------------


def _is_whole(job: Job) -> bool:
    return job.level is None and job.selection.is_everything(len(job.timeline))


def _has_more(trace: Trace) -> bool:
    """Whether there is something to say that its metadata do not say."""
    return bool(trace.problems) or trace.remarks != trace.meta.remarks


def _head(trace: Trace) -> bytes | memoryview:
    if not _has_more(trace):
        return trace.head
    return _packed(_with_remarks(trace.meta, _of_the_source(trace)), trace)


def _packed(meta: TraceMeta, trace: Trace) -> bytes:
    try:
        return pack_header(meta)
    except ValueError as problem:
        raise TraceError(f"{trace.name}: {problem}; take something out of it") from None


def _of_the_source(trace: Trace) -> list[str]:
    """What an importer left out, and what is damaged."""
    return [*trace.remarks, *trace.problems[:_MOST_REMARKS]]


def _with_remarks(meta: TraceMeta, remarks: list[str], **more: object) -> TraceMeta:
    extra = {**meta.extra, **more}
    if remarks:
        extra["remarks"] = remarks
    return replace(meta, extra=MappingProxyType(extra))


def _meta(job: Job) -> TraceMeta:
    """The metadata of a part. What was redacted is not quoted."""
    trace, level = job.timeline.trace, job.level
    meta, remarks = trace.meta, _of_the_source(trace)
    names = {*meta.redacted} & {*LEVELS}
    if level is not None:
        meta, remarks = Redaction(level).meta(meta), []
        names.add(level.name.lower())
    more: dict[str, object] = {}
    if names:
        more["redacted"] = sorted(names)
    if not job.selection.is_everything(len(trace)) or trace.meta.is_excerpt:
        more["excerpt"] = _origin(job)
        remarks.append(_excerpt_remark(job))
        remarks.append(
            "exits between are missing, so what is said of several exits (chains of MapGPA) is "
            "said of these only; another kernel starts behind each gap from what the recorded "
            "one had done"
        )
    remarks += [_REDACTED[LEVELS[name]] for name in sorted(names) if level is not None]
    return _with_remarks(meta, list(dict.fromkeys(remarks)), **more)


def _origin(job: Job) -> dict[str, object]:
    selection, trace = job.selection, job.timeline.trace
    found: dict[str, object] = {"of": PurePath(trace.name).name, "exits": len(trace)}
    found["from"] = selection.first
    if selection.most is not None:
        found["count"] = selection.most
    if selection.wanted is not None and job.level is None:
        found["filter"] = selection.wanted.text
    return found


def _excerpt_remark(job: Job) -> str:
    selection, trace = job.selection, job.timeline.trace
    name = safe(PurePath(trace.name).name)
    wanted = selection.text()
    if job.level is not None and selection.wanted is not None:
        wanted = selection._replace(wanted=None).text() + ", by a filter"
    return f"an excerpt of {name}, which has {len(trace)} exits; selected: {wanted}"
