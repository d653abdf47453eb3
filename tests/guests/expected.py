"""The exits that a guest's NAME.toml says userspace will see, as data.

The language is described in tdxdbg/guests/README.md, "What userspace sees". It is
written by hand; nothing writes it.
"""

from __future__ import annotations

import ast
import re
import tomllib
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from tdxdbg.engine import GENERATIONS
from tdxdbg.guests import FOLDER

KERNELS: Final = tuple(generation.name for generation in GENERATIONS)

#: Engine steps that a run may have.
STEPS: Final = 20_000

_WORD: Final = re.compile(r'(?:[^\s"]|"(?:[^"\\]|\\.)*")+')
_COM1: Final = 0x3F8
_LSR: Final = 0x3FD

#: None: as KVM wrote it.
Value = int | bytes | list[int] | None


@dataclass
class Exit:
    """One exit: its name, the fields that matter, and what becomes of it.

    `answer` is what the VMM proposes (fields that matter), `edit` what a person
    makes of it, `meanwhile` what a person does while it is held.
    """

    line: int
    name: str
    fields: dict[str, Value]
    vcpu: int = 0
    answer: dict[str, Value] = field(default_factory=dict)
    edit: dict[str, Value] = field(default_factory=dict)
    meanwhile: list[tuple[str, list[Value]]] = field(default_factory=list)


@dataclass
class Expected:
    """What one run of a guest under one kernel is to be."""

    exits: list[Exit] = field(default_factory=list)
    console: bytes = b""
    ends: str = ""


@dataclass(frozen=True)
class Story:
    """A `[[run]]` of a guest's file."""

    guest: str
    title: str
    kernels: tuple[str, ...]
    policies: tuple[str, ...]
    gpaw: int
    steps: int
    text: str

    def under(self, kernel: str) -> Expected:
        """Its exits under one kernel; raises ValueError with the line."""
        expected = Expected()
        for number, line in enumerate(self.text.splitlines(), 1):
            try:
                _read(expected, number, line, kernel)
            except (ValueError, SyntaxError, IndexError) as error:
                raise ValueError(f"{self.guest}, {self.title}, line {number}: {error}") from error
        return expected


def stories(guest: str) -> list[Story]:
    """The runs of a guest."""
    text = tomllib.loads((FOLDER / f"{guest}.toml").read_text(encoding="utf-8"))
    return [
        Story(
            guest,
            run["title"],
            tuple(name for name in KERNELS if _selects(run.get("kernels", "v19+"), name)),
            tuple(run.get("policies", ())),
            run.get("gpaw", 48),
            run.get("steps", STEPS),
            run["exits"],
        )
        for run in text["run"]
    ]


def _selects(selector: str, kernel: str) -> bool:
    """`6.16+` from then on, `6.16-` up to then, `!v19` all but; several with a space."""
    at = KERNELS.index(kernel)
    return any(_selects_one(part, at) for part in selector.split())


def _selects_one(part: str, at: int) -> bool:
    if part.startswith("!"):
        return KERNELS.index(part[1:]) != at
    if part in KERNELS:
        return KERNELS.index(part) == at
    start = KERNELS.index(part[:-1])
    return at >= start if part.endswith("+") else at <= start


def _read(expected: Expected, number: int, line: str, kernel: str) -> None:
    line = line.strip()
    if line.startswith("{"):
        selector, _, line = line[1:].partition("}")
        if not _selects(selector, kernel):
            return
    words = _words(line)
    if not words:
        return
    vcpu = 0
    if words[0].startswith("vcpu") and words[0].endswith(":"):
        vcpu = int(words.pop(0)[4:-1])
    name, rest = words[0], words[1:]
    if name == "ends":
        expected.ends = " ".join(rest)
    elif name in ("poke", "peek", "inject"):
        expected.exits[-1].meanwhile.append((name, [_value(word) for word in rest]))
    elif name == "type":
        expected.exits[-1].meanwhile.append((name, [_bytes(rest[0])]))
    elif name == "serial":
        for byte in _bytes(rest[0]):
            expected.exits.append(_out(number, vcpu, _COM1, bytes((byte,))))
        expected.console += _bytes(rest[0])
    elif name == "uart":
        for byte in _bytes(rest[0]):
            expected.exits.append(_in(number, vcpu, _LSR, 1, b"\x60"))
            expected.exits.append(_out(number, vcpu, _COM1, bytes((byte,))))
        expected.console += _bytes(rest[0])
    else:
        expected.exits.append(_exit(number, vcpu, name, rest))


def _words(line: str) -> list[str]:
    """Up to a #; text in quotes is a part of its word."""
    words = []
    for word in _WORD.findall(line):
        if word.startswith("#"):
            break
        words.append(word)
    return words


def _exit(number: int, vcpu: int, name: str, words: list[str]) -> Exit:
    marks = [at for at, word in enumerate(words) if word in ("->", "<-")]
    end = marks[0] if marks else len(words)
    if name == "out":
        found = _out(number, vcpu, int(words[0], 0), bytes.fromhex(words[1]))
    elif name == "in":
        found = _in(number, vcpu, int(words[0], 0), int(words[1]))
    else:
        found = Exit(number, name, _fields(words[:end]), vcpu)
    for at, following in pairwise([*marks, len(words)]):
        into = found.answer if words[at] == "->" else found.edit
        into.update(_fields(words[at + 1 : following]))
    return found


def _out(number: int, vcpu: int, port: int, data: bytes) -> Exit:
    fields: dict[str, Value] = {"direction": 1, "port": port, "size": len(data), "count": 1}
    return Exit(number, "io", {**fields, "data": data}, vcpu)


def _in(number: int, vcpu: int, port: int, size: int, data: bytes = b"") -> Exit:
    fields: dict[str, Value] = {"direction": 0, "port": port, "size": size, "count": 1}
    return Exit(number, "io", fields, vcpu, {"data": data} if data else {})


def _fields(words: list[str]) -> dict[str, Value]:
    fields = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise ValueError(f"{word!r} is not name=value")
        fields[name] = _value(text, hex_bytes=name == "data" and "," not in text)
    return fields


def _value(text: str, *, hex_bytes: bool = False) -> Value:
    """A number, numbers with commas, or "text", which is a little-endian number."""
    if text == "none":
        return None
    if text.startswith("x") or (hex_bytes and not text.startswith(('"', "0x"))):
        return bytes.fromhex(text.removeprefix("x"))
    if "," in text:
        return [_number(item) for item in text.split(",")]
    return _number(text)


def _number(text: str) -> int:
    return int.from_bytes(_bytes(text), "little") if text.startswith('"') else int(text, 0)


def _bytes(text: str) -> bytes:
    value = ast.literal_eval("b" + text)
    assert isinstance(value, bytes)
    return value
