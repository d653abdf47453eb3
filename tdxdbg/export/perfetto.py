"""Chrome's trace event format, for ui.perfetto.dev and chrome://tracing.

The VM is a process and each vCPU a thread. On a vCPU's track lie "in TD" while
guest code runs, the exit while KVM has it, and in that the exit to userspace
while userspace has it; a counter says how many bytes are shared. Times are the
recording's, in us with the ns behind the point. A recording without times has
the numbers of its exits instead, and says so.

Numbers of more than 53 bits would lose bits in JSON: they are hex text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from tdxdbg.abi.kvm import exit_name
from tdxdbg.decode.queue import queue_line, row_name
from tdxdbg.decode.text import safe
from tdxdbg.decode.values import errno_text
from tdxdbg.engine.state import Step
from tdxdbg.export.columns import COLUMNS, Column, Exit, Type
from tdxdbg.export.exits import exits
from tdxdbg.export.job import Done, Job
from tdxdbg.export.redaction import Level
from tdxdbg.timeline.walk import Walk
from tdxdbg.traces.meta import dump_json
from tdxdbg.traces.output import Output
from tdxdbg.traces.records import Kind, Record

_PROCESS: Final = 1
#: Events that are written at once.
_TOGETHER: Final = 512
#: Columns that are arguments of an exit's slice, beside those of the queue's line.
_ARGUMENTS: Final = frozenset(
    {"index", "reason_name", "leaf_name", "gpa", "size", "direction", "port", "value", "private",
     "shared", "exit", "hypercall", "outcome", "status_name", "reply", "errno", "message"}
)  # fmt: skip
_COLUMNS: Final = tuple(column for column in COLUMNS if column.name in _ARGUMENTS)
_NO_TIMES: Final = "the recording has no times: a microsecond stands for an exit"


@dataclass
class _Tracks:
    """What was said so far: which vCPUs there are, and since when each is in the TD."""

    timed: bool
    #: Whether no exit is left out between two that are there.
    whole: bool
    entered: dict[int, int | None] = field(default_factory=dict)
    first: int | None = None
    last: int = 0
    exits: int = 0
    without_time: int = 0


def write(job: Job, out: Output) -> Done:
    """Write the JSON text; raises BackendError."""
    rows = exits(job)
    head = next(rows, None)
    timed = head is None or head.summary.time is not None
    tracks = _Tracks(timed, job.selection.wanted is None)
    out.write(_head(job, timed=timed).encode())
    lines: list[str] = []
    events = chain(
        _process(job),
        _slices(chain(() if head is None else (head,), rows), tracks),
        _counters(job, tracks),
    )
    mark = "\n"
    for event in events:
        lines.append(event)
        if len(lines) == _TOGETHER:
            out.write((mark + ",\n".join(lines)).encode())
            lines.clear()
            mark = ",\n"
    out.write((mark + ",\n".join(lines) if lines else "").encode())
    out.write(b"\n]}\n")
    said = [] if timed else [_NO_TIMES]
    if tracks.without_time:
        said.append(f"{tracks.without_time} exits without a time are left out")
    return Done(tracks.exits, tuple(said))


def _head(job: Job, *, timed: bool) -> str:
    meta = job.timeline.trace.meta
    about = {
        "source": safe(meta.source),
        "kernel": safe(meta.kernel),
        "generation": job.timeline.generation.name,
        "origin": meta.origin,
        "title": safe(meta.title),
        "exits": safe(job.selection.text()) if job.level is None else "",
        "redacted": "" if job.level is None else job.level.name.lower(),
        "time": "ns / 1000, as recorded" if timed else _NO_TIMES,
        "computed": job.timeline.what_if,
    }
    return f'{{"displayTimeUnit":"ns","otherData":{dump_json(about)},"traceEvents":['


def _process(job: Job) -> Iterator[str]:
    title = job.timeline.trace.meta.title
    yield _named("process_name", 0, f"TD: {safe(title)}" if title else "TD")


def _named(what: str, thread: int, name: str) -> str:
    args = dump_json({"name": name})
    return f'{{"ph":"M","pid":{_PROCESS},"tid":{thread},"name":"{what}","args":{args}}}'


def _slice(name: str, kind: str, vcpu: int, start: int, end: int, args: str = "{}") -> str:
    return (
        f'{{"ph":"X","pid":{_PROCESS},"tid":{vcpu + 1},"ts":{_us(start)},"dur":{_us(end - start)},'
        f'"name":{dump_json(name)},"cat":"{kind}","args":{args}}}'
    )


def _us(time: int) -> str:
    """Exact: as a fraction a double holds it up to 2^53 ns, 104 days."""
    return f"{time // 1000}.{time % 1000:03d}"


# --- slices -------------------------------------------------------------------------------


def _slices(rows: Iterator[Exit], tracks: _Tracks) -> Iterator[str]:
    for exit_ in rows:
        summary = exit_.summary
        vcpu = summary.vcpu or 0
        if vcpu not in tracks.entered:
            tracks.entered[vcpu] = None
            yield _named("thread_name", vcpu + 1, f"vCPU {vcpu}")
        start = summary.time if tracks.timed else summary.index * 1000
        if start is None:
            tracks.without_time += 1
            tracks.entered[vcpu] = None
            continue
        tracks.exits += 1
        tracks.first = summary.index if tracks.first is None else tracks.first
        tracks.last = summary.index
        yield from _exit(exit_, vcpu, start, tracks)


def _exit(exit_: Exit, vcpu: int, start: int, tracks: _Tracks) -> Iterator[str]:
    since, records = tracks.entered[vcpu], exit_.records
    if since is not None and tracks.whole and since < start:
        yield _slice("in TD", "td", vcpu, since, start)
    times = [record.time for record in records if record.time is not None]
    end = max([start, *times]) if tracks.timed else start + 1000
    name = safe(row_name(exit_.summary))
    yield _slice(name, _kind(exit_), vcpu, start, end, _arguments(exit_))
    if not tracks.timed:
        return
    for left, back in _in_userspace(records):
        if left.time is not None and back.time is not None and start <= left.time <= back.time:
            yield _slice(_left_for(left), "userspace", vcpu, left.time, back.time)
    has_entered = bool(records) and records[-1].kind is Kind.TD_ENTRY
    tracks.entered[vcpu] = end if has_entered else None


def _kind(exit_: Exit) -> str:
    summary = exit_.summary
    if summary.error:
        return "exit,error"
    return "exit,retry" if summary.retry else "exit"


def _in_userspace(records: list[Record]) -> Iterator[tuple[Record, Record]]:
    left: Record | None = None
    for record in records:
        if record.kind is Kind.USERSPACE_EXIT:
            left = record
        elif record.kind is Kind.ANSWER and left is not None:
            yield left, record
            left = None


def _left_for(record: Record) -> str:
    step = record.body
    if not isinstance(step, Step) or step.run is None:
        errno = step.errno if isinstance(step, Step) else 0
        return f"KVM_RUN -{errno_text(errno)}" if errno else "userspace"
    return exit_name(step.run.exit_reason)


def _arguments(exit_: Exit) -> str:
    """The line of the queue, then what is known of the decoded fields."""
    cells = queue_line(exit_.summary, ascii_only=True)
    found: dict[str, object] = {"arguments": cells[4].text, "result": cells[5].text}
    for column in _COLUMNS:
        value = column.get(exit_)
        if value is not None:
            found[column.name] = _argument(column, value)
    return dump_json(found)


def _argument(column: Column, value: object) -> object:
    if column.type is Type.HEX:
        return f"{value:#x}"
    return list(value) if isinstance(value, tuple) else value


# --- the counter ----------------------------------------------------------------------------


def _counters(job: Job, tracks: _Tracks) -> Iterator[str]:
    """Bytes that are shared, from the first exit to the last, as recorded."""
    timeline = job.timeline
    known = timeline.has_map and job.level is not Level.REGISTERS
    if tracks.first is None or not tracks.timed or not known or timeline.what_if:
        return
    walk = Walk(timeline.trace, timeline.td, timeline.generation)
    walk.go_to(timeline.trace.first_record(tracks.first))
    before: tuple[int, ...] | None = None
    for place, record in timeline.trace.records(walk.at):
        if record.row > tracks.last and record.kind is Kind.TD_EXIT:
            return
        now = walk.engine.gpa_map
        walk.feed(place, record)
        if record.time is not None and (before is None or walk.engine.gpa_map is not now):
            edges = walk.engine.gpa_map.edges
            if edges != before:
                before = edges
                shared = dump_json({"bytes": walk.engine.gpa_map.shared_bytes})
                yield (
                    f'{{"ph":"C","pid":{_PROCESS},"tid":0,"ts":{_us(record.time)},'
                    f'"name":"shared bytes","args":{shared}}}'
                )
