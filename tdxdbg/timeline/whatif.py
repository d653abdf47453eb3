"""Another generation over the same guest.

It consumes the TD exits only. A recorded answer is used again when the same
userspace exit asks for the same thing; otherwise a VMM policy answers and the
row is *assumed*. Where the guest would have got another reply than it did, or
none, its later exits are *diverged*: the real guest would have gone on
differently.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from enum import Enum
from itertools import zip_longest
from typing import Final, NamedTuple

from tdxdbg.abi.ghci import Status
from tdxdbg.abi.regs import EXPOSABLE, KNOWN_ALL, R10, R11, RCX, Regs
from tdxdbg.engine import Engine, GpaMap, Outcome, ProtocolError, Reentry, Step, TdExit
from tdxdbg.engine.engine import Checkpoint
from tdxdbg.engine.needs import registers_read
from tdxdbg.engine.tdvmcall.map_gpa import CHUNK
from tdxdbg.timeline.gaps import Gap
from tdxdbg.timeline.moment import known_fields
from tdxdbg.timeline.rows import RowStep
from tdxdbg.traces.records import KNOWN_ANSWER, KNOWN_VP_ENTER_RET
from tdxdbg.vmm.assumed import AssumedReply, assumed_reply

#: A row that never ends is cut here: 2^51 bytes make a billion chunks.
MAX_STEPS: Final = 2048

#: How many recorded exits are tried: more is a damaged row, and their product a hang.
_LOOK_AHEAD: Final = 16

_TDCALL: Final = 77


class WhatIfStep(NamedTuple):
    """An input and what this generation does; `answer` is what follows it.

    `assumed`: nobody recorded that answer, a policy gives it.
    """

    input: TdExit | Reentry
    step: Step
    answer: Reentry | None
    gpa_map: GpaMap
    assumed: bool = False


class RowEnd(Enum):
    """How a row ends, as far as it was run."""

    #: The TD is entered again.
    ENTERED = "entered"
    #: The VMM gives up, or the VM is dead.
    STOPPED = "stopped"
    #: So ends the recording: nobody knows what userspace did then.
    UNRECORDED = "unrecorded"
    #: It goes on, but is not run any further.
    CUT = "cut"


class WhatIfRow(NamedTuple):
    """A row under another generation. `steps` is empty when it cannot be computed."""

    steps: tuple[WhatIfStep, ...]
    assumed: bool
    diverged: bool
    end: RowEnd


class WhatIfState(NamedTuple):
    """All state between rows."""

    engine: Checkpoint
    diverged: frozenset[int]


def converting(engine: Engine) -> Engine:
    """The engine, or a copy of it, for which answers convert pages.

    What another kernel asks was not recorded, nor which ioctls answer it.
    """
    if engine.td.implicit_conversions:
        return engine
    other = Engine(replace(engine.td, implicit_conversions=True), engine.generation)
    other.restore(engine.checkpoint())
    return other


class WhatIf:
    """Rows fed in order to an engine of another generation."""

    def __init__(self, engine: Engine, policy: AssumedReply = assumed_reply) -> None:
        self.engine = converting(engine)
        self.policy = policy
        self.diverged: set[int] = set()

    def save(self) -> WhatIfState:
        return WhatIfState(self.engine.checkpoint(), frozenset(self.diverged))

    def load(self, state: WhatIfState) -> None:
        self.engine.restore(state.engine)
        self.diverged = set(state.diverged)

    def resume(self, gaps: Iterable[Gap]) -> None:
        """Take over what the recorded kernel did where the recording has a gap."""
        for gap in gaps:
            gap.resume(self.engine)

    def feed_row(self, recorded: Sequence[RowStep], *, cut: bool = False) -> WhatIfRow:
        """Run one row to its end; `cut`: these are only the first of its recorded steps."""
        first = recorded[0].input if recorded else None
        event = first.body if first is not None else None
        if first is None or type(event) is not TdExit or not self._known(event, first.known):
            diverged = bool(first and first.vcpu in self.diverged)
            return WhatIfRow((), False, diverged, RowEnd.UNRECORDED)
        diverged = event.vcpu in self.diverged
        run = RowRun(self.engine, self.policy, recorded, cut=cut)
        steps = run.run(event)
        if run.end is not RowEnd.CUT and not _same_reply(event, steps[-1].step, recorded):
            self.diverged.add(event.vcpu)
        return WhatIfRow(tuple(steps), run.assumed, diverged, run.end)

    def _known(self, event: TdExit, known: int) -> bool:
        needed = registers_read(event, self.engine.generation)
        return bool(known & KNOWN_VP_ENTER_RET) and not needed & ~known


class RowRun:
    """One row on its way, from its TD exit or from an answer in it."""

    def __init__(
        self, engine: Engine, policy: AssumedReply, recorded: Sequence[RowStep], *, cut: bool
    ) -> None:
        self.engine = engine
        self.policy = policy
        self.asked = _recorded_asks(recorded)
        self.events = frozenset() if cut else recorded_events(recorded)
        self.cut = cut
        self.assumed = False
        self.end = RowEnd.ENTERED

    def has_events(self, vcpu: int) -> bool:
        """Whether KVM would find an event after the chunk that userspace works on."""
        return self.engine.vcpu(vcpu).map_gpa_next + CHUNK in self.events

    def use(self, step: Step) -> None:
        """This exit has its answer: what was recorded of it answers no other one."""
        for place, (recorded, _) in enumerate(self.asked[:_LOOK_AHEAD]):
            if same_ask(recorded, step):
                del self.asked[place]
                return

    def run(self, event: TdExit | Reentry) -> list[WhatIfStep]:
        """Run to the end of the row."""
        engine = self.engine
        if isinstance(event, TdExit):
            engine.force_into_td(event.vcpu)
        current: TdExit | Reentry = event
        step = engine.feed(current)
        steps: list[WhatIfStep] = []
        while step.outcome is not Outcome.REENTER_TD:
            following, assumed = self._answer(event.vcpu, step)
            steps.append(WhatIfStep(current, step, following, engine.gpa_map, assumed))
            if following is None:
                return steps
            if len(steps) >= MAX_STEPS:
                self.end = RowEnd.CUT
                return steps
            try:
                step = engine.feed(following)
            except ProtocolError:
                # A damaged recording: nobody can give this answer to this exit.
                steps[-1] = steps[-1]._replace(answer=None, assumed=False)
                self.end = RowEnd.UNRECORDED
                return steps
            current = following
        steps.append(WhatIfStep(current, step, None, engine.gpa_map))
        return steps

    def _answer(self, vcpu: int, step: Step) -> tuple[Reentry | None, bool]:
        """What userspace does next, and whether that is assumed.

        None when it gives up, as it does where the recording ends.
        """
        has_events = self.has_events(vcpu)
        for place, (recorded, answer) in enumerate(self.asked[:_LOOK_AHEAD]):
            if same_ask(recorded, step):
                del self.asked[place]
                if answer is None:
                    self.end = RowEnd.CUT if self.cut else RowEnd.UNRECORDED
                    return None, False
                return answer._replace(vcpu=vcpu, has_events=has_events), False
        if self.cut and not self.asked:
            # What answers to this is in the recording, further down than it was read.
            self.end = RowEnd.CUT
            return None, False
        self.end = RowEnd.STOPPED
        if step.run is None:
            return None, False
        self.assumed = True
        reply = self.policy(step.run)
        if reply.stop:
            return None, False
        self.end = RowEnd.ENTERED
        return Reentry(vcpu, reply.answer, has_events), True


def _recorded_asks(recorded: Sequence[RowStep]) -> list[tuple[Step, Reentry | None]]:
    """Userspace exits of the row with the answers that were seen; None: the row ends there."""
    asks: list[tuple[Step, Reentry | None]] = []
    for step, following in zip_longest(recorded, recorded[1:]):
        exit_ = step.output.body if step.output is not None else None
        if type(exit_) is not Step or exit_.outcome is Outcome.REENTER_TD:
            continue
        if following is None:
            asks.append((exit_, None))
            continue
        answer = following.input
        if answer is not None and type(answer.body) is Reentry and answer.known & KNOWN_ANSWER:
            asks.append((exit_, answer.body))
    return asks


def recorded_events(recorded: Sequence[RowStep]) -> frozenset[int]:
    """R11 of a RETRY that KVM gave after a successful chunk: there an event was pending."""
    output = recorded[-1].output if recorded else None
    last = recorded[-1].input if recorded else None
    if output is None or type(output.body) is not Step or last is None:
        return frozenset()
    step, known = output.body, output.known
    if not (known >> R10 & 1 and known >> R11 & 1 and step.regs.r10 == Status.RETRY):
        return frozenset()
    ret = getattr(getattr(last.body, "answer", None), "ret", 0)
    return frozenset() if ret else frozenset({step.regs.r11})


def same_ask(one: Step, other: Step) -> bool:
    """Whether two exits ask userspace for the same thing (ret is not part of the question)."""
    recorded, computed = one.run, other.run
    if recorded is None or computed is None:
        # KVM_RUN failed and left no valid exit: userspace knows the errno.
        return recorded is computed and one.outcome is other.outcome and one.errno == other.errno
    if recorded.exit_reason != computed.exit_reason or recorded.layout is not computed.layout:
        return False
    if recorded.pio and computed.pio and computed.get("direction"):
        length = min(len(recorded.pio), len(computed.pio))
        if recorded.pio[:length] != computed.pio[:length]:
            return False
    return all(
        name == "ret" or computed.get(name, index) in (None, value)
        for name, index, value in known_fields(recorded)
    )


def _same_reply(event: TdExit, step: Step, recorded: Sequence[RowStep]) -> bool:
    """Whether the guest gets the reply that it was seen to get, in what is known of it."""
    output = recorded[-1].output
    entered = step.outcome is Outcome.REENTER_TD
    if output is None or type(output.body) is not Step:
        return entered
    seen = output.body
    if (seen.outcome is Outcome.REENTER_TD) != entered:
        return False
    if not entered or event.vp_enter_ret & 0xFFFF != _TDCALL:
        return True
    mask = event.regs[RCX] & EXPOSABLE & output.known & KNOWN_ALL
    return all(
        seen.regs[number] == step.regs[number]
        for number in range(len(Regs._fields))
        if mask >> number & 1
    )
