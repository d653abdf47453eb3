"""`strace` of a VMM: ioctl(KVM_RUN), symbolic or raw, with any of its times and with -f or without.

Facts: kvm_and_traces B1, "Line layouts". In raw output nothing tells which
exit it was.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable
from typing import BinaryIO, Final, NamedTuple

from tdxdbg.abi import kvm
from tdxdbg.engine.kvm_run import recorded_run
from tdxdbg.traces.kernel_lines import fits
from tdxdbg.traces.native import Trace
from tdxdbg.traces.probes import Converted, Event, RunReturned
from tdxdbg.traces.reader import EVERYBODY, Line, Pids, Reader, TextFormat, read_text

#: "[pid 123] " or "123 ", when it follows threads; -Y adds their names.
_PID: Final = rb"(?:\[pid {1,8}(\d{1,10})(?:<.{0,32}?>)?\] |(\d{1,10})(?:<.{0,32}?>)? {1,8}(?=\S))?"
#: -t and -tt, or -ttt, -r and nothing; then -i and -n.
_TIME: Final = (
    rb" {0,8}(?:(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))? |(\d{1,12})(?:\.(\d{1,9}))? {1,4}|)"
    rb"(?:\( {0,8}\+ {0,8}[\d.]{1,20}\) )?(?:\[[ 0-9a-f?]{1,18}\] ){0,2}"
)
_LINE: Final = re.compile(
    _PID + _TIME + rb"(\w{1,64}\(|<\.\.\. \w{1,64} resumed>|\+\+\+ |--- )(.*)"
)
_SNIFFED: Final = re.compile(
    _PID
    + _TIME
    + rb"(?:\w{1,64}\(.{0,8192}(?:\) {1,64}= (?:-?\d|0x|\?)|<unfinished \.\.\.>\s{0,4}$)"
    rb"|<\.\.\. \w{1,64} resumed>|\+\+\+ exited with \d|--- SIG)"
)
#: Of an ioctl: the fd, what it is (-y), the request, and the rest.
_IOCTL: Final = re.compile(
    rb"(\d{1,10})(?:<(.{0,4096}?)>)?, "
    rb"(_IOC\(.{1,64}?\)|\w{1,64})(?: /\* (\w{1,64}) \*/)?(.*)"
)
_RUN: Final = frozenset(
    (b"KVM_RUN", b"0xae80", b"_IOC(_IOC_NONE, 0xae, 0x80, 0)", b"_IO(0xae, 0x80)")
)
_ATTRIBUTES: Final = frozenset((b"KVM_SET_MEMORY_ATTRIBUTES", b"0x4020aed2"))
_VCPU: Final = re.compile(rb".{0,64}kvm-vcpu:(\d{1,5})")
_UNFINISHED: Final = b"<unfinished ...>"
#: The rest of a call after a message of strace itself.
_TAIL: Final = re.compile(rb"<unfinished \.\.\.>$|[,=> {].{0,8192}\) {1,64}= (?:-?\d|0x|\?)")
#: No VM has more vCPUs.
_MAX_UNFINISHED: Final = 1 << 16
#: What it returned; an errno's name, or which exit; and -T.
_RESULT: Final = re.compile(
    rb"[^=]{0,256}= (-?\d{1,10}|\?)(?: (E[A-Z0-9]{1,20}))?(?: \((?!KVM_EXIT_)[^()]{0,256}\))?"
    rb"(?: \(KVM_EXIT_([^()]{1,40})\))?(?: <(\d{1,6})\.(\d{1,9})>)?\s{0,8}$"
)
_RANGE: Final = re.compile(
    rb".{0,64}\{address=(0x[0-9a-f]{1,16}|\d{1,20}), size=(0x[0-9a-f]{1,16}|\d{1,20}), "
    rb"attributes=([^,}]{1,128})[^=]{0,64}(?:flags=[^=]{0,64})?= 0\b"
)
_PRIVATE: Final = b"KVM_MEMORY_ATTRIBUTE_PRIVATE"
_SCALE: Final = tuple(10 ** (9 - digits) for digits in range(10))
_HALF_A_DAY: Final = 12 * 3600 * 10**9
_EXITS: Final = {f"{item.name}".encode(): int(item) for item in kvm.Exit}
#: A -ttt is later than this many seconds; less is a -r, the time since the line before.
_FAR: Final = 10**9


def sniff(head: bytes) -> bool:
    """Whether one of the first lines is as strace prints a call."""
    return fits(head, (_SNIFFED,))


def read(file: BinaryIO, name: str, pids: Pids = EVERYBODY) -> Trace:
    """Joins the events of the recording into exits; raises TraceError when there are none."""
    return read_text(file, name, pids, _FORMAT)


class _Call(NamedTuple):
    """A KVM_RUN: its thread, or what stands for it, the vCPU if it is named, and its start."""

    thread: int
    vcpu: int | None
    time: int | None


class _Clock:
    """Times in ns, whatever option printed them."""

    def __init__(self) -> None:
        self._last = 0
        self._day = 0
        self._since_start = 0

    def of_day(self, hours: bytes, minutes: bytes, seconds: bytes, part: bytes | None) -> int:
        """-t, -tt: the time of the day; midnight may pass."""
        now = ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 10**9 + _fraction(part)
        if now + _HALF_A_DAY < self._last:
            self._day += 1
        self._last = now
        return self._day * 2 * _HALF_A_DAY + now

    def seconds(self, whole: bytes, part: bytes | None) -> int:
        """-ttt: since 1970; -r: since the line before."""
        time = int(whole) * 10**9 + _fraction(part)
        if time >= _FAR * 10**9:
            return time
        self._since_start += time
        return self._since_start


def _fraction(digits: bytes | None) -> int:
    return int(digits) * _SCALE[len(digits)] if digits else 0


class _Log:
    """One log, line by line."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._clock = _Clock()
        #: KVM_RUN that has not returned, by thread.
        self._unfinished: dict[bytes, _Call] = {}

    def line(self, line: Line) -> None:
        found = _LINE.match(line[1])
        if found is None:
            self._other(line)
            return
        boxed, plain, hours, minutes, seconds, part, whole, fraction, what, rest = found.groups()
        thread = boxed or plain or b""
        time: int | None = None
        if hours is not None:
            time = self._clock.of_day(hours, minutes, seconds, part)
        elif whole is not None:
            time = self._clock.seconds(whole, fraction)
        if self._reader.selective and not self._reader.wants(thread):
            return
        if what == b"ioctl(":
            self._ioctl(line, thread, time, rest)
        elif what == b"<... ioctl resumed>":
            self._resumed(line, thread, time, rest)
        elif what[-1:] == b"(":
            self._reader.unused(what[:-1])
        elif what[:1] == b"<":
            self._reader.other(b"ends of other calls")
        else:
            self._reader.other(b"exits of threads" if what[:1] == b"+" else b"signals")

    def _ioctl(self, line: Line, thread: bytes, time: int | None, text: bytes) -> None:
        found = _IOCTL.match(text)
        if found is None:
            self._reader.bad(line)
            return
        fd, path, request, comment, rest = found.groups()
        if request not in _RUN and comment not in _RUN:
            if request in _ATTRIBUTES or comment in _ATTRIBUTES:
                self._attributes(line, thread, time, rest)
            else:
                self._reader.unused(comment or request)
            return
        named = _VCPU.match(_plain(path)) if path else None
        vcpu = int(named[1]) if named else None
        stands = int(fd) if vcpu is None else vcpu
        call = _Call(int(thread) if thread else ~stands, vcpu, time)
        if rest.rstrip().endswith(_UNFINISHED):
            if len(self._unfinished) < _MAX_UNFINISHED:
                self._unfinished[thread] = call
        else:
            self._returned(line, call, rest)

    def _resumed(self, line: Line, thread: bytes, time: int | None, rest: bytes) -> None:
        call = self._unfinished.pop(thread, None)
        if call is None:
            self._reader.other(b"ends of other calls")
        else:
            self._returned(line, call._replace(time=time), rest)

    def _returned(self, line: Line, call: _Call, rest: bytes) -> None:
        found = _RESULT.match(rest)
        if found is None:
            self._reader.bad(line)
            return
        value, error, exit_name, seconds, part = found.groups()
        if value == b"?" and error is None:
            self._reader.unused(b"KVM_RUN that never returned")
            return
        time = call.time
        if time is not None and seconds is not None:
            time += int(seconds) * 10**9 + _fraction(part)
        self._reader.event(line, call.thread, time, _event(call.vcpu, value, error, exit_name))

    def _attributes(self, line: Line, thread: bytes, time: int | None, rest: bytes) -> None:
        found = _RANGE.match(rest)
        if found is None or not thread:
            self._reader.unused(b"KVM_SET_MEMORY_ATTRIBUTES")
            return
        address, size, attributes = found.groups()
        private = _PRIVATE in attributes or attributes in (b"8", b"0x8")
        event = Converted(int(address, 0), int(size, 0), private)
        self._reader.event(line, int(thread), time, event)

    def _other(self, line: Line) -> None:
        text = line[1].strip()
        if text.startswith((b"strace: ", b"Process ")):
            self._reader.other(b"messages of strace")
        elif text.startswith(b"> "):
            self._reader.other(b"stack trace lines")
        elif _TAIL.match(text):
            # A message went in between.
            self._reader.other(b"ends of other calls")
        elif text:
            self._reader.bad(line)


def _plain(path: bytes) -> bytes:
    """A name that -xx printed in hex."""
    if not path.startswith(b"\\x"):
        return path
    try:
        return bytes.fromhex(path.decode("ascii").replace("\\x", ""))
    except ValueError:
        return path


def _event(vcpu: int | None, value: bytes, error: bytes | None, exit_name: bytes | None) -> Event:
    reason = None if exit_name is None else _EXITS.get(exit_name)
    run = None if reason is None else recorded_run(reason, b"", 0)
    if error is None:
        return RunReturned(vcpu, run, 0 if value == b"0" else None)
    number = getattr(errno, error.decode(), None)
    return RunReturned(vcpu, run, number if isinstance(number, int) else None)


def _read(reader: Reader, lines: Iterable[Line]) -> None:
    log = _Log(reader)
    for line in lines:
        log.line(line)


_FORMAT: Final = TextFormat(
    "strace",
    "exits to userspace as strace saw them",
    "record with strace -f -ttt -y -e trace=ioctl -e kvm=vcpu",
    _read,
)
