"""What a filter says about one row."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import pytest
from hypothesis import given, settings

from tdxdbg.filters import Filter, compile_filter
from tdxdbg.filters.scalar import predicate
from tdxdbg.filters.tree import And, Node, Not, Or
from tests.filters.trees import U64, make_row, rows, trees

ROW = make_row(
    index=7,
    time=1_500_000,
    vcpu=0,
    leaf=0x10001,
    r12=U64,
    gpa=0x8000_0000,
    size=0x1000,
    direction=1,
    status=1,
    outcome="userspace",
    exit=(3, 6),
    kernel=False,
    retry=True,
    message="Kernel panic: oops",
)


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("index == 7", True),
        ("index != 7", False),
        ("index < 7", False),
        ("index < 8", True),
        ("index <= 7", True),
        ("index > 7", False),
        ("index > 6", True),
        ("index >= 7", True),
        ("r12 == 0xffffffffffffffff", True),
        ("r12 > 0x7fffffffffffffff", True),
        ("time == 1.5ms", True),
        ("time < 2ms", True),
        ("leaf == MapGPA", True),
        ("leaf in {IO, MapGPA}", True),
        ("leaf in {IO, 0x10000..0x10001}", True),
        ("leaf in {IO, HLT}", False),
        ("leaf not in {IO, HLT}", True),
        ("gpa in 0x80000000..0x90000000", True),
        ("gpa in 0x70000000..0x80000000", True),
        ("gpa in 0x70000000..0x7fffffff", False),
        ("gpa in 0x80000001..0x90000000", False),
        ("size == 4K", True),
        ("direction == out", True),
        ("direction == write", True),
        ("direction == in", False),
        ("status == RETRY", True),
        ("status != SUCCESS", True),
        ("outcome == userspace", True),
        ("outcome in {guest, dead}", False),
        ("outcome contains 'user'", True),
        ("retry", True),
        ("!retry", False),
        ("kernel", False),
        ("not kernel", True),
        ("kernel == false", True),
        ("kernel != true", True),
        ("message contains 'panic'", True),
        ("message contains 'PANIC'", False),
        ("message contains '.*'", False),
        ("message contains ''", True),
        ("message == 'Kernel panic: oops'", True),
        ("message != 'Kernel panic'", True),
        ("message in {'a', 'Kernel panic: oops'}", True),
        ("retry and kernel", False),
        ("retry or kernel", True),
        ("retry and not kernel and vcpu == 0", True),
        ("kernel or vcpu == 1 or leaf == IO", False),
    ],
)
def test_operators(text: str, matches: bool) -> None:
    assert compile_filter(text).matches(ROW) is matches


@pytest.mark.parametrize(
    ("text", "one", "several", "none"),
    [
        ("exit == HYPERCALL", True, True, False),
        ("exit == MMIO", False, True, False),
        ("exit != MMIO", True, False, True),
        ("exit != IO", True, True, True),
        ("exit < 4", True, True, False),
        ("exit <= 3", True, True, False),
        ("exit > 3", False, True, False),
        ("exit >= 7", False, False, False),
        ("exit in {IO, MMIO}", False, True, False),
        ("exit in 2..3", True, True, False),
        ("exit not in {IO, MMIO}", True, False, True),
        ("not (exit == HYPERCALL)", False, False, True),
    ],
)
def test_sets_of_exits(text: str, one: bool, several: bool, none: bool) -> None:
    found = [compile_filter(text).matches(make_row(exit=exits)) for exits in ((3,), (3, 3, 6), ())]
    assert found == [one, several, none]


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("gpa == 5", False),
        ("gpa != 5", False),
        ("not (gpa == 5)", False),
        ("not (gpa != 5)", False),
        ("gpa in 0..0xffffffffffffffff", False),
        ("gpa not in {5}", False),
        ("kernel", False),
        ("not kernel", False),
        ("exit != IO", False),
        ("message contains ''", False),
        ("not (message contains '')", False),
        ("gpa == 5 or retry", True),
        ("retry or gpa == 5", True),
        ("gpa == 5 and retry", False),
        ("not (gpa == 5 and retry)", False),
        ("not (gpa == 5 and not retry)", True),
        ("not (not retry and gpa == 5)", True),
        ("gpa == 5 or not retry", False),
        ("not (gpa == 5 or retry)", False),
        ("gpa == 5 or gpa != 5", False),
    ],
)
def test_what_a_row_does_not_know(text: str, matches: bool) -> None:
    assert compile_filter(text).matches(make_row(retry=True)) is matches


@settings(deadline=None)
@given(trees(), trees(), rows())
def test_the_laws_of_three_values(left: Node, right: Node, row: SimpleNamespace) -> None:
    a, b = predicate(left)(row), predicate(right)(row)
    order = {False: 0, None: 1, True: 2}
    back = {value: key for key, value in order.items()}
    assert order[predicate(And((left, right)))(row)] == min(order[a], order[b])
    assert order[predicate(Or((left, right)))(row)] == max(order[a], order[b])
    assert predicate(Not(left))(row) is back[2 - order[a]]


@settings(deadline=None)
@given(trees(), rows())
def test_what_is_learnt_later_does_not_contradict(tree: Node, row: SimpleNamespace) -> None:
    """Forgetting a field may make the answer unknown, never the opposite."""
    full = predicate(tree)(row)
    for name in vars(row):
        partial = predicate(tree)(SimpleNamespace(**{**vars(row), name: None}))
        assert partial is None or partial is full


def test_a_filter_says_what_it_looks_at() -> None:
    wanted = compile_filter("gpa == 5 and (leaf == IO or not retry) and gpa < 9")
    assert wanted.fields == ("gpa", "leaf", "retry")
    assert wanted.text == "gpa == 5 and (leaf == IO or not retry) and gpa < 9"
    assert str(wanted.tree) == wanted.text


def test_filters_are_values() -> None:
    wanted = compile_filter("exit == IO and not retry")
    copy: Filter = pickle.loads(pickle.dumps(wanted))
    assert copy == wanted
    assert copy.fields == wanted.fields
    assert copy.matches(make_row(exit=(2,), retry=False))
    assert wanted != compile_filter("exit == IO")
