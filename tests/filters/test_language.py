"""Text to tree and back."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tdxdbg.filters import FIELDS, FilterError, compile_filter
from tdxdbg.filters.language import MAX_DEPTH, MAX_LENGTH, parse
from tdxdbg.filters.tree import And, Compare, In, Node, Not, Or, Range, leaves
from tests.filters.trees import U64, trees

RETRY = Compare("retry", "==", 1)
KERNEL = Compare("kernel", "==", 1)
ERROR = Compare("error", "==", 1)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("r12 == 5", Compare("r12", "==", 5)),
        ("r12 != 5", Compare("r12", "!=", 5)),
        ("r12 < 5", Compare("r12", "<", 5)),
        ("r12 <= 5", Compare("r12", "<=", 5)),
        ("r12 > 5", Compare("r12", ">", 5)),
        ("r12 >= 5", Compare("r12", ">=", 5)),
        ("r12==5", Compare("r12", "==", 5)),
        ("\tr12\n==\r\n5 ", Compare("r12", "==", 5)),
        ("R12 == 5", Compare("r12", "==", 5)),
        ("message contains 'a'", Compare("message", "contains", "a")),
        ("message CONTAINS 'a'", Compare("message", "contains", "a")),
        ("message == 'a'", Compare("message", "==", "a")),
        ("retry", RETRY),
        ("retry == true", RETRY),
        ("retry == 1", RETRY),
        ("retry == FALSE", Compare("retry", "==", 0)),
        ("retry != 0", Compare("retry", "!=", 0)),
        ("!retry", Not(RETRY)),
        ("not retry", Not(RETRY)),
        ("NOT retry", Not(RETRY)),
        ("not(retry)", Not(RETRY)),
        ("! ! retry", Not(Not(RETRY))),
        ("gpa in 1..2", In("gpa", (Range(1, 2),))),
        ("gpa in 1 .. 2", In("gpa", (Range(1, 2),))),
        ("gpa in 5..5", In("gpa", (Range(5, 5),))),
        ("gpa in {1..2}", In("gpa", (Range(1, 2),))),
        ("gpa in {5}", In("gpa", (Range(5, 5),))),
        ("gpa in {5, 1..2,7,}", In("gpa", (Range(5, 5), Range(1, 2), Range(7, 7)))),
        ("gpa IN {5}", In("gpa", (Range(5, 5),))),
        ("gpa not in {5}", Not(In("gpa", (Range(5, 5),)))),
        ("leaf in CPUID..IO", In("leaf", (Range(10, 30),))),
        (
            "leaf in {MapGPA, Instruction.IO}",
            In("leaf", (Range(0x10001, 0x10001), Range(30, 30))),
        ),
        ("message in {'a', \"b\"}", In("message", ("a", "b"))),
        ("outcome in {guest, DEAD}", In("outcome", ("guest", "dead"))),
        ("outcome == 'Guest'", Compare("outcome", "==", "guest")),
        ("outcome contains 'GUEST'", Compare("outcome", "contains", "GUEST")),
        ("direction == in", Compare("direction", "==", 0)),
        ("direction in {in, out}", In("direction", (Range(0, 0), Range(1, 1)))),
        ("direction in in..out", In("direction", (Range(0, 1),))),
        ("exit == HYPERCALL", Compare("exit", "==", 3)),
        ("exit in {IO, MMIO}", In("exit", (Range(2, 2), Range(6, 6)))),
        ("error == true and outcome == error", And((ERROR, Compare("outcome", "==", "error")))),
    ],
)
def test_forms(text: str, tree: Node) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("retry and kernel", And((RETRY, KERNEL))),
        ("retry && kernel", And((RETRY, KERNEL))),
        ("retry&&kernel", And((RETRY, KERNEL))),
        ("retry AND kernel and error", And((RETRY, KERNEL, ERROR))),
        ("retry or kernel", Or((RETRY, KERNEL))),
        ("retry || kernel or error", Or((RETRY, KERNEL, ERROR))),
        ("retry or kernel and error", Or((RETRY, And((KERNEL, ERROR))))),
        ("retry and kernel or error", Or((And((RETRY, KERNEL)), ERROR))),
        ("(retry or kernel) and error", And((Or((RETRY, KERNEL)), ERROR))),
        ("(retry and kernel) and error", And((And((RETRY, KERNEL)), ERROR))),
        ("not retry and kernel", And((Not(RETRY), KERNEL))),
        ("not (retry and kernel)", Not(And((RETRY, KERNEL)))),
        ("!retry == true", Not(RETRY)),
        ("! r12 == 5 || retry", Or((Not(Compare("r12", "==", 5)), RETRY))),
        ("((retry))", RETRY),
    ],
)
def test_precedence(text: str, tree: Node) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("0", 0),
        ("007", 7),
        ("1_000", 1000),
        ("0x10", 16),
        ("0XfF", 255),
        ("0x8000_0000", 0x8000_0000),
        ("1K", 1 << 10),
        ("1k", 1 << 10),
        ("3M", 3 << 20),
        ("3G", 3 << 30),
        ("3T", 3 << 40),
        ("0x10K", 16 << 10),
        ("1.5K", 1536),
        ("0.5m", 1 << 19),
        ("18446744073709551615", U64),
        ("0xffffffffffffffff", U64),
        ("0b", None),
        ("0x", None),
        ("1__0", None),
    ],
)
def test_numbers(number: str, value: int | None) -> None:
    if value is None:
        with pytest.raises(FilterError):
            parse(f"gpa == {number}")
    else:
        assert parse(f"gpa == {number}") == Compare("gpa", "==", value)


@pytest.mark.parametrize(
    ("number", "nanoseconds"),
    [
        ("7", 7),
        ("7ns", 7),
        ("7us", 7_000),
        ("7ms", 7_000_000),
        ("7s", 7_000_000_000),
        ("7MS", 7_000_000),
        ("1.5s", 1_500_000_000),
        ("12.345678901s", 12_345_678_901),
        ("0x10us", 16_000),
    ],
)
def test_times(number: str, nanoseconds: int) -> None:
    assert parse(f"time >= {number}") == Compare("time", ">=", nanoseconds)


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        ('"plain"', "plain"),
        ("'plain'", "plain"),
        ('""', ""),
        ("'a\"b'", 'a"b'),
        ('"a\'b"', "a'b"),
        (r"'a\'b'", "a'b"),
        (r'"a\"b"', 'a"b'),
        (r'"a\\b"', "a\\b"),
        (r'"\n\r\t\0"', "\n\r\t\0"),
        (r'"\x1b[0m"', "\x1b[0m"),
        (r'"\u202e\U0001F600"', "\u202e\U0001f600"),
        (r'"\udc80"', "\udc80"),
        ('"\u00e9 and or ( ] .. #"', "\u00e9 and or ( ] .. #"),
    ],
)
def test_texts(literal: str, text: str) -> None:
    assert parse(f"message == {literal}") == Compare("message", "==", text)


@pytest.mark.parametrize(
    ("name", "word"),
    [(row.name, word) for row in FIELDS.values() for word in (*row.names, *row.aliases)],
)
def test_every_name(name: str, word: str) -> None:
    expected = {**FIELDS[name].aliases, **FIELDS[name].names}[word]
    for spelling in (word, word.upper(), word.lower()):
        assert parse(f"{name} == {spelling}") == Compare(name, "==", expected)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("R12==4096&&!retry", "r12 == 0x1000 and not retry"),
        ("leaf==0x10001", "leaf == MapGPA"),
        ("leaf == #VE.RequestMMIO", "leaf == MMIO"),
        ("leaf == 0x77", "leaf == 0x77"),
        ("exit == hypercall", "exit == KVM_EXIT_HYPERCALL"),
        ("direction == write", "direction == out"),
        ("status == TDVMCALL_STATUS_RETRY", "status == RETRY"),
        ("reason == EXIT_REASON_TDCALL", "reason == TDCALL"),
        ("time < 1ms", "time < 1000000ns"),
        ("index == 0x10", "index == 16"),
        ("size == 9", "size == 9"),
        ("gpa in {1M..2M}", "gpa in 0x100000..0x200000"),
        ("gpa in 1..1", "gpa in {1}"),
        ("gpa not in 1..2", "not (gpa in 1..2)"),
        ("not not retry", "not not retry"),
        ("not (r12 == 5)", "not (r12 == 5)"),
        ("retry == true or kernel == false", "retry or kernel == false"),
        ("(retry and kernel) or error", "retry and kernel or error"),
        ("retry and (kernel or error)", "retry and (kernel or error)"),
        ("message == 'a\"\x7f'", r'message == "a\"\x7f"'),
        ("OUTCOME in {'dead'}", "outcome in {dead}"),
    ],
)
def test_canonical_text(text: str, canonical: str) -> None:
    assert str(parse(text)) == canonical
    assert str(parse(canonical)) == canonical


@settings(deadline=None)
@given(trees())
def test_the_text_of_a_tree_parses_to_it(tree: Node) -> None:
    text = str(tree)
    assert text.isprintable()
    assert text.isascii()
    assert parse(text) == tree


def test_columns_point_into_the_text() -> None:
    tree = parse("retry and  (leaf == IO or ! kernel) and gpa in 1..2")
    assert [leaf.column for leaf in leaves(tree)] == [0, 12, 28, 40]
    assert isinstance(tree, And)
    assert tree.column == 0
    inner = tree.terms[1]
    assert isinstance(inner, Or)
    assert (inner.column, inner.terms[1].column) == (12, 26)


@settings(deadline=None)
@given(st.text(max_size=60))
@example("(" * 60)
@example("leaf == '\\U99999999'")
@example("leaf == '\\")
@example("message contains '\ud800'")
@example("gpa == " + "9" * 4000)
@example("gpa == 0.00000001T")
@example("{..}")
def test_any_text_is_a_filter_or_one_error(text: str) -> None:
    _check(text)


_WORDS = st.sampled_from(
    re.findall(
        r"\S+",
        "leaf retry message exit outcome direction time == != < in contains and or not ! && || ( ) "
        "{ } , 'a' 5 5ms 2K MapGPA IO in out guest true .. # = 'x",
    )
)


@settings(deadline=None)
@given(st.lists(_WORDS, max_size=12))
def test_any_words_are_a_filter_or_one_error(words: list[str]) -> None:
    _check(" ".join(words))


def _check(text: str) -> None:
    error = None
    try:
        tree = parse(text)
    except FilterError as caught:
        error = caught
    if error is None:
        assert parse(str(tree)) == tree
        return
    line = str(error)
    assert line.isprintable()
    assert len(line) < 700
    assert 0 <= error.column <= len(text)
    assert error.text == text
    assert error.pretty().isascii()
    assert len(error.pretty().splitlines()) == 3


def test_the_longest_text() -> None:
    text = "retry" + " " * (MAX_LENGTH - 5)
    assert parse(text) == RETRY
    with pytest.raises(FilterError, match="4097 characters, the limit is 4096") as caught:
        parse(text + " ")
    assert caught.value.column == MAX_LENGTH


def test_a_long_chain_is_flat() -> None:
    tree = parse("||".join(["r8==1"] * 585))
    assert isinstance(tree, Or)
    assert len(tree.terms) == 585
    assert str(tree).count(" or ") == 584


@pytest.mark.parametrize(
    ("opening", "levels", "closing"),
    [
        ("(", MAX_DEPTH, ")"),
        ("!", MAX_DEPTH, ""),
        ("not ", MAX_DEPTH, ""),
        ("!(", MAX_DEPTH // 2, ")"),
    ],
)
def test_the_deepest_nesting(opening: str, levels: int, closing: str) -> None:
    tree = parse(opening * levels + "retry" + closing * levels)
    assert parse(str(tree)) == tree
    assert [leaf.field for leaf in leaves(tree)] == ["retry"]
    with pytest.raises(FilterError, match="nested more than 64 levels deep") as caught:
        parse(opening * (levels + 1) + "retry" + closing * (levels + 1))
    assert caught.value.column == len(opening) * levels


def test_deep_trees_do_not_exhaust_the_stack() -> None:
    text = "(retry or kernel and " * MAX_DEPTH + "error" + ")" * MAX_DEPTH
    wanted = compile_filter(text)
    assert parse(str(wanted.tree)) == wanted.tree
    assert hash(wanted.tree) == hash(parse(text))
    assert wanted.fields == ("retry", "kernel", "error")


def test_nesting_counts_what_is_open_at_one_place() -> None:
    text = " and ".join(["(not retry)"] * 200)
    assert len(list(leaves(parse(text)))) == 200


@pytest.mark.parametrize("name", FIELDS)
def test_a_name_alone_is_what_the_parser_makes_of_it(name: str) -> None:
    try:
        tree = parse(name)
    except FilterError:
        with pytest.raises(FilterError):
            compile_filter(name)
        return
    assert compile_filter(name).tree == tree
