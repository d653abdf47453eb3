"""Where a live run stands, as the client of a worker sees it.

It comes from a process that runs a hostile guest: `State.from_json` checks
every field, and the text in it is still the guest's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

_U64: Final = (1 << 64) - 1
#: Characters of a text, elements of a list.
_LONGEST: Final = 1 << 16
_MOST: Final = 4096

Value = int | bytes | None

#: `State.why` when the file can take no more; `State.detail` says why.
RECORDING_FAILED: Final = "the recording cannot be written"


@dataclass(frozen=True, slots=True)
class State:
    """One place of one world of a run.

    `world`: "live", "past", or "fork" (a past that was made live). `where`: "in
    the TD", "held" (a KVM_EXIT_* waits for userspace's answer) or "ended".
    `why` it came to stand here, `detail` more of it, `breakpoints` the numbers
    of those that stopped it, `address` and `size` (bytes) of what they stopped
    at. `row` and `step` name the newest engine step in the recording, -1 before
    the first. `steps` and `instructions` count since the start, and are the
    position; `since_step` are the instructions since the newest step. `vcpu` is
    the one that matters, of `vcpus`; `rip` its own.

    Held: `answer` is what will be given, by field (None: as KVM wrote it),
    `proposed` what the VMM proposed, `convert` (GPA, bytes, private) what it
    converts first, `stop` why it stops the VM instead.

    `console` counts the bytes that the guest wrote to its serial port. `end` is
    the position of the newest place that is known.
    """

    world: str
    where: str
    why: str
    detail: str = ""
    breakpoints: tuple[int, ...] = ()
    address: int = 0
    size: int = 0
    row: int = -1
    step: int = -1
    steps: int = 0
    instructions: int = 0
    since_step: int = 0
    vcpu: int = 0
    vcpus: int = 1
    rip: int = 0
    answer: Mapping[str, Value] = field(default_factory=dict)
    proposed: Mapping[str, Value] = field(default_factory=dict)
    convert: tuple[tuple[int, int, bool], ...] = ()
    stop: str = ""
    console: int = 0
    end: tuple[int, int] = (0, 0)

    @property
    def position(self) -> tuple[int, int]:
        """Engine steps and guest instructions done."""
        return self.steps, self.instructions

    @property
    def is_held(self) -> bool:
        """Whether an exit waits for userspace's answer."""
        return self.where == "held"

    @property
    def is_in_td(self) -> bool:
        """Whether the vCPU stands between two instructions of the guest."""
        return self.where == "in the TD"

    @property
    def is_ended(self) -> bool:
        """Whether the VM was stopped."""
        return self.where == "ended"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> State:
        """Raises ValueError for what is no state."""
        if not isinstance(data, dict) or data.keys() != _CHECKS.keys():
            raise ValueError("not a state")
        values = {}
        for name, value in data.items():
            try:
                values[name] = _CHECKS[name](value)
            except (TypeError, ValueError):
                raise ValueError(f"not a state: {name}") from None
        return cls(**values)


def number(value: Any, least: int = 0, most: int = _U64) -> int:
    """The value, if it is a number in that range; raises ValueError."""
    if type(value) is not int or not least <= value <= most:
        raise ValueError("not a number of that range")
    return value


def text(value: Any, longest: int = _LONGEST) -> str:
    """The value, if it is a text that is no longer; raises ValueError."""
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError("not a text")
    return value


def flag(value: Any) -> bool:
    """The value, if it is true or false; raises ValueError."""
    if not isinstance(value, bool):
        raise ValueError("not true or false")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)) or len(value) > _MOST:
        raise ValueError("not a list")
    return list(value)


def _one_of(*names: str) -> Any:
    def check(value: Any) -> str:
        if value not in names:
            raise ValueError("not one of the names")
        return str(value)

    return check


def _row(value: Any) -> int:
    return number(value, -1)


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(number(item) for item in _list(value))


def _position(value: Any) -> tuple[int, int]:
    steps, instructions = _list(value)
    return number(steps), number(instructions)


def _conversions(value: Any) -> tuple[tuple[int, int, bool], ...]:
    found = []
    for item in _list(value):
        gpa, size, private = _list(item)
        found.append((number(gpa), number(size), flag(private)))
    return tuple(found)


def _answer(value: Any) -> dict[str, Value]:
    if not isinstance(value, dict) or len(value) > _MOST:
        raise ValueError("not an answer")
    return {text(name): _answer_value(item) for name, item in value.items()}


def _answer_value(value: Any) -> Value:
    if value is None or (isinstance(value, bytes) and len(value) <= _MOST):
        return value
    return number(value)


_CHECKS: Final = {
    "world": _one_of("live", "past", "fork"),
    "where": _one_of("in the TD", "held", "ended"),
    "why": text,
    "detail": text,
    "breakpoints": _numbers,
    "address": number,
    "size": number,
    "row": _row,
    "step": _row,
    "steps": number,
    "instructions": number,
    "since_step": number,
    "vcpu": number,
    "vcpus": number,
    "rip": number,
    "answer": _answer,
    "proposed": _answer,
    "convert": _conversions,
    "stop": text,
    "console": number,
    "end": _position,
}
