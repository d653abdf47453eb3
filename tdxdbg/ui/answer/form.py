"""Userspace's answer to the exit that is held, while a person edits it: fields, text, checks."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tdxdbg.abi.ghci import Status
from tdxdbg.abi.kvm import Exit
from tdxdbg.decode.uapi import is_answer
from tdxdbg.engine import KvmRun
from tdxdbg.ui.edit import LineEdit

#: A value of an answer; None: left as KVM wrote it.
Value = int | bytes | None

_U64: Final = (1 << 64) - 1
#: Names of the errors that a VMM gives, of which 7.2 tells EAGAIN and EINVAL apart.
_ERRNOS: Final[dict[str, int]] = {
    name: getattr(errno, name)
    for name in ("EAGAIN", "EINVAL", "ENOMEM", "EFAULT", "EPERM", "EBUSY", "ENOSYS", "EIO")
}
_STATUSES: Final[dict[str, int]] = {status.name: status.value for status in Status}


class WrongValueError(ValueError):
    """What was typed is no value of the field: one line."""


def names_for(run: KvmRun, name: str) -> Mapping[str, int]:
    """Words that a field takes instead of a number."""
    if name == "ret" and run.exit_reason == Exit.HYPERCALL:
        return {"OK": 0, **_ERRNOS}
    if name in ("ret", "r10"):
        return _STATUSES
    return {}


def reads(run: KvmRun, name: str) -> bool:
    """Whether KVM's completion of this exit reads this field of the answer."""
    if run.exit_reason != Exit.TDX:
        return is_answer(run, name)
    # Each TDVMCALL has a member of its own: only one of them has r11 to r14.
    fields = {field.name for field in run.layout.fields}
    return any(title in fields and is_answer(run, title) for title in (name, f"out_{name}"))


def data_size(run: KvmRun) -> int:
    """Bytes that `data` of this exit has; 0 when it has none."""
    if run.exit_reason == Exit.IO:
        return min((run.get("size") or 1) * (run.get("count") or 1), 8)
    if run.exit_reason == Exit.MMIO:
        return min(run.get("len") or 8, 8)
    return 0


def parse_value(run: KvmRun, name: str, text: str) -> Value:
    """What was typed, as the field's value; raises WrongValueError."""
    text = text.strip()
    if not text:
        return None
    known = names_for(run, name)
    if text.upper() in known:
        return known[text.upper()]
    size = data_size(run) if name == "data" else 0
    if size and " " in text:
        return _bytes(text, size)
    try:
        number = int(text, 0)
    except ValueError:
        raise WrongValueError(_not_a_number(text, known, size)) from None
    bits = 8 * size if size else 8 if name == "error" else 64
    if not -(1 << (bits - 1)) <= number < 1 << bits:
        raise WrongValueError(f"{name} has {bits} bits")
    number &= (1 << bits) - 1
    return number.to_bytes(size, "little") if size else number


def _bytes(text: str, size: int) -> bytes:
    try:
        data = bytes.fromhex(text)
    except ValueError:
        raise WrongValueError("bytes are pairs of hex digits, the lowest first") from None
    if len(data) > size:
        raise WrongValueError(f"this access has {size} byte{'s' * (size > 1)}")
    return data


def _not_a_number(text: str, known: Mapping[str, int], size: int) -> str:
    near = difflib.get_close_matches(text.upper(), known, 1)
    if near:
        return f"no number; did you mean {near[0]}?"
    if known:
        return f"a number, or {', '.join(list(known)[:4])}, ..."
    return "a number, or hex bytes with blanks between" if size else "a number, such as 11 or 0xb"


def value_text(value: Value) -> str:
    """A value as it is typed."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.hex(" ") if len(value) > 1 else f"{value[0]:#x}" if value else ""
    return f"{value:#x}" if value > 9 else str(value)


@dataclass
class AnswerForm:
    """The fields of an answer. `given` is what will be answered, `proposed` what the VMM wanted.

    While `typing`, `active` is the field that keys go to. `recorded`: to an exit of a
    recording, so that the answer is only tried.
    """

    run: KvmRun
    given: Mapping[str, Value]
    proposed: Mapping[str, Value]
    typing: bool = False
    active: int = 0
    recorded: bool = False
    _typed: dict[str, LineEdit] = field(default_factory=dict)
    _touched: set[str] = field(default_factory=set)

    @classmethod
    def of(
        cls, run: KvmRun, given: Mapping[str, Value], proposed: Mapping[str, Value]
    ) -> AnswerForm:
        """With the fields that KVM's completion of this exit reads."""
        names = [name for name in given if reads(run, name)]
        return cls(
            run,
            {name: given[name] for name in names},
            {name: proposed.get(name) for name in names},
        )

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(self.given)

    @property
    def edited(self) -> bool:
        """Whether something else will be given than the VMM proposed."""
        return dict(self.given) != dict(self.proposed)

    @property
    def name(self) -> str:
        """The field that keys go to."""
        return self.fields[self.active]

    def start(self) -> None:
        """Begin to type, in the first field."""
        self.typing, self.active = True, 0
        self._typed.clear()
        self._touched.clear()

    def cancel(self) -> None:
        """Forget what was typed."""
        self.typing = False
        self._typed.clear()

    def move(self, by: int) -> None:
        """To another field; what was typed in this one stays."""
        self.active = (self.active + by) % len(self.fields)

    def line(self, name: str) -> LineEdit:
        """What stands in a field while typing."""
        if name not in self._typed:
            self._typed[name] = LineEdit.holding(value_text(self.given[name]))
        return self._typed[name]

    def key(self, name: str, character: str | None) -> bool:
        """A key for the active field; the first one typed replaces the proposed value."""
        line = self.line(self.name)
        if self.name not in self._touched and character is not None and character.isprintable():
            line.end()
            line.delete_start()
        self._touched.add(self.name)
        return line.key(name, character)

    def takes(self) -> str:
        """What can be typed in the active field, in a few words."""
        known = list(names_for(self.run, self.name))
        size = data_size(self.run) if self.name == "data" else 0
        if known:
            return f"a number, or {', '.join(known[:4])}..."
        return f"a number, or {size} hex bytes" if size > 1 else "a number"

    def problem(self, name: str) -> str:
        """What is wrong with a field's text; empty when nothing is."""
        if name not in self._typed:
            return ""
        try:
            parse_value(self.run, name, self._typed[name].text)
        except WrongValueError as error:
            return str(error)
        return ""

    def values(self) -> dict[str, Value]:
        """The fields that were typed and differ from what will be given; raises WrongValueError."""
        found: dict[str, Value] = {}
        for name, line in self._typed.items():
            value = parse_value(self.run, name, line.text)
            if value != self.given[name]:
                found[name] = value
        return found
