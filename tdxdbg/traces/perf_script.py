"""`perf script` of the kvm tracepoints: its default fields, any others, --ns and --header.

The trace must be among the fields.
Facts: kvm_and_traces B1, "Line layouts".
"""

from __future__ import annotations

import re
from functools import partial
from typing import BinaryIO, Final

from tdxdbg.traces.kernel_lines import Layout, fits, read_kernel_lines
from tdxdbg.traces.native import Trace
from tdxdbg.traces.reader import EVERYBODY, Pids, TextFormat, read_text

# "tid" or "pid/tid": the thread is looked up first, in front of the process.
_PID_TID: Final = rb"(?=(?:\d{1,10}/)?(\d{1,10})\s)(?:(\d{1,10})/)?\d{1,10}\s{1,16}"
_CPU: Final = rb"\[(\d{1,6})\]\s{1,16}"
#: Behind the time there may be the period.
_TIME: Final = rb"(\d{1,12})\.(\d{6,9}):\s{1,64}(?:\d{1,20}\s{1,32})?"
#: "kvm:kvm_exit:", also with the modifiers of its recording.
_EVENT: Final = rb"[a-zA-Z_]\w{0,63}:([a-zA-Z_]\w{0,63}:.*)"
#: A comm, which may hold spaces and digits; no comment.
_COMM: Final = rb"(?!#)\S.{0,64}?\s{1,32}"

LAYOUTS: Final = (
    # What most files hold, without the options, which cost time.
    Layout(
        re.compile(
            rb" *+(?!#)[^ ].{0,64}? ++(\d{1,10}) ++()\[(\d{1,6})\] ++"
            rb"(\d{1,12})\.(\d{6,9}): ++" + _EVENT
        )
    ),
    # The default, and -F comm,pid,tid,cpu,time,event,trace.
    Layout(re.compile(rb"\s{0,64}" + _COMM + _PID_TID + _CPU + _TIME + _EVENT)),
    # Any field may be missing.
    Layout(
        re.compile(
            rb"\s{0,64}(?:%b)??(?:%b)?(?:%b)?(?:%b)?%b" % (_COMM, _PID_TID, _CPU, _TIME, _EVENT)
        )
    ),
    # Without the event's name the text has to tell which it is.
    Layout(
        re.compile(
            rb"\s{0,64}(?:%b)??(?:%b)?(?:%b)?%b((?!PERF_RECORD_|\w{1,64}:\w{1,64}:)\S.*)"
            % (_COMM, _PID_TID, _CPU, _TIME)
        )
    ),
)
_UNNAMED: Final = re.compile(
    rb"\s{0,64}(?:%b)??(?:%b)?(?:%b)?%b(?:vcpu |reason |pio_|mmio |msr_|nr 0x)"
    % (_COMM, _PID_TID, _CPU, _TIME)
)
_HEADER: Final = re.compile(
    rb"# captured on {0,16}: |# ={8}\s{0,8}$|.{0,128}[\]\d]: {1,64}PERF_RECORD_[A-Z]"
)


def sniff(head: bytes) -> bool:
    """Whether one of the first lines is as this tool prints it."""
    return fits(head, (_HEADER, *(layout.pattern for layout in LAYOUTS[:-1]), _UNNAMED))


def read(file: BinaryIO, name: str, pids: Pids = EVERYBODY) -> Trace:
    """Joins the events of the recording into exits; raises TraceError when there are none."""
    return read_text(file, name, pids, _FORMAT)


_FORMAT: Final = TextFormat(
    "perf script",
    "exits to userspace as perf recorded them",
    "record with -e kvm:kvm_userspace_exit or -e kvm:kvm_exit, "
    "and keep trace among the fields of -F",
    partial(read_kernel_lines, layouts=LAYOUTS),
)
