"""Lines of the kernel's tracing: who, on which CPU, when, which event, and its text.

tracefs, trace-cmd and perf print the same events in lines of their own
layouts; an importer gives the layouts of its tool (facts: kvm_and_traces B1,
"Line layouts").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from tdxdbg.traces import kvm_fields, kvm_text
from tdxdbg.traces.lines import MAX_LINE, Lines
from tdxdbg.traces.probes import Event
from tdxdbg.traces.reader import Line, Reader


class Layout(NamedTuple):
    """`pattern` has the groups thread, process, CPU, time, its fraction, and event with its text.

    A group may be empty or missing. A time without a fraction counts `unit`
    ns; 0: it is a counter in no known unit.
    """

    pattern: re.Pattern[bytes]
    unit: int = 0


#: Looks at a line.
Look = Callable[[Line], bool]

#: "comm-": the comm may hold spaces, digits, brackets, "/" and "-".
COMM_PID: Final = rb"\s{0,64}\S.{0,64}?-(\d{1,10})\s{1,32}"
#: Seconds, or a counter.
TIME: Final = rb"(\d{1,20})(?:\.(\d{1,9}))?"
#: The event and what it says.
EVENT: Final = rb"(\w{1,64}:.*)"

#: What sniffing looks at.
_SNIFFED_LINES: Final = 200
#: Texts and threads that are remembered.
_MOST: Final = 1 << 14
#: "kvm_exit: text", also with the modifiers of a perf event.
NAMED: Final = re.compile(rb"(\w{1,64}):(?:[a-zA-Z]{1,8}:(?= ))?\s{0,32}(.*)")
_SCALE: Final = tuple(10 ** (9 - digits) for digits in range(10))
_COUNTER: Final = "times are a counter in no known unit (trace_clock): left out"
#: How the text of a dynamic event starts: with its address, in brackets or as a field.
_DYNAMIC: Final = (b"(", b"_", b"[")
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
    (b"call chain lines", re.compile(rb"[0-9a-f]{6,16} \S")),
    (b"calls of functions", re.compile(rb".{0,200}: +\S{1,128} <-\S{1,128}$")),
    (b"other records of perf", re.compile(rb".{0,200}PERF_RECORD_[A-Z]")),
    (
        b"warnings",
        re.compile(
            rb"(?:trace-cmd|perf|libtraceevent|Error): |[Ww]arning:|Check IO/CPU overload"
            rb"|\[\w{1,64}:\w{1,64}\] |'\w{1,32}' not valid for |No kallsyms or vmlinux"
            rb"|registering plugin: |(?:overrid|remov)ing |build id event |Looking at the vmlinux"
            rb"|pmu capabilities not available|\[[\w.]{1,64}\] with build id "
        ),
    ),
)


def fits(head: bytes, patterns: Iterable[re.Pattern[bytes]]) -> bool:
    """Whether one of the first lines fits one of the patterns."""
    if b"\0" in head:
        return False
    lines = [line[:MAX_LINE] for line in head.split(b"\n", _SNIFFED_LINES)]
    return any(pattern.match(line) for pattern in patterns for line in lines)


def read_kernel_lines(
    reader: Reader, lines: Lines, layouts: Sequence[Layout], look: Look | None = None
) -> None:
    """Reads every line; the layout that fitted the last one is tried first.

    `look` sees the lines that are no events.
    """
    plain = KernelLines(reader, layouts, look)
    if reader.blocks is None or reader.selective:
        for first, block in lines.blocks():
            plain.read(first, block)
        return
    from tdxdbg.traces.line_columns import LineColumns

    quick = LineColumns(reader, reader.blocks, plain)
    for first, data in lines.chunks():
        quick.read(first, data)


class KernelLines:
    """Reads lines one by one. `layouts` are in the order in which they are tried."""

    def __init__(self, reader: Reader, layouts: Sequence[Layout], look: Look | None) -> None:
        self.layouts = list(layouts)
        self.texts = _Texts(reader)
        self._reader = reader
        self._look = look
        self._threads: dict[bytes, int] = {}

    def read(self, first: int, block: Iterable[bytes]) -> None:
        """Many lines, the first of this number."""
        # Millions of lines go through here: what repeats is looked up, and little is called.
        reader, texts, order, look = self._reader, self.texts, self.layouts, self._look
        match, unit = order[0].pattern.match, order[0].unit
        known, threads = texts.known, self._threads
        for line in enumerate(block, first):
            found = match(line[1])
            if found is None:
                layout = _layout_of(line[1], order)
                if layout is None:
                    if look is None or not look(line):
                        _other(reader, line)
                    continue
                match, unit = layout.pattern.match, layout.unit
                found = match(line[1])
                assert found is not None
            thread, whole, fraction, text = found.group(1, 4, 5, 6)
            if reader.selective and not reader.wants(thread, found[2]):
                continue
            event = known.get(text)
            if event is None:
                event = texts.event(line, text)
                if event is None:
                    continue
            if isinstance(event, bytes):
                reader.unused(event)
                continue
            if fraction:
                time = int(whole + fraction) * _SCALE[len(fraction)]
            elif unit and whole:
                time = int(whole) * unit
            else:
                time = None
                if whole:
                    reader.note(_COUNTER)
            number = threads.get(thread)
            if number is None:
                number = _thread(reader, found, event)
                if number is None:
                    continue
                if thread and len(threads) < _MOST:
                    threads[thread] = number
            reader.event(line, number, time, event)


def _thread(reader: Reader, found: re.Match[bytes], event: Event) -> int | None:
    """The number of a thread that was not met before, or of what stands for it."""
    if not found[1]:
        return reader.vcpu_on(int(found[3]) if found[3] else -1, event)
    number = int(found[1])
    reader.name_thread(number, thread_name(found))
    return number


def thread_name(found: re.Match[bytes]) -> bytes:
    """What the thread of a line is called."""
    return found.string[: found.start(1)].strip(b" \t-")


class _Texts:
    """What the texts of events mean: most come again and again."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        #: The event of a text, or the name of one that carries nothing.
        self.known: dict[bytes, Event | bytes] = {}

    def event(self, line: Line, text: bytes) -> Event | bytes | None:
        """What a text means that was not met before; None when it is not as it should be."""
        found = meaning(text)
        if found is None:
            self._reader.garbled(line)
            return None
        if len(self.known) >= _MOST:
            self.known.clear()
        self.known[text] = found
        return found


def meaning(text: bytes) -> Event | bytes | None:
    """The event of a text, the name of one that carries nothing, or None: neither."""
    found = NAMED.match(text)
    name, rest = (kvm_text.name_of(text), text) if found is None else found.groups()
    parser = kvm_text.PARSERS.get(name)
    if parser is not None:
        match = parser[0].match(rest)
        return kvm_fields.raw(name, rest) if match is None else parser[1](match)
    dynamic = kvm_fields.dynamic(name, rest) if rest[:1] in _DYNAMIC else None
    return name if dynamic is None else dynamic


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
