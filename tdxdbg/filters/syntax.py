"""What to say about a filter whose shape is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from lark import Token

from tdxdbg.filters.errors import MistakeError
from tdxdbg.filters.fields import Field, Type
from tdxdbg.filters.places import Place, operators_of
from tdxdbg.filters.values import nearest, shown

#: Operators of other languages, and what they are here.
_FOREIGN: Final = {
    "eq": "==",
    "is": "==",
    "equals": "==",
    "ne": "!=",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "has": "contains",
    "includes": "contains",
}

NO_PATTERNS: Final = "there are no regular expressions, contains looks for a substring"

#: Characters that begin no word here: what they are elsewhere.
_CHARACTERS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "=": ("= is not an operator", ("==",)),
    "~": (NO_PATTERNS, ("contains",)),
    "&": ("& is not an operator", ("&&",)),
    "|": ("| is not an operator", ("||",)),
    "-": ("there are no negative numbers", ()),
    "[": ("a set is written {a, b}", ("{",)),
    "]": ("a set is written {a, b}", ("}",)),
    '"': ("the text that begins here has no closing quote", ()),
    "'": ("the text that begins here has no closing quote", ()),
}


def at_character(text: str, column: int) -> MistakeError:
    """A character that begins no word of the language."""
    character = text[column]
    if text.startswith("=~", column):
        character = "~"
    message, near = _CHARACTERS.get(character, (f"unexpected character {shown(character)}", ()))
    return MistakeError(message, column, near)


def at_word(
    text: str, place: Place, token: Token, field: Field | None, accepts: AbstractSet[str]
) -> MistakeError:
    """A word, or the end of the text, where it cannot stand; `accepts`: the kinds that can."""
    at_end = token.type == "$END"
    column = len(text) if at_end else token.start_pos or 0
    word = "" if at_end else text[column : token.end_pos]
    found = "the filter ends" if at_end else f"found {shown(word)}"
    expected, near = _SENTENCES[place](token.type, word, field, accepts)
    if not text.strip():
        return MistakeError("the filter is empty", 0)
    if expected.startswith("expected") and not near:
        expected = f"{expected}, {found}"
    return MistakeError(expected, column, near)


_Advice = tuple[str, Sequence[str]]


def _for_field(kind: str, _word: str, _field: Field | None, _accepts: AbstractSet[str]) -> _Advice:
    if kind in ("NUMBER", "STRING"):
        return "a comparison begins with a field", ()
    return "expected a field", ()


def _for_operator(kind: str, word: str, field: Field | None, accepts: AbstractSet[str]) -> _Advice:
    assert field is not None
    if accepts == {"IN"}:
        return "expected `in` behind not", ()
    if field.type is Type.BOOLEAN and kind in ("$END", "RPAR"):
        return _for_joint(kind, word, field, accepts)
    operators = operators_of(field.type)
    if word.lower() in ("matches", "like"):
        return NO_PATTERNS, ["contains"] if "contains" in operators else []
    near = nearest(word, ["and", "or", *operators])
    foreign = _FOREIGN.get(word.lower())
    if foreign in operators:
        near = [foreign]
    return f"expected an operator behind {field.name}", near


def _for_value(kind: str, _word: str, field: Field | None, accepts: AbstractSet[str]) -> _Advice:
    assert field is not None
    if "LBRACE" in accepts:
        return "in takes a range a..b or a set {a, b}", ()
    if kind == "LBRACE":
        return "a set stands behind in", ()
    return f"expected a value of {field.name}", ()


def _for_joint(kind: str, word: str, _field: Field | None, accepts: AbstractSet[str]) -> _Advice:
    if "COMMA" in accepts:
        return "expected , or } in the set", ()
    if accepts == {"DOTS"}:
        return "in takes a range a..b or a set {a, b}, for one value use ==", ()
    if kind == "RPAR":
        return "this ) closes nothing", ()
    if kind == "$END":
        return "expected )", ()
    if kind == "DOTS":
        return "a range stands behind in", ()
    return "expected `and` or `or`", nearest(word, ["and", "or"])


_SENTENCES: Final = {
    Place.FIELD: _for_field,
    Place.OPERATOR: _for_operator,
    Place.VALUE: _for_value,
    Place.JOINT: _for_joint,
}
