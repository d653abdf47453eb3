"""Lines of the kernel's tracing: who, on which CPU, when, which event, and its text.

tracefs, trace-cmd and perf print the same events in lines of their own
layouts; an importer gives the layouts of its tool (facts: kvm_and_traces B1,
"Line layouts").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from tdxdbg.traces import kvm_fields, kvm_text
from tdxdbg.traces.lines import MAX_LINE
from tdxdbg.traces.probes import Event
from tdxdbg.traces.reader import Line, Reader


class Layout(NamedTuple):
    """`pattern` has the groups comm, thread, process, CPU, time, its fraction, event, text.

    A group may be empty or missing. A time without a fraction counts `unit`
    ns; 0: it is a counter in no known unit.
    """

    pattern: re.Pattern[bytes]
    unit: int = 0


#: "comm-pid": the comm may hold spaces, digits, brackets, "/" and "-".
COMM_PID: Final = rb"\s{0,64}(\S.{0,64}?)-(\d{1,10})\s{1,32}"
#: Seconds, or a counter.
TIME: Final = rb"(\d{1,20})(?:\.(\d{1,9}))?"
#: The event and what it says.
EVENT: Final = rb"(\w{1,64}):\s{0,32}(.*)"

#: What sniffing looks at.
_SNIFFED_LINES: Final = 200
_SCALE: Final = tuple(10 ** (9 - digits) for digits in range(10))
_COUNTER: Final = "times are a counter in no known unit (trace_clock): left out"
#: How the text of a dynamic event starts: with its address, in brackets or as a field.
_DYNAMIC: Final = (b"(", b"_")
_LOST: Final = (
    re.compile(
        rb"(?:\S{1,64}: +)?(?:CPU:\d{1,6} )?\[(?:LOST )?(?:(\d{1,20}) )?EVENTS(?: DROPPED)?\]$"
    ),
    re.compile(rb".{0,200}PERF_RECORD_LOST(?:_SAMPLES)? lost (\d{1,20})"),
    re.compile(rb"Processed \d{1,20} \w{1,16} and lost (\d{1,20})"),
)
#: What else the tools print between events, by how it is counted.
_OTHERS: Final = (
    (b"header lines", re.compile(rb"cpus=\d{1,6}$|version = \d{1,3}$|CPU \d{1,6} is empty$")),
    (b"stack trace lines", re.compile(rb"=> |.{0,200}: <(?:user )?stack trace>$")),
    (b"call chain lines", re.compile(rb"[0-9a-f]{4,16} \S.{0,400} \(.{0,400}\)$")),
    (b"calls of functions", re.compile(rb".{0,200}: +\S{1,128} <-\S{1,128}$")),
    (b"other records of perf", re.compile(rb".{0,200}PERF_RECORD_[A-Z]")),
    (b"warnings", re.compile(rb"(?:trace-cmd|perf|[Ww]arning|Check IO/CPU overload)\b")),
)


def fits(head: bytes, patterns: Iterable[re.Pattern[bytes]]) -> bool:
    """Whether one of the first lines fits one of the patterns."""
    if b"\0" in head:
        return False
    lines = [line[:MAX_LINE] for line in head.split(b"\n", _SNIFFED_LINES)]
    return any(pattern.match(line) for pattern in patterns for line in lines)


def read_kernel_lines(reader: Reader, lines: Iterable[Line], layouts: Sequence[Layout]) -> None:
    """Reads every line; the layout that fitted the last one is tried first."""
    order = list(layouts)
    match, unit = order[0].pattern.match, order[0].unit
    parsers = kvm_text.PARSERS.get
    names = reader.names
    for line in lines:
        found = match(line[1])
        if found is None:
            layout = _layout_of(line[1], order)
            if layout is None:
                _other(reader, line)
                continue
            match, unit = layout.pattern.match, layout.unit
            found = match(line[1])
            assert found is not None
        comm, thread, process, cpu, whole, fraction, name, text = found.groups()
        if reader.selective and not reader.wants(thread, process):
            continue
        event: Event | None
        parser = parsers(name)
        if parser is not None:
            match_text = parser[0].match(text)
            event = kvm_fields.raw(name, text) if match_text is None else parser[1](match_text)
        else:
            event = kvm_fields.dynamic(name, text) if text[:1] in _DYNAMIC else None
            if event is None:
                reader.unused(name)
                continue
        if fraction:
            time = int(whole + fraction) * _SCALE[len(fraction)]
        elif unit and whole:
            time = int(whole) * unit
        else:
            time = None
            if whole:
                reader.note(_COUNTER)
        if not thread:
            reader.event(line, None, time, event, int(cpu) if cpu else -1)
            continue
        number = int(thread)
        if number not in names:
            reader.name_thread(number, comm)
        reader.event(line, number, time, event)


def _layout_of(text: bytes, order: list[Layout]) -> Layout | None:
    for layout in order:
        if layout.pattern.match(text):
            order.remove(layout)
            order.insert(0, layout)
            return layout
    return None


def _other(reader: Reader, line: Line) -> None:
    """A line that is no event."""
    text = line[1].strip()
    if not text or text.startswith(b"#"):
        return
    for pattern in _LOST:
        lost = pattern.match(text)
        if lost is not None:
            reader.lost(int(lost[1] or 0))
            return
    for name, pattern in _OTHERS:
        if pattern.match(text):
            reader.other(name)
            return
    reader.bad(line)
