"""What a person types to name a place: an address, a symbol, a register, a condition."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, Protocol

from tdxdbg.ui.judging import PlaceError, parse_watch

_TOP: Final = 1 << 64
_SUM: Final = re.compile(r"\s*([^\s+-]+)\s*(?:([+-])\s*(\S+))?\s*")
_NUMBER: Final = re.compile(r"(0[xX])?[0-9a-fA-F]+")
#: The longest range that can be watched, in bytes.
LONGEST_WATCH: Final = 4096
_WATCH: Final = "watch"
_AT: Final = "at"
_GPA: Final = "gpa"
#: Names that a wrong one is compared with, and of more how many letters have to be right.
_MOST_COMPARED: Final = 4096
_ALIKE: Final = 2
CONSOLE: Final = "console"
#: The longest text that is waited for, in bytes.
LONGEST_TEXT: Final = 4096
_ESCAPE: Final = re.compile(r"\\(x[0-9a-fA-F]{2}|.?)")
_ESCAPES: Final = {"\\": b"\\", "n": b"\n", "r": b"\r", "t": b"\t"}
_CONVERTED: Final = re.compile(r"\s*gpa\s*(in\b|==)")


class TargetError(ValueError):
    """Why a text names no place: one line, with the nearest name."""


class Symbols(Protocol):
    """The names in a guest's image."""

    def find(self, name: str) -> int | None:
        """The address of a symbol."""
        ...

    def names(self) -> Iterable[str]:
        """All of them."""
        ...


class Address(NamedTuple):
    """`linear`: through the vCPU's page tables, else a GPA. `text` is what was typed."""

    value: int
    linear: bool
    text: str


class Stop(NamedTuple):
    """Where to stop: `kind` is condition, code, write or mapping.

    `size` in bytes of a write, or of the range that is converted.
    """

    kind: str
    text: str
    address: Address | None = None
    size: int = 0


class Names(NamedTuple):
    """What names can stand for."""

    symbols: Symbols
    registers: Mapping[str, int]


def parse_address(text: str, names: Names) -> Address:
    """`0x1000`, `main+8`, `rsp-16`, and `gpa 0x1000`; raises TargetError."""
    linear = True
    rest = text.strip()
    if rest.lower().startswith((f"{_GPA} ", f"{_GPA}:")):
        linear, rest = False, rest[len(_GPA) + 1 :]
    match = _SUM.fullmatch(rest)
    if match is None:
        raise TargetError("an address: 0x1000, a symbol, a register, with + or - a number")
    value = _value(match[1], names)
    if match[2]:
        value += _number(match[3]) * (1 if match[2] == "+" else -1)
    if not 0 <= value < _TOP:
        raise TargetError("the address is not in 64 bits")
    return Address(value, linear, " ".join(text.split()))


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise TargetError(f"{text!r} is not a number") from None


def _value(text: str, names: Names) -> int:
    found = names.symbols.find(text)
    if found is not None:
        return found
    if text.lower() in names.registers:
        return names.registers[text.lower()]
    if _NUMBER.fullmatch(text):
        # Addresses are written in hex everywhere on the screen.
        return int(text, 16)
    near = difflib.get_close_matches(text, _like(text, names), 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise TargetError(f"no symbol or register {text!r}{hint}")


def _like(text: str, names: Names) -> list[str]:
    """Names to compare with; of a kernel's hundred thousand those that begin alike."""
    known = [*names.symbols.names(), *names.registers]
    if len(known) > _MOST_COMPARED:
        known = [name for name in known if name.startswith(text[:_ALIKE])]
    return known[:_MOST_COMPARED]


def parse_stop(text: str, names: Names) -> Stop:
    """A breakpoint as it is typed; raises TargetError, and FilterError for a condition.

    `watch ADDRESS [BYTES]`, `watch gpa in A..B`, `at ADDRESS`, a symbol, a number, or a condition
    in the language of the display filter.
    """
    from tdxdbg.filters import compile_filter

    first, _, rest = text.strip().partition(" ")
    if first == _WATCH:
        return _watch(rest, names)
    if first == _AT:
        return Stop("code", rest.strip(), parse_address(rest, names))
    if names.symbols.find(re.split(r"[+-]", first)[0]) is not None or _NUMBER.fullmatch(first):
        return Stop("code", text.strip(), parse_address(text, names))
    compile_filter(text)
    return Stop("condition", text.strip())


def _watch(text: str, names: Names) -> Stop:
    if is_converted(text):
        return _converted(text.strip())
    words = text.split()
    least = 2 if words and words[0].lower() == _GPA else 1
    size = 8
    if len(words) > least and words[-2] not in ("+", "-"):
        size = _number(words.pop())
    if not words:
        raise TargetError("watch what? an address, and how many bytes: watch 0x2000 8")
    if not 1 <= size <= LONGEST_WATCH:
        raise TargetError(f"watch 1 to {LONGEST_WATCH} bytes")
    return Stop("write", text.strip(), parse_address(" ".join(words), names), size)


def is_converted(text: str) -> bool:
    """Whether a watch is one of conversions."""
    return _CONVERTED.match(text) is not None


def _converted(text: str) -> Stop:
    """`gpa in 0x400000..0x5fffff`, as in a recording: where its pages are converted."""
    try:
        found = parse_watch(text)
    except PlaceError as error:
        raise TargetError(str(error)) from None
    return Stop("mapping", text, Address(found.gpa, False, text), found.size)


def parse_written(text: str, direction: int = 1) -> bytes | None:
    r"""`console login:`: what the guest is to write; None for a place of another kind.

    `\n`, `\r`, `\t`, `\\` and `\xNN` are bytes, so `\x20` is a blank at the end. Nothing is
    searched backwards (`direction` -1). Raises TargetError.
    """
    first, _, rest = text.strip().partition(" ")
    if first != CONSOLE:
        return None
    if direction < 0:
        raise TargetError("what the guest writes is waited for, not looked back for: t goes on")
    if not rest.strip():
        raise TargetError("what the guest is to write: console login:")
    found = _unescaped(rest.strip())
    if len(found) > LONGEST_TEXT:
        raise TargetError(f"{len(found):,} bytes: wait for at most {LONGEST_TEXT:,}")
    return found


def _unescaped(text: str) -> bytes:
    pieces, at = [], 0
    for match in _ESCAPE.finditer(text):
        code = match[1]
        if code not in _ESCAPES and len(code) != 3:
            raise TargetError(f"{match[0]!r} is none of \\n, \\r, \\t, \\\\ and \\xNN")
        pieces += [text[at : match.start()].encode(errors="replace"), _byte(code)]
        at = match.end()
    return b"".join([*pieces, text[at:].encode(errors="replace")])


def _byte(code: str) -> bytes:
    return _ESCAPES[code] if code in _ESCAPES else bytes.fromhex(code[1:])
