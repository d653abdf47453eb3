"""Where in a filter a word stands, and which operators fit which fields."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

from tdxdbg.filters.fields import Type


class Place(Enum):
    """What comes next, as far as one word decides it."""

    FIELD = auto()
    OPERATOR = auto()
    VALUE = auto()
    JOINT = auto()


#: The place behind a word, by the kind of the word; only `not` stays where it is.
NEXT: Final[Mapping[str, Place]] = {
    "AND": Place.FIELD,
    "OR": Place.FIELD,
    "NOT": Place.FIELD,
    "LPAR": Place.FIELD,
    "FIELD": Place.OPERATOR,
    "COMPARE": Place.VALUE,
    "CONTAINS": Place.VALUE,
    "IN": Place.VALUE,
    "LBRACE": Place.VALUE,
    "COMMA": Place.VALUE,
    "DOTS": Place.VALUE,
    "NAME": Place.JOINT,
    "NUMBER": Place.JOINT,
    "STRING": Place.JOINT,
    "RBRACE": Place.JOINT,
    "RPAR": Place.JOINT,
}

_NUMERIC: Final = frozenset({Type.INTEGER, Type.INTEGERS})
_ANY: Final = frozenset(Type)

#: The operators by kind of word, each with the types of fields it works on.
OPERATORS: Final[Mapping[str, Mapping[str, frozenset[Type]]]] = {
    "COMPARE": {
        "==": _ANY,
        "!=": _ANY,
        "<": _NUMERIC,
        "<=": _NUMERIC,
        ">": _NUMERIC,
        ">=": _NUMERIC,
    },
    "IN": {"in": _NUMERIC | {Type.TEXT}},
    "CONTAINS": {"contains": frozenset({Type.TEXT})},
}


def operators_of(kind: Type) -> list[str]:
    """The operators that work on a field of that type."""
    return [name for group in OPERATORS.values() for name, types in group.items() if kind in types]
