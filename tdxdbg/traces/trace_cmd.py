"""`trace-cmd report`: also with -N, -R, -l, -t and --ts-diff.

Facts: kvm_and_traces B1, "Line layouts" and "Decoder traps".
"""

from __future__ import annotations

import re
from functools import partial
from typing import BinaryIO, Final

from tdxdbg.traces.kernel_lines import COMM_PID, EVENT, TIME, Layout, fits, read_kernel_lines
from tdxdbg.traces.native import Trace
from tdxdbg.traces.reader import EVERYBODY, Pids, TextFormat, read_text

#: What --ts-diff adds: ns since the event before; the first has none.
_DIFF: Final = rb"(?:\(\+\d{1,20}\))?\s{0,32}"

_DEFAULT: Final = (
    COMM_PID + rb"()\[(\d{1,6})\]\s{1,16}(?:[^\s:]{1,12}\s{1,8})?" + TIME + rb":\s{1,32}" + _DIFF
)
LAYOUTS: Final = (
    # What most files hold, without the options, which cost time.
    Layout(
        re.compile(
            rb" *+[^ ].{0,64}?-(\d{1,10}) ++()\[(\d{1,6})\] ++(\d{1,20})\.(\d{1,9}): " + EVENT
        )
    ),
    Layout(re.compile(_DEFAULT + EVENT)),
    # -l: the CPU before the flags.
    Layout(
        re.compile(
            COMM_PID + rb"()(\d{1,6})[^\s\d]\S{1,12}\s{1,16}" + TIME + rb":\s{1,32}" + _DIFF + EVENT
        )
    ),
)
# The events' names are padded; -l has seconds where the kernel has us.
_SIGNS: Final = (
    re.compile(rb"cpus=\d{1,6}\s{0,8}$"),
    re.compile(
        COMM_PID + rb"\[\d{1,6}\]\s{1,16}" + TIME + rb":\s{1,32}" + _DIFF + rb"\w{1,64}:\s\s"
    ),
    re.compile(COMM_PID + rb"\d{1,6}[^\s\d]\S{1,12}\s{1,16}\d{1,20}\.\d{1,9}:"),
)


def sniff(head: bytes) -> bool:
    """Whether one of the first lines is as only this tool prints it."""
    return fits(head, _SIGNS)


def read(file: BinaryIO, name: str, pids: Pids = EVERYBODY) -> Trace:
    """Joins the events of the recording into exits; raises TraceError when there are none."""
    return read_text(file, name, pids, _FORMAT)


_FORMAT: Final = TextFormat(
    "trace-cmd",
    "exits to userspace as trace-cmd reported them",
    "record with -e kvm:kvm_userspace_exit or -e kvm:kvm_exit",
    partial(read_kernel_lines, layouts=LAYOUTS),
)
