"""tracefs text: `cat trace` or `cat trace_pipe` of the kvm events, as the kernel prints them.

With and without irq-info, record-tgid, context-info, latency-format and
options/fields, and with any trace_clock. options/raw leaves out what happened.
Facts: kvm_and_traces B1, "Line layouts".
"""

from __future__ import annotations

import re
from typing import BinaryIO, Final

from tdxdbg.traces import trace_cmd
from tdxdbg.traces.kernel_lines import COMM_PID, EVENT, TIME, Layout, fits, read_kernel_lines
from tdxdbg.traces.lines import Lines
from tdxdbg.traces.native import Trace
from tdxdbg.traces.reader import EVERYBODY, Line, Pids, Reader, TextFormat, read_text

_US: Final = 1000

LAYOUTS: Final = (
    # What most files hold, without the options, which cost time.
    Layout(
        re.compile(
            rb" *+[^ ].{0,64}?-(\d{1,10}) ++()\[(\d{1,6})\] [^ :]{1,12} ++"
            rb"(\d{1,20})\.(\d{1,9}): " + EVENT
        )
    ),
    Layout(
        re.compile(
            COMM_PID + rb"(?:\(\s{0,8}(\d{1,10}|-{1,10})\)\s{1,8})?\[(\d{1,6})\]\s{1,8}"
            rb"(?:[^\s:]{1,12}\s{1,8})?" + TIME + rb":\s{1,8}" + EVENT
        )
    ),
    # latency-format: the CPU before the flags, us since the start.
    Layout(
        re.compile(
            COMM_PID + rb"()(\d{1,6})[^\s\d]\S{1,12}\s{1,16}(\d{1,20})()us.{0,2}:\s{1,8}" + EVENT
        ),
        _US,
    ),
    # The same with a clock that does not count ns.
    Layout(
        re.compile(COMM_PID + rb"()(\d{1,6})[^\s\d]\S{1,12}\s{1,16}(\d{1,20})():\s{1,8}" + EVENT)
    ),
    # options/context-info off: the event alone.
    Layout(re.compile(rb"()()()()()(kvm_\w{1,60}:.*|\w{1,64}: \(.*)")),
)
_RAW: Final = re.compile(rb"\s{0,64}\d{1,10} \d{1,6} \d{1,20} (type: \d{1,6})\s{0,8}$")
_RAW_REMEDY: Final = (
    "it was read with the option raw, which leaves out what happened: "
    "echo 0 > options/raw, and read the trace again"
)
_HEADER: Final = re.compile(rb"# tracer:")
_OVERWRITTEN: Final = re.compile(rb"# entries-in-buffer/entries-written: (\d{1,20})/(\d{1,20})\b")


def sniff(head: bytes) -> bool:
    """Whether one of the first lines is a line of a trace."""
    patterns = (_HEADER, _RAW, *(layout.pattern for layout in LAYOUTS))
    return fits(head, patterns) and not trace_cmd.sniff(head)


def read(file: BinaryIO, name: str, pids: Pids = EVERYBODY) -> Trace:
    """Joins the events of the recording into exits; raises TraceError when there are none."""
    return read_text(file, name, pids, _FORMAT)


def _read(reader: Reader, lines: Lines) -> None:
    def look(line: Line) -> bool:
        """What a line that is no event says of the whole recording; whether that is all of it."""
        raw = _RAW.match(line[1])
        if raw is not None:
            # It opens, so that one sees why there is nothing in it.
            reader.may_be_empty = True
            reader.note_problem(_RAW_REMEDY)
            reader.unused(b"events of " + raw[1])
            return True
        written = _OVERWRITTEN.match(line[1])
        if written is not None and int(written[2]) > int(written[1]):
            reader.note_problem(
                f"the buffer held {written[1].decode()} of {written[2].decode()} events: "
                "the first ones are missing; use trace_pipe or a larger buffer_size_kb"
            )
        return False

    read_kernel_lines(reader, lines, LAYOUTS, look)


_FORMAT: Final = TextFormat(
    "tracefs",
    "exits to userspace as the kernel traced them",
    "record kvm:kvm_userspace_exit or kvm:kvm_exit, without the option raw",
    _read,
)
