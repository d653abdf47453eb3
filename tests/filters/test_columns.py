"""What a filter says about many rows at once: the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdxdbg.filters import FIELDS, ColumnUnavailableError, Filter, Type, compile_filter
from tdxdbg.filters.columns import Columns
from tdxdbg.filters.fields import OUTCOMES
from tdxdbg.filters.tree import Node
from tests.filters.trees import U64, rows, trees

Array = npt.NDArray[Any]


def _columns(table: list[SimpleNamespace], coded: bool) -> dict[str, Array]:
    """The columns of some rows; `coded`: outcome as integers."""
    columns: dict[str, Array] = {}
    for name, row in FIELDS.items():
        values = [getattr(each, name) for each in table]
        known = [value is not None for value in values]
        if row.type is Type.TEXT and not (coded and row.names):
            columns[name] = np.array([*values, None], object)[:-1]
            continue
        columns[name] = _numbers(row.type, values)
        if not all(known):
            columns[name + "__known"] = np.array(known, np.bool_)
    return columns


def _numbers(kind: Type, values: list[Any]) -> Array:
    if kind is Type.TEXT:
        return np.array([OUTCOMES.index(value or "guest") for value in values], np.uint8)
    if kind is Type.BOOLEAN:
        return np.array([bool(value) for value in values], np.bool_)
    if kind is Type.INTEGERS:
        bits = [sum({1 << number for number in value or ()}) for value in values]
        return np.array(bits, np.uint64)
    return np.array([value or 0 for value in values], np.uint64)


@settings(max_examples=300, deadline=None)
@given(trees(), st.lists(rows(), max_size=5), st.booleans())
def test_columns_say_what_the_scalar_says(
    tree: Node, table: list[SimpleNamespace], coded: bool
) -> None:
    wanted = Filter(str(tree), tree)
    columns = _columns(table, coded)
    mask = wanted.mask(columns)
    assert mask.dtype == np.bool_
    assert mask.tolist() == [wanted.matches(row) for row in table]
    found, sure = wanted.candidates(columns)
    assert sure
    assert found.tolist() == mask.tolist()


@settings(deadline=None)
@given(trees(), st.lists(rows(), min_size=1, max_size=5), st.sets(st.sampled_from([*FIELDS])))
def test_candidates_leave_no_match_out(
    tree: Node, table: list[SimpleNamespace], missing: set[str]
) -> None:
    wanted = Filter(str(tree), tree)
    columns = {
        name: column
        for name, column in _columns(table, False).items()
        if name.removesuffix("__known") not in missing
    }
    if not columns:
        return
    found, sure = wanted.candidates(columns)
    matches = [wanted.matches(row) for row in table]
    assert all(may for may, does in zip(found, matches, strict=True) if does)
    assert sure == (not missing & set(wanted.fields))
    if sure:
        assert found.tolist() == matches


_TYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8")


@st.composite
def _integer_columns(draw: st.DrawFn) -> Array:
    kind = draw(st.sampled_from(_TYPES))
    values = st.integers(0, int(np.iinfo(kind).max))
    return np.array(draw(st.lists(values, min_size=1, max_size=4)), kind)


@settings(max_examples=200, deadline=None)
@given(_integer_columns(), trees(("gpa", "leaf", "vcpu", "time")))
def test_every_width_of_integers_is_exact(column: Array, tree: Node) -> None:
    wanted = Filter(str(tree), tree)
    mask = wanted.mask(dict.fromkeys(("gpa", "leaf", "vcpu", "time"), column))
    table = [
        SimpleNamespace(gpa=value, leaf=value, vcpu=value, time=value) for value in column.tolist()
    ]
    assert mask.tolist() == [wanted.matches(row) for row in table]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gpa == 0xffffffffffffffff", [0, 0, 0, 0, 1]),
        ("gpa == 0x8000000000000000", [0, 0, 1, 0, 0]),
        ("gpa > 0x7fffffffffffffff", [0, 0, 1, 1, 1]),
        ("gpa >= 0x8000000000000001", [0, 0, 0, 1, 1]),
        ("gpa in 0x7fffffffffffffff..0x8000000000000000", [0, 1, 1, 0, 0]),
        ("gpa in {0, 0x8000000000000001}", [1, 0, 0, 1, 0]),
        ("gpa not in {0, 0x8000000000000001}", [0, 1, 1, 0, 1]),
        ("gpa != 0x7fffffffffffffff", [1, 0, 1, 1, 1]),
    ],
)
def test_64_bits_are_exact(text: str, expected: list[int]) -> None:
    gpa = np.array([0, 2**63 - 1, 2**63, 2**63 + 1, U64], np.uint64)
    assert compile_filter(text).mask({"gpa": gpa}).tolist() == [bool(each) for each in expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vcpu == 300", [0, 0]),
        ("vcpu != 300", [1, 1]),
        ("vcpu < 300", [1, 1]),
        ("vcpu <= 300", [1, 1]),
        ("vcpu > 300", [0, 0]),
        ("vcpu >= 300", [0, 0]),
        ("vcpu in {300, 255}", [0, 1]),
        ("vcpu in 200..300", [0, 1]),
        ("vcpu in 256..300", [0, 0]),
    ],
)
def test_a_number_that_the_column_cannot_hold(text: str, expected: list[int]) -> None:
    columns = {"vcpu": np.array([0, 255], np.uint8)}
    assert compile_filter(text).mask(columns).tolist() == [bool(each) for each in expected]


@pytest.mark.parametrize("values", [[0, 1, 7], [False, True, True]])
def test_booleans_as_flags_or_numbers(values: list[int]) -> None:
    column = np.array(values)
    if column.dtype == np.bool_:
        columns: Columns = {"retry": column}
        assert compile_filter("retry").mask(columns).tolist() == [False, True, True]
        assert compile_filter("retry == false").mask(columns).tolist() == [True, False, False]
        assert compile_filter("retry != true").mask(columns).tolist() == [True, False, False]
    else:
        columns = {"retry": column.astype(np.uint8)}
        assert compile_filter("not retry").mask(columns).tolist() == [True, False, False]


def test_outcome_by_code() -> None:
    columns = {"outcome": np.array([0, 1, 2, 3, 4, 255], np.uint8)}

    def found(text: str) -> list[int]:
        return np.flatnonzero(compile_filter(text).mask(columns)).tolist()

    assert found("outcome == userspace") == [1]
    # 4 and 255 are no codes: unknown.
    assert found("outcome != userspace") == [0, 2, 3]
    assert found("not (outcome == userspace)") == [0, 2, 3]
    assert found("outcome contains 'e'") == [0, 1, 2, 3]
    assert found("outcome in {dead, guest}") == [0, 3]


def test_a_large_exit_number_makes_the_column_unavailable() -> None:
    columns = {"exit": np.array([1 << 3, 1 << 63], np.uint64)}
    with pytest.raises(ColumnUnavailableError) as caught:
        compile_filter("exit == IO").mask(columns)
    assert caught.value.name == "exit"
    assert compile_filter("exit == 70").mask({"exit": columns["exit"][:1]}).tolist() == [False]
    assert compile_filter("exit != 70").mask({"exit": columns["exit"][:1]}).tolist() == [True]
    found, sure = compile_filter("exit == IO").candidates(columns)
    assert (found.tolist(), sure) == ([True, True], False)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("gpa == 5", {}),
        ("gpa == 5", {"leaf": np.zeros(2, np.uint64)}),
        ("gpa == 5", {"gpa": np.array([1.0, 2.0])}),
        ("gpa == 5", {"gpa": np.array([1, None], object)}),
        ("message == 'a'", {"message": np.array(["a", "b"])}),
        ("message == 'a'", {"message": np.zeros(2, np.uint8)}),
        ("outcome == guest", {"outcome": np.zeros(2)}),
        ("leaf == 0 and gpa == 5", {"leaf": np.zeros(2, np.uint64)}),
    ],
)
def test_columns_that_cannot_answer(text: str, columns: Columns) -> None:
    with pytest.raises(ColumnUnavailableError) as caught:
        compile_filter(text).mask(columns)
    assert caught.value.name == text.replace("leaf == 0 and ", "").split()[0]


def test_candidates_need_a_number_of_rows() -> None:
    with pytest.raises(ColumnUnavailableError):
        compile_filter("gpa == 5").candidates({})


def test_candidates_use_the_columns_there_are() -> None:
    columns = {"leaf": np.array([30, 12, 30], np.uint8)}
    found, sure = compile_filter("leaf == IO and message contains 'x'").candidates(columns)
    assert (found.tolist(), sure) == ([True, False, True], False)
    found, sure = compile_filter("not (leaf == IO or gpa == 5)").candidates(columns)
    assert (found.tolist(), sure) == ([False, True, False], False)


def test_columns_are_not_changed() -> None:
    columns = {
        "retry": np.array([True, False, True]),
        "retry__known": np.array([True, True, False]),
    }
    before = {name: column.copy() for name, column in columns.items()}
    compile_filter("not retry or retry == false and retry").mask(columns)
    assert all((columns[name] == before[name]).all() for name in columns)


def test_slices_and_read_only_columns() -> None:
    packed = np.array([(1, 30), (2, 12)], np.dtype([("pad", "u1"), ("leaf", "<u8")]))
    packed.flags.writeable = False
    assert compile_filter("leaf == HLT").mask({"leaf": packed["leaf"]}).tolist() == [False, True]
