"""The tree of a filter: small frozen nodes.

`str(node)` is the canonical text, which parses to an equal tree. Columns say
where a node stands in the text it was read from; they do not count when nodes
are compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final, NamedTuple

from tdxdbg.decode.text import safe
from tdxdbg.filters.fields import FIELDS, Field, Type, Value

#: What may stand between a field and one value.
COMPARISONS: Final = ("==", "!=", "<", "<=", ">", ">=")
CONTAINS: Final = "contains"


class Range(NamedTuple):
    """The integers from `first` to `last`, both included."""

    first: int
    last: int


@dataclasses.dataclass(frozen=True, slots=True)
class Compare:
    """`leaf == MapGPA`; `operator` is one of COMPARISONS, or CONTAINS.

    A bare boolean field, as in `retry`, is `retry == true`.
    """

    field: str
    operator: str
    value: Value
    column: int = dataclasses.field(default=0, compare=False)

    def __str__(self) -> str:
        row = FIELDS[self.field]
        if row.type is Type.BOOLEAN and (self.operator, self.value) == ("==", 1):
            return self.field
        return f"{self.field} {self.operator} {value_text(row, self.value)}"


@dataclasses.dataclass(frozen=True, slots=True)
class In:
    """`gpa in 1M..2M` or `leaf in {MapGPA, IO}`: ranges of an integer field, texts of a text."""

    field: str
    elements: tuple[Range | str, ...]
    column: int = dataclasses.field(default=0, compare=False)

    def __str__(self) -> str:
        row = FIELDS[self.field]
        texts = [_element_text(row, element) for element in self.elements]
        first = self.elements[0]
        if len(texts) == 1 and isinstance(first, Range) and first.first != first.last:
            return f"{self.field} in {texts[0]}"
        return f"{self.field} in {{{', '.join(texts)}}}"


@dataclasses.dataclass(frozen=True, slots=True)
class Not:
    """`not retry`."""

    operand: Node
    column: int = dataclasses.field(default=0, compare=False)

    def __str__(self) -> str:
        inner = str(self.operand)
        bare = isinstance(self.operand, Not) or " " not in inner
        return f"not {inner}" if bare else f"not ({inner})"


@dataclasses.dataclass(frozen=True, slots=True)
class And:
    """All of two or more terms."""

    terms: tuple[Node, ...]
    column: int = dataclasses.field(default=0, compare=False)

    def __str__(self) -> str:
        return " and ".join(
            f"({term})" if isinstance(term, And | Or) else str(term) for term in self.terms
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Or:
    """Any of two or more terms."""

    terms: tuple[Node, ...]
    column: int = dataclasses.field(default=0, compare=False)

    def __str__(self) -> str:
        return " or ".join(
            f"({term})" if isinstance(term, Or) else str(term) for term in self.terms
        )


Leaf = Compare | In
Node = Compare | In | Not | And | Or


def leaves(node: Node) -> Iterator[Leaf]:
    """The comparisons of a tree, from left to right."""
    if isinstance(node, Not):
        yield from leaves(node.operand)
    elif isinstance(node, And | Or):
        for term in node.terms:
            yield from leaves(term)
    else:
        yield node


def value_text(row: Field, value: Value) -> str:
    """A value as the language writes it: its name, else a number or a quoted text."""
    if value in row.shown:
        return row.shown[value]
    if isinstance(value, str):
        return quoted(value)
    if row.nanoseconds:
        return f"{value}ns"
    return f"{value:#x}" if row.base == 16 and value > 9 else str(value)


def quoted(text: str) -> str:
    """`text` between double quotes, in printable ASCII."""
    # An escape has at most 10 characters, so nothing is ever cut.
    return '"' + safe(text, 10 * len(text) + 1).replace('"', '\\"') + '"'


def _element_text(row: Field, element: Range | str) -> str:
    if isinstance(element, str):
        return value_text(row, element)
    first = value_text(row, element.first)
    return first if element.first == element.last else f"{first}..{value_text(row, element.last)}"
