"""tracefs text: `cat trace` or `cat trace_pipe` of the kvm events, as the kernel prints them.

Read are the default layout with and without irq-info, record-tgid and the
latency format. Lines of other layouts are counted as unread. Facts:
kvm_and_traces B1, "Line layouts".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import MappingProxyType
from typing import BinaryIO, Final

from tdxdbg.errors import TraceError
from tdxdbg.traces import kvm_text
from tdxdbg.traces.join import At, Joiner
from tdxdbg.traces.meta import TraceMeta
from tdxdbg.traces.native import Builder, Trace
from tdxdbg.traces.unread import Unread

#: The kernel's line buffer is a page; a longer line is no line of a trace.
_MAX_LINE: Final = 16 << 10
#: Names of events that are counted one by one.
_MAX_NAMES: Final = 1000

# The comm may contain spaces, "/" and "-": greedy, up to the last "-digits" before the CPU.
_LINE: Final = re.compile(
    rb"\s*\S.{0,64}-(\d{1,10})\s{1,32}(?:\([\s\d-]{1,16}\)\s{1,8})?\[\d{1,6}\]\s{1,8}"
    rb"(?:[^\s:]{1,8}\s{1,8})?(\d{1,20})(?:\.(\d{1,9}))?:\s{1,8}(\w{1,64}):\s?(.*)"
)
_LATENCY: Final = re.compile(
    rb"\s*\S.{0,64}-(\d{1,10})\s{1,32}\d{1,6}[^\s\d]\S{1,7}\s{1,16}(\d{1,20})us.?\s?:\s{1,8}"
    rb"(\w{1,64}):\s?(.*)"
)
_LOST: Final = re.compile(rb"CPU:\d{1,6} \[LOST (\d{1,20}) EVENTS\]")
_KERNEL: Final = re.compile(rb"# \w+ latency trace v\S+ on (\S{1,100})")


def sniff(head: bytes) -> bool:
    """Whether one of the first lines is a line of a trace."""
    if b"\0" in head:
        return False
    lines = head.split(b"\n")[:100]
    return lines[0].startswith(b"# tracer:") or any(
        _LINE.match(line[:_MAX_LINE]) or _LATENCY.match(line[:_MAX_LINE]) for line in lines
    )


def read(file: BinaryIO, name: str) -> Trace:
    """Joins the events of the recording into exits; raises TraceError when there are none."""
    head = file.read(4096)
    file.seek(0)
    kernel = _KERNEL.search(head)
    meta = TraceMeta(
        source="tracefs",
        kernel=kernel[1].decode("ascii", "replace") if kernel else "",
        origin="imported",
        title="exits to userspace as the kernel traced them",
        # Nothing in such a recording tells how wide a GPA is, or which capabilities are on.
        extra=MappingProxyType({"td_known": False}),
    )
    with Builder(meta, name) as builder:
        reader = _Reader(Joiner(builder))
        for number, text in _lines(file):
            reader.line(number, text)
        reader.joiner.finish()
        if not builder.rows:
            raise TraceError(
                f"{name}: no exits in {reader.events} events ({reader.unread.count} lines could "
                "not be read); record kvm:kvm_userspace_exit or kvm:kvm_exit, "
                "without options raw or fields"
            )
        trace = builder.finish(reader.problems())
    trace.unread.extend(reader.unread.lines)
    trace.remarks.extend(reader.remarks())
    return trace


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    number = 0
    while text := file.readline(_MAX_LINE):
        number += 1
        yield number, text
        while text and not text.endswith(b"\n"):
            text = file.readline(_MAX_LINE)


class _Reader:
    """One recording, line by line."""

    def __init__(self, joiner: Joiner) -> None:
        self.joiner = joiner
        self.unread = Unread()
        self.events = 0
        self._lost = 0
        self._counters = False

    def line(self, number: int, text: bytes) -> None:
        found = _LINE.match(text)
        if found is not None:
            thread, whole, fraction, name, rest = found.groups()
            if fraction is None:
                # A counter such as x86-tsc, in a unit that the file does not name.
                time = None
                self._counters = True
            else:
                time = int(whole) * 1_000_000_000 + int(fraction.ljust(9, b"0"))
        else:
            found = _LATENCY.match(text)
            if found is None:
                self._other(number, text)
                return
            thread, micros, name, rest = found.groups()
            time = int(micros) * 1000
        self.events += 1
        if time is not None and time >= 1 << 63:
            time = None
        try:
            event = kvm_text.parse(name, rest)
        except KeyError:
            self._count(name)
            return
        try:
            if event is None:
                raise ValueError(f"not the text of a {name.decode()}")
            self.joiner.feed(At(int(thread), time, number), event)
        except ValueError:
            self.unread.add(number, text)

    def _other(self, number: int, text: bytes) -> None:
        stripped = text.strip()
        if not stripped or stripped.startswith(b"#"):
            return
        lost = _LOST.match(stripped)
        if lost is None:
            self.unread.add(number, text)
        else:
            self._lost += int(lost[1])
            self.joiner.lost()

    def _count(self, name: bytes) -> None:
        unused = self.joiner.unused
        text = name.decode("ascii", "replace")
        unused[text if text in unused or len(unused) < _MAX_NAMES else "other events"] += 1

    def problems(self) -> list[str]:
        lines = self.unread.problems()
        if self._lost:
            lines.append(f"the kernel lost {self._lost} events: exits around them may be missing")
        return lines

    def remarks(self) -> list[str]:
        lines = []
        unused = self.joiner.unused
        if unused:
            counts = ", ".join(f"{count} {name}" for name, count in unused.most_common())
            lines.append(f"used for nothing: {counts}")
        if self._counters:
            lines.append("times are a counter in no known unit (trace_clock): left out")
        return lines
