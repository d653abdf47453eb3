"""The events of a `trace.dat`: the pages of its CPUs, decoded many at a time and merged.

This module imports numpy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import BinaryIO, Final, NamedTuple

import numpy as np

from tdxdbg.errors import TraceError
from tdxdbg.traces import columns, ring_buffer
from tdxdbg.traces.binary import Importer, counts_ns
from tdxdbg.traces.columns import I64, U64, Block
from tdxdbg.traces.event_columns import Columns, Found, Raw
from tdxdbg.traces.layout import NO_TIME
from tdxdbg.traces.merge import Piece, merged
from tdxdbg.traces.ring_buffer import Decoded
from tdxdbg.traces.trace_dat_layout import Buffer, Layout, open_pages

#: How many pages are decoded together, and at least of each CPU.
_PAGES: Final = 1024
_MIN_PAGES: Final = 64
_U64: Final = (1 << 64) - 1


class Events:
    """Blocks of the events of one buffer; what is not in them goes to the importer's account."""

    def __init__(
        self, file: BinaryIO, name: str, layout: Layout, buffer: Buffer, importer: Importer
    ) -> None:
        self._layout = layout
        self._page_size = buffer.page_size
        self._importer = importer
        self._columns = Columns(layout.formats)
        if not self._columns.has_exits:
            raise TraceError(
                f"{name}: has no format of kvm_exit or kvm_userspace_exit; "
                "record with trace-cmd record -e kvm"
            )
        self._readers = open_pages(file, name, layout, buffer)
        self._cpus = [stream.cpu for stream in buffer.streams]
        self._pieces = [Piece() for _ in self._readers]
        self._at_once = max(_MIN_PAGES, _PAGES // max(len(self._readers), 1))
        self._time_offset = np.uint64(layout.time_offset & _U64)
        self._has_times = counts_ns(buffer.clock)
        if not self._has_times:
            importer.note(f"times are of the clock {buffer.clock}, in no known unit: left out")

    def blocks(self) -> Iterator[Block]:
        """All events in order."""
        yield from merged(self._pieces, self)
        for cpu, reader in zip(self._cpus, self._readers, strict=True):
            if reader.problem:
                self._importer.note_problem(f"events of CPU {cpu} are missing: {reader.problem}")

    def fill(self, which: Sequence[int]) -> None:
        """Decodes more pages of these CPUs."""
        pages: list[bytes] = []
        owners: list[int] = []
        sources: list[I64] = []
        for number in which:
            found = self._readers[number].read(self._at_once)
            self._pieces[number].ended = not found
            for offset, step, data in found:
                count = len(data) // self._page_size
                pages.append(data)
                owners += [number] * count
                place = np.arange(count, dtype=np.int64) * (self._page_size * step) + offset
                sources.append(np.stack([place, np.full(count, step, np.int64)]))
        if pages:
            self._decode(b"".join(pages), np.array(owners), np.concatenate(sources, axis=1))

    def _decode(self, data: bytes, owners: I64, sources: I64) -> None:
        """`owners` and `sources` say whose a page is, and where in the file."""
        view = np.frombuffer(data, np.uint8)
        decoded = ring_buffer.decode(view, self._page_size, self._layout.page)
        source = sources[0][decoded.page]
        source += sources[1][decoded.page] * (decoded.at - decoded.page * self._page_size)
        time = decoded.time
        raw = Raw(view, decoded.at, decoded.length, time, source.view(np.uint64))
        found = self._importer.look_at(self._columns, raw)
        self._account(decoded, found, source, sources)
        placed = _with_losses(found, decoded, sources)
        block = placed.block._replace(time=self._shown(placed.block.time))
        owner = owners[placed.page]
        starts = np.flatnonzero(np.diff(owner, prepend=-1)).tolist()
        for start, end in pairwise([*starts, len(owner)]):
            part = slice(start, end)
            self._pieces[int(owner[start])].add(block.take(part), placed.time[part])
        self._advance(decoded, owners)

    def _advance(self, decoded: Decoded, owners: I64) -> None:
        """Events of no interest move a CPU's time on too."""
        for number in np.unique(owners).tolist():
            mine = decoded.time[owners[decoded.page] == number]
            if len(mine):
                piece = self._pieces[number]
                piece.newest = max(piece.newest, mine.max())

    def _shown(self, time: U64) -> U64:
        if not self._has_times:
            return np.full(len(time), NO_TIME, np.uint64)
        if not self._time_offset:
            return time
        shifted = time + self._time_offset
        late = (time == NO_TIME) | (shifted >= columns.TIME_LIMIT)
        return np.where(late, np.uint64(NO_TIME), shifted)

    def _account(self, decoded: Decoded, found: Found, source: I64, sources: I64) -> None:
        importer = self._importer
        bad = np.flatnonzero(found.bad)
        for at in bad.tolist():
            importer.bad_event(int(source[at]), int(decoded.length[at]))
        for page in decoded.damaged.tolist():
            importer.unread.add(int(sources[0][page]), "a page whose events do not fit into it")


class _Placed(NamedTuple):
    """Events of pages, and the times they are sorted by."""

    block: Block
    page: I64
    time: U64


def _with_losses(found: Found, decoded: Decoded, sources: I64) -> _Placed:
    """The events and, in front of each page before which some were lost, a LOST."""
    page, time = decoded.page[found.where], decoded.time[found.where]
    if not decoded.lost:
        return _Placed(found.block, page, time)
    pages = np.array(sorted(decoded.lost), np.int64)
    losses = columns.losses(
        np.full(len(pages), NO_TIME, np.uint64),
        sources[0][pages].view(np.uint64),
        np.array([decoded.lost[page] for page in pages.tolist()], np.uint64),
    )
    all_pages = np.concatenate([pages, page])
    # Of the same page, a loss comes before the events.
    order = np.argsort(all_pages, kind="stable")
    return _Placed(
        columns.concatenate([losses, found.block]).take(order),
        all_pages[order],
        np.concatenate([decoded.start[pages], time])[order],
    )
