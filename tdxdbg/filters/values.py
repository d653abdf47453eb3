"""Words of a filter to values of a field: numbers with suffixes, names, quoted text."""

from __future__ import annotations

import re
from difflib import get_close_matches
from fractions import Fraction
from typing import Final

from tdxdbg.decode.text import safe
from tdxdbg.filters.errors import MistakeError
from tdxdbg.filters.fields import FIELDS, Field, Type, Value
from tdxdbg.filters.tree import quoted

U64: Final = (1 << 64) - 1

SIZES: Final = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
TIMES: Final = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}

_NUMBER: Final = re.compile(
    r"(?:0x(?P<hex>[0-9a-f]+(?:_[0-9a-f]+)*)"
    r"|(?P<decimal>[0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?))"
    r"(?P<suffix>[a-z]*)",
    re.IGNORECASE | re.ASCII,
)
_ESCAPE: Final = re.compile(
    r"\\(?:x(?P<x>[0-9a-fA-F]{2})|u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})|(?P<one>.?))",
    re.DOTALL,
)
_ONE: Final = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "r": "\r", "t": "\t", "0": "\0"}

_SHOWN: Final = 40
_LISTED: Final = 8


def shown(text: str) -> str:
    """A part of the filter for a message: printable, and not long."""
    return safe(text, _SHOWN)


def nearest(word: str, names: list[str]) -> list[str]:
    """At most two of `names` that look like `word`, the nearest first, whatever the case."""
    by_lower = {name.lower(): name for name in reversed(names)}
    found = get_close_matches(word.lower(), by_lower, n=2, cutoff=0.6)
    return [by_lower[name] for name in found]


def find_field(word: str, column: int) -> Field:
    """The field of that name. Raises MistakeError, with the nearest names, where there is none."""
    found = FIELDS.get(word.lower())
    if found:
        return found
    near = nearest(word, list(FIELDS))
    message = f"unknown field {shown(word)}"
    if not near:
        message += f" (the fields are {', '.join(FIELDS)})"
    raise MistakeError(message, column, near)


def number(row: Field, word: str, column: int) -> int:
    """A number with its suffix. Raises MistakeError where it is none, or does not fit the field."""
    match = _NUMBER.fullmatch(word)
    if match is None or match["suffix"][:1] in ("x", "X"):
        raise MistakeError(f"{shown(word)} is not a number", column)
    suffix = match["suffix"]
    digits = match["hex"] or match["decimal"]
    plain = Fraction(int(digits, 16)) if match["hex"] else Fraction(digits)
    exact = plain * _factor(row, suffix, column + match.start("suffix"))
    if exact.denominator != 1:
        unit = "nanoseconds" if row.nanoseconds else "ones"
        raise MistakeError(f"{shown(word)} is not a whole number of {unit}", column)
    value = int(exact)
    if value > U64:
        raise MistakeError(f"{shown(word)} does not fit in 64 bits", column)
    if row.type is Type.BOOLEAN and value > 1:
        raise MistakeError(f"{row.name} is a boolean, {shown(word)} is not", column, [*row.names])
    return value


def _factor(row: Field, suffix: str, column: int) -> int:
    if not suffix:
        return 1
    allowed = TIMES if row.nanoseconds else SIZES
    if suffix.lower() in allowed:
        return allowed[suffix.lower()]
    if row.nanoseconds:
        near = nearest(suffix, list(TIMES))
        message = f"unknown suffix {shown(suffix)}: a time takes ns, us, ms, s"
        raise MistakeError(message, column, near)
    if suffix.lower() in TIMES:
        raise MistakeError(f"{row.name} is not a time: it takes the suffixes K, M, G, T", column)
    near = nearest(suffix[0], list("KMGT"))
    raise MistakeError(f"unknown suffix {shown(suffix)}: a number takes K, M, G, T", column, near)


def named(row: Field, word: str, column: int) -> Value:
    """The value of that name. Raises MistakeError, with the nearest names, where there is none."""
    value = row.value_of(word)
    if value is not None:
        return value
    owners = [other.name for other in FIELDS.values() if other.value_of(word) is not None]
    if word.lower() in FIELDS and not owners:
        raise MistakeError(f"{shown(word)} is a field: the right side is a value", column)
    if row.type is Type.TEXT and not row.names:
        raise unquoted(row, word, column)
    near = nearest(word, [name for name, _ in row.known.values()])
    if owners:
        message = f"{shown(word)} is a value of {' and '.join(owners)}, not of {row.name}"
    elif row.names:
        message = f"{row.name} has no value {shown(word)}"
    else:
        message = f"{row.name} is an integer and has no names, {shown(word)} is not a number"
    if row.names and not near and len(row.names) <= _LISTED:
        message += f" (it has {', '.join(row.names)})"
    raise MistakeError(message, column, near)


def unquoted(row: Field, word: str, column: int) -> MistakeError:
    """A text that stands there without quotes."""
    message = f"{row.name} is a text: {shown(word)} needs quotes"
    return MistakeError(message, column, [quoted(word)])


def text(row: Field, literal: str, column: int) -> str:
    """A text without its quotes and escapes. Raises MistakeError where the field is no text."""
    content = _unescaped(literal, column)
    if row.type is Type.TEXT:
        return content
    expected = "a name or a number" if row.names else "a number"
    message = f"{row.name} is not a text: it takes {expected} without quotes"
    raise MistakeError(message, column, nearest(content, [*row.names, *row.aliases])[:1])


def whole_text(row: Field, content: str, column: int) -> str:
    """A text to compare a text field with. Raises MistakeError where the field cannot hold it."""
    if not row.names:
        return content
    value = named(row, content, column)
    return str(value)


def _unescaped(literal: str, column: int) -> str:
    def plain(match: re.Match[str]) -> str:
        digits = match["x"] or match["u"] or match["U"]
        try:
            return chr(int(digits, 16)) if digits else _ONE[match["one"]]
        except (KeyError, ValueError, OverflowError):
            raise MistakeError(
                f"unknown escape {shown(match[0])} (use two backslashes for one)",
                column + 1 + match.start(),
            ) from None

    return _ESCAPE.sub(plain, literal[1:-1])
