"""Chance actions on a live session, of every kind that a person has."""

from __future__ import annotations

import hashlib
import random
import select
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

from tdxdbg.abi.regs import REG_NAMES
from tdxdbg.errors import SessionError
from tdxdbg.session import Event, Session, SessionDied
from tests.backends.emulated.harness import CODE
from tests.backends.emulated.streams import VALUES

#: How a run comes to stand for good, breakpoints and interrupts aside.
ENDS: Final = frozenset(
    {
        "ended",
        "exit budget used up",
        "every vCPU is halted and nothing will wake them",
        "instruction count reached",
    }
)
#: What no refusal may say: it was not the one who asked.
_OUR_FAULT: Final = ("a bug in tdxdbg", "please report", "died on its way", "re-execution")

CONDITIONS: Final = (
    "leaf == MapGPA",
    "exit == KVM_EXIT_IO",
    "reason == EPT_VIOLATION",
    "outcome == userspace",
    "error",
    "retry or status == RETRY",
    "gpa in 0..0x200000",
    "r10 != 0 and vcpu == 0",
    "index > 5",
    "time > 1ms",
    'message contains "x"',
)
_ADDRESSES: Final = (0, 0x1000, 0x10000, 0x23FF0, CODE, CODE + 0x10000, 0x3FFFF8, 1 << 30, 1 << 39)
_FAR: Final = ((1 << 47) + CODE, (1 << 51) + CODE, (1 << 64) - 4)
_COUNTS: Final = (1, 1, 2, 3, 10, 100, (1 << 62) - 1)
#: Memory that a `Place` remembers: stacks, code, handlers, tables.
_REMEMBERED: Final = ((0x20000, 0x8000), (CODE, 0x6000), (CODE + 0x10000, 0x5000))

Got = TypeVar("Got")


class Place(NamedTuple):
    """What a run was like at a position."""

    position: tuple[int, int]
    registers: tuple[dict[str, int], ...]
    memory: str
    edges: tuple[int, ...]
    console: bytes

    @classmethod
    def of(cls, session: Session) -> Place:
        digest = hashlib.sha256()
        for gpa, size in _REMEMBERED:
            digest.update(session.read_memory(gpa, size))
        state = session.state
        return cls(
            state.position,
            tuple(dict(session.registers(vcpu)) for vcpu in range(state.vcpus)),
            digest.hexdigest(),
            session.gpa_map().edges,
            session.console(),
        )


class Walk:
    """Actions on one session, by chance.

    What cannot be done where the run stands is refused; anything else that
    goes wrong is an AssertionError. `meddles`: also what changes the run.
    """

    def __init__(self, session: Session, chance: random.Random, *, meddles: bool) -> None:
        self.session = session
        self.chance = chance
        self.forks: list[Session] = []
        #: Looked at after each action that may have made a process.
        self.on_world: Callable[[], object] = lambda: None
        self._places: list[Place] = []
        self._actions = (*_LOOKS, *_RUNS, *_RUNS, *_TRAVELS, *(_MEDDLES * 2 if meddles else ()))

    def go(self, count: int) -> None:
        """So many actions."""
        for _ in range(count):
            self._do(self.chance.choice(self._actions))

    def _do(self, action: Callable[[Walk, Session], object]) -> None:
        refused(lambda: action(self, self.session))

    # --- looking ----------------------------------------------------------------------

    def registers(self, session: Session) -> None:
        session.registers(self.chance.choice((None, 0, 1)))

    def memory(self, session: Session) -> None:
        session.read_memory(
            self.address(), self.chance.choice((0, 1, 8, 4096, 70000)), vcpu=self.vcpu()
        )

    def gpa_map(self, session: Session) -> None:
        session.gpa_map()
        session.console()

    def recording(self, session: Session) -> None:
        assert len(session.timeline) > session.state.row
        assert session.refresh() == session.state or session.state.why
        session.moment()

    def remember(self, session: Session) -> None:
        self._places.append(Place.of(session))

    def breakpoint(self, session: Session) -> None:
        if self.chance.random() < 0.5:
            session.add_breakpoint(self.chance.choice(CONDITIONS))
        else:
            session.add_breakpoint(address=CODE + self.chance.randrange(0x200))

    def watchpoint(self, session: Session) -> None:
        session.add_watchpoint(
            self.address(), self.chance.choice((1, 8, 40, 4096)), vcpu=self.vcpu()
        )

    def change_breakpoint(self, session: Session) -> None:
        for item in session.breakpoints():
            if self.chance.random() < 0.5:
                session.remove_breakpoint(item["id"])
            else:
                session.change_breakpoint(item["id"], enabled=self.chance.random() < 0.5)

    # --- running ----------------------------------------------------------------------

    def step(self, session: Session) -> None:
        session.step(self.count())

    def step_instruction(self, session: Session) -> None:
        session.step_instruction(self.count())

    def cont(self, session: Session) -> None:
        session.cont(steps=self.chance.choice((1, 2, 5, 20)))

    def until(self, session: Session) -> None:
        session.cont(steps=self.chance.choice((0, 20)), until=self.chance.choice(CONDITIONS))

    def cont_interrupted(self, session: Session) -> None:
        request = session.send("cont")
        time.sleep(self.chance.random() * 0.003)
        session.send("interrupt")
        answer(session, request)

    # --- other times ------------------------------------------------------------------

    def reverse(self, session: Session) -> None:
        self._past(session.reverse_step(self.count()))

    def reverse_instruction(self, session: Session) -> None:
        self._past(session.reverse_step_instruction(self.chance.choice((1, 2, 7))))

    def reverse_cont(self, session: Session) -> None:
        self._past(session.reverse_cont())

    def last(self, session: Session) -> None:
        if self.chance.random() < 0.5:
            self._past(session.last_match(self.chance.choice(CONDITIONS)))
        else:
            self._past(session.last_write(self.address(), 64, vcpu=self.vcpu()))

    def go_to(self, session: Session) -> None:
        steps = self.chance.randint(0, max(session.state.steps, 1))
        self._past(session.go_to(steps=steps))

    def go_to_row(self, session: Session) -> None:
        row = self.chance.randint(-1, max(session.state.row, 1))
        self._past(session.go_to(row, self.chance.choice((0, 0, 1))))

    def go_to_place(self, session: Session) -> None:
        """What was remembered there is found again."""
        if not self._places:
            return
        place = self.chance.choice(self._places)
        past = session.go_to(steps=place.position[0], instructions=place.position[1])
        found = Place.of(past)
        assert found == place, f"the past at {place.position} is not what was"
        self._past(past)

    def go_to_interrupted(self, session: Session) -> None:
        request = session.send("go_to", steps=0)
        time.sleep(self.chance.random() * 0.003)
        session.send("interrupt")
        event = answer(session, request)
        if isinstance(event.value, Session):
            event.value.close()

    def _past(self, past: Session) -> None:
        """Walk about in a past; perhaps make another future of it."""
        self.on_world()
        here = self.session.state.position
        assert past.state.position <= here
        for _ in range(self.chance.randrange(4)):
            action = self.chance.choice(_IN_THE_PAST)
            refused(lambda action=action: action(self, past))  # type: ignore[misc]
            assert past.state.position <= here
        if self.chance.random() < 0.2 and not self.forks:
            past.make_live()
            self.forks.append(past)
        elif self.chance.random() < 0.7:
            past.close()

    def back(self, past: Session) -> None:
        """One of the ways back, of a past, which moves itself."""
        assert self.chance.choice(_BACK)(past) is past

    # --- doing something about it -----------------------------------------------------

    def inject(self, session: Session) -> None:
        self._forget_place()
        session.inject(self.chance.randrange(16, 256), self.chance.choice((0, 0, 1)))

    def edit(self, session: Session) -> None:
        self._forget_place()
        fields = session.state.answer
        if not fields or self.chance.random() < 0.1:
            session.edit()
            return
        name = self.chance.choice(list(fields))
        session.edit({name: self._answer_value(fields[name])})

    def _answer_value(self, old: int | bytes | None) -> int | bytes | None:
        if isinstance(old, bytes):
            return self.chance.randbytes(self.chance.randint(1, 8))
        return self.chance.choice((None, 0, 1, 11, 22, 255, self.chance.getrandbits(64)))

    def answer(self, session: Session) -> None:
        self._forget_place()
        session.answer(
            **{name: self._answer_value(value) for name, value in session.state.answer.items()}
        )

    def set_registers(self, session: Session) -> None:
        self._forget_place()
        name = self.chance.choice((*REG_NAMES, "rip", "rip"))
        values = (*VALUES, CODE + self.chance.randrange(0x200), self.chance.getrandbits(64))
        session.set_registers(self.vcpu(), **{name: self.chance.choice(values)})

    def write(self, session: Session) -> None:
        self._forget_place()
        data = self.chance.randbytes(self.chance.choice((1, 8, 64, 5000)))
        session.write_memory(self.address(), data, vcpu=self.vcpu())

    def serial(self, session: Session) -> None:
        self._forget_place()
        session.serial(self.chance.randbytes(self.chance.choice((1, 20, 3000))))

    def _forget_place(self) -> None:
        """It is about to be another one."""
        here = self.session.state.position
        self._places = [place for place in self._places if place.position != here]

    # --- chance -----------------------------------------------------------------------

    def count(self) -> int:
        return self.chance.choice(_COUNTS)

    def vcpu(self) -> int | None:
        return self.chance.choice((None, None, 0, 1))

    def address(self) -> int:
        if self.chance.random() < 0.1:
            return self.chance.choice(_FAR)
        return self.chance.choice(_ADDRESSES) + self.chance.choice((0, 8, 0xFFD, 0x77))


_Action = Callable[[Walk, Session], None]

_LOOKS: Final[tuple[_Action, ...]] = (
    Walk.registers,
    Walk.memory,
    Walk.gpa_map,
    Walk.recording,
    Walk.remember,
    Walk.breakpoint,
    Walk.watchpoint,
    Walk.change_breakpoint,
)
_RUNS: Final[tuple[_Action, ...]] = (
    Walk.step,
    Walk.step_instruction,
    Walk.cont,
    Walk.until,
    Walk.cont_interrupted,
)
_TRAVELS: Final[tuple[_Action, ...]] = (
    Walk.reverse,
    Walk.reverse_instruction,
    Walk.reverse_cont,
    Walk.last,
    Walk.go_to,
    Walk.go_to_row,
    Walk.go_to_place,
    Walk.go_to_interrupted,
)
_MEDDLES: Final[tuple[_Action, ...]] = (
    Walk.inject,
    Walk.edit,
    Walk.answer,
    Walk.set_registers,
    Walk.write,
    Walk.serial,
)
_IN_THE_PAST: Final[tuple[_Action, ...]] = (
    Walk.registers,
    Walk.memory,
    Walk.step,
    Walk.step_instruction,
    Walk.cont,
    Walk.until,
    Walk.cont_interrupted,
    Walk.back,
    Walk.breakpoint,
    Walk.inject,
)
_BACK: Final[tuple[Callable[[Session], Session], ...]] = (
    Session.reverse_step,
    Session.reverse_step_instruction,
    Session.reverse_cont,
    lambda past: past.last_match("leaf == MapGPA"),
    lambda past: past.last_write(CODE, 4096),
)


def refused(call: Callable[[], object]) -> bool:
    """Do it; whether it was refused. Raises AssertionError when that was not the asker's fault."""
    try:
        call()
    except SessionDied:
        raise
    except SessionError as problem:
        text = str(problem)
        assert len(text.splitlines()) == 1, text
        assert not any(words in text for words in _OUR_FAULT), text
        return True
    return False


def answer(session: Session, request: int) -> Event:
    """What came of a request, or that the worker died; 0: wait for that."""
    while True:
        for event in session.poll():
            if event.kind == "died" or (event.request == request and event.kind != "progress"):
                return event
            if isinstance(event.value, Session):
                event.value.close()
        select.select([session], [], [])


def finish(session: Session) -> Any:
    """Let the run go on to where it stands for good."""
    for item in session.breakpoints():
        session.remove_breakpoint(item["id"])
    state = session.cont()
    assert state.why in ENDS, state
    assert session.cont().position == state.position
    return state
