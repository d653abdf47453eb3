"""QEMU's simple trace backend: -trace 'kvm_*' of a QEMU built with --enable-trace-backends=simple.

Written from the description of the format (facts: kvm_and_traces B2), not from
a file that QEMU wrote. Files hold the names of events and their arguments, but
not what these are: that of the few events that tell of an exit is known here,
as in QEMU's trace-events. They are then as in QEMU's log (qemu_log.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import BinaryIO, Final, NamedTuple

from tdxdbg.errors import TraceError
from tdxdbg.traces.lines import Lines
from tdxdbg.traces.native import Trace
from tdxdbg.traces.qemu_log import Log
from tdxdbg.traces.reader import EVERYBODY, Pids, Reader, TextFormat, read_text
from tdxdbg.traces.unread import EVENTS

_HEADER: Final = Struct("<QQQ")
_HEADER_ID: Final = (1 << 64) - 1
_MAGIC: Final = 0xF2B1_77CB_0AA4_29B4
_VERSION: Final = 4
_TYPE: Final = Struct("<Q")
_MAPPING: Final = 0
_EVENT: Final = 1
_NAME: Final = Struct("<QI")
#: Event, time in ns, length of the record with this head, process.
_RECORD: Final = Struct("<QQII")
_DROPPED: Final = (1 << 64) - 2
_NUMBER: Final = Struct("<Q")
_STRING: Final = Struct("<I")
#: Of a name, in bytes; and how many events there are at most.
_MAX_NAME: Final = 512
_MAX_EVENTS: Final = 1 << 16
#: A record has a few numbers and a text.
_MAX_RECORD: Final = 64 << 10
_CHUNK: Final = 1 << 20

#: What the log prints of the arguments: numbers, and in the end perhaps a text.
_TEXTS: Final = {
    b"kvm_run_exit": b"cpu_index %d, reason %d",
    b"kvm_vcpu_ioctl": b"cpu_index %d, type 0x%x, arg 0x%x",
    b"kvm_run_exit_system_event": b"cpu_index %d, system_even_type %d",
    b"kvm_memory_fault": b"start 0x%x size 0x%x flags 0x%x",
    b"kvm_convert_memory": b"start 0x%x size 0x%x %s",
    b"kvm_hc_map_gpa_range": b"gpa 0x%x size 0x%x attributes 0x%x flags 0x%x",
    b"memory_region_ops_read": b"cpu %d mr 0x%x addr 0x%x value 0x%x size %d name '%s'",
    b"memory_region_ops_write": b"cpu %d mr 0x%x addr 0x%x value 0x%x size %d name '%s'",
}


def sniff(head: bytes) -> bool:
    """Whether a file starts like a simple trace."""
    return head.startswith(_HEADER.pack(_HEADER_ID, _MAGIC, _VERSION)[:16])


def read(file: BinaryIO, name: str, pids: Pids = EVERYBODY) -> Trace:
    """Joins the events of the recording into exits; raises TraceError when there are none."""
    version = _HEADER.unpack(file.read(_HEADER.size).ljust(_HEADER.size, b"\0"))[2]
    file.seek(0)
    if version != _VERSION:
        raise TraceError(
            f"{name}: version {version} of QEMU's simple trace is not read, only {_VERSION}; "
            "use a QEMU with the log backend, and -D FILE"
        )
    return read_text(file, name, pids, _FORMAT)


class _Record(NamedTuple):
    """An event; `event` is _DROPPED for those that QEMU could not write."""

    offset: int
    event: int
    time: int
    process: int
    arguments: bytes


class _File:
    """Records one behind another, and the names of events."""

    def __init__(self, file: BinaryIO) -> None:
        self.names: dict[int, bytes] = {}
        #: Where something stands that is no record; -1: nowhere.
        self.damaged = -1
        self._file = file
        self._data = b""
        self._start = self._at = 0

    def records(self) -> Iterator[_Record]:
        """All of them, as far as they can be followed."""
        self._take(_HEADER.size)
        while (kind := self._take(_TYPE.size)) is not None:
            start = self._start + self._at - _TYPE.size
            record: _Record | None = None
            number = _TYPE.unpack(kind)[0]
            good = number == _MAPPING and self._name()
            if number == _EVENT:
                record = self._event(start)
                good = record is not None
            if not good:
                self.damaged = start
                return
            if record is not None:
                yield record

    def _name(self) -> bool:
        head = self._take(_NAME.size)
        if head is None:
            return False
        event, length = _NAME.unpack(head)
        name = self._take(length) if length <= _MAX_NAME else None
        if name is None or len(self.names) >= _MAX_EVENTS:
            return False
        self.names[event] = name
        return True

    def _event(self, start: int) -> _Record | None:
        head = self._take(_RECORD.size)
        if head is None:
            return None
        event, time, length, process = _RECORD.unpack(head)
        if not _RECORD.size <= length <= _MAX_RECORD:
            return None
        arguments = self._take(length - _RECORD.size)
        return None if arguments is None else _Record(start, event, time, process, arguments)

    def _take(self, size: int) -> bytes | None:
        """The next bytes; None when there are not so many."""
        if self._at + size > len(self._data):
            self._start += self._at
            self._data = self._data[self._at :] + self._file.read(max(_CHUNK, size))
            self._at = 0
            if size > len(self._data):
                return None
        piece = self._data[self._at : self._at + size]
        self._at += size
        return piece


def _arguments(data: bytes, text: bytes) -> bytes | None:
    """What the log prints of these; None when they are not those of this event."""
    values: list[int | bytes] = []
    at = 0
    for kind in text.split(b"%")[1:]:
        if not kind.startswith(b"s"):
            if at + _NUMBER.size > len(data):
                return None
            (number,) = _NUMBER.unpack_from(data, at)
            at += _NUMBER.size
            # An int, sign-extended: no CPU is -1.
            values.append(number - (1 << 64) if kind[:1] == b"d" and number >> 63 else number)
            continue
        if at + _STRING.size > len(data):
            return None
        (length,) = _STRING.unpack_from(data, at)
        at += _STRING.size
        if at + length > len(data):
            return None
        values.append(data[at : at + length])
        at += length
    return text % tuple(values)


def _read(reader: Reader, lines: Lines) -> None:
    reader.unit = EVENTS
    file, log = _File(lines.file), Log(reader)
    for record in file.records():
        lines.count += 1
        if record.event == _DROPPED:
            found = record.arguments[: _NUMBER.size]
            reader.lost(_NUMBER.unpack(found)[0] if len(found) == _NUMBER.size else 0)
            continue
        if reader.selective and not reader.wants(b"%d" % record.process):
            continue
        name = file.names.get(record.event, b"events without a name")
        text = _TEXTS.get(name)
        if text is None:
            reader.unused(name)
            continue
        shown = _arguments(record.arguments, text)
        if shown is None:
            reader.garbled((record.offset, name))
        else:
            log.event((record.offset, shown), record.time, name, shown)
    log.finish()
    if file.damaged >= 0:
        reader.note_problem(
            f"what stands at offset {file.damaged:#x} is no record: the rest is left out"
        )


_FORMAT: Final = TextFormat(
    "QEMU simple trace",
    "exits to userspace as QEMU traced them",
    "run QEMU with -trace 'kvm_*' -trace 'memory_region_ops_*'",
    _read,
)
