"""What the importers of binary recordings share: events in, a trace out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tdxdbg.errors import TraceError
from tdxdbg.traces import columns
from tdxdbg.traces.columns import Block
from tdxdbg.traces.join import Joiner
from tdxdbg.traces.meta import TraceMeta
from tdxdbg.traces.native import Builder, Trace
from tdxdbg.traces.unread import Unread

#: Trace clocks that count nanoseconds (Documentation/trace/ftrace.rst).
_NS_CLOCKS: Final = frozenset(
    {"", "local", "global", "perf", "mono", "mono_raw", "boot", "tai", "uptime"}
)
#: Names of events that are counted one by one.
_MAX_NAMES: Final = 1000


def counts_ns(clock: str) -> bool:
    """Whether times of this clock are in ns."""
    return clock in _NS_CLOCKS


def metadata(source: str, kernel: str) -> TraceMeta:
    """Of a recording of KVM's events."""
    return TraceMeta(
        source=source,
        kernel=kernel,
        origin="imported",
        title="exits to userspace as the kernel traced them",
        # Nothing in such a recording tells how wide a GPA is, or which capabilities are on.
        extra=MappingProxyType({"td_known": False}),
    )


class Importer:
    """Joins blocks of events into a trace, and keeps account of what was not used.

    `remarks` and `problems` are lines for the user; `events` counts all events
    of the recording.
    """

    def __init__(self, builder: Builder) -> None:
        self.events = 0
        self.remarks: list[str] = []
        self.problems: list[str] = []
        self.unused: Counter[str] = Counter()
        self.unread = Unread()
        self._builder = builder
        self._joiner = Joiner(builder)
        self._lost = 0
        self._gaps = 0

    def add(self, block: Block) -> None:
        """The next events."""
        lost = block.a[block.kind == columns.LOST]
        self._gaps += len(lost)
        self._lost += sum(lost.tolist())
        for source, reason in columns.feed(self._joiner, block):
            self.unread.add(source, reason)

    def count(self, names: Mapping[str, int]) -> None:
        """Events that say nothing of exits, by name."""
        for name, count in names.items():
            room = name in self.unused or len(self.unused) < _MAX_NAMES
            self.unused[name if room else "other events"] += count

    def finish(self, name: str) -> Trace:
        """The trace; raises TraceError when there is not one exit."""
        self._joiner.finish()
        if not self._builder.rows:
            why = "".join(f"; {line}" for line in self.problems[:1])
            raise TraceError(
                f"{name}: no exits in {self.events} events ({self.unread.count} could not be "
                f"read); record kvm:kvm_userspace_exit or kvm:kvm_exit{why}"
            )
        trace = self._builder.finish([*self._unread(), *self._said_lost(), *self.problems])
        trace.unread.extend(self.unread.lines)
        self.unused.update(self._joiner.unused)
        if self.unused:
            counts = ", ".join(f"{count} {name}" for name, count in self.unused.most_common())
            trace.remarks.append(f"used for nothing: {counts}")
        trace.remarks.extend(self.remarks)
        return trace

    def _unread(self) -> list[str]:
        if not self.unread.count:
            return []
        first = self.unread.lines[0][0]
        return [f"{self.unread.count} events could not be read, the first at offset {first:#x}"]

    def _said_lost(self) -> list[str]:
        if not self._gaps:
            return []
        number = f"{self._lost} events" if self._lost else "events"
        return [
            f"the kernel lost {number} at {self._gaps} places: exits around them may be missing"
        ]
