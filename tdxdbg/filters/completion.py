"""What could be typed next in a filter.

The part before the cursor is read as a filter is, and the parser says which
kinds of words can follow; so what is offered can always stand there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from tdxdbg.filters.errors import MistakeError
from tdxdbg.filters.fields import FIELDS, Field, Type
from tdxdbg.filters.language import MAX_LENGTH, Reader
from tdxdbg.filters.places import Place, operators_of

_WORD: Final = re.compile(r"#?(?:[A-Za-z_]\w*\.)*\w*$", re.ASCII)
_SIGN: Final = re.compile(r"[=!<>&|.]+$")
_SIGNS: Final = ("==", "!=", "<", "<=", ">", ">=", "&&", "||", "..")


class Completion(NamedTuple):
    """`words` could each stand in place of `text[start:cursor]`."""

    start: int
    words: list[str]


def complete(text: str, cursor: int) -> Completion:
    """The words that could stand at the cursor, in the order of the tables.

    Empty where the part before the cursor is wrong or no word fits.
    """
    before = text[: max(cursor, 0)]
    if len(before) > MAX_LENGTH:
        return Completion(len(before), [])
    sign = _SIGN.search(before)
    if sign:
        words = [word for word in _next(before[: sign.start()], True) if word.startswith(sign[0])]
        if set(words) - {sign[0]}:
            return Completion(sign.start(), words)
    word = _WORD.search(before)
    start = word.start() if word else len(before)
    typed = before[start:].lower()
    return Completion(
        start, [name for name in _next(before[:start], bool(typed)) if _fits(name, typed)]
    )


def _fits(name: str, typed: str) -> bool:
    return name.lower().startswith(typed)


def _next(before: str, typed: bool) -> list[str]:
    """Every word that can follow; `typed`: also the ones that are not shown unasked."""
    reader = Reader(before)
    try:
        reader.read()
    except MistakeError:
        return []
    return list(dict.fromkeys(_words(reader, typed)))


def _words(reader: Reader, typed: bool) -> Iterator[str]:
    accepts = reader.accepts()
    field = reader.field
    if "FIELD" in accepts:
        yield from FIELDS
    if "COMPARE" in accepts and field is not None:
        yield from operators_of(field.type)
    elif "IN" in accepts:
        yield "in"
    if "LBRACE" in accepts:
        yield "{"
    if "NAME" in accepts and field is not None:
        names = {**field.names, **field.aliases} if typed else field.names
        yield from (name for name, value in names.items() if reader.can_be(value))
    yield from _joints(accepts - _senseless(reader, field, accepts), typed)


def _senseless(reader: Reader, field: Field | None, accepts: set[str]) -> set[str]:
    """What the grammar allows and the type of the field does not."""
    if field is not None and field.type is Type.TEXT and reader.place is Place.JOINT:
        return {"DOTS"}
    if "COMPARE" not in accepts or field is None:
        return set()
    # A boolean can stand alone, anything else needs its operator first.
    return {"NOT"} if field.type is Type.BOOLEAN else {"AND", "OR", "RPAR"}


_JOINTS: Final = {
    "AND": ("and", "&&"),
    "OR": ("or", "||"),
    "NOT": ("not", "!"),
    "LPAR": ("(",),
    "RPAR": (")",),
    "LBRACE": ("{",),
    "COMMA": (",",),
    "DOTS": ("..",),
    "RBRACE": ("}",),
}


def _joints(accepts: set[str], typed: bool) -> Iterator[str]:
    for kind, words in _JOINTS.items():
        if kind in accepts:
            yield from words if typed else words[:1]
