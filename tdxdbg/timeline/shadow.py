"""The engine beside a recording: fed with what the recording knows, record by record.

The engine is fed only when the registers that it would read are known. When
that fails, or when the real kernel went another way so that the next record
does not fit the engine's phase, the vCPU is *lost* until its next TD exit,
which puts the engine back into step: a TD exit proves that the TD was entered.
"""

from __future__ import annotations

from typing import NamedTuple

from tdxdbg.abi.ghci import Status
from tdxdbg.abi.kvm import EHWPOISON, HC_MAP_GPA_RANGE, MAP_GPA_RANGE_ENCRYPTED, Exit
from tdxdbg.abi.regs import R10
from tdxdbg.engine import (
    Engine,
    Generation,
    GpaMap,
    HypercallAnswer,
    Outcome,
    ProtocolError,
    Reentry,
    SetMemoryAttributes,
    Step,
    Td,
    TdExit,
)
from tdxdbg.engine.engine import Checkpoint
from tdxdbg.engine.needs import registers_read
from tdxdbg.timeline.gaps import load_gap
from tdxdbg.traces.records import (
    KNOWN_ANSWER,
    KNOWN_HAS_EVENTS,
    KNOWN_VP_ENTER_RET,
    Kind,
    Record,
)


class ShadowState(NamedTuple):
    """A shadow's whole state, to come back to."""

    engine: Checkpoint
    lost: frozenset[int]
    exits: tuple[tuple[int, Step], ...]
    before: GpaMap
    after: GpaMap


class Shadow:
    """Feed records in journal order; `gpa_map` follows the recording."""

    def __init__(self, td: Td, generation: Generation) -> None:
        self.engine = Engine(td, generation)
        self.lost: set[int] = set()
        self._exits: dict[int, Step] = {}
        #: The map after the TD exit or answer before the newest one: what userspace set between
        #: the two (KVM_SET_MEMORY_ATTRIBUTES before its answer) belongs to the newest.
        self.before = self.engine.gpa_map
        self._after = self.engine.gpa_map

    @property
    def gpa_map(self) -> GpaMap:
        """Shared and private pages after the newest record."""
        return self.engine.gpa_map

    def save(self) -> ShadowState:
        """The state after the records fed so far."""
        return ShadowState(
            self.engine.checkpoint(),
            frozenset(self.lost),
            tuple(self._exits.items()),
            self.before,
            self._after,
        )

    def load(self, state: ShadowState) -> None:
        """Back to a saved state."""
        self.engine.restore(state.engine)
        self.lost = set(state.lost)
        self._exits = dict(state.exits)
        self.before = state.before
        self._after = state.after

    def load_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Start from the engine state that a trace file carries."""
        self.engine.restore(checkpoint)
        self.lost.clear()
        self._exits.clear()
        self.before = self._after = self.engine.gpa_map

    def feed(self, record: Record, output: Record | None = None) -> Step | None:
        """What the engine does with this record's input; None when it cannot be fed.

        `output` is the record of what the real kernel did with it, where there
        is one: whether an event was pending is seen in the kernel's reply.
        """
        body = record.body
        if isinstance(body, TdExit | Reentry):
            self.before = self._after
            if isinstance(body, TdExit):
                step = self._td_exit(body, record.known)
            else:
                step = self._reentry(body, record.known, output)
            self._after = self.engine.gpa_map
            return step
        if type(body) is SetMemoryAttributes:
            return self.engine.feed(body)
        if type(body) is Step:
            if record.kind == Kind.USERSPACE_EXIT:
                self._exits[record.vcpu] = body
            else:
                self._exits.pop(record.vcpu, None)
        elif record.kind == Kind.CHECKPOINT:
            self._resume(body)
        return None

    def _resume(self, body: object) -> None:
        """Take over what happened in a gap of the recording; other checkpoints change nothing."""
        try:
            gap = load_gap(body)
        except ValueError:
            return
        if gap is not None:
            gap.resume(self.engine)
            self.before = self._after = self.engine.gpa_map

    def _td_exit(self, event: TdExit, known: int) -> Step | None:
        engine = self.engine
        engine.force_into_td(event.vcpu)
        needed = registers_read(event, engine.generation)
        if not known & KNOWN_VP_ENTER_RET or needed & ~known:
            self.lost.add(event.vcpu)
            return None
        self.lost.discard(event.vcpu)
        return engine.feed(event)

    def _reentry(self, event: Reentry, known: int, output: Record | None) -> Step | None:
        engine = self.engine
        seen = self._exits.pop(event.vcpu, None)
        if event.vcpu not in self.lost and known & KNOWN_ANSWER:
            if not known & KNOWN_HAS_EVENTS:
                event = event._replace(has_events=events_seen(output))
            try:
                return engine.feed(event)
            except ProtocolError:
                pass
        self.lost.add(event.vcpu)
        if seen is not None and known & KNOWN_ANSWER:
            self._recorded_conversion(seen, event)
        return None

    def _recorded_conversion(self, seen: Step, event: Reentry) -> None:
        """What userspace converted, by the recording alone."""
        run = seen.run
        if run is None:
            return
        if run.exit_reason == Exit.MEMORY_FAULT:
            if seen.errno == EHWPOISON:
                return
            flags, gpa, size = run.get("flags"), run.get("gpa"), run.get("size")
            if flags is not None and gpa is not None and size is not None:
                self._convert(gpa, size, private=bool(flags & 8))
            return
        if run.exit_reason != Exit.HYPERCALL or run.get("nr") != HC_MAP_GPA_RANGE:
            return
        answer = event.answer
        ret = answer.ret if type(answer) is HypercallAnswer else None
        if (run.get("ret") if ret is None else ret) != 0:
            return
        gpa, pages, attributes = (run.get("args", index) for index in range(3))
        if gpa is not None and pages is not None and attributes is not None:
            private = bool(attributes & MAP_GPA_RANGE_ENCRYPTED)
            self._convert(gpa & ~self.engine.td.shared_mask, pages << 12, private=private)

    def _convert(self, gpa: int, size: int, *, private: bool) -> None:
        self.engine.converted(gpa, size, private=private)


def conversion(before: GpaMap, after: GpaMap) -> tuple[int, int, bool] | None:
    """What one conversion changed: GPA and size in bytes, and whether it became private.

    A range that already had the state is not part of it.
    """
    if before is after or before.edges == after.edges:
        return None
    changed = sorted(set(before.edges) ^ set(after.edges))
    low = changed[0]
    high = changed[-1] if len(changed) > 1 else 1 << 40
    return low << 12, (high - low) << 12, not after.is_shared(low << 12)


def events_seen(output: Record | None) -> bool:
    """Whether KVM found an event: it answered RETRY instead of the next chunk."""
    if output is None or type(output.body) is not Step:
        return False
    step = output.body
    return (
        step.outcome is Outcome.REENTER_TD
        and bool(output.known >> R10 & 1)
        and step.regs.r10 == Status.RETRY
    )
