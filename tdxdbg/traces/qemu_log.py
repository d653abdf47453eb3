"""QEMU's trace log: -trace 'kvm_*' -D FILE, with and without -msg timestamp=on.

kvm_run_exit tells what KVM_RUN returned with. What QEMU read of kvm_run
follows in other events: memory_region_ops_* for port I/O and MMIO,
kvm_memory_fault, kvm_hc_map_gpa_range, kvm_run_exit_system_event. Facts:
kvm_and_traces B2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from errno import EFAULT
from functools import lru_cache
from typing import BinaryIO, Final, NamedTuple

from tdxdbg.abi import kvm
from tdxdbg.engine import kvm_run
from tdxdbg.engine.kvm_run import recorded_run
from tdxdbg.engine.state import IoAnswer, MmioAnswer
from tdxdbg.traces.kernel_lines import fits
from tdxdbg.traces.native import Trace
from tdxdbg.traces.probes import Converted, Event, RunDetail, RunReturned
from tdxdbg.traces.reader import EVERYBODY, Line, Pids, Reader, TextFormat, read_text
from tdxdbg.traces.seen import known_run

#: "thread@seconds.us:" with -msg timestamp=on. Events have an underscore in their names.
_LINE: Final = re.compile(
    rb"(?:(\d{1,10})@(\d{1,12})\.(\d{6}):)?([a-z][a-z0-9]{0,31}_\w{1,64})(?: (.*)|\s{0,8})$"
)
_SNIFFED: Final = re.compile(
    rb"(?:\d{1,10}@\d{1,12}\.\d{6}:)(?:[a-z][a-z0-9]{0,31}_\w{1,64})(?: |$)"
    rb"|kvm_\w{1,60} (?:type 0x|cpu_index \d|start 0x|gpa 0x|Slot#|dev )"
    rb"|memory_region_ops_(?:read|write) cpu "
)
_MESSAGE: Final = re.compile(rb".{0,64}qemu\S{0,64}: ")

_HEX: Final = rb"0x([0-9a-f]{1,16})"
_RUN_EXIT: Final = re.compile(rb"cpu_index (\d{1,5}), reason (\d{1,10})\b")
_VCPU_IOCTL: Final = re.compile(rb"cpu_index (\d{1,5}), type 0xae80\b")
_SYSTEM_EVENT: Final = re.compile(rb"cpu_index (\d{1,5}), system_even\w{0,8} (\d{1,10})\b")
_MEMORY_FAULT: Final = re.compile(rb"start %b size %b flags %b\b" % (_HEX, _HEX, _HEX))
_CONVERT: Final = re.compile(
    rb"start %b size %b (shared_to_private|private_to_shared)\b" % (_HEX, _HEX)
)
_MAP_GPA: Final = re.compile(rb"gpa %b size %b attributes %b flags %b\b" % (_HEX, _HEX, _HEX, _HEX))
_MAX_VCPUS: Final = 1 << 16
#: Of one exit; the rest is not looked at.
_MAX_ACCESSES: Final = 64
_REGION: Final = re.compile(
    rb"cpu (-?\d{1,5}) mr ((?:0x)?[0-9a-f]{1,16}) addr %b value %b size (\d{1,2})\b" % (_HEX, _HEX)
)


def sniff(head: bytes) -> bool:
    """Whether one of the first lines is an event of QEMU."""
    return fits(head, (_SNIFFED,))


def read(file: BinaryIO, name: str, pids: Pids = EVERYBODY) -> Trace:
    """Joins the events of the recording into exits; raises TraceError when there are none."""
    return read_text(file, name, pids, _FORMAT)


class _Asked(NamedTuple):
    """An access of a vCPU thread to a device."""

    write: bool
    address: int
    value: int
    size: int


class _Access(NamedTuple):
    """One that came after an exit, when, and to which memory region."""

    line: Line
    time: int | None
    region: bytes
    asked: _Asked


class _Exit:
    """An exit to userspace whose access is being looked for."""

    def __init__(self, reason: int) -> None:
        self.reason = reason
        self.accesses: list[_Access] = []

    def asked(self) -> tuple[_Access, bool] | None:
        """The first access that the exit was for, and whether it was all of it; None: not known.

        Before it QEMU does the writes that KVM had gathered (coalesced), to
        other regions. A string, or pieces of one access, are several.
        """
        if not self.accesses:
            return None
        last = self.accesses[-1]
        asked: list[_Access] = []
        for access in reversed(self.accesses):
            if (access.region, access.asked.write) != (last.region, last.asked.write):
                break
            asked.append(access)
        first = asked[-1]
        addresses = {access.asked.address for access in asked}
        if last.asked.write and len(addresses) > 1:
            return None
        return first, len(asked) == 1


class Log:
    """One log, line by line."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._exits: dict[int, _Exit] = {}
        #: The thread of the last exit: of events that name none.
        self._last: int | None = None
        self._line: Line = (0, b"")
        self._thread: int | None = None
        self._time: int | None = None

    def line(self, line: Line) -> None:
        found = _LINE.match(line[1])
        if found is None:
            self._other(line)
            return
        thread, seconds, micros, name, text = found.groups()
        if self._reader.selective and not self._reader.wants(thread):
            return
        self._thread = int(thread) if thread else None
        self._time = int(seconds + micros) * 1000 if seconds else None
        self._take(line, name, text or b"")

    def event(self, line: Line, time: int, name: bytes, text: bytes) -> None:
        """An event that names no thread, at a time in ns."""
        self._time = time
        self._take(line, name, text)

    def _take(self, line: Line, name: bytes, text: bytes) -> None:
        take = _TAKERS.get(name)
        if take is None:
            self._reader.unused(name)
            return
        self._line = line
        if not take(self, text, name):
            self._reader.bad(line)

    def finish(self) -> None:
        """No more lines come."""
        for thread in [*self._exits]:
            self._end(thread)

    def _other(self, line: Line) -> None:
        text = line[1].strip()
        if _MESSAGE.match(text):
            self._reader.other(b"messages of QEMU")
        elif text:
            self._reader.bad(line)

    def _say(self, thread: int, event: Event) -> None:
        self._reader.event(self._line, thread, self._time, event)

    # Each takes the text of its event and returns whether it could be read.

    def run_exit(self, text: bytes, _: bytes) -> bool:
        found = _RUN_EXIT.match(text)
        if found is None or int(found[2]) > 0xFFFF_FFFF:
            return False
        cpu, reason = int(found[1]), int(found[2])
        thread = self._vcpu_thread(cpu)
        self._end(thread)
        self._say(thread, _returned(cpu, reason))
        if len(self._exits) < _MAX_VCPUS:
            self._exits[thread] = _Exit(reason)
        self._last = thread
        return True

    def vcpu_ioctl(self, text: bytes, name: bytes) -> bool:
        found = _VCPU_IOCTL.match(text)
        if found is not None:
            self._end(self._vcpu_thread(int(found[1])))
        self._reader.unused(name)
        return True

    def region(self, text: bytes, name: bytes) -> bool:
        found = _REGION.match(text)
        if found is None:
            return False
        cpu, region, address, value, size = found.groups()
        exit_ = self._exits.get(self._vcpu_thread(int(cpu)))
        if exit_ is None or cpu == b"-1" or exit_.reason not in (kvm.Exit.IO, kvm.Exit.MMIO):
            self._reader.unused(name)
            return True
        if len(exit_.accesses) >= _MAX_ACCESSES:
            self._reader.unused(name)
            return True
        if exit_.accesses:
            self._reader.unused(name)
        write = name == b"memory_region_ops_write"
        asked = _Asked(write, int(address, 16), int(value, 16), int(size))
        access = _Access(self._line, self._time, region, asked)
        exit_.accesses.append(access)
        return True

    def system_event(self, text: bytes, _: bytes) -> bool:
        found = _SYSTEM_EVENT.match(text)
        if found is None or int(found[2]) > 0xFFFF_FFFF:
            return False
        run = known_run(kvm.Exit.SYSTEM_EVENT, kvm_run.SYSTEM_EVENT, {"type": int(found[2])})
        self._say(self._vcpu_thread(int(found[1])), RunDetail(run))
        return True

    def memory_fault(self, text: bytes, name: bytes) -> bool:
        found = _MEMORY_FAULT.match(text)
        if found is None:
            return False
        gpa, size, flags = (int(number, 16) for number in found.groups())
        values = {"gpa": gpa, "size": size, "flags": flags}
        run = known_run(kvm.Exit.MEMORY_FAULT, kvm_run.MEMORY_FAULT, values)
        return self._detail(RunDetail(run), name)

    def map_gpa_range(self, text: bytes, name: bytes) -> bool:
        found = _MAP_GPA.match(text)
        if found is None:
            return False
        gpa, size, attributes, flags = (int(number, 16) for number in found.groups())
        args = [gpa, size // kvm.PAGE_SIZE, attributes]
        run = known_run(
            kvm.Exit.HYPERCALL,
            kvm_run.HYPERCALL,
            {"nr": kvm.HC_MAP_GPA_RANGE, "args": args, "flags": flags},
        )
        return self._detail(RunDetail(run), name)

    def convert_memory(self, text: bytes, name: bytes) -> bool:
        found = _CONVERT.match(text)
        if found is None:
            return False
        gpa, size, way = found.groups()
        return self._detail(
            Converted(int(gpa, 16), int(size, 16), way == b"shared_to_private"), name
        )

    def _detail(self, event: Event, name: bytes) -> bool:
        """Of the vCPU in whose thread this is, or, where that is not told, of the last one."""
        thread = self._last if self._thread is None else self._thread
        if thread is None:
            self._reader.unused(name)
        else:
            self._say(thread, event)
        return True

    def _vcpu_thread(self, cpu: int) -> int:
        return ~cpu if self._thread is None else self._thread

    def _end(self, thread: int) -> None:
        """The thread's exit is dealt with: what it did to a device is what the guest asked for."""
        exit_ = self._exits.pop(thread, None)
        asked = exit_.asked() if exit_ is not None else None
        if exit_ is None or asked is None:
            return
        access, alone = asked
        detail = _detail(exit_.reason, access.asked, alone)
        if detail is None:
            self._reader.garbled(access.line)
        else:
            self._reader.event(access.line, thread, access.time, detail)


# The same exits come again and again.


@lru_cache(maxsize=1024)
def _returned(cpu: int, reason: int) -> RunReturned:
    # KVM_RUN fails with EFAULT then; of no other errno QEMU goes on to this event.
    errno = EFAULT if reason == kvm.Exit.MEMORY_FAULT else 0
    return RunReturned(cpu, recorded_run(reason, b"", 0), errno)


@lru_cache(maxsize=4096)
def _detail(reason: int, access: _Asked, alone: bool) -> RunDetail | None:
    return _io(access, alone) if reason == kvm.Exit.IO else _mmio(access, alone)


def _io(access: _Asked, alone: bool) -> RunDetail | None:
    if access.address > 0xFFFF:
        return None
    direction = kvm.EXIT_IO_OUT if access.write else kvm.EXIT_IO_IN
    values: dict[str, int | list[int]] = {"direction": direction, "port": access.address}
    if not alone or access.size > 4:
        return RunDetail(known_run(kvm.Exit.IO, kvm_run.IO, values))
    values |= {"size": access.size, "count": 1}
    data = _data(access)
    run = known_run(kvm.Exit.IO, kvm_run.IO, values, data if access.write else b"")
    return RunDetail(run, None if access.write else IoAnswer(data))


def _mmio(access: _Asked, alone: bool) -> RunDetail:
    values: dict[str, int | list[int]] = {
        "phys_addr": access.address,
        "is_write": int(access.write),
    }
    if not alone or access.size > 8:
        return RunDetail(known_run(kvm.Exit.MMIO, kvm_run.MMIO, values))
    values["len"] = access.size
    data = _data(access)
    if access.write:
        values["data"] = list(data)
    run = known_run(kvm.Exit.MMIO, kvm_run.MMIO, values)
    return RunDetail(run, None if access.write else MmioAnswer(data))


def _data(access: _Asked) -> bytes:
    return access.value.to_bytes(8, "little")[: access.size]


_TAKERS: Final[dict[bytes, Callable[[Log, bytes, bytes], bool]]] = {
    b"kvm_run_exit": Log.run_exit,
    b"kvm_vcpu_ioctl": Log.vcpu_ioctl,
    b"memory_region_ops_read": Log.region,
    b"memory_region_ops_write": Log.region,
    b"kvm_run_exit_system_event": Log.system_event,
    b"kvm_memory_fault": Log.memory_fault,
    b"kvm_hc_map_gpa_range": Log.map_gpa_range,
    b"kvm_convert_memory": Log.convert_memory,
}


def _read(reader: Reader, lines: Iterable[Line]) -> None:
    log = Log(reader)
    for line in lines:
        log.line(line)
    log.finish()


_FORMAT: Final = TextFormat(
    "QEMU log",
    "exits to userspace as QEMU traced them",
    "run QEMU with -trace 'kvm_*' -trace 'memory_region_ops_*' -msg timestamp=on",
    _read,
)
