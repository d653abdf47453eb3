"""Some exits of a recording as a recording, with the state behind what is left out.

Theory of operation. The journal is read in order. Records of selected rows go
on under new numbers, the others are left out. The engine runs beside the whole
journal (`Walk`), so it has the state that a reader of the whole recording has. A
reader of the excerpt has the same until something that matters is left out:
what a vCPU and the map were then is kept, and when an input is written next and
one of them is another now, a gap (`timeline.gaps`) comes before it. A TD exit
that KVM handles itself does not read kvm_run, so what an exit that is left out
wrote there is not worth a gap yet.

Where nothing is in progress the journal is not read but jumped over, by the
checkpoints that it carries itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from tdxdbg.engine import GpaMap, Outcome
from tdxdbg.engine.engine import Checkpoint
from tdxdbg.engine.snapshot import dump
from tdxdbg.engine.state import Vcpu
from tdxdbg.errors import TraceError
from tdxdbg.export.job import Job
from tdxdbg.export.numbering import Numbering
from tdxdbg.export.redaction import Level, Redaction
from tdxdbg.export.selection import selected
from tdxdbg.timeline.gaps import changed_gap, full_gap, load_gap
from tdxdbg.timeline.walk import Walk
from tdxdbg.traces import jsonl
from tdxdbg.traces.layout import parts_of
from tdxdbg.traces.meta import dump_json
from tdxdbg.traces.pack import Packer
from tdxdbg.traces.records import Kind, Record, checkpoint

#: Slots between two checkpoints with all of the state; of the file they are less than half.
_EVERY: Final = 4096
#: Slots before the next row that is wanted for which the journal is read on.
_NEAR: Final = 256
_OFTEN: Final = 4096
#: The longest state in JSON, in bytes, that both forms of a trace take.
_LARGEST: Final = jsonl.MAX_LINE - 4096
_INPUTS: Final = (Kind.TD_EXIT, Kind.ANSWER, Kind.MEMORY_ATTRIBUTES)
#: What of a vCPU a TD exit neither sets nor always reads: only on the way to userspace.
_FOR_USERSPACE: Final = (
    *("completer", "exit_reason", "map_gpa_end", "map_gpa_next"),
    *("mmio_len", "pio", "pio_size", "union", "valid"),
)


class Excerpt:
    """Iterate for the records, and `pack` each before the next is asked for.

    `exits` counts the rows so far. Raises TraceError when a state fits no record.
    """

    def __init__(self, job: Job) -> None:
        timeline = job.timeline
        self._trace = timeline.trace
        self._progress = job.progress
        self._generation = timeline.generation
        self._redaction = None if job.level is None else Redaction(job.level)
        #: Without registers no state is known, and none is written.
        self._has_state = job.level is not Level.REGISTERS
        self._walk = Walk(timeline.trace, timeline.td, timeline.generation)
        self._engine = self._walk.engine
        # Looking for the first row asks already how many there are.
        self._rows = Numbering(iter(()))
        self._rows = Numbering(selected(timeline, job.selection, self._looked))
        self._packer = Packer()
        self._left_out = 0
        #: What a reader has of vCPUs, and of the map, from before something was left out.
        self._stale: dict[int, Vcpu] = {}
        self._stale_map: tuple[GpaMap, bool] | None = None
        #: Where the newest checkpoint with all of the state is, and when the next is due.
        self._base = -1
        self._due = _EVERY

    @property
    def exits(self) -> int:
        return self._rows.started

    def _looked(self, row: int) -> None:
        if self._progress is not None:
            self._progress(row, self.exits)

    def pack(self, record: Record) -> bytes:
        """The record as the native format has it; raises TraceError."""
        try:
            return self._packer.pack(record)
        except ValueError as problem:
            raise TraceError(f"the excerpt cannot be written: {problem}") from None

    def __iter__(self) -> Iterator[Record]:
        if self._redaction is None:
            yield from self._records()
            return
        for record in self._records():
            if record.kind is Kind.CHECKPOINT:
                # It was redacted when it was made.
                yield record
            elif (shown := self._redaction.record(record)) is not None:
                yield shown

    # --- through the journal ------------------------------------------------------------

    def _records(self) -> Iterator[Record]:
        rows, trace = self._rows, self._trace
        while rows.next is not None:
            self._jump(trace.first_record(rows.next))
            yield from self._stretch()

    def _jump(self, place: int) -> None:
        """Leave out everything up to this place, if that is a way."""
        at = self._walk.at
        if place <= at:
            return
        self._left_out += place - at
        if not self._has_state:
            self._walk.at = place
            return
        for vcpu in self._engine.vcpus.values():
            self._stale.setdefault(vcpu.index, vcpu.copy())
        self._keep_map()
        self._walk.go_to(place)
        for index in self._engine.vcpus:
            # A vCPU that a reader has not seen yet.
            self._stale.setdefault(index, Vcpu(index))

    def _stretch(self) -> Iterator[Record]:
        """Records from here on, until nothing is in progress and the next row is far away."""
        rows = self._rows
        for place, record in self._trace.records(self._walk.at):
            if place % _OFTEN == 0:
                self._looked(record.row)
            if record.kind is Kind.CHECKPOINT:
                self._take_gap(place, record)
                continue
            was_open = bool(rows.open)
            # Such a record does not go on without a state, so it begins no row either.
            is_lost = record.kind is Kind.MEMORY_ATTRIBUTES and not self._has_state
            number = None if is_lost else rows.number(record)
            if number is None:
                self._leave_out(place, record)
            else:
                yield from self._go_on(place, record, number)
            has_ended = not rows.open and (was_open or number is not None)
            if has_ended and (rows.next is None or self._is_far(rows.next, record.row, place)):
                return
        self._walk.at = self._trace.n_records
        self._rows.next = None

    def _is_far(self, row: int, now: int, place: int) -> bool:
        return row > now + 1 and self._trace.first_record(row) > place + _NEAR

    def _leave_out(self, place: int, record: Record) -> None:
        self._left_out += 1
        if not self._has_state:
            self._walk.at = place + 1
            return
        if record.kind in _INPUTS:
            self._keep_map()
            if record.kind is not Kind.MEMORY_ATTRIBUTES:
                self._keep_vcpu(record.vcpu)
        self._walk.feed(place, record)

    def _keep_map(self) -> None:
        if self._stale_map is None:
            self._stale_map = self._engine.gpa_map, self._engine.dead

    def _keep_vcpu(self, index: int) -> None:
        if index not in self._stale:
            vcpu = self._engine.vcpus.get(index)
            self._stale[index] = Vcpu(index) if vcpu is None else vcpu.copy()

    def _take_gap(self, place: int, record: Record) -> None:
        """A checkpoint of the recording itself: its gaps are ours too."""
        if not self._has_state:
            self._walk.at = place + 1
            return
        try:
            gap = load_gap(record.body)
        except ValueError:
            gap = None
        if gap is not None:
            self._keep_map()
            for index in {*self._engine.vcpus, *(vcpu.index for vcpu in gap.vcpus)}:
                self._keep_vcpu(index)
        self._walk.feed(place, record)

    # --- what goes on -------------------------------------------------------------------

    def _go_on(self, place: int, record: Record, number: int) -> Iterator[Record]:
        shown = record._replace(row=number)
        if not self._has_state or record.kind not in _INPUTS:
            self._walk_past(place, record)
            yield shown
            return
        engine = self._engine
        state = Checkpoint((), engine.gpa_map, engine.dead)
        vcpu = engine.vcpus.get(record.vcpu)
        now = Vcpu(record.vcpu) if vcpu is None else vcpu
        # What it was before it is fed is only needed where it may have to be told.
        is_stale = record.vcpu in self._stale or self._stale_map is not None
        now = now.copy() if is_stale or self._is_due() else now
        step = self._walk.feed(place, record)
        in_kernel = step is not None and step.outcome is Outcome.REENTER_TD
        if is_stale and self._matters(record, now, state, in_kernel=in_kernel):
            yield self._gap(record, now, state)
        elif self._is_due() and self._may_start_here(record):
            yield from self._start_point(record, now, state)
        yield shown

    def _walk_past(self, place: int, record: Record) -> None:
        if self._has_state:
            self._walk.feed(place, record)
        else:
            self._walk.at = place + 1

    def _matters(self, record: Record, now: Vcpu, state: Checkpoint, *, in_kernel: bool) -> bool:
        """Whether a reader would go wrong with what it has."""
        if self._stale_map is not None:
            gpa_map, dead = self._stale_map
            if gpa_map.edges != state.gpa_map.edges or dead != state.dead:
                return True
            self._stale_map = None
        had = self._stale.get(record.vcpu)
        if had is None or record.kind is Kind.MEMORY_ATTRIBUTES:
            return False
        if had.msrs != now.msrs or (state.dead and had.phase is not now.phase):
            return True
        names = _FOR_USERSPACE if record.kind is Kind.TD_EXIT else (*_FOR_USERSPACE, "regs")
        if all(getattr(had, name) == getattr(now, name) for name in names):
            del self._stale[record.vcpu]
            return False
        return record.kind is not Kind.TD_EXIT or not in_kernel

    def _is_due(self) -> bool:
        return self._packer.records >= self._due

    def _may_start_here(self, record: Record) -> bool:
        """A reader that starts at a checkpoint takes every vCPU for one that is in step."""
        lost = self._walk.lost & self._rows.open.keys()
        return record.kind is Kind.TD_EXIT and lost <= {record.vcpu}

    def _gap(self, record: Record, now: Vcpu, state: Checkpoint) -> Record:
        if (self._base < 0 or self._is_due()) and self._may_start_here(record):
            full = self._all(now, state)
            body = full_gap(full, record.row, self._left_out, self._generation)
            self._base = self._packer.records
            self._stale.clear()
            made = self._checkpoint(body, record)
            self._next_due(made)
        else:
            had = self._stale_map[0] if self._stale_map is not None else state.gpa_map
            gap = record.row, self._left_out, self._generation
            body = changed_gap([now], (had, state.gpa_map), state.dead, self._base, gap)
            self._stale.pop(now.index, None)
            made = self._checkpoint(body, record)
        self._stale_map = None
        self._left_out = 0
        return made

    def _start_point(self, record: Record, now: Vcpu, state: Checkpoint) -> Iterator[Record]:
        """A usual checkpoint; where it would be too large there is none."""
        body = dump(self._all(now, state))
        if len(dump_json(body)) > _LARGEST:
            self._due += _EVERY
            return
        made = self._checkpoint(body, record)
        self._base = self._packer.records
        self._next_due(made)
        yield made

    def _all(self, now: Vcpu, state: Checkpoint) -> Checkpoint:
        """The whole state before the input that was just fed."""
        vcpus = {index: vcpu.copy() for index, vcpu in self._engine.vcpus.items()}
        vcpus[now.index] = now
        return state._replace(vcpus=tuple(vcpus[index] for index in sorted(vcpus)))

    def _checkpoint(self, body: Mapping[str, object], record: Record) -> Record:
        shown = body if self._redaction is None else self._redaction.state(body)
        if shown is None or len(dump_json(dict(shown))) > _LARGEST:
            raise TraceError(
                f"exit {record.row}: the state before it is too large for a record; "
                "select exits from the beginning on"
            )
        return checkpoint(shown, record.time)

    def _next_due(self, made: Record) -> None:
        size = len(dump_json(made.body))
        slots = 1 + parts_of(Kind.CHECKPOINT, size)
        self._due = self._packer.records + max(_EVERY, 4 * slots)
