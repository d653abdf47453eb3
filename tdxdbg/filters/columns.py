"""A filter tree as a predicate over columns: one boolean per row.

What a column may be (numpy arrays of one length, a field each):

* integer and boolean fields: any integer or boolean type, unsigned values;
* `exit`: unsigned 64-bit sets, bit n for KVM_EXIT number n. Bit 63 stands for
  any greater number; a column that has it cannot answer;
* text fields with named values (`outcome`): integers, the position of the
  value in the names of the field;
* any text field: an object array of `str` and None.

`<field>__known`, boolean, says which values are known; without it all are.
The answers equal those of `scalar`. Instead of three values per row, each part
of the tree is asked for the rows where it is surely true, or surely false:
`not` swaps the two questions.

This module imports numpy, and is imported when the first mask is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from tdxdbg.filters.errors import ColumnUnavailableError
from tdxdbg.filters.fields import FIELDS, Field, Type
from tdxdbg.filters.scalar import value_test
from tdxdbg.filters.tree import And, Compare, In, Leaf, Node, Not, Or, Range

Column = npt.NDArray[np.generic]
Mask = npt.NDArray[np.bool_]
Columns = Mapping[str, Column]

KNOWN: Final = "__known"
#: The bit of a set of exits that stands for every number it cannot hold.
EXIT_OTHER: Final = 63

_COMPARE: Final[dict[str, Callable[[Column, np.generic], Mask]]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


def mask(node: Node, columns: Columns) -> Mask:
    """The rows that match. Raises ColumnUnavailableError for the first field without a column."""
    return _surely(node, True, columns, None)


def candidates(node: Node, columns: Columns) -> tuple[Mask, bool]:
    """The rows that may match, and whether they surely do.

    A field without a usable column is taken for one that may say anything, so
    the rows that match are among these. Raises ColumnUnavailableError where
    not even the number of rows is known, as there is no column at all.
    """
    length = next((len(column) for column in columns.values()), None)
    if length is None:
        return mask(node, columns), True
    missing: set[str] = set()
    found = _surely(node, True, columns, (length, missing))
    return found, not missing


_Unknown = tuple[int, set[str]] | None


def _surely(node: Node, truth: bool, columns: Columns, lenient: _Unknown) -> Mask:
    """The rows where the node is surely true, or surely false (`truth`).

    `lenient`: the number of rows, and where to note a field without a column,
    for which then every row counts.
    """
    if isinstance(node, Not):
        return _surely(node.operand, not truth, columns, lenient)
    if isinstance(node, And | Or):
        join = np.logical_and if isinstance(node, And) is truth else np.logical_or
        found = _surely(node.terms[0], truth, columns, lenient)
        for term in node.terms[1:]:
            join(found, _surely(term, truth, columns, lenient), out=found)
        return found
    try:
        return _leaf(node, truth, columns)
    except ColumnUnavailableError as error:
        if lenient is None:
            raise
        length, missing = lenient
        missing.add(error.name)
        return np.ones(length, np.bool_)


def _leaf(node: Leaf, truth: bool, columns: Columns) -> Mask:
    row = FIELDS[node.field]
    column = columns.get(node.field)
    if column is None:
        raise ColumnUnavailableError(node.field)
    known = columns.get(node.field + KNOWN)
    if row.type is Type.TEXT:
        found, held = _text(row, node, column)
        known = held if known is None else np.logical_and(held, known)
    else:
        if column.dtype.kind not in "biu":
            raise ColumnUnavailableError(node.field)
        if row.type is Type.BOOLEAN:
            column = column != 0
        if column.dtype.kind == "b":
            column = column.view(np.uint8)
        found = _exits(node, column) if row.type is Type.INTEGERS else _integers(node, column)
    if not truth:
        np.logical_not(found, out=found)
    if known is not None:
        np.logical_and(found, known, out=found)
    return found


def _integers(node: Leaf, column: Column) -> Mask:
    if isinstance(node, In):
        return _members(node.elements, column)
    assert isinstance(node.value, int)
    return _compare(node.operator, node.value, column)


def _compare(operator: str, value: int, column: Column) -> Mask:
    if value > np.iinfo(column.dtype.name).max:
        # Every value of the column lies below: no cast of the literal would be exact.
        return np.full(len(column), operator in ("!=", "<", "<="), np.bool_)
    return _COMPARE[operator](column, column.dtype.type(value))


def _members(elements: Sequence[Range | str], column: Column) -> Mask:
    found = np.zeros(len(column), np.bool_)
    singles: list[int] = []
    limit = int(np.iinfo(column.dtype.name).max)
    for element in elements:
        assert isinstance(element, Range)
        if element.first > limit:
            continue
        if element.first == element.last:
            singles.append(element.first)
        else:
            inside = _compare(">=", element.first, column)
            found |= inside & _compare("<=", element.last, column)
    if singles:
        found |= np.isin(column, np.array(singles, column.dtype))
    return found


def _exits(node: Leaf, column: Column) -> Mask:
    sets = column.astype(np.uint64, copy=False)
    if np.any(sets >> np.uint64(EXIT_OTHER)):
        raise ColumnUnavailableError(node.field)
    passes = value_test(node)
    bits = sum(1 << number for number in range(EXIT_OTHER) if passes(number))
    found: Mask = (sets & np.uint64(bits)) != 0
    return ~found if isinstance(node, Compare) and node.operator == "!=" else found


def _text(row: Field, node: Leaf, column: Column) -> tuple[Mask, Mask]:
    """Where the comparison holds, and where the column holds a text."""
    passes = value_test(node)
    if column.dtype.kind == "O":
        values = column.tolist()
        held = np.fromiter((value is not None for value in values), np.bool_, len(values))
        tests = (value is not None and passes(value) for value in values)
        return np.fromiter(tests, np.bool_, len(values)), held
    if column.dtype.kind not in "iu" or not row.names:
        raise ColumnUnavailableError(row.name)
    found = np.zeros(len(column), np.bool_)
    for code, value in enumerate(row.names.values()):
        if passes(value):
            found |= _compare("==", code, column)
    return found, _compare("<", len(row.names), column)
