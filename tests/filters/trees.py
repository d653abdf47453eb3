"""Random trees and rows, and the row that the tests ask about."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import strategies as st

from tdxdbg.filters.fields import FIELDS, Field, Type
from tdxdbg.filters.places import operators_of
from tdxdbg.filters.tree import And, Compare, In, Node, Not, Or, Range

U64 = (1 << 64) - 1

#: Where casts and comparisons go wrong, and few enough to be equal now and then.
INTEGERS = st.one_of(
    st.sampled_from([0, 1, 2, 3, 30, 127, 128, 255, 256, 0x10001, 2**31, 2**32]),
    st.sampled_from([2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**63 + 1, U64 - 1, U64]),
    st.integers(0, U64),
)
TEXTS = st.one_of(
    st.sampled_from(["", "a", "oops", 'x"\\', "\x1b[0m", "\u202e", "\udc80", "it's\n"]),
    st.text(max_size=6),
)


def values_of(row: Field) -> st.SearchStrategy[int | str]:
    """Literals that fit a field."""
    if row.type is Type.BOOLEAN:
        return st.sampled_from([0, 1])
    if row.type is Type.INTEGER:
        named = [value for value in row.names.values() if isinstance(value, int)]
        return st.one_of(INTEGERS, st.sampled_from(named)) if named else INTEGERS
    if row.type is Type.INTEGERS:
        return st.one_of(st.integers(0, 64), INTEGERS)
    return st.sampled_from(list(row.names.values())) if row.names else TEXTS


@st.composite
def ranges(draw: st.DrawFn, row: Field) -> Range:
    first, last = draw(values_of(row)), draw(values_of(row))
    assert isinstance(first, int)
    assert isinstance(last, int)
    return Range(min(first, last), max(first, last))


@st.composite
def comparisons(draw: st.DrawFn, names: tuple[str, ...] = tuple(FIELDS)) -> Node:
    row = FIELDS[draw(st.sampled_from(names))]
    operator = draw(st.sampled_from(operators_of(row.type)))
    if operator == "contains":
        return Compare(row.name, operator, draw(TEXTS))
    if operator != "in":
        return Compare(row.name, operator, draw(values_of(row)))
    if row.type is Type.TEXT:
        texts = draw(st.lists(values_of(row), min_size=1, max_size=4))
        return In(row.name, tuple(str(text) for text in texts))
    return In(row.name, tuple(draw(st.lists(ranges(row), min_size=1, max_size=4))))


def trees(names: tuple[str, ...] = tuple(FIELDS)) -> st.SearchStrategy[Node]:
    def deeper(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        terms = st.lists(inner, min_size=2, max_size=4).map(tuple)
        return st.one_of(inner.map(Not), terms.map(And), terms.map(Or))

    return st.recursive(comparisons(names), deeper, max_leaves=8)


def row_values(row: Field) -> st.SearchStrategy[object]:
    """What a row may say about a field, unless it does not know."""
    if row.type is Type.BOOLEAN:
        return st.booleans()
    if row.type is Type.INTEGERS:
        return st.lists(st.integers(0, 62), max_size=3).map(tuple)
    return values_of(row)


def rows() -> st.SearchStrategy[SimpleNamespace]:
    """Rows with every field, some of them unknown."""
    return st.builds(
        SimpleNamespace,
        **{name: st.one_of(st.none(), row_values(row)) for name, row in FIELDS.items()},
    )


def make_row(**known: object) -> SimpleNamespace:
    """A row that knows only these fields."""
    return SimpleNamespace(**{**dict.fromkeys(FIELDS), **known})
