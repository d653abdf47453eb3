"""What all text importers share: events go to the joiner, and everything else is counted.

An importer knows the layout of its lines. It gives the reader one event after
the other, or says what else a line is; nothing is dropped in silence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import closing
from io import SEEK_END
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from tdxdbg.errors import TraceError
from tdxdbg.traces.builder import Builder
from tdxdbg.traces.join import At, EventJoiner, Joiner
from tdxdbg.traces.lines import Lines
from tdxdbg.traces.meta import TraceMeta
from tdxdbg.traces.native import Trace
from tdxdbg.traces.probes import Event
from tdxdbg.traces.unread import LINES, Imported, Unread

if TYPE_CHECKING:
    from tdxdbg.traces.columns import Block

#: Texts from this size on, in bytes, are joined as columns: for less it does not pay.
LARGE: Final = 1 << 20
#: Names of what is counted one by one.
_MAX_NAMES: Final = 1000
#: vCPU threads that are named in a remark.
_MAX_THREADS: Final = 16
_END_OF_TIME: Final = 1 << 63
_HEAD: Final = 16 << 10
#: In the headers of the latency format and of perf.
_KERNEL: Final = re.compile(
    rb"^# (?:\w{1,32} latency trace v\S{1,16} on|os release :) (\S{1,100})", re.MULTILINE
)

#: A line with its number from 1.
Line = tuple[int, bytes]
#: Processes and threads whose events are read; empty: of all.
Pids = Collection[int]
EVERYBODY: Final[Pids] = frozenset()


class TextFormat(NamedTuple):
    """`source` is the tool, `remedy` what to record when a file holds no exit.

    `read` takes every line of a file with its number and tells the reader.
    """

    source: str
    title: str
    remedy: str
    read: Callable[[Reader, Lines], None]


class Reader:
    """One recording being read. `remedy` may be changed when the file shows why it has no exits."""

    #: What is counted that cannot be read.
    unit = LINES

    def __init__(self, joiner: EventJoiner, pids: Pids, remedy: str) -> None:
        self.remedy = remedy
        #: It opens without an exit too: a problem says why there is none.
        self.may_be_empty = False
        self.unread = Unread()
        self._fed = 0
        self._spared = 0
        self.left_out = 0
        self._joiner = joiner
        self._feed = joiner.feed
        self._garbled = 0
        #: Takes many events at once, where the joiner does.
        self.blocks: Callable[[Block], object] | None = getattr(joiner, "feed_block", None)
        self._pids = frozenset(pids)
        self.selective = bool(self._pids)
        self._unused: Counter[bytes] = Counter()
        self._lost = 0
        self._losses = 0
        self._notes: dict[str, None] = {}
        self._problems: dict[str, None] = {}
        #: What the first threads are called.
        self.names: dict[int, bytes] = {}
        #: Where the text tells no thread: the vCPU that runs on each CPU (-1: unknown).
        self._running: dict[int, int] = {}
        self._vcpus: set[int] = set()

    # --- what a line can be -----------------------------------------------------------------

    def event(self, line: Line, thread: int, time: int | None, event: Event) -> None:
        """An event of a thread, at a time in ns."""
        if time is not None and time >= _END_OF_TIME:
            time = None
        try:
            self._feed(At(thread, time, line[0]), event)
            self._fed += 1
        except ValueError:
            self.garbled(line)

    def fed(self, count: int) -> None:
        """So many events were given to the joiner."""
        self._fed += count

    def garbled(self, line: Line) -> None:
        """An event whose text is not as it should be."""
        self._garbled += 1
        self.unread.add(*line)

    def wants(self, *numbers: bytes | None) -> bool:
        """Whether a line of this process or thread is wanted; it is counted if not."""
        known = (int(number) for number in numbers if number and number.isdigit())
        if not self.selective or not self._pids.isdisjoint(known):
            return True
        self.left_out += 1
        return False

    def unused(self, name: bytes, count: int = 1) -> None:
        """What carries nothing for an exit, by the name of its kind."""
        self._spared += count
        self.other(name, count)

    def other(self, name: bytes, count: int = 1) -> None:
        """Lines that are no events, by the name of their kind."""
        known = name in self._unused or len(self._unused) < _MAX_NAMES
        self._unused[name if known else b"others"] += count

    def bad(self, line: Line) -> None:
        """A line that cannot be understood."""
        self.unread.add(*line)

    def lost(self, count: int) -> None:
        """The recorder lost events here; 0: it does not say how many."""
        self._losses += 1
        self._lost += count
        self._joiner.lost()

    def note(self, remark: str) -> None:
        """One thing to say about the recording; twice the same counts once."""
        self._notes[remark] = None

    def note_problem(self, problem: str) -> None:
        """One thing that is missing in the recording; twice the same counts once."""
        self._problems[problem] = None

    def name_thread(self, thread: int, name: bytes | None) -> None:
        """What a thread is called; the first name of each counts."""
        if len(self.names) < _MAX_NAMES:
            self.names.setdefault(thread, name or b"")

    def vcpu_on(self, cpu: int, event: Event) -> int | None:
        """Where the text tells no thread: stands for it.

        The vCPU that the event names, else the one on its CPU.
        Where no CPU is told either (-1), only a vCPU that is alone can be meant.
        """
        vcpu: int | None = getattr(event, "vcpu", None)
        if vcpu is not None:
            self._running[cpu] = ~vcpu
            self._vcpus.add(~vcpu)
            return ~vcpu
        if cpu in self._running and (cpu >= 0 or len(self._vcpus) == 1):
            return self._running[cpu]
        if self._vcpus:
            self.unused(b"events that name no thread")
            return None
        return ~0

    @property
    def events(self) -> int:
        """How many there were, whatever they told."""
        return self._fed + self._garbled + self._spared

    # --- at the end ---------------------------------------------------------------------------

    def nothing(self) -> str:
        """Why there is no exit in the recording, and what to do."""
        counts = f"{self.events} events ({self.unread.count} {self.unit} could not be read"
        if self.left_out:
            counts += f", {self.left_out} of other processes were left out"
        return f"no exits in {counts}); {self.remedy}"

    def problems(self) -> list[str]:
        lines = [*self.unread.problems(self.unit), *self._problems]
        if self._losses:
            number = f"{self._lost} events" if self._lost else f"events {self._losses} times"
            lines.append(f"the kernel lost {number}: exits around them may be missing")
        return lines

    def remarks(self) -> list[str]:
        lines = []
        unused = self._all_unused()
        if unused:
            order = sorted(unused.items(), key=lambda item: (-item[1], item[0]))
            counts = ", ".join(f"{count} {name}" for name, count in order)
            lines.append(f"used for nothing: {counts}")
        if self.left_out:
            lines.append(f"{self.left_out} {self.unit} of other processes are left out")
        return [*lines, *self._notes, *self._threads()]

    def _threads(self) -> list[str]:
        """Which vCPU is which thread, where there are several."""
        vcpus = sorted((vcpu, thread) for thread, vcpu in self._joiner.vcpus().items())
        if len(vcpus) < 2 or vcpus[0][1] < 0:
            return []
        named = (
            f"vCPU {vcpu} is {self.names.get(thread, b'').decode('utf-8', 'replace')}-{thread}"
            for vcpu, thread in vcpus[:_MAX_THREADS]
        )
        more = len(vcpus) - _MAX_THREADS
        return [", ".join(named) + (f", and {more} more" if more > 0 else "")]

    def tell(self, trace: Trace, source: str, lines: int) -> None:
        """Gives a trace what is known of the recording, which had so many lines or events."""
        used = self._fed - sum(self._joiner.unused.values())
        trace.unread.extend(self.unread.lines)
        trace.remarks.extend(self.remarks())
        trace.imported = Imported(source, lines, max(used, 0), self.unread.count, self.unit)

    def _all_unused(self) -> Counter[str]:
        names = ((name.decode("ascii", "replace"), count) for name, count in self._unused.items())
        return self._joiner.unused + Counter(dict(names))


def metadata(source: str, kernel: str, title: str) -> TraceMeta:
    """Of a recording of another tool."""
    return TraceMeta(
        source=source,
        kernel=kernel,
        origin="imported",
        title=title,
        # Nothing in such a recording tells how wide a GPA is, or which capabilities are on.
        extra=MappingProxyType({"td_known": False}),
    )


def read_text(file: BinaryIO, name: str, pids: Pids, text_format: TextFormat) -> Trace:
    """Joins the events of a recording into exits; raises TraceError when there are none."""
    head = file.read(_HEAD)
    # What comes bit by bit is joined event by event: what is there is there at once.
    size = file.seek(0, SEEK_END) if file.seekable() else 0
    file.seek(0)
    found = _KERNEL.search(head)
    kernel = found[1].decode("ascii", "replace") if found else ""
    meta = metadata(text_format.source, kernel, text_format.title)
    if size < LARGE:
        return _read_text(file, name, meta, pids, text_format, Joiner)
    from tdxdbg.traces.column_feed import ColumnFeed
    from tdxdbg.traces.column_work import OddEventError

    try:
        return _read_text(file, name, meta, pids, text_format, ColumnFeed)
    except OddEventError:
        file.seek(0)
        return _read_text(file, name, meta, pids, text_format, Joiner)


def _read_text(
    file: BinaryIO,
    name: str,
    meta: TraceMeta,
    pids: Pids,
    text_format: TextFormat,
    join: Callable[[Builder], EventJoiner],
) -> Trace:
    with Builder(meta, name) as builder, closing(join(builder)) as joiner:
        reader = Reader(joiner, pids, text_format.remedy)
        lines = Lines(file)
        text_format.read(reader, lines)
        joiner.finish()
        if not builder.rows and not reader.may_be_empty:
            raise TraceError(f"{name}: {reader.nothing()}")
        trace = builder.finish(reader.problems())
    reader.tell(trace, text_format.source, lines.count)
    return trace
