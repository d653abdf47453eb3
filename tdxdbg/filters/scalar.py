"""A filter tree as a predicate over one row.

Three values: True, False, and None where the row does not know. A comparison
with an unknown field is None; `not` keeps it; `and` is False if any term is
False, else None if any is; `or` is True if any term is True, else None if any
is. What is None at the end does not match: neither `leaf == IO` nor
`not (leaf == IO)` shows a row whose leaf is unknown.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

from tdxdbg.filters.fields import FIELDS, Type
from tdxdbg.filters.tree import And, Compare, In, Node, Not, Or, Range

#: A row is anything with an attribute per field; None is unknown.
Row = Any
Truth = bool | None

_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "contains": operator.contains,
}


def predicate(node: Node) -> Callable[[Row], Truth]:
    """What says True, False or None of a row."""
    if isinstance(node, Not):
        return _negated(predicate(node.operand))
    if isinstance(node, And):
        return _joined([predicate(term) for term in node.terms], decides=False)
    if isinstance(node, Or):
        return _joined([predicate(term) for term in node.terms], decides=True)
    test = value_test(node)
    if FIELDS[node.field].type is Type.INTEGERS:
        test = _some(test, negated=isinstance(node, Compare) and node.operator == "!=")
    return _known(operator.attrgetter(node.field), test)


def value_test(node: Compare | In) -> Callable[[Any], bool]:
    """What a comparison says of one known value of its field."""
    if isinstance(node, In):
        return _member(node)
    if FIELDS[node.field].type is Type.INTEGERS and node.operator == "!=":
        return value_test(Compare(node.field, "==", node.value))
    compare, literal = _OPERATORS[node.operator], node.value
    return lambda value: compare(value, literal)


def _known(read: Callable[[Row], Any], test: Callable[[Any], bool]) -> Callable[[Row], Truth]:
    def truth(row: Row) -> Truth:
        value = read(row)
        return None if value is None else test(value)

    return truth


def _some(test: Callable[[Any], bool], *, negated: bool) -> Callable[[Any], bool]:
    """Of a set: whether any element passes; `!=` is that none does."""
    return lambda values: any(map(test, values)) != negated


def _member(node: In) -> Callable[[Any], bool]:
    singles = {each if isinstance(each, str) else each.first for each in node.elements}
    ranges = [each for each in node.elements if isinstance(each, Range) and each.first < each.last]
    if not ranges:
        return singles.__contains__
    return lambda value: value in singles or any(first <= value <= last for first, last in ranges)


def _negated(test: Callable[[Row], Truth]) -> Callable[[Row], Truth]:
    def truth(row: Row) -> Truth:
        value = test(row)
        return None if value is None else not value

    return truth


def _joined(tests: list[Callable[[Row], Truth]], *, decides: bool) -> Callable[[Row], Truth]:
    """`and` is decided by the first False, `or` by the first True."""

    def truth(row: Row) -> Truth:
        result: Truth = not decides
        for test in tests:
            value = test(row)
            if value is decides:
                return decides
            if value is None:
                result = None
        return result

    return truth
