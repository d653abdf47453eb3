"""The samples of a `perf.data`, sorted by time from round to round.

perf writes what each CPU had in its buffer, one CPU behind another; a
FINISHED_ROUND says that no later record is older than the newest one of the
round before. This module imports numpy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

import numpy as np

from tdxdbg.errors import TraceError
from tdxdbg.traces import columns
from tdxdbg.traces import perf_data_layout as perf
from tdxdbg.traces.binary import Importer
from tdxdbg.traces.columns import I64, U64, Block, Mask
from tdxdbg.traces.event_columns import NO_THREAD, Bytes, Columns, Raw, gather
from tdxdbg.traces.layout import NO_TIME
from tdxdbg.traces.perf_data_layout import Attr, Layout

#: How much is decoded together, in bytes.
_CHUNK: Final = 8 << 20
_MAX_TASKS: Final = 1 << 16
_MAX_RECORD: Final = 0xFFFF
_READ_TIMES: Final = 0b11
_READ_ID_LOST: Final = 1 << 2 | 1 << 4
_READ_GROUP: Final = 1 << 3
_BEFORE_READ: Final = perf.ADDR | perf.ID | perf.STREAM_ID | perf.CPU | perf.PERIOD
#: What stands at the end of other records, in this order.
_IN_TRAILER: Final = perf.TID | perf.TIME | perf.ID | perf.STREAM_ID | perf.CPU | perf.IDENTIFIER


class Events:
    """Blocks of the events of a file; what is not in them goes to the importer's account."""

    def __init__(self, file: BinaryIO, name: str, layout: Layout, importer: Importer) -> None:
        self._file = file
        self._name = name
        self._layout = layout
        self._importer = importer
        self._columns = Columns(layout.formats)
        if not self._columns.has_exits:
            raise TraceError(
                f"{name}: has no format of kvm_exit or kvm_userspace_exit; "
                "record with perf record -e 'kvm:*'"
            )
        self._samples = _Samples(layout.attrs, name)
        #: What threads are called, as far as it was read.
        self.tasks: dict[int, bytes] = {}
        self._waiting: list[tuple[Block, U64]] = []
        #: The newest time so far, and at the end of the round before.
        self._newest = self._safe = 0

    def blocks(self) -> Iterator[Block]:
        """All events in order."""
        at, end = self._layout.start, self._layout.end
        while at < end:
            self._file.seek(at)
            data = self._file.read(min(_CHUNK, end - at))
            try:
                walk = _walk(data)
            except CompressedError:
                raise TraceError(
                    f"{self._name}: its samples are compressed, which is not read; "
                    "record without -z, or unpack them with perf inject -i FILE -o OUT"
                ) from None
            self._name_tasks(data, walk)
            if walk.samples or walk.losses or walk.rounds:
                self._add(data, at, walk)
                yield from self._out(self._safe)
            if walk.problem or not walk.end:
                break
            at += walk.end
        yield from self._out(columns.NONE)
        if at < end:
            self._importer.note_problem(
                f"the last {end - at} bytes, from offset {at:#x} on, are no records"
            )

    def _name_tasks(self, data: bytes, walk: _Walk) -> None:
        """PERF_RECORD_COMM: process, thread, name; the newest one counts."""
        for at, end in walk.comms[: _MAX_TASKS - len(self.tasks)]:
            thread = int.from_bytes(data[at + 12 : at + 16], "little")
            self.tasks[thread] = data[at + 16 : min(end, at + 32)].split(b"\0")[0]

    def _add(self, data: bytes, start: int, walk: _Walk) -> None:
        view = np.frombuffer(data, np.uint8)
        importer = self._importer
        at = np.array(walk.samples, np.int64)
        samples = self._samples.read(view, at)
        raw = Raw(
            view,
            samples.raw,
            samples.length,
            samples.time,
            (samples.raw + start).view(np.uint64),
            samples.thread,
        )
        found = importer.look_at(self._columns, raw, samples.process)
        for number in np.flatnonzero(found.bad | samples.bad).tolist():
            importer.bad_event(start + int(at[number]), int(samples.length[number]))
        losses, places = self._losses(view, start, walk)
        where = np.concatenate([places, at[found.where]])
        order = np.argsort(where, kind="stable")
        times = np.concatenate([losses.time, samples.time[found.where]])[order]
        block = columns.concatenate([losses, found.block]).take(order)
        # What has no time of its own stays where it is.
        rising = np.maximum.accumulate(np.where(times == NO_TIME, np.uint64(0), times))
        times = np.where(times == NO_TIME, rising, times)
        self._waiting.append((block, times))
        self._rounds(where[order], times, walk.rounds)

    def _losses(self, view: Bytes, start: int, walk: _Walk) -> tuple[Block, I64]:
        places = np.array([place for place, _ in walk.losses], np.int64)
        counts = np.array([place + skip for place, skip in walk.losses], np.int64)
        time = self._samples.trailing_time(view, places)
        count = gather(view, counts, 8) if len(counts) else np.empty(0, np.uint64)
        return columns.losses(time, (places + start).view(np.uint64), count), places

    def _rounds(self, where: I64, times: U64, rounds: list[int]) -> None:
        newest = np.maximum.accumulate(times) if len(times) else times
        for end in rounds:
            count = int(np.searchsorted(where, end))
            self._safe = self._newest
            if count:
                self._newest = max(self._newest, int(newest[count - 1]))

    def _out(self, bound: int) -> Iterator[Block]:
        """What is not newer than this, sorted by time."""
        if not self._waiting:
            return
        block = columns.concatenate([block for block, _ in self._waiting])
        times = np.concatenate([times for _, times in self._waiting])
        ready = times <= np.uint64(bound)
        self._waiting = [] if ready.all() else [(block.take(~ready), times[~ready])]
        if not ready.any():
            return
        block, times = block.take(ready), times[ready]
        yield block.take(np.argsort(times, kind="stable"))


class _Walk(NamedTuple):
    """Where records of a stretch begin; `losses` also say where their numbers are,
    and `comms` where they end.

    `end` is behind the last whole record, and may be behind the stretch.
    """

    samples: list[int]
    losses: list[tuple[int, int]]
    rounds: list[int]
    comms: list[tuple[int, int]]
    end: int
    problem: bool


def _walk(data: bytes) -> _Walk:
    samples: list[int] = []
    losses: list[tuple[int, int]] = []
    rounds: list[int] = []
    comms: list[tuple[int, int]] = []
    words = memoryview(data[: len(data) // 2 * 2]).cast("H")
    at, end = 0, len(words)
    add = samples.append
    while at + 4 <= end:
        size = words[at + 3]
        if size < perf.RECORD.size or size & 1:
            return _Walk(samples, losses, rounds, comms, at * 2, True)
        after = at + (size >> 1)
        if after > end:
            break
        kind = words[at]
        if words[at + 1]:
            return _Walk(samples, losses, rounds, comms, at * 2, True)
        if kind == perf.SAMPLE:
            add(at * 2)
        elif kind == perf.FINISHED_ROUND:
            rounds.append(at * 2)
        elif kind == perf.COMM and size >= 24:
            comms.append((at * 2, after * 2))
        elif kind == perf.LOST and size >= 24:
            losses.append((at * 2, 16))
        elif kind == perf.LOST_SAMPLES and size >= 16:
            losses.append((at * 2, 8))
        elif kind in perf.COMPRESSED:
            raise CompressedError
        elif kind in (perf.TRACING_DATA, perf.AUXTRACE) and size >= 16:
            # Followed by as many bytes as it says.
            after += int.from_bytes(data[at * 2 + 8 : at * 2 + 12], "little") // 2
        at = after
    return _Walk(samples, losses, rounds, comms, at * 2, False)


class CompressedError(Exception):
    """The samples are inside compressed records."""


class Read(NamedTuple):
    """Where the events of samples lie, and what stands beside them."""

    raw: I64
    length: I64
    time: U64
    thread: I64
    process: I64
    bad: Mask


class _Place:
    """Goes through many samples at once; what does not fit into its sample is `bad`."""

    def __init__(self, view: Bytes, at: I64) -> None:
        self._view = view
        self.end = at + gather(view, at + 6, 2).view(np.int64)
        self.at = at + perf.RECORD.size
        self.bad = np.zeros(len(at), np.bool_)

    def number(self, size: int = 8) -> U64:
        """The next number; 0 where the sample ends before."""
        self.bad |= self.at + size > self.end
        value = gather(self._view, np.where(self.bad, 0, self.at), size)
        self.at = self.at + size
        return np.where(self.bad, np.uint64(0), value)

    def skip(self, numbers: I64 | int) -> None:
        """Passes over so many 64-bit numbers."""
        self.at = self.at + 8 * np.minimum(numbers, _MAX_RECORD)


class _Samples:
    """How samples of the recorded events are laid out."""

    def __init__(self, attrs: list[Attr], name: str) -> None:
        self._kinds = list(dict.fromkeys((attr.sample_type, attr.read_format) for attr in attrs))
        if not any(sample_type & perf.RAW for sample_type, _ in self._kinds):
            raise TraceError(f"{name}: has no raw data of events; record tracepoints")
        self._by_id = len(self._kinds) > 1
        if self._by_id and not all(kind & perf.IDENTIFIER for kind, _ in self._kinds):
            raise TraceError(
                f"{name}: samples of different layouts, and nothing tells which is which; "
                "record with perf record -e 'kvm:*'"
            )
        numbers = {number: attr for attr in attrs for number in attr.ids}
        ids = sorted(numbers)
        self._ids = np.array(ids, np.uint64)
        owners = (numbers[number] for number in ids)
        kinds = [self._kinds.index((attr.sample_type, attr.read_format)) for attr in owners]
        self._kind_of_id = np.array(kinds, np.int64)
        self._trailer = 0 if self._by_id or not attrs[0].sample_id_all else attrs[0].sample_type

    def read(self, view: Bytes, at: I64) -> Read:
        """Samples at these places, which are whole records."""
        if not len(at):
            none = np.empty(0, np.int64)
            return Read(none, none, np.empty(0, np.uint64), none, none, np.empty(0, np.bool_))
        if not self._by_id:
            return _read(view, at, *self._kinds[0])
        found = np.searchsorted(self._ids, gather(view, at + perf.RECORD.size, 8))
        kinds = self._kind_of_id[np.minimum(found, len(self._ids) - 1)]
        parts = [np.flatnonzero(kinds == number) for number in range(len(self._kinds))]
        order = np.argsort(np.concatenate(parts), kind="stable")
        reads = [
            _read(view, at[part], *kind) for part, kind in zip(parts, self._kinds, strict=True)
        ]
        return Read._make(np.concatenate(columns)[order] for columns in zip(*reads, strict=True))

    def trailing_time(self, view: Bytes, at: I64) -> U64:
        """The times of records that are no samples; NO_TIME where they have none."""
        kind = self._trailer
        fields = (kind & _IN_TRAILER).bit_count()
        if not len(at) or not kind & perf.TIME:
            return np.full(len(at), NO_TIME, np.uint64)
        size = gather(view, at + 6, 2).view(np.int64)
        skip = 8 * (fields - (kind & perf.TID).bit_count())
        place = at + size - skip
        # Before the trailer are the head and a number at least.
        good = size >= perf.RECORD.size + 8 + 8 * fields
        return np.where(good, gather(view, np.where(good, place, 0), 8), np.uint64(NO_TIME))


def _read(view: Bytes, at: I64, kind: int, read_format: int) -> Read:
    """Samples of one sample_type, whose bits are fields in a fixed order."""
    place = _Place(view, at)
    place.skip((kind & (perf.IDENTIFIER | perf.IP)).bit_count())
    # Where a sample has none, its event does.
    thread = np.full(len(at), NO_THREAD, np.int64)
    process = thread
    if kind & perf.TID:
        both = place.number()
        thread = (both >> np.uint64(32)).astype(np.int32).astype(np.int64)
        process = both.astype(np.uint32).astype(np.int32).astype(np.int64)
    time = place.number() if kind & perf.TIME else np.full(len(at), NO_TIME, np.uint64)
    place.skip((kind & _BEFORE_READ).bit_count())
    if kind & perf.READ:
        _skip_read(place, read_format)
    if kind & perf.CALLCHAIN:
        place.skip(np.minimum(place.number(), _MAX_RECORD).astype(np.int64))
    if not kind & perf.RAW:
        none = np.zeros(len(at), np.int64)
        return Read(none, none, time, thread, process, place.bad)
    length = place.number(4).astype(np.int64)
    bad = place.bad | (place.at + length > place.end)
    return Read(np.where(bad, 0, place.at), np.where(bad, 0, length), time, thread, process, bad)


def _skip_read(place: _Place, read_format: int) -> None:
    """Passes over the counters that PERF_SAMPLE_READ puts into a sample."""
    times = (read_format & _READ_TIMES).bit_count()
    each = 1 + (read_format & _READ_ID_LOST).bit_count()
    if not read_format & _READ_GROUP:
        place.skip(times + each)
        return
    count = np.minimum(place.number(), _MAX_RECORD).astype(np.int64)
    place.skip(times + each * count)
